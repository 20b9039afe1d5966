"""What a lab consists of, as values. A Topology that exists is valid: its constructor refuses one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import combinations
from typing import TypeVar

from fairway.base.addresses import Family, IPAddress, IPNetwork
from fairway.base.errors import Refused

T = TypeVar("T")

LAB_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MAX_HOST_NAME = 63
"""RFC 1123 label; a Node's name is one in this lab, so that it can be the hostname as well."""


class NodeRole(Enum):
    """What a node is for; the value is the last part of its `node-role.kubernetes.io/` label."""

    CONTROL_PLANE = "control-plane"
    WORKER = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node: its address on the network, and the network of its pods, whose first address is their gateway.

    address6, pod_cidr6: the same in IPv6, of a dual-stack lab's nodes.
    """

    name: str
    address: IPv4Address
    pod_cidr: IPv4Network
    role: NodeRole = NodeRole.WORKER
    address6: IPv6Address | None = None
    pod_cidr6: IPv6Network | None = None

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """The primary one first, which is the IPv4 address."""
        return _given(self.address, self.address6)

    @property
    def pod_cidrs(self) -> tuple[IPNetwork, ...]:
        """In the order of `addresses`."""
        return _given(self.pod_cidr, self.pod_cidr6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    """A machine on the nodes' network that is no node: it knows no route to pods and no Service address."""

    name: str
    address: IPv4Address
    address6: IPv6Address | None = None

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """As a node's."""
        return _given(self.address, self.address6)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPool:
    """Addresses of the nodes' network for load balancers, both ends included and both of one family."""

    first: IPAddress
    last: IPAddress

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, IPv4Address | IPv6Address) or address.version != self.first.version:
            return False
        return int(self.first) <= int(address) <= int(self.last)

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """The networks of one family that a lab is made of.

    network: what the bridge carries. gateway: the bridge's own address, the way out there is not. pod_cidr: holds every
    node's. service_cidr: virtual, on no link. load_balancers: addresses nobody else has, or None.
    """

    network: IPNetwork
    gateway: IPAddress
    pod_cidr: IPNetwork
    service_cidr: IPNetwork
    load_balancers: AddressPool | None = None

    @property
    def family(self) -> Family:
        return Family(self.network.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A lab: one network with nodes and clients on it, the pods routed behind the nodes.

    name: of the lab. network to load_balancers: as in Ranges, of IPv4, which every lab has. ipv6: those of IPv6, in a
    dual-stack lab.

    Raises Refused when names or addresses repeat, networks overlap, an address lies outside its network, or a machine
    lacks what its lab has or has what its lab lacks of IPv6.
    """

    name: str
    network: IPv4Network
    gateway: IPv4Address
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    nodes: tuple[NodeSpec, ...]
    clients: tuple[ClientSpec, ...] = ()
    load_balancers: AddressPool | None = None
    ipv6: Ranges | None = None

    def __post_init__(self) -> None:
        problem = next(_problems(self), None)
        if problem is not None:
            raise Refused(f"lab {self.name!r}: {problem}")

    @property
    def machines(self) -> tuple[NodeSpec | ClientSpec, ...]:
        """Everything on the network: the nodes, then the clients."""
        return (*self.nodes, *self.clients)

    @property
    def ranges(self) -> tuple[Ranges, ...]:
        """Of each family, IPv4 first."""
        ipv4 = Ranges(
            network=self.network,
            gateway=self.gateway,
            pod_cidr=self.pod_cidr,
            service_cidr=self.service_cidr,
            load_balancers=self.load_balancers,
        )
        return _given(ipv4, self.ipv6)

    @property
    def families(self) -> tuple[Family, ...]:
        """The address families of its networks, the primary one first."""
        return tuple(ranges.family for ranges in self.ranges)


def pod_gateway(pod_cidr: IPNetwork) -> IPAddress:
    """The address every pod of the node sends to: the first of its network, as the host-local IPAM plugin has it."""
    return pod_cidr[1]


def _given(first: T, second: T | None) -> tuple[T, ...]:
    return (first,) if second is None else (first, second)


def _problems(topology: Topology) -> Iterator[str]:
    if not LAB_NAME.fullmatch(topology.name):
        yield "its name must be lower case letters, digits and '-', at most 32 characters"
    if not topology.nodes:
        yield "it has no node"
    for machine in topology.machines:
        if not _HOST_NAME.fullmatch(machine.name) or len(machine.name) > _MAX_HOST_NAME:
            yield f"{machine.name!r} is no host name: a-z, 0-9 and '-', at most {_MAX_HOST_NAME} characters"
    for name in _repeated(machine.name for machine in topology.machines):
        yield f"two hosts are named {name}"
    yield from _family_problems(topology)
    for ranges in topology.ranges:
        yield from _network_problems(topology, ranges)
        yield from _address_problems(topology, ranges)


def _family_problems(topology: Topology) -> Iterator[str]:
    """IPv6 is of the whole lab or of none of it."""
    dual = topology.ipv6 is not None
    for machine in topology.machines:
        fields: dict[str, object] = {"address6": machine.address6}
        if isinstance(machine, NodeSpec):
            fields["pod_cidr6"] = machine.pod_cidr6
        for name, value in fields.items():
            if dual and value is None:
                yield f"{machine.name} has no {name}, and the lab is dual-stack"
            if not dual and value is not None:
                yield f"{machine.name} has {name} {value}, and the lab has no ipv6"
    if topology.ipv6 is None:
        return
    pool = topology.ipv6.load_balancers
    values = {
        "network": topology.ipv6.network,
        "gateway": topology.ipv6.gateway,
        "pod_cidr": topology.ipv6.pod_cidr,
        "service_cidr": topology.ipv6.service_cidr,
        **({} if pool is None else {"load_balancers' first": pool.first, "load_balancers' last": pool.last}),
    }
    for name, given in values.items():
        if Family(given.version) is not Family.IPV6:
            yield f"ipv6.{name} {given} is no IPv6"


def _network_problems(topology: Topology, ranges: Ranges) -> Iterator[str]:
    networks = {"network": ranges.network, "pod_cidr": ranges.pod_cidr, "service_cidr": ranges.service_cidr}
    for (one, left), (other, right) in combinations(networks.items(), 2):
        if left.overlaps(right):
            yield f"{one} {left} and {other} {right} overlap"
    cidrs = [(node.name, cidr) for node in topology.nodes for cidr in node.pod_cidrs if _is_of(cidr, ranges)]
    for name, cidr in cidrs:
        if not _contains(ranges.pod_cidr, cidr):
            yield f"node {name}: pod_cidr {cidr} is not inside {ranges.pod_cidr}"
        if cidr.num_addresses < 4:
            yield f"node {name}: pod_cidr {cidr} has no room for a gateway and a pod"
    for (one, left), (other, right) in combinations(cidrs, 2):
        if left.overlaps(right):
            yield f"nodes {one} and {other}: pod_cidr {left} and {right} overlap"


def _address_problems(topology: Topology, ranges: Ranges) -> Iterator[str]:
    taken = {"gateway": ranges.gateway}
    pool = ranges.load_balancers
    if pool is not None:
        taken |= {"load_balancers' first": pool.first, "load_balancers' last": pool.last}
        if int(pool.first) > int(pool.last):
            yield f"load_balancers {pool} ends before it begins"
    of_machines = [
        (machine.name, address)
        for machine in topology.machines
        for address in machine.addresses
        if _is_of(address, ranges)
    ]
    taken |= {f"{name}'s address": address for name, address in of_machines}
    for what, address in taken.items():
        if not _usable(address, ranges.network):
            yield f"{what} {address} is no host address of {ranges.network}"
    addresses = [ranges.gateway, *(address for _, address in of_machines)]
    for address in _repeated(addresses):
        yield f"the address {address} is given twice"
    for address in addresses:
        if pool is not None and address in pool:
            yield f"the address {address} is in load_balancers {pool}"


def _is_of(value: IPAddress | IPNetwork, ranges: Ranges) -> bool:
    return Family(value.version) is ranges.family


def _contains(outer: IPNetwork, inner: IPNetwork) -> bool:
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def _usable(address: IPAddress, network: IPNetwork) -> bool:
    return address in network and address not in (network.network_address, network.broadcast_address)


def _repeated(values: Iterable[T]) -> Iterator[T]:
    seen: set[T] = set()
    for value in values:
        if value in seen:
            yield value
        seen.add(value)
