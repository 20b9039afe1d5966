"""Topologies for the tests of this package."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from fairway.fabric.topology import AddressPool, ClientSpec, NodeRole, NodeSpec, Ranges, Topology


def node(name: str, address: str, pod_cidr: str, role: NodeRole = NodeRole.WORKER) -> NodeSpec:
    return NodeSpec(name=name, address=IPv4Address(address), pod_cidr=IPv4Network(pod_cidr), role=role)


def client(name: str, address: str) -> ClientSpec:
    return ClientSpec(name=name, address=IPv4Address(address))


def topology(name: str = "test", **changes: object) -> Topology:
    """Two nodes and a client, with the given fields in the place of the usual ones."""
    fields: dict[str, object] = {
        "network": IPv4Network("172.18.0.0/16"),
        "gateway": IPv4Address("172.18.0.1"),
        "pod_cidr": IPv4Network("10.10.0.0/16"),
        "service_cidr": IPv4Network("10.200.1.0/24"),
        "nodes": (
            node("alpha", "172.18.0.3", "10.10.0.0/24", NodeRole.CONTROL_PLANE),
            node("beta", "172.18.0.5", "10.10.1.0/24"),
        ),
        "clients": (client("mypc", "172.18.0.100"),),
        "load_balancers": AddressPool(first=IPv4Address("172.18.255.200"), last=IPv4Address("172.18.255.250")),
    }
    return Topology(name=name, **(fields | changes))


def dual_stack_topology(**changes: object) -> Topology:
    """The same with IPv6, whose fields `changes` may replace."""
    single = topology()
    fields: dict[str, object] = {
        "nodes": tuple(
            replace(
                each, address6=IPv6Address(f"fd00:172:18::{number}"), pod_cidr6=IPv6Network(f"fd00:10:10:{index}::/64")
            )
            for index, (each, number) in enumerate(zip(single.nodes, (3, 5), strict=True))
        ),
        "clients": tuple(replace(each, address6=IPv6Address("fd00:172:18::100")) for each in single.clients),
        "ipv6": ipv6_ranges(),
    }
    return topology(**(fields | changes))


def ipv6_ranges(**changes: object) -> Ranges:
    fields: dict[str, object] = {
        "network": IPv6Network("fd00:172:18::/64"),
        "gateway": IPv6Address("fd00:172:18::1"),
        "pod_cidr": IPv6Network("fd00:10:10::/56"),
        "service_cidr": IPv6Network("fd00:10:200:1::/112"),
        "load_balancers": AddressPool(
            first=IPv6Address("fd00:172:18::255:200"), last=IPv6Address("fd00:172:18::255:250")
        ),
    }
    return Ranges(**(fields | changes))


def study_topology() -> Topology:
    """The four nodes of the NodePort study."""
    nodes = (
        node("myk8s-control-plane", "172.18.0.3", "10.10.0.0/24", NodeRole.CONTROL_PLANE),
        node("myk8s-worker", "172.18.0.5", "10.10.1.0/24"),
        node("myk8s-worker2", "172.18.0.2", "10.10.2.0/24"),
        node("myk8s-worker3", "172.18.0.4", "10.10.3.0/24"),
    )
    return topology("study", nodes=nodes)
