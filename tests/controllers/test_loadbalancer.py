from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from fairway.api.resources import SERVICES
from fairway.api.types import Key
from fairway.base.addresses import IPAddress
from fairway.base.errors import Refused
from fairway.controllers.address_pool import AddressPool, rendezvous
from fairway.controllers.loadbalancer import NODE_ANNOTATION, LoadBalancerView, is_waiting, reconcile
from fairway.controllers.writes import EventType, Patch, Record, Write
from tests.controllers.objects import node, service

POOL = AddressPool.parse("172.18.255.200-172.18.255.202")
NODES = [node("n1"), node("n2"), node("n3")]


def balanced(
    name: str = "web", *, ip: str | None = None, holder: str | None = None, spec: Any = None, **fields: Any
) -> dict[str, Any]:
    status = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]} if ip else {}}
    notes = {"annotations": {NODE_ANNOTATION: holder}} if holder else {}
    return service(name, spec={"type": "LoadBalancer"} | (spec or {}), status=status, **notes | fields)


def slice_on(**ready: bool) -> dict[str, Any]:
    return {"endpoints": [{"nodeName": name, "conditions": {"ready": value}} for name, value in ready.items()]}


def writes(of: dict[str, Any], *others: dict[str, Any], nodes: Any = None, slices: Any = ()) -> list[Write]:
    view = LoadBalancerView(service=of, others=[of, *others], nodes=NODES if nodes is None else nodes, slices=slices)
    return reconcile(view, [POOL])


def change(found: list[Write]) -> dict[str, Any]:
    """The one patch's body, without the version."""
    [patch] = [one for one in found if isinstance(one, Patch)]
    assert (patch.resource, patch.key, patch.subresource) == (SERVICES, Key("default", "web"), "status")
    assert patch.body["metadata"].pop("resourceVersion") == "1"
    return patch.body


def granted(found: list[Write]) -> str:
    return str(change(found)["status"]["loadBalancer"]["ingress"][0]["ip"])


def moved_to(found: list[Write]) -> str | None:
    body = change(found)
    assert body["status"] == {}
    return body["metadata"]["annotations"][NODE_ANNOTATION]


def test_a_service_gets_an_address_and_a_node_in_one_write_and_hears_of_it() -> None:
    found = writes(balanced())
    body = change(found)
    ip, holder = body["status"]["loadBalancer"]["ingress"][0]["ip"], body["metadata"]["annotations"][NODE_ANNOTATION]
    assert body == {
        "metadata": {"annotations": {NODE_ANNOTATION: holder}},
        "status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}},
    }
    assert IPv4Address(ip) in POOL
    assert holder in ("n1", "n2", "n3")
    assert found[1:] == [
        Record(regarding=balanced(), reason="EnsuredLoadBalancer", message=f"Assigned {ip}, held by {holder}")
    ]


POOL6 = AddressPool.parse("fd00:172:18::255:200-fd00:172:18::255:202")
BOTH = {"ipFamilies": ["IPv6", "IPv4"]}


def of_two_families(service: dict[str, Any], *others: dict[str, Any]) -> list[Write]:
    view = LoadBalancerView(service=service, others=[service, *others], nodes=NODES, slices=())
    return reconcile(view, [POOL, POOL6])


def test_a_service_of_two_families_gets_an_address_of_each_in_its_own_order_and_one_node() -> None:
    body = change(of_two_families(balanced(spec=BOTH)))
    first, second = (ingress["ip"] for ingress in body["status"]["loadBalancer"]["ingress"])
    assert IPv6Address(first) in POOL6
    assert IPv4Address(second) in POOL
    assert body["metadata"]["annotations"][NODE_ANNOTATION] in ("n1", "n2", "n3")


