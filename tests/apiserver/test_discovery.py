from __future__ import annotations

import json
from typing import Any

import pytest

from fairway.api.resources import RESOURCES, Resource
from fairway.apiserver.discovery import find_document

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


def read(path: str, accept: str = "application/json") -> Any:
    document = find_document(path, accept)
    assert document is not None
    return json.loads(document.body)


def test_kubectls_accept_header_gets_the_aggregated_form() -> None:
    document = find_document("/apis", AGGREGATED)
    assert document is not None
    assert document.content_type == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert json.loads(document.body)["apiVersion"] == "apidiscovery.k8s.io/v2"


def test_an_older_client_gets_the_beta_of_it() -> None:
    accept = "application/json;v=v2beta1;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io"
    assert read("/apis", accept)["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


@pytest.mark.parametrize("accept", ["application/json", "*/*", "", "application/json, */*"])
def test_other_clients_get_the_legacy_form(accept: str) -> None:
    assert read("/apis", accept)["kind"] == "APIGroupList"
    assert read("/api", accept) == {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def test_the_aggregated_form_names_services_as_the_recorded_server_does() -> None:
    listed = read("/api", AGGREGATED)["items"][0]["versions"][0]["resources"]
    services = next(one for one in listed if one["resource"] == "services")
    kind = {"group": "", "version": "", "kind": "Service"}
    assert services == {
        "resource": "services",
        "responseKind": kind,
        "scope": "Namespaced",
        "singularResource": "service",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["svc"],
        "categories": ["all"],
        "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get", "patch", "update"]}],
    }


def test_a_scale_names_its_own_group() -> None:
    groups = {item["metadata"]["name"]: item for item in read("/apis", AGGREGATED)["items"]}
    deployments = next(one for one in groups["apps"]["versions"][0]["resources"] if one["resource"] == "deployments")
    assert deployments["subresources"][0] == {
        "subresource": "scale",
        "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        "verbs": ["get", "patch", "update"],
    }


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_both_forms_name_every_resource(resource: Resource) -> None:
    legacy = [one["name"] for one in read(resource.prefix)["resources"]]
    wanted = [resource.plural, *(f"{resource.plural}/{sub.name}" for sub in resource.subresources)]
    assert [name for name in legacy if name.split("/")[0] == resource.plural] == wanted
    root = "/apis" if resource.group else "/api"
    aggregated = [
        one["resource"]
        for item in read(root, AGGREGATED)["items"]
        if item["metadata"].get("name", "") == resource.group
        for one in item["versions"][0]["resources"]
    ]
    assert resource.plural in aggregated


def test_a_group_can_be_asked_for_alone() -> None:
    version = {"groupVersion": "apps/v1", "version": "v1"}
    assert read("/apis/apps") == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "apps",
        "versions": [version],
        "preferredVersion": version,
    }


def test_the_version_is_one_that_clients_understand() -> None:
    version = read("/version")
    assert (version["major"], version["minor"], version["gitVersion"]) == ("1", "33", "v1.33.0+fairway")


@pytest.mark.parametrize("path", ["/", "/apis/none.io", "/apis/apps/v2", "/openapi/v3/api/v2"])
def test_there_is_nothing_elsewhere(path: str) -> None:
    assert find_document(path, "*/*") is None


@pytest.mark.parametrize("accept", ["application/json", "*/*", ""])
def test_openapi_v2_knows_no_path(accept: str) -> None:
    info = {"title": "Kubernetes", "version": "v1.33.0+fairway"}
    assert read("/openapi/v2", accept) == {"swagger": "2.0", "info": info, "paths": {}}


def test_openapi_v2_is_protobuf_for_kubectl() -> None:
    document = find_document("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
    assert document is not None
    assert document.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert document.body == b"\x0a\x032.0\x12\x1d\x0a\x0aKubernetes\x12\x0fv1.33.0+fairway"


class TestOpenApi:
    def test_the_index_names_every_group_by_its_hash(self) -> None:
        index = read("/openapi/v3")["paths"]
        assert sorted(index) == sorted(
            {resource.prefix.lstrip("/") for resource in RESOURCES}
            | {
                "apis/authentication.k8s.io/v1",
                "apis/authorization.k8s.io/v1",
            }
        )
        for path, entry in index.items():
            document = find_document(f"/openapi/v3/{path}", "application/json")
            assert document is not None
            assert entry["serverRelativeURL"] == f"/openapi/v3/{path}?hash={document.etag}"
            assert "immutable" in document.headers["Cache-Control"]

    @pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
    def test_every_kind_can_be_applied(self, resource: Resource) -> None:
        """What kubectl looks for first: a PATCH of the kind with fieldValidation and the strategic type."""
        document = read(f"/openapi/v3{resource.prefix}")
        item = document["paths"][resource.path("{namespace}", "{name}")]
        patch = item["patch"]
        gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        assert patch["x-kubernetes-group-version-kind"] == gvk
        assert {"name": "fieldValidation", "in": "query"}.items() <= next(
            one for one in patch["parameters"] if one["name"] == "fieldValidation"
        ).items()
        assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
        schemas = document["components"]["schemas"]
        assert [name for name, schema in schemas.items() if gvk in schema.get("x-kubernetes-group-version-kind", [])]

    @pytest.mark.parametrize("prefix", sorted({resource.prefix for resource in RESOURCES}))
    def test_every_reference_leads_somewhere(self, prefix: str) -> None:
        document = read(f"/openapi/v3{prefix}")
        names = set(references(document))
        assert names
        assert names <= set(document["components"]["schemas"])


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].removeprefix("#/components/schemas/")] if "$ref" in value else []
        return own + [name for item in value.values() for name in references(item)]
    return [name for item in value for name in references(item)] if isinstance(value, list) else []
