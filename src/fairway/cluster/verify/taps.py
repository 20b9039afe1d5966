"""What goes over the links of a node, heard beside the kernel: packets as they are there, whoever they are for."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from fairway.base.addresses import Family, IPAddress
from fairway.flow.packet import Protocol

ETHER_TYPES = {Family.IPV4: 0x0800, Family.IPV6: 0x86DD}
"""ETH_P_IP, ETH_P_IPV6 of linux/if_ether.h."""

_ETH_P_ALL = 0x0003
"""Of what leaves only those who listen to everything hear."""
LOOPBACK = "lo"

_ICMP, _ICMPV6 = 1, 58
_PORT_UNREACHABLE = {_ICMP: (3, 3), _ICMPV6: (1, 4)}
"""By protocol: type and code (linux/icmp.h, linux/icmpv6.h)."""
_ICMP_HEADER = 8
_IPV6_HEADER = 40

_PROTOCOLS = {6: Protocol.TCP, 17: Protocol.UDP}
_LONGEST = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A packet of TCP or UDP; refused: such a packet as an ICMP port unreachable quotes it."""

    source: tuple[IPAddress, int]
    destination: tuple[IPAddress, int]
    protocol: Protocol
    refused: bool = False


class Tap:
    """Hears what leaves the namespace it is made in by any link, and what comes in by its loopback.

    One for all links: the kernel takes a hundredth of a second to let one go.
    """

    def __init__(self, family: Family) -> None:
        self._kind = ETHER_TYPES[family]
        # Not bound to a link, which takes the kernel as long again.
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def frames(self) -> list[tuple[str, Frame]]:
        """What came since the last call, in order, each with the link."""
        found: list[tuple[str, Frame]] = []
        while True:
            try:
                data, (link, kind, direction, *_) = self._socket.recvfrom(_LONGEST)
            except BlockingIOError:
                return found
            if kind != self._kind or (direction == socket.PACKET_OUTGOING) is (link == LOOPBACK):
                continue
            frame = read_frame(data)
            if frame is not None:
                found.append((link, frame))


def read_frame(data: bytes) -> Frame | None:
    """From an IP header of either version on; None for what is neither TCP, UDP nor a port unreachable."""
    source: IPAddress
    destination: IPAddress
    if data[0] >> 4 == Family.IPV4:
        number, payload = data[9], data[(data[0] & 0xF) * 4 :]
        source, destination = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    else:
        # Nothing sent here has extension headers.
        number, payload = data[6], data[_IPV6_HEADER:]
        source, destination = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    if number in _PORT_UNREACHABLE:
        if (payload[0], payload[1]) != _PORT_UNREACHABLE[number]:
            return None
        quoted = read_frame(payload[_ICMP_HEADER:])
        return replace(quoted, refused=True) if quoted is not None else None
    protocol = _PROTOCOLS.get(number)
    if protocol is None:
        return None
    return Frame(
        source=(source, int.from_bytes(payload[:2], "big")),
        destination=(destination, int.from_bytes(payload[2:4], "big")),
        protocol=protocol,
    )