@pytest.mark.parametrize(
    ("families", "count"), [(["IPv4"], 1), (["IPv6"], 1), (["IPv4", "IPv6"], 2), (["IPv6", "IPv4"], 2)]
)
def test_a_service_gets_addresses_of_its_own_families_alone(families: list[str], count: int) -> None:
    body = change(of_two_families(balanced(spec={"ipFamilies": families})))
    given = [ip_address(ingress["ip"]) for ingress in body["status"]["loadBalancer"]["ingress"]]
    assert [f"IPv{address.version}" for address in given] == families
    assert len(given) == count


def test_the_second_family_comes_and_goes_with_the_service_and_the_first_address_stays() -> None:
    settled = balanced(ip="172.18.255.201", holder="n2", spec={"ipFamilies": ["IPv4", "IPv6"]})
    body = change(of_two_families(settled))
    given = [ingress["ip"] for ingress in body["status"]["loadBalancer"]["ingress"]]
    assert given[0] == "172.18.255.201"
    assert IPv6Address(given[1]) in POOL6
    assert is_waiting(settled)

    settled["status"]["loadBalancer"]["ingress"] = [{"ip": ip, "ipMode": "VIP"} for ip in given]
    assert of_two_families(settled) == []
    assert not is_waiting(settled)
    settled["spec"]["ipFamilies"] = ["IPv4"]
    body = change(of_two_families(settled))
    assert body["status"]["loadBalancer"]["ingress"] == [{"ip": "172.18.255.201", "ipMode": "VIP"}]


def test_an_address_that_is_asked_for_is_that_of_its_family() -> None:
    body = change(of_two_families(balanced(spec=BOTH | {"loadBalancerIP": "fd00:172:18::255:202"})))
    first, second = (ingress["ip"] for ingress in body["status"]["loadBalancer"]["ingress"])
    assert first == "fd00:172:18::255:202"
    assert IPv4Address(second) in POOL


def test_a_family_without_addresses_is_told() -> None:
    [record] = writes(balanced(spec={"ipFamilies": ["IPv6"]}))
    assert isinstance(record, Record)
    assert record.message == "Error syncing load balancer: there are no load balancer addresses of IPv6"


def test_what_is_settled_needs_no_write() -> None:
    assert writes(balanced(ip="172.18.255.201", holder="n2")) == []


def test_addresses_of_others_are_not_given_again() -> None:
    others = [balanced("a", ip="172.18.255.200"), balanced("b", ip="172.18.255.202")]
    assert granted(writes(balanced(), *others)) == "172.18.255.201"


def test_a_pool_without_a_free_address_is_told() -> None:
    others = [balanced(name, ip=f"172.18.255.20{n}") for n, name in enumerate("abc")]
    assert writes(balanced(), *others) == [
        Record(
            regarding=balanced(),
            type=EventType.WARNING,
            reason="SyncLoadBalancerFailed",
            message=f"Error syncing load balancer: no address is free in {POOL}: all 3 are in use",
        )
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("172.18.255.200", "spec.loadBalancerIP 172.18.255.200 is in use by default/a"),
        ("10.0.0.1", "spec.loadBalancerIP 10.0.0.1 is not in 172.18.255.200-172.18.255.202"),
        ("many", 'spec.loadBalancerIP "many" is no IP address'),
    ],
)
def test_an_address_that_cannot_be_had_is_told_and_none_is_given(asked: str, message: str) -> None:
    of = balanced(spec={"loadBalancerIP": asked})
    [record] = writes(of, balanced("a", ip="172.18.255.200"))
    assert isinstance(record, Record)
    assert record.message == f"Error syncing load balancer: {message}"
    assert is_waiting(of)


def test_the_address_asked_for_is_given_also_in_place_of_another() -> None:
    assert granted(writes(balanced(spec={"loadBalancerIP": "172.18.255.202"}))) == "172.18.255.202"
    has_one = balanced(ip="172.18.255.200", holder="n1", spec={"loadBalancerIP": "172.18.255.202"})
    assert granted(writes(has_one)) == "172.18.255.202"


