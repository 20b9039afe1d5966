"""The maps of the table, what their keys and values are, and the numbers that classes of doors have. Pure.

A *door* of the Plan is an element of `services` (address, protocol, port) or `nodeports` (protocol, port). Its value is
its *class*: what happens to packets there, as far as many doors share it, and among how many backends. A class is two
numbers, `policy:count`, and one chain. The class travels from the map to the choice of its chain in the packet's
priority, which is put back to none before the packet goes on: at these hooks nothing has been queued by it yet, IPv4
forwarding sets it anew from the type of service (ip_forward in net/ipv4/ip_forward.c), and unlike the mark no policy
routing or network plugin reads it. Data, other than a verdict, can change without the kernel going through all chains.

The backends of a door are elements of `backends`: the door and a slot, from 0 to one less than the count. Where pods
and the node itself are sent to more backends than others are, those are in the slots from SHORT_CUT_SLOT on, and their
number is the door's value in `short-cuts`.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from socket import AF_INET, AF_INET6, inet_pton

from msgspec import Struct

from fairway.base.addresses import Family, IPAddress
from fairway.dataplane.nft.ruleset import SetSpec
from fairway.flow.packet import Protocol
from fairway.netlink.userdata import Field, meta_field, numgen_field, payload_field
from fairway.plan.model import Backend

COMMENT = "Kubernetes Services, written by fairway"

SERVICES, NODEPORTS = "services", "nodeports"
SHORT_CUTS, NODEPORT_SHORT_CUTS = "short-cuts", "nodeport-short-cuts"
BACKENDS, NODEPORT_BACKENDS = "backends", "nodeport-backends"
CLASSES, SHORT_CUT_CLASSES = "classes", "short-cut-classes"
STICKY, NODEPORT_STICKY = "sticky", "nodeport-sticky"
CLUSTER_IPS, NODEPORT_IPS = "cluster-ips", "nodeport-ips"
SOURCE_RANGES, HAIRPINS = "source-ranges", "hairpins"

IFNAME_SIZE = 16
"""Bytes of a link's name in a register: IFNAMSIZ of linux/if.h."""

SHORT_CUT_SLOT = 65536
MAX_BACKENDS = 65535
"""A class counts them in sixteen bits."""

MASQUERADE_MARK = 0x4000
"""The bit of the packet's mark that means: rewrite the source on the way out (kube-proxy's masqueradeBit 14)."""

PROTOCOL_NUMBERS: Mapping[Protocol, int] = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}


class Policy(IntEnum):
    """What a class does besides choosing a backend; the first number of a class.

    GUARDED and NODEPORT are added to it: a door with source ranges, and a node port.
    """

    FIXED = 0
    """No choice at all: the second number is a Fixed."""
    KEEP = 1
    MASQUERADE = 2
    MASQUERADE_OUTSIDE = 3
    """All but pods."""
    LOCAL = 4
    """Pods and the node itself take the short cut; a count of 0 drops everybody else."""
    SHORT_CUT = 5


GUARDED = 0x10
NODEPORT = 0x20


class Fixed(IntEnum):
    REFUSE = 1
    DROP = 2
    STICKY = 3
    """The choice is remembered: ask the map of such doors for a chain of the Service port's own."""


class DoorClass(Struct, frozen=True, order=True):
    """policy: a Policy, with GUARDED and NODEPORT added where they hold. count: of backends, or a Fixed."""

    policy: int
    count: int

    @property
    def kind(self) -> Policy:
        return Policy(self.policy & ~(GUARDED | NODEPORT))

    @property
    def is_guarded(self) -> bool:
        return bool(self.policy & GUARDED)

    @property
    def is_nodeport(self) -> bool:
        return bool(self.policy & NODEPORT)

    @property
    def chain(self) -> str:
        """The name of its chain."""
        kind = self.kind
        prefix = f"{'nodeport-' if self.is_nodeport else ''}{'guarded-' if self.is_guarded else ''}"
        if kind is Policy.FIXED:
            return f"{prefix}{Fixed(self.count).name.lower()}"
        return f"{prefix}{kind.name.lower().replace('_', '-')}-{self.count}"

    @property
    def number(self) -> int:
        return self.policy << 16 | self.count

    @property
    def packed(self) -> bytes:
        """As the packet's priority holds it."""
        return self.number.to_bytes(4, sys.byteorder)

    @classmethod
    def unpack(cls, data: bytes) -> DoorClass:
        number = int.from_bytes(data, sys.byteorder)
        return cls(number >> 16, number & 0xFFFF)


REFUSE = DoorClass(Policy.FIXED, Fixed.REFUSE)
DROPPED = DoorClass(Policy.FIXED, Fixed.DROP)

