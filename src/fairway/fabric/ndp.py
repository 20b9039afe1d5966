"""Unsolicited neighbour advertisements: gratuitous ARP's counterpart in IPv6 (RFC 4861, sections 4.4 and 7.2.6)."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

_ALL_NODES = IPv6Address("ff02::1").packed
_ALL_NODES_MAC = b"\x33\x33" + _ALL_NODES[-4:]
"""RFC 2464, section 7: of a multicast address the last four bytes, after 33:33."""

_ETHERTYPE_IPV6 = 0x86DD
_NEXT_HEADER_ICMPV6 = 58
_HOP_LIMIT = 255
"""A greater distance is refused: nobody beyond the link may speak of its neighbours (RFC 4861, section 7.1.2)."""

_NEIGHBOUR_ADVERTISEMENT = 136
_ROUTER, _OVERRIDE = 0x80000000, 0x20000000
"""It forwards, as a node does; it replaces what neighbours have noted."""
_TARGET_LINK_LAYER_ADDRESS = 2

_ETHERNET = struct.Struct("!6s6sH")
_IPV6 = struct.Struct("!IHBB16s16s")
"""Version, traffic class and flow label; payload length; next header; hop limit; source; destination (RFC 8200)."""
_ADVERTISEMENT = struct.Struct("!BBHI16sBB6s")
"""Type, code, checksum, flags, target; one option: its type, its length in units of eight bytes, the address."""
_PSEUDO_HEADER = struct.Struct("!16s16sI3xB")


def advertisement(mac: bytes, address: IPv6Address) -> bytes:
    """The Ethernet frame that tells all nodes of a link to find the address at a hardware address from now on."""
    message = _message(mac, address, checksum=0)
    message = _message(mac, address, checksum=_checksum(address, message))
    header = _IPV6.pack(6 << 28, len(message), _NEXT_HEADER_ICMPV6, _HOP_LIMIT, address.packed, _ALL_NODES)
    return _ETHERNET.pack(_ALL_NODES_MAC, mac, _ETHERTYPE_IPV6) + header + message


def _message(mac: bytes, address: IPv6Address, *, checksum: int) -> bytes:
    return _ADVERTISEMENT.pack(
        _NEIGHBOUR_ADVERTISEMENT,
        0,
        checksum,
        _ROUTER | _OVERRIDE,
        address.packed,
        _TARGET_LINK_LAYER_ADDRESS,
        1,
        mac,
    )


def _checksum(source: IPv6Address, message: bytes) -> int:
    """Of ICMPv6, over the pseudo-header too (RFC 4443, section 2.3; RFC 1071)."""
    data = _PSEUDO_HEADER.pack(source.packed, _ALL_NODES, len(message), _NEXT_HEADER_ICMPV6) + message
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
