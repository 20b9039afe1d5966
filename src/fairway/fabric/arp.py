"""Gratuitous ARP: how a machine tells its neighbours that an address is its own now (RFC 5227, section 3)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

_BROADCAST = b"\xff" * 6
_ETHERTYPE_ARP = 0x0806
_HARDWARE_ETHERNET = 1
_PROTOCOL_IPV4 = 0x0800
_REQUEST = 1
_REPLY = 2

_FRAME = struct.Struct("!6s6sH HHBBH 6s4s 6s4s")
"""Ethernet II header (destination, source, type), then RFC 826: types, lengths, operation, sender, target."""


def announcement(mac: bytes, address: IPv4Address) -> bytes:
    """The Ethernet frame of an ARP announcement: a request for the sender's own address (RFC 5227, section 2.3)."""
    return _frame(mac, address, _REQUEST, target_mac=bytes(6))


def unasked_reply(mac: bytes, address: IPv4Address) -> bytes:
    """The same as a broadcast reply, for neighbours that learn from replies only (RFC 5944, section 4.6)."""
    return _frame(mac, address, _REPLY, target_mac=mac)


def _frame(mac: bytes, address: IPv4Address, operation: int, *, target_mac: bytes) -> bytes:
    return _FRAME.pack(
        _BROADCAST,
        mac,
        _ETHERTYPE_ARP,
        _HARDWARE_ETHERNET,
        _PROTOCOL_IPV4,
        len(mac),
        len(address.packed),
        operation,
        mac,
        address.packed,
        target_mac,
        address.packed,
    )
