"""Real packets meet in the kernel what `evaluate` says of them, under the iptables rules of the same Plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from fairway.dataplane.ipt.backend import IptablesBackend, Variant
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Plan
from fairway.plan.options import parse_options
from tests.kernel.cluster import assembly_of, endpoints, is_as_expected, service
from tests.kernel.namespaces import in_namespaces
from tests.kernel.wire import Wire, wire

pytestmark = pytest.mark.kernel

NODE, NODE_ADDRESS = "node-1", "172.18.0.1"
CLIENT, STRANGER = "203.0.113.7", "198.51.100.9"
LOCAL_POD, FAR_POD = "10.10.1.2", "10.10.2.2"
VIP, GUARDED_VIP = "172.18.255.1", "172.18.255.2"
SOURCES = (CLIENT, STRANGER, LOCAL_POD, FAR_POD, NODE_ADDRESS)


@pytest.fixture(params=(Variant.NFT, Variant.LEGACY), ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


def placed(name: str, addresses: Sequence[str], protocol: str = "TCP") -> dict[str, Any]:
    nodes = {LOCAL_POD: NODE, NODE_ADDRESS: NODE, FAR_POD: "node-2"}
    return endpoints(name, {address: nodes[address] for address in addresses}, protocol)


OBJECTS = (
    service("cluster", 1, address=VIP),
    placed("cluster", [LOCAL_POD, FAR_POD]),
    service("local", 2, externalTrafficPolicy="Local"),
    placed("local", [LOCAL_POD, FAR_POD]),
    service("elsewhere", 3, externalTrafficPolicy="Local", internalTrafficPolicy="Local"),
    placed("elsewhere", [FAR_POD]),
    service("nowhere", 4),
    service("datagram", 5, "UDP", externalTrafficPolicy="Local"),
    placed("datagram", [LOCAL_POD], "UDP"),
    service("datagram-nowhere", 6, "UDP"),
    service("guarded", 7, address=GUARDED_VIP, loadBalancerSourceRanges=["203.0.113.0/24"]),
    placed("guarded", [FAR_POD]),
    service("sticky", 8, sessionAffinity="ClientIP"),
    placed("sticky", [LOCAL_POD, FAR_POD]),
)


def plan_of(objects: Sequence[dict[str, Any]]) -> Plan:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    options = parse_options(cluster_cidrs=["10.10.0.0/16"], node_addresses=[NODE_ADDRESS])
    return assembly_of([node, *objects], NODE, options).plan()


def all_packets(plan: Plan) -> Iterator[Packet]:
    """From every kind of source to every door, loopback's node ports too."""
    for port in plan.ports:
        for door in port.doors:
            destination = door.address or ip_address(NODE_ADDRESS)
            packet = Packet(
                source=destination, destination=destination, port=door.port, protocol=door.protocol, from_node=False
            )
            for source in SOURCES:
                yield replace(packet, source=ip_address(source), from_node=source == NODE_ADDRESS)
            if door.address is None:
                loopback = ip_address("127.0.0.1")
                yield replace(packet, source=loopback, destination=loopback, from_node=True)


@contextmanager
def wired() -> Iterator[Wire]:
    """A node with two pods, a client and a stranger; the far pod is one more host beside it, and all that counts."""
    with wire() as node:
        node.own(NODE_ADDRESS)
        for address in (CLIENT, STRANGER, LOCAL_POD, FAR_POD):
            node.link(address, NODE_ADDRESS)
        node.route_all_to(CLIENT)
        for pod in (LOCAL_POD, FAR_POD):
            for protocol in (Protocol.TCP, Protocol.UDP):
                node.serve(pod, 8080, protocol)
        yield node


def test_real_packets_meet_what_evaluate_says(variant: Variant) -> None:
    def child() -> tuple[list[str], dict[str, int]]:
        evaluator = Evaluator(plan_of(OBJECTS))
        wrong, fates = [], dict.fromkeys(map(str, Disposition), 0)
        with wired() as node:
            IptablesBackend(variant).sync(evaluator.plan)
            for packet in all_packets(evaluator.plan):
                expected = evaluator.evaluate(packet)
                seen = node.send(packet)
                fates[seen.disposition.value] += 1
                if not is_as_expected(seen, [expected], evaluator.is_own):
                    wrong.append(f"{packet}: expected {expected.reason}, saw {seen}")
        return wrong, fates

    wrong, fates = in_namespaces(child)
    assert wrong == []
    assert all(fates[fate] for fate in (Disposition.DNAT, Disposition.REJECT, Disposition.DROP))


def test_calls_spread_over_all_backends_and_affinity_keeps_one(variant: Variant) -> None:
    """That 60 fair choices between two miss one of them happens once in 10^18 runs."""

    def child() -> tuple[int, int]:
        plan = plan_of(OBJECTS)
        with wired() as node:
            IptablesBackend(variant).sync(plan)
            met = [
                {node.send(packet).server for _ in range(60)}
                for packet in (
                    Packet(source=ip_address(CLIENT), destination=ip_address(NODE_ADDRESS), port=port)
                    for port in (30001, 30008)
                )
            ]
        return len(met[0]), len(met[1])

    assert in_namespaces(child) == (2, 1)
