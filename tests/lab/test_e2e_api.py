"""What Kubernetes' own network tests ask of the API alone: node ports, Services, Endpoints and slices, ServiceCIDRs and
IPAddresses; no pods but those a further ServiceCIDR serves."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from fairway.api.resources import ENDPOINT_SLICES, ENDPOINTS, IP_ADDRESSES, SERVICE_CIDRS, SERVICES, Resource
from fairway.api.types import Object
from tests.lab.command import User
from tests.lab.e2e import (
    WEB,
    Cluster,
    Namespace,
    bring_up,
    deployment,
    is_ready,
    namespace_for,
    netexec,
    pod,
    port,
    slice_of,
)

pytestmark = pytest.mark.lab

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
OF_TEST = {"test": "e2e"}
SELECTED: dict[str, Any] = {"labelSelector": "test=e2e"}


@pytest.fixture(scope="module")
def cluster(user: User) -> Iterator[Cluster]:
    with bring_up(user, "api") as cluster:
        yield cluster


@pytest.fixture
def own(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    with namespace_for(cluster, request.node.name) as namespace:
        yield namespace


def refusal(own: Namespace, method: str, name: str, body: Object) -> str:
    """The message of a 422."""
    code, answer = own.ask(method, "services", name, body)
    assert (code, answer["reason"]) == (422, "Invalid")
    return str(answer["message"])


def node_port_service(name: str, number: int) -> Object:
    spec = {"type": "NodePort", "selector": {"app": name}, "ports": [port(80, nodePort=number)]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def labelled(of: Object, labels: dict[str, str]) -> Object:
    of["metadata"].setdefault("labels", {}).update(labels)
    return of


def test_a_node_port_is_given_once(own: Namespace) -> None:
    number = own.serve("first", port(80), type="NodePort").object["spec"]["ports"][0]["nodePort"]
    message = refusal(own, "POST", "", node_port_service("second", number))
    assert re.search(rf"{number}.*port is already allocated", message)
    own.delete("services", "first")
    own.create(node_port_service("second", number))


def test_a_node_port_is_of_its_range(own: Namespace) -> None:
    made = own.serve("web", port(80), type="NodePort").object
    assert 30000 <= made["spec"]["ports"][0]["nodePort"] <= 32767
    for outside in (29999, 32768):
        made["spec"]["ports"][0]["nodePort"] = outside
        for method, name, body in (("PUT", "web", made), ("POST", "", node_port_service("other", outside))):
            assert re.search(rf"{outside}.*port is not in the valid range", refusal(own, method, name, body))


def test_a_deleted_services_node_port_is_free_and_nobody_listens(own: Namespace) -> None:
    number = 30999
    own.create(node_port_service("web", number))
    listens = ["sh", "-c", f'! ss -ant46 "sport = :{number}" | tail -n +2 | grep LISTEN']
    worker = own.cluster.workers[0]
    for _ in range(2):
        assert own.cluster.user.fairway("exec", "--name", own.cluster.name, worker, "--", *listens).code == 0
        own.delete("services", "web")
        own.create(node_port_service("web", number))


def test_services_of_all_namespaces_are_listed(cluster: Cluster, own: Namespace) -> None:
    own.serve("web", port(80))
    found = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in cluster.list(SERVICES)}
    assert {("default", "kubernetes"), (own.name, "web")} <= found


def next_event(cluster: Cluster, resource: Resource, since: str, type_: str, name: str, **query: str) -> Object:
    """The first event of a type about an object; since: the resourceVersion of a list."""
    for seen, found in cluster.watch(resource, resourceVersion=since, **query):
        if (seen, found["metadata"]["name"]) == (type_, name):
            return found
    raise AssertionError(f"no {type_} of {name}")


def test_the_status_of_a_service_through_its_life(cluster: Cluster, own: Namespace) -> None:
    spec = {"type": "LoadBalancer", "loadBalancerClass": "example.com/none", "ports": [port(80)]}
    web = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": OF_TEST}, "spec": spec}
    since = cluster.get_list(SERVICES, **SELECTED)["metadata"]["resourceVersion"]
    own.create(web)
    next_event(cluster, SERVICES, since, "ADDED", "web", **SELECTED)
    status: dict[str, Any] = {"subresource": "status"}
    assert own.done("GET", "services", "web", **status)["status"] == {"loadBalancer": {}}

    since = cluster.get_list(SERVICES, **SELECTED)["metadata"]["resourceVersion"]
    ingress = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
    patched = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": ingress}
    own.patch("services", "web", patched, **status)
    seen = next_event(cluster, SERVICES, since, "MODIFIED", "web", **SELECTED)
    assert seen["metadata"]["annotations"] == {"patchedstatus": "true"}
    assert seen["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"

    found = own.get("services", "web")
    found["status"]["conditions"] = [
        {
            "type": "StatusUpdate",
            "status": "True",
            "reason": "E2E",
            "message": "Set from e2e test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
    found["spec"]["sessionAffinity"] = "ClientIP"
    updated = own.done("PUT", "services", "web", found, **status)
    assert [each["type"] for each in updated["status"]["conditions"]] == ["StatusUpdate"]
    assert updated["spec"]["sessionAffinity"] == "None", "a status update changed the spec"

    own.patch("services", "web", {"metadata": {"labels": {"test-service": "patched"}}}, form="strategic")
    assert own.get("services", "web")["metadata"]["labels"] == OF_TEST | {"test-service": "patched"}
    since = cluster.get_list(SERVICES, **SELECTED)["metadata"]["resourceVersion"]
    own.delete("services", "web")
    assert int(next_event(cluster, SERVICES, since, "DELETED", "web", **SELECTED)["metadata"]["resourceVersion"]) > int(
        since
    )


def test_a_collection_of_services_is_deleted(own: Namespace) -> None:
    for name in ("one", "two", "three"):
        own.create(node_port_service(name, 0))
        if name != "three":
            own.patch("services", name, {"metadata": {"labels": OF_TEST}})
    own.done("DELETE", "services", **SELECTED)
    assert [each["metadata"]["name"] for each in own.cluster.list(SERVICES, own.name)] == ["three"]


def endpoints(name: str, *addresses: str) -> Object:
    subsets = [{"addresses": [{"ip": ip} for ip in addresses], "ports": [{"name": "http", "port": 80}]}]
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}, "subsets": subsets}


def test_endpoints_through_their_life(cluster: Cluster, own: Namespace) -> None:
    since = cluster.get_list(ENDPOINTS, **SELECTED)["metadata"]["resourceVersion"]
    own.create(labelled(endpoints("mine", "10.0.0.24"), OF_TEST))
    next_event(cluster, ENDPOINTS, since, "ADDED", "mine", **SELECTED)
    since = cluster.get_list(ENDPOINTS, **SELECTED)["metadata"]["resourceVersion"]
    own.change("endpoints", "mine", lambda found: labelled(found, {"test-endpoint": "updated"}))
    # It matched before and matches still: a watch that begins with the list has to say that it changed.
    seen = next_event(cluster, ENDPOINTS, since, "MODIFIED", "mine", **SELECTED)
    assert seen["metadata"]["labels"]["test-endpoint"] == "updated"
    patch = {"metadata": {"labels": {"test-endpoint": "patched"}}, "subsets": endpoints("", "10.0.0.25")["subsets"]}
    own.patch("endpoints", "mine", patch, form="strategic")
    assert own.get("endpoints", "mine")["subsets"][0]["addresses"] == [{"ip": "10.0.0.25"}]
    own.done("DELETE", "endpoints", **SELECTED)
    next_event(cluster, ENDPOINTS, since, "DELETED", "mine", **SELECTED)
    assert own.ask("GET", "endpoints", "mine")[0] == 404


def test_a_selector_that_matches_nothing_has_endpoints_and_a_slice_without_addresses(own: Namespace) -> None:
    own.serve("web", port(80))
    found = own.until("endpoints", lambda all_: "web" in all_)["web"]
    assert not found.get("subsets")
    slices = own.until("endpointslices", len, labelSelector="kubernetes.io/service-name=web")
    for each in slices.values():
        assert each["metadata"]["labels"][MANAGED_BY] == "endpointslice-controller.k8s.io"
        assert not each["endpoints"]
    own.delete("services", "web")
    own.until("endpointslices", lambda all_: not all_)
    own.until("endpoints", lambda all_: not all_)


def test_slices_by_every_verb(cluster: Cluster, own: Namespace) -> None:
    code, groups = cluster.ask("GET", "/apis")
    assert "discovery.k8s.io" in [group["name"] for group in groups["groups"]]
    code, group = cluster.ask("GET", "/apis/discovery.k8s.io")
    assert (code, group["preferredVersion"]["version"]) == (200, "v1")
    code, resources = cluster.ask("GET", "/apis/discovery.k8s.io/v1")
    assert "endpointslices" in [resource["name"] for resource in resources["resources"]]

    made = []
    for _ in range(3):
        mine = labelled(slice_of("none", "", ["10.0.0.1"], [{"name": "http", "port": 80}]), OF_TEST)
        del mine["metadata"]["name"]
        mine["metadata"]["generateName"] = "e2e-example-ing"
        made += own.create(mine)
    names = sorted(each["metadata"]["name"] for each in made)
    assert len({name for name in names if name.startswith("e2e-example-ing")}) == 3
    for where in (own.name, ""):
        listed = cluster.get_list(ENDPOINT_SLICES, where, **SELECTED)
        assert sorted(each["metadata"]["name"] for each in listed["items"]) == names
    since, name = listed["metadata"]["resourceVersion"], names[0]

    patched = own.patch("endpointslices", name, {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"]["patched"] == "true"
    own.change("endpointslices", name, lambda found: found["metadata"]["annotations"].update(updated="true"))
    seen = [found for type_, found in first(2, cluster.watch(ENDPOINT_SLICES, own.name, resourceVersion=since))]
    assert [sorted(each["metadata"]["annotations"]) for each in seen] == [["patched"], ["patched", "updated"]]
    own.delete("endpointslices", name)
    assert own.ask("GET", "endpointslices", name)[0] == 404
    own.done("DELETE", "endpointslices", **SELECTED)
    assert cluster.list(ENDPOINT_SLICES, own.name) == []


def first(count: int, events: Iterator[tuple[str, Object]]) -> list[tuple[str, Object]]:
    return list(itertools.islice(events, count))


def test_endpoints_by_hand_are_mirrored_as_they_are_now(own: Namespace) -> None:
    own.serve("mine", port(80), selector=None)
    own.create(endpoints("mine", "10.1.2.3"))
    label = {"labelSelector": "kubernetes.io/service-name=mine"}

    def mirrored(*addresses: str) -> None:
        def holds(slices: dict[str, Object]) -> bool:
            told = [endpoint["addresses"] for each in slices.values() for endpoint in each["endpoints"] or ()]
            return told == [[address] for address in addresses]

        for each in own.until("endpointslices", holds, **label).values():
            assert each["metadata"]["labels"][MANAGED_BY] == "endpointslicemirroring-controller.k8s.io"

    mirrored("10.1.2.3")
    own.change("endpoints", "mine", lambda found: found.update(subsets=endpoints("", "10.2.3.4")["subsets"]))
    mirrored("10.2.3.4")
    own.delete("endpoints", "mine")
    own.until("endpointslices", lambda slices: not slices, **label)


def test_the_api_server_is_a_service_itself(cluster: Cluster) -> None:
    default = cluster.default
    assert [each["name"] for each in default.get("services", "kubernetes")["spec"]["ports"]] == ["https"]
    [subset] = default.get("endpoints", "kubernetes")["subsets"]
    found = cluster.list(ENDPOINT_SLICES, "default", labelSelector="kubernetes.io/service-name=kubernetes")
    addresses = {address for each in found for endpoint in each["endpoints"] for address in endpoint["addresses"]}
    assert {each["ip"] for each in subset["addresses"]} == addresses
    ports = [(each["name"], each["port"]) for each in subset["ports"]]
    assert [[(each["name"], each["port"]) for each in one["ports"]] for one in found] == [ports]


@pytest.mark.parametrize("path", ["/healthz", "/api", "/apis", "/metrics", "/openapi/v2", "/version"])
def test_urls_that_never_change(cluster: Cluster, path: str) -> None:
    code, answer = cluster.ask("GET", path)
    assert code == 200
    assert answer


# ServiceCIDRs and IPAddresses

CIDR_KIND = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR"}
IP_KIND = {"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress"}


def is_ready_cidr(found: Object) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def named_resources(cluster: Cluster, group: str) -> set[str]:
    code, resources = cluster.ask("GET", f"/apis/{group}/v1")
    assert code == 200
    return {resource["name"] for resource in resources["resources"]}


def through_its_life(cluster: Cluster, resource: Resource, body: Object) -> None:
    """Create, read, list, patch, replace and delete an object of no namespace, and see each change."""
    everywhere = Namespace(cluster=cluster, name="")
    plural, name = resource.plural, body["metadata"]["name"]
    since = cluster.get_list(resource, **SELECTED)["metadata"]["resourceVersion"]
    everywhere.create(labelled(body, OF_TEST))
    next_event(cluster, resource, since, "ADDED", name, **SELECTED)
    assert everywhere.get(plural, name)["spec"] == body["spec"]
    assert [each["metadata"]["name"] for each in cluster.list(resource, **SELECTED)] == [name]
    patched = everywhere.patch(plural, name, {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"] == {"patched": "true"}
    # A controller may write between the reading and the writing of a replacement, which names no version for that.
    found = everywhere.get(plural, name)
    del found["metadata"]["resourceVersion"]
    found["metadata"]["annotations"]["updated"] = "true"
    updated = everywhere.done("PUT", plural, name, found)
    assert updated["metadata"]["annotations"] == {"patched": "true", "updated": "true"}


def test_service_cidrs_by_every_verb(cluster: Cluster) -> None:
    assert {"servicecidrs", "servicecidrs/status"} <= named_resources(cluster, "networking.k8s.io")
    everywhere = Namespace(cluster=cluster, name="")
    [first_one] = cluster.list(SERVICE_CIDRS)
    assert first_one["metadata"]["name"] == "kubernetes"
    kubernetes = cluster.default.get("services", "kubernetes")["spec"]["clusterIP"]
    assert any(ip_address(kubernetes) in ip_network(text) for text in first_one["spec"]["cidrs"])

    mine = {**CIDR_KIND, "metadata": {"name": "mine"}, "spec": {"cidrs": ["203.0.113.0/24"]}}
    through_its_life(cluster, SERVICE_CIDRS, mine)
    everywhere.until("servicecidrs", lambda all_: is_ready_cidr(all_["mine"]))
    condition = {"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    status = {"status": {"conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
    patched = everywhere.patch("servicecidrs", "mine", status, subresource="status")
    assert [each["type"] for each in patched["status"]["conditions"]] == ["StatusPatched"]
    told = everywhere.until("servicecidrs", lambda all_: is_ready_cidr(all_["mine"]))["mine"]
    assert {each["type"] for each in told["status"]["conditions"]} == {"StatusPatched", "Ready"}
    assert told["spec"] == mine["spec"]
    since = cluster.get_list(SERVICE_CIDRS, **SELECTED)["metadata"]["resourceVersion"]
    everywhere.done("DELETE", "servicecidrs", **SELECTED)
    next_event(cluster, SERVICE_CIDRS, since, "DELETED", "mine", **SELECTED)
    assert [each["metadata"]["name"] for each in cluster.list(SERVICE_CIDRS)] == ["kubernetes"]


def test_ip_addresses_by_every_verb(cluster: Cluster) -> None:
    assert "ipaddresses" in named_resources(cluster, "networking.k8s.io")
    kubernetes = cluster.default.get("services", "kubernetes")["spec"]["clusterIP"]
    everywhere = Namespace(cluster=cluster, name="")
    parent = {"resource": "services", "namespace": "default", "name": "kubernetes"}
    assert everywhere.get("ipaddresses", kubernetes)["spec"]["parentRef"] == parent

    mine = {**IP_KIND, "metadata": {"name": "192.168.1.1"}, "spec": {"parentRef": {**parent, "name": "foo"}}}
    through_its_life(cluster, IP_ADDRESSES, mine)
    since = cluster.get_list(IP_ADDRESSES, **SELECTED)["metadata"]["resourceVersion"]
    everywhere.done("DELETE", "ipaddresses", **SELECTED)
    next_event(cluster, IP_ADDRESSES, since, "DELETED", "192.168.1.1", **SELECTED)
    assert cluster.list(IP_ADDRESSES, **SELECTED) == []
    assert everywhere.get("ipaddresses", kubernetes)["spec"]["parentRef"] == parent


def test_a_service_of_another_service_cidr_is_reached(cluster: Cluster, own: Namespace) -> None:
    everywhere = Namespace(cluster=cluster, name="")
    everywhere.create({**CIDR_KIND, "metadata": {"name": "further"}, "spec": {"cidrs": ["203.0.113.0/24"]}})
    everywhere.until("servicecidrs", lambda all_: is_ready_cidr(all_["further"]))
    web = own.serve("web", *WEB, type="NodePort", clusterIP="203.0.113.100")
    assert everywhere.get("ipaddresses", "203.0.113.100")["spec"]["parentRef"]["name"] == "web"
    own.create(deployment("web", 2, pod("", netexec())))
    pods = sorted(own.until("pods", lambda pods: len(pods) == 2 and all(map(is_ready, pods.values()))))
    own.run(pod("client"))
    caller = own.at("client")
    assert caller.resolve(f"web.{own.name}.svc.cluster.local")[1] == ["203.0.113.100"]
    for over, index in (("http", 0), ("udp", 1)):
        for target in web.everywhere(index):
            caller.steady(over, target, *pods)
        cluster.at(cluster.workers[0]).steady(over, web.port(index), *pods)
    doctor = cluster.user.fairway("doctor", "--name", cluster.name)
    assert doctor.code == 0, doctor.out

    everywhere.delete("servicecidrs", "further")
    waits = everywhere.until("servicecidrs", lambda all_: not is_ready_cidr(all_["further"]))["further"]
    [condition] = waits["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Terminating")
    caller.steady("http", web.port(), *pods)
    own.delete("services", "web")
    everywhere.gone("servicecidrs", "further")
    assert everywhere.ask("GET", "ipaddresses", "203.0.113.100")[0] == 404
