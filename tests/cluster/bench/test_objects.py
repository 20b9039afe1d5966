"""The Services and slices of a bench: as many as asked for, nothing twice, and all of it means something."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import pytest

from fairway.api.core import ServiceType
from fairway.base.errors import Refused
from fairway.cluster.bench import objects
from fairway.cluster.bench.objects import Shape
from fairway.flow.packet import Protocol
from fairway.plan.compile import assemble_plan, compile_service
from fairway.plan.model import DoorKind, Plan


def plan_of(shape: Shape) -> Plan:
    view = objects.view("192.0.2.1")
    return assemble_plan([compile_service(each.service, each.slices, view) for each in objects.decoded(shape)], view)


def test_there_are_as_many_as_asked_for() -> None:
    known = list(objects.decoded(Shape(services=23, endpoints=7)))
    assert len(known) == 23
    assert {sum(len(each.endpoints) for each in one.slices) for one in known} == {7}


def test_no_name_address_or_port_is_there_twice() -> None:
    shape = Shape(services=300, endpoints=3, type=ServiceType.NODE_PORT)
    known = list(objects.decoded(shape))
    pods = [endpoint.addresses[0] for one in known for each in one.slices for endpoint in each.endpoints]
    assert len({one.service.metadata.key for one in known}) == 300
    assert len({one.service.spec.cluster_ip for one in known}) == 300
    assert len({one.service.spec.ports[0].node_port for one in known}) == 300
    assert len(set(pods)) == 900
    assert all(ip_address(one.service.spec.cluster_ip) in objects.SERVICE_NETWORK for one in known)
    assert all(ip_address(pod) in objects.POD_NETWORK for pod in pods)


def test_names_sort_as_the_services_are_counted() -> None:
    """So that the one in the middle of the count is in the middle of the rules."""
    keys = [objects.service_key(service) for service in (0, 9, 10, 4999, 5000, 30_000, 99_999)]
    assert keys == sorted(keys)


def test_cluster_ips_can_be_left_to_others() -> None:
    first, second = Shape(services=50, endpoints=1), Shape(services=50, endpoints=1, spared_ips=50)
    addresses = {one.service.spec.cluster_ip for shape in (first, second) for one in objects.decoded(shape)}
    assert len(addresses) == 100


@pytest.mark.parametrize(
    ("endpoints", "slices"), [(0, [0]), (1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_no_slice_holds_more_than_a_hundred(endpoints: int, slices: list[int]) -> None:
    (known,) = objects.decoded(Shape(services=1, endpoints=endpoints))
    assert [len(each.endpoints) for each in known.slices] == slices
    assert len({each.metadata.name for each in known.slices}) == len(slices)


def test_ten_nodes_share_the_endpoints_evenly() -> None:
    known = objects.decoded(Shape(services=100, endpoints=10))
    on = Counter(endpoint.node_name for one in known for each in one.slices for endpoint in each.endpoints)
    assert on == {f"node-{number}": 100 for number in range(10)}


def test_every_service_is_in_the_plan_with_its_endpoints_and_without_a_note() -> None:
    plan = plan_of(Shape(services=20, endpoints=10, type=ServiceType.NODE_PORT))
    assert len(plan.ports) == 20
    assert plan.notes == ()
    for port in plan.ports:
        assert [door.kind for door in port.doors] == [DoorKind.CLUSTER_IP, DoorKind.NODE_PORT]
        assert (len(port.cluster), len(port.local)) == (10, 1)


def test_one_service_can_be_udp() -> None:
    plan = plan_of(Shape(services=5, endpoints=1, udp_at=3))
    assert [port.name.service for port in plan.ports if port.name.protocol is Protocol.UDP] == ["svc-000003"]


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ({"services": 1 << 20, "endpoints": 1}, "10.96.0.0/12 has no addresses"),
        ({"services": 10, "endpoints": 1, "spared_ips": 1 << 20}, "10.96.0.0/12 has no addresses"),
        ({"services": 100_000, "endpoints": 100}, "too many for 10.128.0.0/9"),
        ({"services": 40_000, "endpoints": 1, "type": ServiceType.NODE_PORT}, "there are 35536 ports"),
    ],
)
def test_more_than_fits_is_refused(shape: dict[str, int], why: str) -> None:
    with pytest.raises(Refused, match=why):
        Shape(**shape)
