"""What arrives on a link, heard beside the kernel: packets as they are on the wire, whoever they are for."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from fairway.flow.packet import Protocol

ETH_P_IP = 0x0800
"""linux/if_ether.h"""
_ICMP = 1
_DEST_UNREACH, _PORT_UNREACH = 3, 3
"""linux/icmp.h"""

_PROTOCOLS = {6: Protocol.TCP, 17: Protocol.UDP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A packet of TCP or UDP; refused: such a packet as an ICMP port unreachable quotes it."""

    source: tuple[IPv4Address, int]
    destination: tuple[IPv4Address, int]
    protocol: Protocol
    refused: bool = False


class Tap:
    """Hears one interface of the namespace it is made in: what comes in there."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        self._socket.bind((interface, ETH_P_IP))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def frames(self) -> list[Frame]:
        """What came since the last call, in order."""
        found = []
        while True:
            try:
                data = self._socket.recv(2048)
            except BlockingIOError:
                return found
            frame = read_frame(data)
            if frame is not None:
                found.append(frame)


def read_frame(data: bytes) -> Frame | None:
    """From an IPv4 header on; None for what is neither TCP, UDP nor a port unreachable."""
    header = (data[0] & 0xF) * 4
    number, payload = data[9], data[header:]
    if number == _ICMP and payload[0] == _DEST_UNREACH and payload[1] == _PORT_UNREACH:
        quoted = read_frame(payload[8:])
        return replace(quoted, refused=True) if quoted is not None else None
    protocol = _PROTOCOLS.get(number)
    if protocol is None:
        return None
    return Frame(
        source=(IPv4Address(data[12:16]), int.from_bytes(payload[:2], "big")),
        destination=(IPv4Address(data[16:20]), int.from_bytes(payload[2:4], "big")),
        protocol=protocol,
    )
