from __future__ import annotations

import copy
import random
from ipaddress import ip_network
from typing import Any

import pytest

from fairway.api.resources import SERVICES
from fairway.api.status import ApiError
from fairway.apiserver.allocators import ServiceAllocator
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.ranges import PortRange

STRATEGY = strategy_for(SERVICES)


def allocator(*networks: str, ports: PortRange | None = None) -> ServiceAllocator:
    return ServiceAllocator(
        networks=[ip_network(network) for network in networks or ("10.200.1.0/24",)],
        node_ports=ports or PortRange(),
        rng=random.Random(3),
    )


def service(name: str = "a", **spec: Any) -> dict[str, Any]:
    spec.setdefault("ports", [{"port": 80}])
    body = {"metadata": {"name": name, "namespace": "default"}, "spec": copy.deepcopy(spec)}
    return STRATEGY.default(STRATEGY.decode(body)[0])


def changed(old: dict[str, Any], **spec: Any) -> dict[str, Any]:
    merged = {**copy.deepcopy(old["spec"]), **spec}
    return STRATEGY.default({**old, "spec": {name: value for name, value in merged.items() if value is not None}})


def create(pool: ServiceAllocator, new: dict[str, Any]) -> dict[str, Any]:
    made, allocation = pool.allocate(new, None)
    allocation.commit()
    return made


def update(pool: ServiceAllocator, new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    made, allocation = pool.allocate(new, old)
    allocation.commit()
    return STRATEGY.prepare_update(made, old)


def refusal(pool: ServiceAllocator, new: dict[str, Any], old: dict[str, Any] | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        pool.allocate(new, old)
    return caught.value


def node_ports(obj: dict[str, Any]) -> list[int]:
    return [port.get("nodePort") for port in obj["spec"]["ports"]]


def test_a_service_gets_an_address_and_its_family() -> None:
    made = create(allocator(), service())
    spec = made["spec"]
    assert spec["clusterIP"].startswith("10.200.1.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


def test_the_argument_is_left_as_it_was() -> None:
    new = service(type="NodePort")
    before = copy.deepcopy(new)
    allocator().allocate(new, None)
    assert new == before


def test_an_address_asked_for_is_given_once() -> None:
    pool = allocator()
    create(pool, service(clusterIP="10.200.1.10"))
    error = refusal(pool, service("b", clusterIP="10.200.1.10"))
    assert (error.code, error.message) == (
        422,
        (
            'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.200.1.10"]: '
            "failed to allocate IP 10.200.1.10: provided IP is already allocated"
        ),
    )


def test_a_headless_service_takes_no_address() -> None:
    made = create(allocator(), service(clusterIP="None", selector={"a": "b"}))
    assert made["spec"]["clusterIPs"] == ["None"]


def test_entries_of_one_port_share_a_node_port_across_protocols() -> None:
    made = create(
        allocator(),
        service(
            type="NodePort",
            ports=[{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53, "protocol": "TCP"}],
        ),
    )
    first, second = node_ports(made)
    assert first == second
    assert 30086 <= first <= 32767


def test_a_node_port_asked_for_by_a_later_entry_serves_the_earlier_too() -> None:
    made = create(
        allocator(),
        service(
            type="NodePort",
            ports=[{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53, "nodePort": 30053}],
        ),
    )
    assert node_ports(made) == [30053, 30053]


def test_a_refused_service_takes_nothing() -> None:
    pool = allocator()
    create(pool, service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30010}]))
    wanted = [{"name": "x", "port": 80, "nodePort": 30011}, {"name": "y", "port": 81, "nodePort": 30010}]
    error = refusal(pool, service("b", type="NodePort", clusterIP="10.200.1.20", ports=wanted))
    assert error.message == (
        'Service "b" is invalid: spec.ports[1].nodePort: Invalid value: 30010: provided port is already allocated'
    )
    made = create(pool, service("c", type="NodePort", clusterIP="10.200.1.20", ports=[{"port": 1, "nodePort": 30011}]))
    assert node_ports(made) == [30011]


def test_a_reverted_allocation_gives_everything_back() -> None:
    pool = allocator()
    wanted = service(type="NodePort", clusterIP="10.200.1.20", ports=[{"port": 80, "nodePort": 30010}])
    _, allocation = pool.allocate(wanted, None)
    allocation.revert()
    assert node_ports(create(pool, wanted)) == [30010]


def test_a_deleted_service_gives_everything_back() -> None:
    pool = allocator()
    wanted = service(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        clusterIP="10.200.1.20",
        healthCheckNodePort=30100,
        ports=[{"port": 80, "nodePort": 30010}],
    )
    pool.release(create(pool, wanted))
    made = create(pool, wanted)
    assert (node_ports(made), made["spec"]["healthCheckNodePort"]) == ([30010], 30100)


