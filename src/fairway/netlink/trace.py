"""What the kernel tells of a packet with `meta nftrace set 1`: each rule it matched, and what came of it. Pure.

Messages NFT_MSG_TRACE on the multicast group NFNLGRP_NFTRACE; enum nft_trace_attributes of linux/netfilter/nf_tables.h.
A rule that did not match says nothing, and the headers come only with the first message of each base chain.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from fairway.base.addresses import IPAddress, address_of, format_host
from fairway.netlink.expressions import Code, Verdict
from fairway.netlink.wire import attributes, to_int, to_text

_TABLE, _CHAIN, _RULE_HANDLE, _TYPE, _VERDICT, _ID = 1, 2, 3, 4, 5, 6
_NETWORK_HEADER, _TRANSPORT_HEADER, _POLICY = 8, 9, 16
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_ADDRESSES = {4: (12, 16, 20), 6: (8, 24, 40)}
"""By the version of an IP header: where its source begins, its destination, and where that ends."""
_PORTS_END = 4


class TraceKind(IntEnum):
    """enum nft_trace_types."""

    POLICY = 1
    """The end of a base chain: its policy decides."""
    RETURN = 2
    """The end of a chain that was jumped to."""
    RULE = 3


class Headers(Struct, frozen=True):
    """Where a packet comes from and goes to, at the moment it is traced."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int

    def __str__(self) -> str:
        source, destination = format_host(self.source), format_host(self.destination)
        return f"{source}:{self.source_port} -> {destination}:{self.destination_port}"


class Traced(Struct, frozen=True):
    """One step of a packet.

    packet: a number that all its steps have. handle: of the rule, 0 where it is none. verdict: what the rule, or the
    chain's policy, decided; None for one of a kind that our rules do not have, and at the end of a chain. headers: of
    the first step in a base chain, for IP with ports; else None.
    """

    packet: int
    table: str
    chain: str
    kind: TraceKind
    handle: int = 0
    verdict: Verdict | None = None
    headers: Headers | None = None


def decode_trace(body: bytes) -> Traced:
    """Raises ValueError for attributes that are broken or missing."""
    found = attributes(body)
    kind = TraceKind(to_int(found[_TYPE]))
    return Traced(
        packet=to_int(found[_ID]),
        table=to_text(found[_TABLE]),
        chain=to_text(found[_CHAIN]),
        kind=kind,
        handle=to_int(found.get(_RULE_HANDLE, b"")),
        verdict=_policy(found) if kind is TraceKind.POLICY else _verdict(found),
        headers=_headers(found.get(_NETWORK_HEADER, b""), found.get(_TRANSPORT_HEADER, b"")),
    )


def _verdict(found: dict[int, bytes]) -> Verdict | None:
    if _VERDICT not in found:
        return None
    inner = attributes(found[_VERDICT])
    return _known(inner[_VERDICT_CODE], to_text(inner.get(_VERDICT_CHAIN, b"")))


def _policy(found: dict[int, bytes]) -> Verdict | None:
    return _known(found[_POLICY]) if _POLICY in found else None


def _known(code: bytes, chain: str = "") -> Verdict | None:
    try:
        return Verdict(Code(int.from_bytes(code, "big", signed=True)), chain)
    except ValueError:
        return None


def _headers(network: bytes, transport: bytes) -> Headers | None:
    places = _ADDRESSES.get(network[0] >> 4) if network else None
    if places is None or len(network) < places[-1] or len(transport) < _PORTS_END:
        return None
    source, destination, end = places
    return Headers(
        address_of(network[source:destination]),
        to_int(transport[:2]),
        address_of(network[destination:end]),
        to_int(transport[2:4]),
    )
