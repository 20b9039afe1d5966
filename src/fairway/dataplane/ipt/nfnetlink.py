"""Ask the kernel's netfilter by netlink, without a library: linux/netlink.h, linux/netfilter/nfnetlink.h.

Needs CAP_NET_ADMIN in the network namespace.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_CREATE = 0x400

_NETLINK_NETFILTER = 12
_NLMSG_ERROR = 2

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_GENERIC = struct.Struct("=BBH")
"""struct nfgenmsg: family, version, resource."""
_ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: length, type; the value follows, padded to four bytes."""
_ERROR = struct.Struct("=i")
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """error: 0, or the errno the kernel ended with. messages: the attributes of each message it sent before."""

    error: int
    messages: tuple[dict[int, bytes], ...]


def connect() -> socket.socket:
    """A socket for `ask`. Raises OSError where the kernel has no netfilter."""
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    connection.settimeout(_TIMEOUT_S)
    connection.bind((0, 0))
    return connection


def ask(connection: socket.socket, subsystem: int, message: int, attributes: bytes = b"", flags: int = 0) -> Answer:
    """Send one message and wait for its acknowledgement. Raises OSError where none comes."""
    body = _GENERIC.pack(socket.AF_INET, 0, 0) + attributes
    kind = subsystem << 8 | message
    connection.send(_HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0) + body)
    messages: list[dict[int, bytes]] = []
    while True:
        received = connection.recv(65536)
        length, kind, _, _, _ = _HEADER.unpack_from(received)
        if kind == _NLMSG_ERROR:
            (error,) = _ERROR.unpack_from(received, _HEADER.size)
            return Answer(-int(error), tuple(messages))
        messages.append(_attributes(received[_HEADER.size + _GENERIC.size : length]))


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute as it is sent."""
    padding = -len(value) % 4
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(padding)


def _attributes(body: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += length + -length % 4
    return found