def test_a_full_range_is_an_internal_error() -> None:
    pool = allocator(ports=PortRange(30000, 30000))
    create(pool, service(type="NodePort"))
    error = refusal(pool, service("b", type="NodePort"))
    text = "failed to allocate a nodePort: range is full"
    assert (error.code, error.reason, error.message, error.details) == (
        500,
        "InternalError",
        f"Internal error occurred: {text}",
        {"causes": [{"message": text}]},
    )


def test_a_full_network_is_an_internal_error() -> None:
    pool = allocator("10.200.1.0/30")
    for name in ("a", "b"):
        create(pool, service(name))
    assert refusal(pool, service("c")).message == (
        "Internal error occurred: failed to allocate a serviceIP: range is full"
    )


def test_a_health_check_port_that_is_taken_is_an_internal_error() -> None:
    pool = allocator()
    create(pool, service(type="NodePort", ports=[{"port": 80, "nodePort": 30010}]))
    wanted = service("b", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30010)
    error = refusal(pool, wanted)
    assert (error.code, error.message) == (
        500,
        (
            "Internal error occurred: failed to allocate requested HealthCheck NodePort 30010: "
            "provided port is already allocated"
        ),
    )


def test_a_load_balancer_that_wants_no_node_ports_keeps_those_it_names() -> None:
    made = create(
        allocator(),
        service(
            type="LoadBalancer",
            allocateLoadBalancerNodePorts=False,
            ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30081}],
        ),
    )
    assert node_ports(made) == [None, 30081]


class TestDryRun:
    def test_it_takes_nothing(self) -> None:
        pool = allocator()
        wanted = service(type="NodePort", clusterIP="10.200.1.20", ports=[{"port": 80, "nodePort": 30010}])
        _, allocation = pool.allocate(wanted, None, dry_run=True)
        allocation.commit()
        assert node_ports(create(pool, wanted)) == [30010]

    def test_its_revert_does_not_free_what_others_hold(self) -> None:
        pool = allocator()
        held = create(pool, service(type="NodePort", ports=[{"port": 80, "nodePort": 30010}]))
        _, allocation = pool.allocate(changed(held, type="ClusterIP"), held, dry_run=True)
        allocation.commit()
        assert refusal(pool, service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30010}])).code == 422

    def test_it_shows_dummy_ports_and_the_network_address(self) -> None:
        ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
        made, _ = allocator().allocate(service(type="NodePort", ports=ports), None, dry_run=True)
        assert node_ports(made) == [32769, 32770]
        assert made["spec"]["clusterIP"] == "10.200.1.0"

    def test_it_sees_conflicts_but_no_range(self) -> None:
        pool = allocator()
        create(pool, service(type="NodePort", ports=[{"port": 80, "nodePort": 30010}]))
        taken = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30010}])
        with pytest.raises(ApiError, match="already allocated"):
            pool.allocate(taken, None, dry_run=True)
        outside = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 40000}])
        made, _ = pool.allocate(outside, None, dry_run=True)
        assert node_ports(made) == [40000]


class TestUpdate:
    def test_what_a_put_leaves_out_stays(self) -> None:
        pool = allocator()
        old = create(pool, service(type="NodePort", ports=[{"name": "a", "port": 80}]))
        made = update(pool, service(type="NodePort", ports=[{"name": "a", "port": 8080}]), old)
        assert node_ports(made) == node_ports(old)
        assert made["spec"]["clusterIP"] == old["spec"]["clusterIP"]

    def test_the_node_port_of_a_removed_port_is_free_again(self) -> None:
        pool = allocator()
        ports = [{"name": "a", "port": 80, "nodePort": 30010}, {"name": "b", "port": 81, "nodePort": 30011}]
        old = create(pool, service(type="NodePort", ports=ports))
        update(pool, changed(old, ports=old["spec"]["ports"][:1]), old)
        made = create(pool, service("b", type="NodePort", ports=[{"port": 1, "nodePort": 30011}]))
        assert node_ports(made) == [30011]

    def test_two_ports_may_swap_their_node_ports(self) -> None:
        pool = allocator()
        ports = [{"name": "a", "port": 80, "nodePort": 30010}, {"name": "b", "port": 81, "nodePort": 30011}]
        old = create(pool, service(type="NodePort", ports=ports))
        swapped = [{**old["spec"]["ports"][0], "nodePort": 30011}, {**old["spec"]["ports"][1], "nodePort": 30010}]
        assert node_ports(update(pool, changed(old, ports=swapped), old)) == [30011, 30010]

    def test_becoming_a_cluster_ip_frees_the_node_ports_once_it_is_stored(self) -> None:
        pool = allocator()
        old = create(pool, service(type="NodePort", ports=[{"port": 80, "nodePort": 30010}]))
        other = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30010}])
        made, allocation = pool.allocate(changed(old, type="ClusterIP"), old)
        assert refusal(pool, other).code == 422
        allocation.commit()
        assert node_ports(STRATEGY.prepare_update(made, old)) == [None]
        assert node_ports(create(pool, other)) == [30010]

    def test_an_external_name_gives_its_address_back_and_gets_a_new_one_later(self) -> None:
        pool = allocator()
        old = create(pool, service(clusterIP="10.200.1.20"))
        named = update(pool, changed(old, type="ExternalName", externalName="example.com"), old)
        assert "clusterIP" not in named["spec"]
        create(pool, service("b", clusterIP="10.200.1.20"))
        back = update(pool, changed(named, type="ClusterIP", externalName=None), named)
        assert back["spec"]["clusterIP"] not in ("", "10.200.1.20")

    def test_a_health_check_port_comes_and_goes_with_its_policy(self) -> None:
        pool = allocator()
        old = create(pool, service(type="LoadBalancer"))
        local = update(pool, changed(old, externalTrafficPolicy="Local"), old)
        port = local["spec"]["healthCheckNodePort"]
        assert 30086 <= port <= 32767
        back = update(pool, changed(local, externalTrafficPolicy="Cluster"), local)
        assert "healthCheckNodePort" not in back["spec"]
        assert node_ports(create(pool, service("b", type="NodePort", ports=[{"port": 1, "nodePort": port}]))) == [port]

    def test_a_health_check_port_does_not_change(self) -> None:
        pool = allocator()
        old = create(pool, service(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30100))
        assert refusal(pool, changed(old, healthCheckNodePort=30101), old).message == (
            'Service "a" is invalid: spec.healthCheckNodePort: Invalid value: 30101: field is immutable'
        )


