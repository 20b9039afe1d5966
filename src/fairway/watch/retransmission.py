"""How soon a connection goes on after an outage.

TCP sends what was not acknowledged again and again, each time after twice as long (RFC 6298, 5.5): what waits for a
link that was away for a minute may wait for another. So long a watch would tell of nothing, and a heartbeat be late.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

TCP_RTO_MAX_MS = 44
"""linux/tcp.h; Linux 6.15 and later."""

LONGEST_WAIT_MS = 1000
"""The least that the kernel takes (net/ipv4/tcp.c)."""


def go_on_soon(connection: socket.socket) -> None:
    """Send again at least once a second what is not acknowledged; accepted connections have it of their listener.

    A kernel that has no such option waits as long as it always did.
    """
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, LONGEST_WAIT_MS)


def new_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an address as `socket.getaddrinfo` gives it, as `aiohttp.TCPConnector` asks for one."""
    family, kind, protocol, *_ = address
    connection = socket.socket(family, kind, protocol)
    go_on_soon(connection)
    return connection
