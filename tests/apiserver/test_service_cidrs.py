"""ServiceCIDRs and IPAddresses: what is taken, from where, and how it is given back."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Any

import pytest

from fairway.api.resources import IP_ADDRESSES
from fairway.api.types import Key
from fairway.apiserver.bootstrap import ensure
from fairway.apiserver.service_cidrs import settle_service_cidrs
from tests.apiserver.harness import CIDR, CONTROL_PLANE, Harness, service
from tests.apiserver.urls import SERVICES

CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
DRY_RUN = "?dryRun=All"


@pytest.fixture
def api() -> Harness:
    return Harness()


def service_cidr(name: str, *cidrs: str) -> dict[str, Any]:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR"}
    return {**kind, "metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}}


def address(name: str, parent: str = "elsewhere") -> dict[str, Any]:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress"}
    ref = {"resource": "services", "namespace": "default", "name": parent}
    return {**kind, "metadata": {"name": name}, "spec": {"parentRef": ref}}


def settle(api: Harness) -> None:
    settle_service_cidrs(api.registry, api.around())
    api.publish()


def add(api: Harness, name: str, *cidrs: str) -> None:
    api.create(CIDRS, service_cidr(name, *cidrs))
    settle(api)


def ready(api: Harness, name: str) -> tuple[str, str, str]:
    _, found = api.get(f"{CIDRS}/{name}")
    [condition] = found["status"]["conditions"]
    assert condition["type"] == "Ready"
    return condition["status"], condition["reason"], condition["message"]


def names(api: Harness, url: str) -> list[str]:
    return [item["metadata"]["name"] for item in api.get(url)[1]["items"]]


def cluster_ip(api: Harness, name: str, **spec: Any) -> str:
    return str(api.create(SERVICES, service(name, **spec))["spec"]["clusterIP"])


def message(answer: tuple[int, Any]) -> str:
    assert answer[0] in (409, 422, 500), answer
    return str(answer[1]["message"])


def test_a_cluster_has_a_service_cidr_of_its_networks(api: Harness) -> None:
    _, found = api.get(f"{CIDRS}/kubernetes")
    assert found["spec"]["cidrs"] == ["10.200.1.0/24"]
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert ready(api, "kubernetes") == ("True", "", "Kubernetes Service CIDR is ready")


def test_settling_what_is_settled_writes_nothing(api: Harness) -> None:
    before = api.revisions.accepted
    settle_service_cidrs(api.registry, api.around())
    ensure(api.registry, service_cidrs=[CIDR], address=CONTROL_PLANE, port=6443, around=api.around())
    assert api.revisions.accepted == before


def test_every_cluster_ip_has_an_object_as_long_as_it_is_taken(api: Harness) -> None:
    ip = cluster_ip(api, "web")
    assert names(api, ADDRESSES) == sorted(["10.200.1.1", ip])
    _, found = api.get(f"{ADDRESSES}/{ip}")
    assert found["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert found["spec"] == {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}}
    api.call("DELETE", f"{SERVICES}/web")
    assert names(api, ADDRESSES) == ["10.200.1.1"]


def test_the_object_comes_and_goes_with_an_update_too(api: Harness) -> None:
    api.create(SERVICES, service("web", type="ExternalName", externalName="example.com"))
    assert names(api, ADDRESSES) == ["10.200.1.1"]
    _, found = api.patch(f"{SERVICES}/web", {"spec": {"type": "ClusterIP", "externalName": None}})
    assert found["spec"]["clusterIP"] in names(api, ADDRESSES)
    external = {"type": "ExternalName", "externalName": "example.com", "clusterIP": None, "clusterIPs": None}
    assert api.patch(f"{SERVICES}/web", {"spec": external})[0] == 200
    assert names(api, ADDRESSES) == ["10.200.1.1"]


def test_what_is_refused_or_only_tried_leaves_no_object(api: Harness) -> None:
    assert api.call("POST", SERVICES + DRY_RUN, service("web"))[0] == 201
    assert api.call("POST", SERVICES, service("Not_A_Name"))[0] == 422
    assert api.call("POST", SERVICES, service("kubernetes"))[0] == 409
    assert names(api, ADDRESSES) == ["10.200.1.1"]


def test_an_address_that_somebody_made_an_object_of_is_taken_until_it_goes(api: Harness) -> None:
    api.create(ADDRESSES, address("10.200.1.9"))
    wanted = service("web", clusterIP="10.200.1.9")
    assert message(api.call("POST", SERVICES, wanted)).endswith("provided IP is already allocated")
    api.registry.rebuild()
    assert message(api.call("POST", SERVICES, wanted)).endswith("provided IP is already allocated")
    assert api.call("DELETE", f"{ADDRESSES}/10.200.1.9")[0] == 200
    assert cluster_ip(api, "web", clusterIP="10.200.1.9") == "10.200.1.9"
    assert api.call("POST", ADDRESSES, address("10.200.1.9"))[0] == 409


def test_the_object_of_an_address_in_use_comes_back(api: Harness) -> None:
    ip = cluster_ip(api, "web")
    _, before = api.get(f"{ADDRESSES}/{ip}")
    assert api.call("DELETE", f"{ADDRESSES}/{ip}")[0] == 200
    _, after = api.get(f"{ADDRESSES}/{ip}")
    assert after["spec"] == before["spec"]
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    taken = message(api.call("POST", SERVICES, service("other", clusterIP=ip)))
    assert taken.endswith("provided IP is already allocated")


def test_a_store_from_before_there_were_any_gets_its_objects_at_the_start(api: Harness) -> None:
    ip = cluster_ip(api, "web")
    for name in names(api, ADDRESSES):
        api.revisions.remove(IP_ADDRESSES, Key("", name))
    ensure(api.registry, service_cidrs=[CIDR], address=CONTROL_PLANE, port=6443, around=api.around())
    api.publish()
    assert names(api, ADDRESSES) == sorted(["10.200.1.1", ip])


def test_a_further_service_cidr_gives_what_is_asked_of_it(api: Harness) -> None:
    wanted = service("web", clusterIP="203.0.113.7")
    outside = "failed to allocate IP 203.0.113.7: the provided network does not match the current range"
    assert message(api.call("POST", SERVICES, wanted)).endswith(outside)
    add(api, "further", "203.0.113.0/24")
    assert ready(api, "further")[0] == "True"
    assert cluster_ip(api, "web", clusterIP="203.0.113.7") == "203.0.113.7"
    assert message(api.call("POST", SERVICES, service("other", clusterIP="203.0.113.7"))).endswith("already allocated")


def test_a_further_service_cidr_is_used_when_the_first_is_full(api: Harness) -> None:
    for number in range(2, 255):
        api.create(SERVICES, service(f"s{number}"))
    assert message(api.call("POST", SERVICES, service("web"))).endswith("failed to allocate a serviceIP: range is full")
    add(api, "further", "203.0.113.0/30")
    assert {cluster_ip(api, "a"), cluster_ip(api, "b")} == {"203.0.113.1", "203.0.113.2"}
    assert message(api.call("POST", SERVICES, service("web"))).endswith("range is full")
    api.call("DELETE", f"{SERVICES}/s9")
    assert cluster_ip(api, "web").startswith("10.200.1.")


def test_with_two_families_both_addresses_of_a_service_are_objects() -> None:
    api = Harness(cidrs=(CIDR, IPv6Network("fd00:200::/112")))
    assert api.get(f"{CIDRS}/kubernetes")[1]["spec"]["cidrs"] == ["10.200.1.0/24", "fd00:200::/112"]
    api.create(SERVICES, service("web"))
    _, both = api.patch(f"{SERVICES}/web", {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
    _, found = api.get(ADDRESSES)
    families = {
        item["metadata"]["name"]: item["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"]
        for item in found["items"]
    }
    v4, v6 = both["spec"]["clusterIPs"]
    assert families == {"10.200.1.1": "IPv4", v4: "IPv4", v6: "IPv6"}
    add(api, "further", "fd00:201::/112")
    ips = ["10.200.1.77", "fd00:201::7"]
    api.create(SERVICES, service("two", clusterIP=ips[0], clusterIPs=ips, ipFamilyPolicy="RequireDualStack"))
    assert set(ips) <= set(names(api, ADDRESSES))
    api.patch(
        f"{SERVICES}/two", {"spec": {"ipFamilyPolicy": "SingleStack", "clusterIPs": ips[:1], "ipFamilies": ["IPv4"]}}
    )
    assert "fd00:201::7" not in names(api, ADDRESSES)


def test_an_address_in_two_service_cidrs_is_given_once(api: Harness) -> None:
    ip = cluster_ip(api, "web")
    add(api, "wider", "10.200.0.0/16")
    assert message(api.call("POST", SERVICES, service("other", clusterIP=ip))).endswith("already allocated")
    # Of the networks that hold an address the largest judges, and in that one this is an address like any other.
    assert cluster_ip(api, "last", clusterIP="10.200.1.255") == "10.200.1.255"


def test_a_service_cidr_waits_for_the_last_of_its_addresses(api: Harness) -> None:
    add(api, "further", "203.0.113.0/24")
    cluster_ip(api, "web", clusterIP="203.0.113.7")
    assert api.call("DELETE", f"{CIDRS}/further")[0] == 200
    settle(api)
    assert ready(api, "further") == (
        "False",
        "Terminating",
        "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
    )
    refused = message(api.call("POST", SERVICES, service("other", clusterIP="203.0.113.8")))
    assert refused.endswith("the provided network does not match the current range")
    api.call("DELETE", f"{SERVICES}/web")
    settle(api)
    assert names(api, CIDRS) == ["kubernetes"]


def test_a_service_cidr_whose_addresses_lie_in_another_one_goes(api: Harness) -> None:
    add(api, "further", "203.0.113.0/24")
    cluster_ip(api, "web", clusterIP="203.0.113.7")
    api.call("DELETE", f"{CIDRS}/further")
    settle(api)
    assert names(api, CIDRS) == ["further", "kubernetes"]
    add(api, "half", "203.0.113.0/25")
    settle(api)
    assert names(api, CIDRS) == ["half", "kubernetes"]
    assert message(api.call("POST", SERVICES, service("other", clusterIP="203.0.113.7"))).endswith("already allocated")


def test_the_first_service_cidr_waits_for_the_kubernetes_service(api: Harness) -> None:
    api.call("DELETE", f"{CIDRS}/kubernetes")
    settle(api)
    assert ready(api, "kubernetes")[0] == "False"
    assert message(api.call("POST", SERVICES, service("web"))).endswith("range is full")
    assert message(api.call("POST", SERVICES + DRY_RUN, service("web"))).endswith("range is full")


def test_an_empty_service_cidr_goes_and_nothing_of_it_is_left(api: Harness) -> None:
    add(api, "further", "203.0.113.0/24")
    api.call("DELETE", f"{CIDRS}/further")
    settle(api)
    assert names(api, CIDRS) == ["kubernetes"]
    refused = message(api.call("POST", SERVICES, service("web", clusterIP="203.0.113.7")))
    assert refused.endswith("the provided network does not match the current range")


def test_conditions_of_others_stay_beside_ready(api: Harness) -> None:
    add(api, "further", "203.0.113.0/24")
    mine = {
        "type": "Mine",
        "status": "True",
        "reason": "E2E",
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    answer = api.patch(f"{CIDRS}/further/status", {"status": {"conditions": [mine]}})
    assert answer[0] == 200
    settle(api)
    _, found = api.get(f"{CIDRS}/further")
    assert [(one["type"], one["status"]) for one in found["status"]["conditions"]] == [
        ("Mine", "True"),
        ("Ready", "True"),
    ]


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def test_the_columns_of_kubectl_get(api: Harness) -> None:
    add(api, "both", "203.0.113.0/24", "2001:db8::/112")
    api.pass_time(90)
    _, cidrs = api.call("GET", CIDRS, accept=TABLE)
    assert [column["name"] for column in cidrs["columnDefinitions"]] == ["Name", "CIDRs", "Age"]
    assert [row["cells"] for row in cidrs["rows"]] == [
        ["both", "203.0.113.0/24,2001:db8::/112", "90s"],
        ["kubernetes", "10.200.1.0/24", "90s"],
    ]
    _, addresses = api.call("GET", ADDRESSES, accept=TABLE)
    assert [column["name"] for column in addresses["columnDefinitions"]] == ["Name", "ParentRef"]
    assert [row["cells"] for row in addresses["rows"]] == [["10.200.1.1", "services/default/kubernetes"]]
