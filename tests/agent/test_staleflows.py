"""Which UDP flows are deleted when doors and their endpoints change, and that no others are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest

from fairway.agent.staleflows import DoorBook
from fairway.api.core import Service
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.base.addresses import Family, parse_address
from fairway.netlink.conntrack import IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, Flow, Tuple
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service
from fairway.plan.options import Mode, Options, parse_options, view_node
from tests.plan.objects import HERE, THERE, endpoint, endpoint_slice, node, service

CLIENT = "172.18.0.100"
HOST, ELSEWHERE = "172.18.0.5", "172.18.0.77"
CLUSTER_IP, EXTERNAL_IP, BALANCER_IP = "10.200.1.5", "192.0.2.1", "172.18.255.200"
NODE_PORT = 30053
OPTIONS = parse_options(cluster_cidrs=["10.10.0.0/16"])
KEY = Key("default", "dns")
DNS_PORTS = [{"port": 53, "protocol": "UDP", "nodePort": NODE_PORT}]


def dns(**spec: Any) -> Service:
    doors = {"type": "LoadBalancer", "externalIPs": [EXTERNAL_IP], "ports": DNS_PORTS}
    return service("dns", ingress=[{"ip": BALANCER_IP}], **{**doors, **spec})


def backends(*endpoints: str | dict[str, Any], protocol: str = "UDP") -> EndpointSlice:
    listed = [endpoint(each, HERE) if isinstance(each, str) else each for each in endpoints]
    return endpoint_slice(*listed, of="dns", ports=[{"port": 5353, "protocol": protocol}])


def flow(to: str, answered_by: str, **more: Any) -> Flow:
    """A flow of UDP from the client to "address:port"; answered by that very address where nothing rewrites it."""
    address, _, port = to.rpartition(":")
    answerer, _, answer_port = answered_by.rpartition(":")
    family = Family(parse_address(address.strip("[]")).version)
    client = parse_address(CLIENT if family is Family.IPV4 else "fd00::100")
    return Flow(
        **{
            "family": family,
            "protocol": IPPROTO_UDP,
            "original": Tuple(client, parse_address(address.strip("[]")), 40000, int(port)),
            "reply": Tuple(parse_address(answerer.strip("[]")), client, int(answer_port), 40000),
            **more,
        }
    )


@dataclass
class Kernel:
    """What the agent wrote, step by step, and what it would delete after each."""

    options: Options = OPTIONS
    on: tuple[str, ...] = (HOST,)

    def __post_init__(self) -> None:
        self.book = DoorBook()
        self.view = view_node(node(*self.on), self.options)
        self.assembly = Assembly(self.view)

    def write(self, wanted: Service | None, *slices: EndpointSlice, name: str = "dns") -> None:
        key = Key("default", name)
        changed = self.assembly.put(compile_service(wanted, slices, self.view)) if wanted else self.assembly.drop(key)
        self.book.update(self.assembly.parts, changed)

    def settled(self, wanted: Service | None, *slices: EndpointSlice) -> Kernel:
        self.write(wanted, *slices)
        self.book.settle()
        return self

    @property
    def is_due(self) -> bool:
        return self.book.is_due(self.view)

    def stale(self, *flows: Flow, local: Iterable[str] = (HOST, "127.0.0.1")) -> list[Flow]:
        return self.book.stale(flows, self.view, [ip_address(address) for address in local])


DOORS = [
    pytest.param(f"{CLUSTER_IP}:53", id="clusterIP"),
    pytest.param(f"{EXTERNAL_IP}:53", id="externalIP"),
    pytest.param(f"{BALANCER_IP}:53", id="load balancer"),
    pytest.param(f"{HOST}:{NODE_PORT}", id="node port"),
    pytest.param(f"127.0.0.1:{NODE_PORT}", id="node port of loopback"),
]


@pytest.mark.parametrize("door", DOORS)
def test_flows_to_an_endpoint_that_is_gone_are_stale_and_those_to_others_are_not(door: str) -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1", "10.10.1.2"))
    kernel.write(dns(), backends("10.10.1.2"))
    gone, kept = flow(door, "10.10.1.1:5353"), flow(door, "10.10.1.2:5353")
    assert kernel.is_due
    assert kernel.stale(gone, kept) == [gone]


@pytest.mark.parametrize("door", DOORS)
def test_no_flow_outlives_the_last_endpoint(door: str) -> None:
    """kube-proxy leaves these: the client of a Service scaled to zero never learns of its next endpoints."""
    kernel = Kernel().settled(dns(), backends("10.10.1.1"))
    kernel.write(dns(), backends())
    flows = [flow(door, "10.10.1.1:5353"), flow(door, door)]
    assert kernel.stale(*flows) == flows


@pytest.mark.parametrize("door", DOORS)
def test_flows_of_a_deleted_service_are_stale(door: str) -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1"))
    kernel.write(None)
    assert kernel.stale(flow(door, "10.10.1.1:5353")) == [flow(door, "10.10.1.1:5353")]


@pytest.mark.parametrize("door", DOORS)
def test_what_others_answer_where_a_door_was_is_theirs(door: str) -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1"))
    kernel.write(None)
    assert kernel.stale(flow(door, door), flow(door, "10.10.7.7:53")) == []


@pytest.mark.parametrize("door", DOORS)
def test_flows_from_before_there_was_a_door_are_stale(door: str) -> None:
    kernel = Kernel().settled(None)
    kernel.write(dns(), backends("10.10.1.1"))
    assert kernel.stale(flow(door, door), flow(door, "10.10.1.1:5353")) == [flow(door, door)]


@pytest.mark.parametrize(
    "to",
    [
        pytest.param(f"{ELSEWHERE}:{NODE_PORT}", id="another host's port of the node port's number"),
        pytest.param(f"8.8.8.8:{NODE_PORT}", id="a server's"),
        pytest.param(f"{HOST}:53", id="this node's port of the Service port's number"),
        pytest.param(f"{ELSEWHERE}:53", id="another host's port of the Service port's number"),
        pytest.param("10.200.1.6:53", id="another clusterIP"),
        pytest.param(f"{CLUSTER_IP}:{NODE_PORT}", id="the clusterIP at the node port's number"),
    ],
)
def test_flows_to_no_door_are_never_stale(to: str) -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1"))
    for slices in ([backends("10.10.1.2")], [backends()]):
        kernel.write(dns(), *slices)
        assert kernel.stale(flow(to, to), flow(to, "10.10.1.1:5353")) == []
    kernel.write(None)
    assert kernel.stale(flow(to, to), flow(to, "10.10.1.1:5353")) == []


@pytest.mark.parametrize("protocol", [IPPROTO_TCP, IPPROTO_SCTP])
def test_flows_of_other_protocols_are_never_stale(protocol: int) -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1"))
    kernel.write(dns(), backends())
    assert kernel.stale(flow(f"{CLUSTER_IP}:53", "10.10.1.1:5353", protocol=protocol)) == []


def test_flows_of_other_zones_are_others() -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1"))
    kernel.write(dns(), backends())
    assert kernel.stale(flow(f"{CLUSTER_IP}:53", "10.10.1.1:5353", zone=7)) == []


@pytest.mark.parametrize(
    ("options", "local", "open_at"),
    [
        pytest.param({}, [HOST, "172.19.0.5"], [HOST, "172.19.0.5"], id="every address"),
        pytest.param({"node_port_addresses": ["172.19.0.0/16"]}, [HOST, "172.19.0.5"], ["172.19.0.5"], id="a network"),
        pytest.param({"node_port_addresses": ["primary"]}, [HOST, "172.19.0.5"], [HOST], id="the primary one"),
    ],
)
def test_only_addresses_that_take_node_ports_have_their_flows(
    options: dict[str, Any], local: list[str], open_at: list[str]
) -> None:
    kernel = Kernel(options=parse_options(**options)).settled(dns(), backends("10.10.1.1"))
    kernel.write(dns(), backends())
    flows = [flow(f"{address}:{NODE_PORT}", "10.10.1.1:5353") for address in local]
    assert [str(each.original.destination) for each in kernel.stale(*flows, local=local)] == open_at


def test_loopback_is_left_alone_where_it_takes_no_node_ports() -> None:
    kernel = Kernel(options=parse_options(localhost_node_ports=False)).settled(dns(), backends("10.10.1.1"))
    kernel.write(dns(), backends())
    assert kernel.stale(flow(f"127.0.0.1:{NODE_PORT}", "10.10.1.1:5353")) == []


def test_a_service_at_the_very_address_and_port_keeps_its_flows_from_a_node_ports_change() -> None:
    own = service("own", clusterIP="10.200.1.9", externalIPs=[HOST], ports=[{"port": NODE_PORT, "protocol": "UDP"}])
    kernel = Kernel()
    kernel.write(
        own, endpoint_slice(endpoint("10.10.3.3"), of="own", ports=[{"port": 7, "protocol": "UDP"}]), name="own"
    )
    kernel.settled(dns(), backends("10.10.1.1"))
    kernel.write(dns(), backends("10.10.1.2"))
    assert kernel.stale(flow(f"{HOST}:{NODE_PORT}", "10.10.3.3:7")) == []


@pytest.mark.parametrize(
    ("conditions", "is_stale"),
    [
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": False, "serving": False, "terminating": True}, True),
        ({"ready": False, "serving": False}, True),
        ({"ready": True, "serving": False}, False),  # publishNotReadyAddresses
        ({"ready": True, "zones": ["far"]}, False),
    ],
)
def test_an_endpoint_that_still_serves_keeps_its_flows(conditions: dict[str, Any], *, is_stale: bool) -> None:
    """One that terminates gracefully goes on answering, though no new flow is sent to it."""
    kernel = Kernel().settled(dns(), backends("10.10.1.1", "10.10.1.2", "10.10.1.3"))
    kernel.write(dns(), backends(endpoint("10.10.1.1", THERE, **conditions), "10.10.1.2"))
    kept = flow(f"{CLUSTER_IP}:53", "10.10.1.1:5353")
    assert kernel.stale(kept) == ([kept] if is_stale else [])


def test_an_endpoint_of_another_node_keeps_its_flows_where_the_policy_becomes_local() -> None:
    slices = backends("10.10.1.1", endpoint("10.10.2.1", THERE))
    kernel = Kernel().settled(dns(), slices)
    kernel.write(dns(externalTrafficPolicy="Local"), slices)
    assert kernel.stale(flow(f"{HOST}:{NODE_PORT}", "10.10.2.1:5353")) == []


@pytest.mark.parametrize(
    ("before", "after", "due"),
    [
        pytest.param([backends("10.10.1.1")], [backends("10.10.1.1")], False, id="nothing"),
        pytest.param([backends("10.10.1.1")], [backends("10.10.1.1", "10.10.1.2")], False, id="one endpoint more"),
        pytest.param([backends("10.10.1.1")], [backends("10.10.1.2")], True, id="another endpoint"),
        pytest.param([backends("10.10.1.1", "10.10.1.2")], [backends("10.10.1.2")], True, id="one endpoint less"),
        pytest.param([backends()], [backends("10.10.1.1")], True, id="the first endpoint"),
        pytest.param([backends()], [], False, id="none as before"),
        pytest.param([backends("10.10.1.1")], [], True, id="the last endpoint"),
    ],
)
def test_flows_are_looked_at_only_where_one_can_have_become_stale(
    before: list[EndpointSlice], after: list[EndpointSlice], *, due: bool
) -> None:
    kernel = Kernel().settled(dns(), *before)
    assert not kernel.is_due
    kernel.write(dns(sessionAffinity="ClientIP"), *after)
    assert kernel.is_due is due


def test_a_service_without_udp_ports_is_nothing_to_look_at() -> None:
    kernel = Kernel()
    for slices in ([backends("10.10.1.1", protocol="TCP")], []):
        kernel.write(service("dns"), *slices)
        assert not kernel.is_due


def test_what_was_suspect_stays_so_until_it_is_looked_at() -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1", "10.10.1.2"))
    kernel.write(dns(), backends("10.10.1.2"))
    kernel.write(dns(), backends("10.10.1.2", "10.10.1.3"))
    flows = [flow(f"{CLUSTER_IP}:53", f"10.10.1.{number}:5353") for number in (1, 2, 3)]
    assert kernel.stale(*flows) == flows[:1]
    kernel.write(None)
    assert kernel.stale(*flows) == flows[1:]
    kernel.book.settle()
    assert not kernel.is_due


def test_a_service_that_is_gone_and_back_before_a_look_keeps_the_flows_of_its_endpoints() -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1", "10.10.1.2"))
    kernel.write(None)
    kernel.write(dns(), backends("10.10.1.2"))
    flows = [flow(f"{CLUSTER_IP}:53", f"10.10.1.{number}:5353") for number in (1, 2)]
    assert kernel.stale(*flows) == flows[:1]


def test_a_door_that_passes_to_another_service_is_judged_by_the_new_owner() -> None:
    def named(name: str) -> tuple[Service, EndpointSlice]:
        address = "10.10.1.1" if name == "a" else "10.10.2.2"
        ports = [{"port": 5353, "protocol": "UDP"}]
        made = service(name, ports=[{"port": 53, "protocol": "UDP"}])
        return made, endpoint_slice(endpoint(address), name=f"{name}-1", of=name, ports=ports)

    kernel = Kernel()
    kernel.write(*named("a"), name="a")
    kernel.write(*named("b"), name="b")
    kernel.book.settle()
    kernel.write(None, name="a")
    flows = [flow(f"{CLUSTER_IP}:53", f"10.10.{n}.{n}:5353") for n in (1, 2)]
    assert kernel.stale(*flows) == flows[:1]


def test_an_agent_that_starts_looks_at_every_door_once() -> None:
    kernel = Kernel()
    kernel.write(dns(), backends("10.10.1.1"))
    flows = [flow(f"{CLUSTER_IP}:53", f"10.10.1.{number}:5353") for number in (1, 2)]
    assert kernel.book.ports is None
    assert kernel.stale(*flows) == flows[1:]
    kernel.book.settle()
    assert not kernel.is_due


def test_an_agent_that_starts_finds_flows_of_clusterips_that_no_service_has_any_more() -> None:
    options = parse_options(mode=Mode.NFTABLES, service_cidrs=["10.200.0.0/16"])
    kernel = Kernel(options=options)
    kernel.write(service("web"), name="web")
    assert kernel.is_due
    lost = flow("10.200.9.9:53", "10.10.1.1:5353")
    others = [flow("10.200.9.9:53", "10.200.9.9:53"), flow("10.201.9.9:53", "10.10.1.1:5353")]
    assert kernel.stale(lost, *others) == [lost]
    kernel.book.settle()
    assert (kernel.is_due, kernel.stale(lost)) == (False, [])


def test_ports_tell_which_flows_are_worth_reading() -> None:
    kernel = Kernel().settled(dns(), backends("10.10.1.1"))
    kernel.write(dns(), backends())
    assert kernel.book.ports == {53, NODE_PORT}


def test_flows_of_ipv6_are_judged_alike() -> None:
    options = parse_options(family=Family.IPV6)
    kernel = Kernel(options=options, on=("fd00::5",))
    made = service("dns", clusterIP="fd00:200::5", type="NodePort", ports=DNS_PORTS)
    of_v6 = {"of": "dns", "addressType": "IPv6", "ports": [{"port": 5353, "protocol": "UDP"}]}
    kernel.settled(made, endpoint_slice(endpoint("fd00:10::1"), **of_v6))
    kernel.write(made, endpoint_slice(endpoint("fd00:10::2"), **of_v6))
    doors = ["[fd00:200::5]:53", f"[fd00::5]:{NODE_PORT}"]
    gone = [flow(door, "[fd00:10::1]:5353") for door in doors]
    others = [flow(f"[::1]:{NODE_PORT}", "[fd00:10::1]:5353"), *[flow(door, "[fd00:10::2]:5353") for door in doors]]
    assert kernel.stale(*gone, *others, local=["fd00::5", "::1"]) == gone