class TestDualStack:
    POOLS = ("10.200.1.0/24", "fd00:10:200::/112")

    def test_prefer_dual_stack_gets_both_where_the_cluster_has_both(self) -> None:
        both = create(allocator(*self.POOLS), service(ipFamilyPolicy="PreferDualStack"))["spec"]
        assert both["ipFamilies"] == ["IPv4", "IPv6"]
        assert both["clusterIPs"][1].startswith("fd00:10:200::")
        one = create(allocator(), service(ipFamilyPolicy="PreferDualStack"))["spec"]
        assert one["ipFamilies"] == ["IPv4"]

    def test_the_families_follow_from_the_addresses(self) -> None:
        spec = create(allocator(*self.POOLS), service(clusterIP="fd00:10:200::7"))["spec"]
        assert (spec["ipFamilies"], spec["clusterIPs"]) == (["IPv6"], ["fd00:10:200::7"])

    def test_a_second_family_is_added_and_released(self) -> None:
        pool = allocator(*self.POOLS)
        old = create(pool, service())
        both = update(pool, changed(old, ipFamilyPolicy="RequireDualStack"), old)
        assert both["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
        second = both["spec"]["clusterIPs"][1]
        single = update(pool, changed(both, ipFamilyPolicy="SingleStack"), both)
        assert single["spec"]["clusterIPs"] == old["spec"]["clusterIPs"]
        assert create(pool, service("b", clusterIP=second))["spec"]["clusterIP"] == second

    def test_what_a_cluster_cannot_do_is_refused(self) -> None:
        assert refusal(allocator(), service(ipFamilyPolicy="RequireDualStack")).message == (
            'Service "a" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services"
        )
        assert refusal(allocator(), service(ipFamilies=["IPv6"])).message == (
            'Service "a" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'
        )
        assert refusal(allocator(), service(clusterIP="fd00::1")).message == (
            'Service "a" is invalid: spec.clusterIPs[0]: Invalid value: ["fd00::1"]: '
            "IPv6 is not configured on this cluster"
        )

    def test_contradictions_are_refused(self) -> None:
        pool = allocator(*self.POOLS)
        assert refusal(pool, service(ipFamilyPolicy="SingleStack", ipFamilies=["IPv4", "IPv6"])).message == (
            'Service "a" is invalid: spec.ipFamilyPolicy: Invalid value: "SingleStack": '
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"
        )
        both = create(pool, service(ipFamilyPolicy="RequireDualStack"))
        assert refusal(pool, changed(both, ipFamilies=["IPv4"]), both).message == (
            'Service "a" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "must be 'SingleStack' to release the secondary IP family"
        )


def test_a_new_allocator_learns_what_stored_services_hold() -> None:
    first = allocator()
    stored = create(
        first,
        service(type="LoadBalancer", externalTrafficPolicy="Local", ports=[{"port": 80, "nodePort": 30010}]),
    )
    headless = create(first, service("h", clusterIP="None"))
    second = allocator()
    second.load([stored, headless, stored])
    for wanted in (
        service("b", clusterIP=stored["spec"]["clusterIP"]),
        service("c", type="NodePort", ports=[{"port": 1, "nodePort": 30010}]),
        service("d", type="NodePort", ports=[{"port": 1, "nodePort": stored["spec"]["healthCheckNodePort"]}]),
    ):
        assert refusal(second, wanted).code == 422