# nft's numbers: protocols in enum proto_desc_id, fields in src/proto.c's templates, types in enum datatypes.
INTEGER, IPV4_ADDR, IPV6_ADDR, INET_PROTO, INET_SERVICE, CLASSID = 4, 7, 8, 12, 13, 23
_TRANSPORT, _IP, _IP6 = 11, 12, 13
L4PROTO = meta_field("meta l4proto", 1, INET_PROTO, key=16, big_endian=False)
DPORT = payload_field("th dport", 2, INET_SERVICE, protocol=_TRANSPORT, template=2)
PRIORITY = meta_field("meta priority", 4, CLASSID, key=2, big_endian=False)
SLOT = numgen_field(SHORT_CUT_SLOT)

_SADDR = {
    Family.IPV4: payload_field("ip saddr", 4, IPV4_ADDR, protocol=_IP, template=11),
    Family.IPV6: payload_field("ip6 saddr", 16, IPV6_ADDR, protocol=_IP6, template=8),
}
_DADDR = {
    Family.IPV4: payload_field("ip daddr", 4, IPV4_ADDR, protocol=_IP, template=12),
    Family.IPV6: payload_field("ip6 daddr", 16, IPV6_ADDR, protocol=_IP6, template=9),
}


def saddr(family: Family) -> Field:
    return _SADDR[family]


def daddr(family: Family) -> Field:
    return _DADDR[family]


@cache
def fixed_sets(family: Family) -> Mapping[str, SetSpec]:
    """All sets and maps that are always there, in the order they are made."""
    source, destination = _SADDR[family], _DADDR[family]
    door, nodeport = (destination, L4PROTO, DPORT), (L4PROTO, DPORT)
    backend = (destination, DPORT)
    specs = (
        SetSpec(SERVICES, door, (PRIORITY,), comment="address and port of a Service : its class"),
        SetSpec(NODEPORTS, nodeport, (PRIORITY,), comment="node port : its class"),
        SetSpec(SHORT_CUTS, door, (PRIORITY,), comment="classes for pods and this node, where they differ"),
        SetSpec(NODEPORT_SHORT_CUTS, nodeport, (PRIORITY,), comment="classes for pods and this node"),
        SetSpec(BACKENDS, (*door, SLOT), backend, comment="address, port and slot : endpoint"),
        SetSpec(NODEPORT_BACKENDS, (*nodeport, SLOT), backend, comment="node port and slot : endpoint"),
        SetSpec(CLASSES, (PRIORITY,), (), comment="class : its chain"),
        SetSpec(SHORT_CUT_CLASSES, (PRIORITY,), (), comment="class : its chain"),
        SetSpec(STICKY, door, (), comment="Services with session affinity"),
        SetSpec(NODEPORT_STICKY, nodeport, (), comment="node ports with session affinity"),
        SetSpec(CLUSTER_IPS, (destination,), comment="clusterIPs in use"),
        SetSpec(NODEPORT_IPS, (destination,), comment="addresses that take node ports"),
        SetSpec(SOURCE_RANGES, (*door, source), ranges=True, comment="who may use a load balancer's address"),
        SetSpec(HAIRPINS, (source, destination, L4PROTO, DPORT), comment="endpoints that may reach themselves"),
    )
    return {spec.name: spec for spec in specs}


def affinity_set(family: Family, name: str, timeout_s: int) -> SetSpec:
    """The clients that one endpoint of one Service port has."""
    return SetSpec(name, (_SADDR[family],), timeout_s=timeout_s, size=AFFINITY_SIZE)


AFFINITY_SIZE = 65535
"""Clients that one endpoint remembers, as in kube-proxy's sets."""

_PORTS = [struct.pack(">HH", port, 0) for port in range(65536)]
_SLOTS = [struct.pack("=I", slot) for slot in range(1024)]
_PROTOCOLS = {protocol: bytes((number, 0, 0, 0)) for protocol, number in PROTOCOL_NUMBERS.items()}


def port_key(protocol: Protocol, port: int) -> bytes:
    """Protocol and port, as in the keys of node ports."""
    return _PROTOCOLS[protocol] + _PORTS[port]


def door_key(address: IPAddress, protocol: Protocol, port: int) -> bytes:
    return address.packed + _PROTOCOLS[protocol] + _PORTS[port]


def endpoint_value(backend: Backend) -> bytes:
    """Address and port, as the values of the maps of backends."""
    return host_bytes(backend) + _PORTS[backend.port]


def host_bytes(backend: Backend) -> bytes:
    """Its address: what `address.packed` is, in a tenth of the time."""
    return inet_pton(AF_INET6 if ":" in backend.host else AF_INET, backend.host)


def slot_key(slot: int) -> bytes:
    return _SLOTS[slot] if slot < 1024 else struct.pack("=I", slot)
