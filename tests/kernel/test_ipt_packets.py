"""Real packets meet in the kernel what `evaluate` says of them, under the iptables rules of the same Plan."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from fairway.api.codec import decode_cluster
from fairway.dataplane.ipt.backend import IptablesBackend, Variant
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition, Trace
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Plan
from fairway.plan.options import parse_options
from tests.kernel.namespaces import in_namespaces
from tests.kernel.wire import Seen, Wire, wire

pytestmark = pytest.mark.kernel

NODE, NODE_ADDRESS = "node-1", "172.18.0.1"
CLIENT, STRANGER = "203.0.113.7", "198.51.100.9"
LOCAL_POD, FAR_POD = "10.10.1.2", "10.10.2.2"
VIP, GUARDED_VIP = "172.18.255.1", "172.18.255.2"
SOURCES = (CLIENT, STRANGER, LOCAL_POD, FAR_POD, NODE_ADDRESS)


@pytest.fixture(params=(Variant.NFT, Variant.LEGACY), ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


def service(name: str, number: int, protocol: str = "TCP", **spec: Any) -> dict[str, Any]:
    """Type LoadBalancer: cluster IP 10.200.1.NUMBER:80, node port 30000+NUMBER."""
    port = {"port": 80, "protocol": protocol, "nodePort": 30000 + number}
    address = spec.pop("address", None)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "clusterIP": f"10.200.1.{number}", "ports": [port], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}} if address else {},
    }


def endpoints(name: str, addresses: Sequence[str], protocol: str = "TCP") -> dict[str, Any]:
    nodes = {LOCAL_POD: NODE, NODE_ADDRESS: NODE, FAR_POD: "node-2"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": nodes[address]} for address in addresses],
        "ports": [{"name": "", "port": 8080, "protocol": protocol}],
    }


OBJECTS = (
    service("cluster", 1, address=VIP),
    endpoints("cluster", [LOCAL_POD, FAR_POD]),
    service("local", 2, externalTrafficPolicy="Local"),
    endpoints("local", [LOCAL_POD, FAR_POD]),
    service("elsewhere", 3, externalTrafficPolicy="Local", internalTrafficPolicy="Local"),
    endpoints("elsewhere", [FAR_POD]),
    service("nowhere", 4),
    service("datagram", 5, "UDP", externalTrafficPolicy="Local"),
    endpoints("datagram", [LOCAL_POD], "UDP"),
    service("datagram-nowhere", 6, "UDP"),
    service("guarded", 7, address=GUARDED_VIP, loadBalancerSourceRanges=["203.0.113.0/24"]),
    endpoints("guarded", [FAR_POD]),
    service("sticky", 8, sessionAffinity="ClientIP"),
    endpoints("sticky", [LOCAL_POD, FAR_POD]),
)


def plan_of(objects: Sequence[dict[str, Any]]) -> Plan:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    cluster = decode_cluster([node, *objects])
    options = parse_options(cluster_cidrs=["10.10.0.0/16"], node_addresses=[NODE_ADDRESS])
    return compile_plan(cluster.services, cluster.slices, cluster.node(NODE), options=options)


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


def dropped(variant: Variant) -> int:
    """How many packets rules that drop have counted."""
    program = f"iptables-{variant.value}-save"
    text = subprocess.run([program, "-c", "-t", "filter"], check=True, capture_output=True, text=True).stdout
    return sum(int(count) for count in re.findall(r"^\[(\d+):\d+\] .*-j DROP$", text, re.MULTILINE))


def is_as_expected(seen: Seen, expected: Trace) -> bool:
    if seen.disposition is not expected.disposition:
        return False
    if seen.server is None:
        return True
    masqueraded = ip_address(NODE_ADDRESS)
    ways = {
        ((candidate.address, candidate.port), masqueraded if candidate.masquerade else expected.packet.source)
        for candidate in expected.candidates
    }
    return (seen.server, seen.peer) in ways


def test_real_packets_meet_what_evaluate_says(variant: Variant) -> None:
    def child() -> tuple[list[str], dict[str, int]]:
        evaluator = Evaluator(plan_of(OBJECTS))
        wrong, fates = [], dict.fromkeys(map(str, Disposition), 0)
        with wired() as node:
            IptablesBackend(variant).sync(evaluator.plan)
            for packet in all_packets(evaluator.plan):
                expected = evaluator.evaluate(packet)
                seen = node.send(packet, lambda: dropped(variant))
                fates[seen.disposition.value] += 1
                if not is_as_expected(seen, expected):
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
                {node.send(packet, lambda: dropped(variant)).server for _ in range(60)}
                for packet in (
                    Packet(source=ip_address(CLIENT), destination=ip_address(NODE_ADDRESS), port=port)
                    for port in (30001, 30008)
                )
            ]
        return len(met[0]), len(met[1])

    assert in_namespaces(child) == (2, 1)
