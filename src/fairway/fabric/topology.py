"""What a lab consists of, as values. A Topology that exists is valid: its constructor refuses one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TypeVar

from fairway.base.errors import Refused

T = TypeVar("T")

_LAB_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MAX_HOST_NAME = 63
"""RFC 1123 label; a Node's name is one in this lab, so that it can be the hostname as well."""


class NodeRole(Enum):
    """What a node is for; the value is the last part of its `node-role.kubernetes.io/` label."""

    CONTROL_PLANE = "control-plane"
    WORKER = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node: its address on the network, and the network of its pods, whose first address is their gateway."""

    name: str
    address: IPv4Address
    pod_cidr: IPv4Network
    role: NodeRole = NodeRole.WORKER


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    """A machine on the nodes' network that is no node: it knows no route to pods and no Service address."""

    name: str
    address: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPool:
    """Addresses of the nodes' network for load balancers, both ends included."""

    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: object) -> bool:
        return isinstance(address, IPv4Address) and self.first <= address <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A lab: one network with nodes and clients on it, the pods routed behind the nodes.

    name: of the lab. network: what the bridge carries. gateway: the bridge's own address, the way out there is not.
    pod_cidr: holds every node's. service_cidr: virtual, on no link. load_balancers: addresses nobody else has, or None.

    Raises Refused when names or addresses repeat, networks overlap, or an address lies outside its network.
    """

    name: str
    network: IPv4Network
    gateway: IPv4Address
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    nodes: tuple[NodeSpec, ...]
    clients: tuple[ClientSpec, ...] = ()
    load_balancers: AddressPool | None = None

    def __post_init__(self) -> None:
        problem = next(_problems(self), None)
        if problem is not None:
            raise Refused(f"lab {self.name!r}: {problem}")

    @property
    def machines(self) -> tuple[NodeSpec | ClientSpec, ...]:
        """Everything on the network: the nodes, then the clients."""
        return (*self.nodes, *self.clients)


def pod_gateway(pod_cidr: IPv4Network) -> IPv4Address:
    """The address every pod of the node sends to: the first of its network, as the host-local IPAM plugin has it."""
    return pod_cidr.network_address + 1


def _problems(topology: Topology) -> Iterator[str]:
    if not _LAB_NAME.fullmatch(topology.name):
        yield "its name must be lower case letters, digits and '-', at most 32 characters"
    if not topology.nodes:
        yield "it has no node"
    for machine in topology.machines:
        if not _HOST_NAME.fullmatch(machine.name) or len(machine.name) > _MAX_HOST_NAME:
            yield f"{machine.name!r} is no host name: a-z, 0-9 and '-', at most {_MAX_HOST_NAME} characters"
    for name in _repeated(machine.name for machine in topology.machines):
        yield f"two hosts are named {name}"
    yield from _network_problems(topology)
    yield from _address_problems(topology)


def _network_problems(topology: Topology) -> Iterator[str]:
    ranges = {"network": topology.network, "pod_cidr": topology.pod_cidr, "service_cidr": topology.service_cidr}
    for (one, left), (other, right) in combinations(ranges.items(), 2):
        if left.overlaps(right):
            yield f"{one} {left} and {other} {right} overlap"
    for node in topology.nodes:
        if not node.pod_cidr.subnet_of(topology.pod_cidr):
            yield f"node {node.name}: pod_cidr {node.pod_cidr} is not inside {topology.pod_cidr}"
        if node.pod_cidr.num_addresses < 4:
            yield f"node {node.name}: pod_cidr {node.pod_cidr} has no room for a gateway and a pod"
    for a, b in combinations(topology.nodes, 2):
        if a.pod_cidr.overlaps(b.pod_cidr):
            yield f"nodes {a.name} and {b.name}: pod_cidr {a.pod_cidr} and {b.pod_cidr} overlap"


def _address_problems(topology: Topology) -> Iterator[str]:
    taken = {"gateway": topology.gateway}
    pool = topology.load_balancers
    if pool is not None:
        taken |= {"load_balancers' first": pool.first, "load_balancers' last": pool.last}
        if pool.first > pool.last:
            yield f"load_balancers {pool} ends before it begins"
    taken |= {f"{machine.name}'s address": machine.address for machine in topology.machines}
    for what, address in taken.items():
        if not _usable(address, topology.network):
            yield f"{what} {address} is no host address of {topology.network}"
    addresses = [topology.gateway, *(machine.address for machine in topology.machines)]
    for address in _repeated(addresses):
        yield f"the address {address} is given twice"
    for address in addresses:
        if pool is not None and address in pool:
            yield f"the address {address} is in load_balancers {pool}"


def _usable(address: IPv4Address, network: IPv4Network) -> bool:
    return address in network and address not in (network.network_address, network.broadcast_address)


def _repeated(values: Iterable[T]) -> Iterator[T]:
    seen: set[T] = set()
    for value in values:
        if value in seen:
            yield value
        seen.add(value)