def test_of_two_with_one_address_the_older_keeps_it() -> None:
    older = balanced("a", ip="172.18.255.200", holder="n1", creationTimestamp="2025-06-01T10:00:00Z")
    younger = balanced(ip="172.18.255.200", holder="n1")
    assert granted(writes(younger, older)) != "172.18.255.200"
    assert writes(older, younger) == []


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([node("n1", ready="False"), node("n2")], "it is not ready"),
        ([node("n1", ready="Unknown"), node("n2")], "it is not heard of"),
        ([node("n1", labels={"node.kubernetes.io/exclude-from-external-load-balancers": ""}), node("n2")], "excluded"),
        ([node("n2")], "it is gone"),
    ],
)
def test_an_address_moves_when_its_node_may_not_hold_it(nodes: Any, why: str) -> None:
    assert moved_to(writes(balanced(ip="172.18.255.200", holder="n1"), nodes=nodes)) == "n2", why


def test_with_no_node_left_nobody_holds_the_address() -> None:
    assert moved_to(writes(balanced(ip="172.18.255.200", holder="n1"), nodes=[])) is None


LOCAL = {"externalTrafficPolicy": "Local"}


def test_under_local_only_a_node_with_a_ready_endpoint_holds_the_address() -> None:
    of = balanced(ip="172.18.255.200", holder="n1", spec=LOCAL)
    assert writes(of, slices=[slice_on(n1=True), slice_on(n2=True)]) == []
    assert moved_to(writes(of, slices=[slice_on(n1=False, n2=True)])) == "n2"
    assert moved_to(writes(of, slices=[slice_on(n1=False)])) is None


def test_under_local_a_new_endpoint_brings_the_address_back() -> None:
    of = balanced(ip="172.18.255.200", spec=LOCAL)
    assert writes(of) == []
    assert moved_to(writes(of, slices=[slice_on(n3=True)])) == "n3"


def test_another_type_gives_address_and_node_back() -> None:
    of = balanced(ip="172.18.255.200", holder="n1", spec={"type": "NodePort"})
    assert change(writes(of)) == {
        "metadata": {"annotations": {NODE_ANNOTATION: None}},
        "status": {"loadBalancer": {"ingress": None}},
    }
    assert writes(service(spec={"type": "NodePort"})) == []


def test_a_service_of_another_class_is_left_alone() -> None:
    of = balanced(spec={"loadBalancerClass": "example.com/theirs"})
    assert writes(of) == []
    assert not is_waiting(of)


def test_a_service_on_its_way_out_is_left_alone() -> None:
    assert writes(balanced(deletionTimestamp="2025-06-01T12:00:00Z")) == []


def test_services_spread_over_nodes_and_a_lost_node_moves_only_its_own() -> None:
    nodes = ["n1", "n2", "n3", "n4"]
    before = {f"s{n}": rendezvous(f"s{n}", nodes)[0] for n in range(200)}
    assert set(before.values()) == set(nodes)
    after = {key: rendezvous(key, nodes[:3])[0] for key in before}
    assert {key for key in before if before[key] != after[key]} == {key for key in before if before[key] == "n4"}


def test_a_pool_gives_every_address_once_and_then_none() -> None:
    taken: set[IPAddress] = set()
    while (address := POOL.choose("web", taken)) is not None:
        assert address not in taken
        taken.add(address)
    assert [str(one) for one in sorted(taken, key=int)] == ["172.18.255.200", "172.18.255.201", "172.18.255.202"]
    assert len(POOL) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.5-10.0.0.1", "is empty"),
        ("10.0.0.5", "write it as FIRST-LAST"),
        ("a-b", "write it as FIRST-LAST"),
        ("10.0.0.1-fd00::1", "its addresses are of two families; give each its own pool"),
    ],
)
def test_a_pool_that_is_no_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        AddressPool.parse(text)
