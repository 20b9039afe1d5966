"""Sockets that listen, from /proc/net: proc(5), net/ipv4/tcp_ipv4.c (get_tcp4_sock). Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

_TCP_LISTEN, _UDP_UNCONNECTED = "0A", "07"
"""enum tcp_states of net/tcp_states.h; UDP has no LISTEN, and is TCP_CLOSE where it is not connected."""
STATES: Mapping[str, str] = {"tcp": _TCP_LISTEN, "tcp6": _TCP_LISTEN, "udp": _UDP_UNCONNECTED, "udp6": _UDP_UNCONNECTED}
"""By file of /proc/net, the state of a socket that waits for calls."""


class Socket(NamedTuple):
    address: str
    port: int
    inode: int


def listening(text: str, state: str) -> Iterator[Socket]:
    """Those sockets of a file of /proc/net that are in this state."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == state:
            host, _, port = words[1].partition(":")
            yield Socket(_address(host), int(port, 16), int(words[9]))


def _address(digits: str) -> str:
    """Words of 32 bits, each printed as the machine's own number."""
    data = bytes.fromhex(digits)
    if sys.byteorder == "little":
        data = b"".join(data[start : start + 4][::-1] for start in range(0, len(data), 4))
    return str(IPv4Address(data) if len(data) == 4 else IPv6Address(data))
