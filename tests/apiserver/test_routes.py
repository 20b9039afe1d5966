"""URLs to resources and verbs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.api.resources import DEPLOYMENTS, NAMESPACES, NODES, PODS, RESOURCES, SERVICES
from fairway.api.status import ApiError
from fairway.apiserver.routes import NoRouteError, Target, resolve


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/api/v1/pods", Target(resource=PODS, verb="list")),
        ("GET", "/api/v1/namespaces/n/pods", Target(resource=PODS, verb="list", namespace="n")),
        ("POST", "/api/v1/namespaces/n/pods", Target(resource=PODS, verb="create", namespace="n")),
        ("DELETE", "/api/v1/namespaces/n/pods", Target(resource=PODS, verb="deletecollection", namespace="n")),
        ("GET", "/api/v1/namespaces/n/pods/p", Target(resource=PODS, verb="get", namespace="n", name="p")),
        ("PUT", "/api/v1/namespaces/n/pods/p", Target(resource=PODS, verb="update", namespace="n", name="p")),
        (
            "POST",
            "/api/v1/namespaces/n/pods/p/binding",
            Target(resource=PODS, verb="create", namespace="n", name="p", subresource="binding"),
        ),
        ("GET", "/api/v1/nodes/n1", Target(resource=NODES, verb="get", name="n1")),
        ("GET", "/api/v1/namespaces", Target(resource=NAMESPACES, verb="list")),
        ("GET", "/api/v1/namespaces/n", Target(resource=NAMESPACES, verb="get", name="n")),
        (
            "PATCH",
            "/api/v1/namespaces/n/status",
            Target(resource=NAMESPACES, verb="patch", name="n", subresource="status"),
        ),
        (
            "PUT",
            "/api/v1/namespaces/n/finalize",
            Target(resource=NAMESPACES, verb="update", name="n", subresource="finalize"),
        ),
        # A namespace may be called what a resource or a subresource is called.
        (
            "GET",
            "/api/v1/namespaces/pods/services/s",
            Target(resource=SERVICES, verb="get", namespace="pods", name="s"),
        ),
        ("GET", "/api/v1/namespaces/status/pods", Target(resource=PODS, verb="list", namespace="status")),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/n/deployments/d/scale",
            Target(resource=DEPLOYMENTS, verb="patch", namespace="n", name="d", subresource="scale"),
        ),
    ],
)
def test_a_path_names_a_target(method, path, target):
    assert resolve(method, path) == target


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nonsense",
        "/api/v1/pods/p",
        "/api/v1/namespaces/n/nodes",
        "/api/v1/namespaces/n/nodes/n1",
        "/api/v1/namespaces/n/pods/p/status/more",
        "/api/v1/namespaces/n/pods/p/frobs",
        "/api/v1/namespaces//pods",
        "/apis/apps/v1/namespaces/n/pods",
    ],
)
def test_a_resource_that_is_not_served_is_not_found(path):
    with pytest.raises(ApiError) as caught:
        resolve("GET", path)
    assert (caught.value.code, caught.value.message) == (404, "the server could not find the requested resource")


@pytest.mark.parametrize("subresource", ["attach", "ephemeralcontainers", "portforward"])
def test_a_subresource_that_kubectl_has_a_verb_for_is_told_by_name(subresource):
    """The reason and the empty details stay: `kubectl debug` and `kubectl run -i` read them."""
    with pytest.raises(ApiError) as caught:
        resolve("GET", f"/api/v1/namespaces/n/pods/p/{subresource}")
    error = caught.value
    assert (error.code, error.reason, error.details) == (404, "NotFound", {})
    assert error.message == f"pods/{subresource} is not served by this API server; pods/exec and pods/log are"


@pytest.mark.parametrize(
    "path", ["/api/v2/pods", "/apis/none.io/v1/things", "/apis/apps", "/api/v1", "/apis/apps/v1beta1/x"]
)
def test_a_group_or_version_that_is_not_served_is_no_route(path):
    with pytest.raises(NoRouteError):
        resolve("GET", path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/namespaces/n/services/s"),
        ("POST", "/api/v1/pods"),
        ("DELETE", "/api/v1/pods"),
        ("PUT", "/api/v1/namespaces/n/pods"),
        ("DELETE", "/api/v1/namespaces/n/pods/p/status"),
        ("GET", "/api/v1/namespaces/n/pods/p/binding"),
        ("DELETE", "/api/v1/namespaces"),
        ("FROB", "/api/v1/namespaces/n/pods/p"),
    ],
)
def test_a_method_a_resource_does_not_have_is_not_allowed(method, path):
    with pytest.raises(ApiError) as caught:
        resolve(method, path)
    assert (caught.value.code, caught.value.reason) == (405, "MethodNotAllowed")


@given(st.sampled_from(RESOURCES), st.sampled_from(["", "n"]), st.sampled_from(["", "x"]))
def test_every_path_a_client_makes_is_read_back(resource, namespace, name):
    namespace = namespace if resource.namespaced else ""
    if name and resource.namespaced and not namespace:
        return
    found = resolve("GET", resource.path(namespace, name))
    verb = "get" if name else "list"
    assert found == Target(resource=resource, verb=verb, namespace=namespace, name=name)
