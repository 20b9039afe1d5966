"""The messages of connection tracking: linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h. Pure.

A flow is what the kernel keeps of a connection: the addresses its first packet had, those that answers to it have, and
how long it remembers them. Where the two are no mirror of each other the packets are rewritten.

Functions that make a message give a `Request`; those that read one take its body without the nfgenmsg. Those that read
raise ValueError for a broken message.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

from fairway.base.addresses import Family, IPAddress, format_host
from fairway.netlink.nftables import GENERIC, NFPROTO_IPV4, NFPROTO_IPV6, Request
from fairway.netlink.wire import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    Attributes,
    attribute,
    attributes,
    nested,
    to_int,
    u8,
    u16,
    u32,
)

SUBSYSTEM = 1
"""NFNL_SUBSYS_CTNETLINK."""

IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6, IPPROTO_SCTP = 1, 6, 17, 58, 132
"""linux/in.h, linux/in6.h."""


class Kind(IntEnum):
    """enum cntl_msg_types, those used here. NEW is also what the kernel answers a GET with."""

    NEW = 0
    GET = 1
    DELETE = 2
    GET_STATS = 5


class Status(IntFlag):
    """enum ip_conntrack_status, the bits that say something of a flow that is in the table.

    SRC_NAT, DST_NAT: the kernel rewrites the source or destination of its packets.
    """

    EXPECTED = 0x1
    SEEN_REPLY = 0x2
    ASSURED = 0x4
    CONFIRMED = 0x8
    SRC_NAT = 0x10
    DST_NAT = 0x20


class TcpState(IntEnum):
    """enum tcp_conntrack of linux/netfilter/nf_conntrack_tcp.h."""

    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    SYN_SENT2 = 9


class Tuple(Struct, frozen=True, gc=False):
    """One direction of a flow, as its packets are on the wire. Ports are 0 where the protocol has none."""

    source: IPAddress
    destination: IPAddress
    source_port: int = 0
    destination_port: int = 0

    def __str__(self) -> str:
        sender = f"{format_host(self.source)}:{self.source_port}"
        return f"{sender} -> {format_host(self.destination)}:{self.destination_port}"


class Flow(Struct, frozen=True, kw_only=True, gc=False):
    """One entry of the table.

    protocol: its number (IPPROTO_*). original: of the packets that began it; reply: of those that answer them, as the
    answering host sends them: `reply.source` is the backend where the destination was rewritten. status: Status.
    timeout_s: until it is forgotten if no packet comes. zone: 0 for the one everybody uses. state: of TCP only.
    identifier: tells it from a later flow of the same addresses.
    """

    family: Family
    protocol: int
    original: Tuple
    reply: Tuple
    status: int = 0
    timeout_s: int = 0
    mark: int = 0
    zone: int = 0
    state: TcpState | None = None
    identifier: int | None = None


class Usage(Struct, frozen=True):
    """How full the table is. limit: 0 for no limit."""

    entries: int
    limit: int


_PROTOCOL_FAMILY = {Family.IPV4: NFPROTO_IPV4, Family.IPV6: NFPROTO_IPV6}
_FAMILY = {number: family for family, number in _PROTOCOL_FAMILY.items()}
_WITH_PORTS = frozenset({IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, 33, 136})
"""Also DCCP and UDP-Lite."""

# enum ctattr_type
_ORIGINAL, _REPLY, _STATUS, _PROTOINFO, _TIMEOUT, _MARK, _ID, _ZONE, _FILTER = 1, 2, 3, 4, 7, 8, 12, 18, 25
_MARK_MASK = 21
# enum ctattr_tuple, ctattr_ip, ctattr_l4proto
_TUPLE_IP, _TUPLE_PROTO, _TUPLE_ZONE = 1, 2, 3
_IPV4_SOURCE, _IPV4_DESTINATION, _IPV6_SOURCE, _IPV6_DESTINATION = 1, 2, 3, 4
_PROTO_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_PORT_HEADER = bytes(u16(_DESTINATION_PORT, 0)[:4])
"""Before the destination port of a tuple, which is the last of its attributes."""
_PORT_OFFSET = {Family.IPV4: 48, Family.IPV6: 72}
"""After the headers of the tuple and of its addresses, these, the protocol, the source port, and its own header."""
# enum ctattr_protoinfo, ctattr_protoinfo_tcp
_PROTOINFO_TCP, _TCP_STATE = 1, 1
# enum ctattr_filter; the bit of CTA_PROTO_NUM in net/netfilter/nf_internals.h
_FILTER_ORIGINAL_FLAGS, _BY_PROTOCOL = 1, 1 << 3
# enum ctattr_stats_global
_STATS_ENTRIES, _STATS_LIMIT = 1, 2


def dump_flows(family: Family, protocol: int | None = None) -> Request:
    """All flows of a family. protocol: only its flows; kernels before 5.8 send the others too."""
    parts = []
    if protocol is not None:
        flags = attribute(_FILTER_ORIGINAL_FLAGS, _BY_PROTOCOL.to_bytes(4, sys.byteorder))
        parts = [nested(_FILTER, flags), nested(_ORIGINAL, nested(_TUPLE_PROTO, u8(_PROTO_NUMBER, protocol)))]
    return _request(Kind.GET, family, *parts, flags=NLM_F_DUMP, about=f"the {family.api_name} flows")


def delete_flow(flow: Flow) -> Request:
    """This flow alone; ENOENT where it is gone, also where a new one of the same addresses took its place.

    Raises ValueError for a protocol without ports, of which a Flow does not hold enough to name it.
    """
    if flow.protocol not in _WITH_PORTS:
        raise ValueError(f"a flow of protocol {flow.protocol} cannot be named by its ports")
    # The kernel finds it by this tuple, which no two flows of a zone share; without one it would delete every flow.
    parts = [_encode_tuple(_ORIGINAL, flow.original, flow.protocol)]
    if flow.zone:
        parts.append(u16(_ZONE, flow.zone))
    if flow.identifier is not None:
        parts.append(u32(_ID, flow.identifier))
    return _request(Kind.DELETE, flow.family, *parts, flags=NLM_F_ACK, about=f"flow {flow.original}")


LONGEST_S = 7 * 86400
"""How long an entry made by `new_established` stays at most."""


def new_established(original: Tuple, mark: int) -> Request:
    """An entry of a TCP connection that stands, whose packets nobody rewrites; no answer but a refusal.

    ENOMEM where the table is full. It is assured: the kernel gives it up for no other.
    """
    reply = Tuple(original.destination, original.source, original.destination_port, original.source_port)
    state = nested(_PROTOINFO, nested(_PROTOINFO_TCP, u8(_TCP_STATE, TcpState.ESTABLISHED)))
    return _request(
        Kind.NEW,
        Family(original.source.version),
        _encode_tuple(_ORIGINAL, original, IPPROTO_TCP),
        _encode_tuple(_REPLY, reply, IPPROTO_TCP),
        u32(_STATUS, Status.SEEN_REPLY | Status.ASSURED | Status.CONFIRMED),
        u32(_TIMEOUT, LONGEST_S),
        u32(_MARK, mark),
        state,
        flags=NLM_F_CREATE | NLM_F_EXCL,
        about=f"flow {original}",
    )


def delete_marked(mark: int, mask: int) -> Request:
    """All flows of IPv4 whose mark is this under the mask. Raises ValueError for no mask: it would mean every flow."""
    if not mask:
        raise ValueError("a mask of 0 is that of every flow")
    parts = u32(_MARK, mark), u32(_MARK_MASK, mask)
    return _request(Kind.DELETE, Family.IPV4, *parts, flags=NLM_F_ACK, about=f"the flows with mark {mark:#x}")


def get_usage() -> Request:
    """The count of flows of the network namespace, all families, and the limit."""
    return Request(
        SUBSYSTEM << 8 | Kind.GET_STATS, NLM_F_REQUEST | NLM_F_ACK, GENERIC.pack(0, 0, 0), "connection tracking"
    )


def decode_flow(body: bytes, family: Family) -> Flow:
    found = attributes(body)
    original, protocol, zone = _decode_tuple(found[_ORIGINAL])
    reply, _, _ = _decode_tuple(found[_REPLY])
    return Flow(
        family=family,
        protocol=protocol,
        original=original,
        reply=reply,
        status=to_int(found.get(_STATUS, b"")),
        timeout_s=to_int(found.get(_TIMEOUT, b"")),
        mark=to_int(found.get(_MARK, b"")),
        zone=to_int(found[_ZONE]) if _ZONE in found else zone,
        state=_tcp_state(found),
        identifier=to_int(found[_ID]) if _ID in found else None,
    )


def may_be_sent_to(body: bytes, family: Family, ports: Collection[int]) -> bool:
    """Whether a flow could be one that was sent to one of `ports`: tells most others apart at a tenth of the cost.

    The kernel writes the tuples first and each of their attributes where it always does; where it does not, any may be.
    """
    offset = _PORT_OFFSET[family]
    if body[offset - len(_PORT_HEADER) : offset] != _PORT_HEADER:
        return True
    return int.from_bytes(body[offset : offset + 2], "big") in ports


def decode_usage(body: bytes) -> Usage:
    found = attributes(body)
    return Usage(to_int(found[_STATS_ENTRIES]), to_int(found.get(_STATS_LIMIT, b"")))


def family_of(data: bytes) -> Family:
    """Of a message's body with its nfgenmsg. Raises ValueError for an empty one, and for another family."""
    if data and data[0] in _FAMILY:
        return _FAMILY[data[0]]
    raise ValueError("a flow of neither IPv4 nor IPv6")


def _request(kind: Kind, family: Family, *parts: bytes, flags: int, about: str) -> Request:
    body = GENERIC.pack(_PROTOCOL_FAMILY[family], 0, 0) + b"".join(parts)
    return Request(SUBSYSTEM << 8 | kind, NLM_F_REQUEST | flags, body, about)


def _encode_tuple(kind: int, value: Tuple, protocol: int) -> bytes:
    v4 = value.source.version == 4
    source, destination = (_IPV4_SOURCE, _IPV4_DESTINATION) if v4 else (_IPV6_SOURCE, _IPV6_DESTINATION)
    return nested(
        kind,
        nested(_TUPLE_IP, attribute(source, value.source.packed), attribute(destination, value.destination.packed)),
        nested(
            _TUPLE_PROTO,
            u8(_PROTO_NUMBER, protocol),
            u16(_SOURCE_PORT, value.source_port),
            u16(_DESTINATION_PORT, value.destination_port),
        ),
    )


def _decode_tuple(data: bytes) -> tuple[Tuple, int, int]:
    """The tuple, its protocol and its zone."""
    found = attributes(data)
    addresses, transport = attributes(found[_TUPLE_IP]), attributes(found[_TUPLE_PROTO])
    source: IPAddress
    destination: IPAddress
    if _IPV4_SOURCE in addresses:
        source, destination = IPv4Address(addresses[_IPV4_SOURCE]), IPv4Address(addresses[_IPV4_DESTINATION])
    else:
        source, destination = IPv6Address(addresses[_IPV6_SOURCE]), IPv6Address(addresses[_IPV6_DESTINATION])
    ports = to_int(transport.get(_SOURCE_PORT, b"")), to_int(transport.get(_DESTINATION_PORT, b""))
    zone = to_int(found.get(_TUPLE_ZONE, b""))
    return Tuple(source, destination, *ports), to_int(transport[_PROTO_NUMBER]), zone


def _tcp_state(found: Attributes) -> TcpState | None:
    inner = attributes(attributes(found.get(_PROTOINFO, b"")).get(_PROTOINFO_TCP, b""))
    try:
        return TcpState(to_int(inner[_TCP_STATE])) if _TCP_STATE in inner else None
    except ValueError:
        return None
