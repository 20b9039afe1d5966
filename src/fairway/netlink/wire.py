"""Netlink messages and attributes as bytes: linux/netlink.h. Pure.

Attributes are little records of length, type and value, padded to four bytes, and may hold attributes themselves.
Integers inside nf_tables' attributes are big-endian, those of the headers are the machine's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_EXCL = 0x200

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

HEADER = Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_ATTRIBUTE = Struct("=HH")
"""struct nlattr: length, type."""
_U16, _U32, _U64 = Struct(">H"), Struct(">I"), Struct(">Q")

MAX_ATTRIBUTE = 0xFFFF
"""An attribute's length is sixteen bits, its own header counted."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came, body without the header."""

    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes


def encode_message(kind: int, flags: int, sequence: int, body: bytes, port: int = 0) -> bytes:
    """One message; `body` must be padded already, as attributes are."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, port) + body


def decode_messages(data: bytes) -> Iterator[Received]:
    """The messages of one datagram. Raises ValueError for one that claims more than there is."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            raise ValueError(f"a message claims {length} bytes at offset {offset} of {len(data)}")
        yield Received(kind, flags, sequence, port, data[offset + HEADER.size : offset + length])
        offset += _padded(length)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute. Raises ValueError for a value that does not fit its sixteen bits of length."""
    length = _ATTRIBUTE.size + len(value)
    if length > MAX_ATTRIBUTE:
        raise ValueError(f"{len(value)} bytes do not fit an attribute")
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A string with the zero byte the kernel wants at its end."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, _U16.pack(value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, _U32.pack(value))


def u64(kind: int, value: int) -> bytes:
    return attribute(kind, _U64.pack(value))


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type (without its flags) and value of each attribute, in order. Raises ValueError for a broken one."""
    offset, end = 0, len(data)
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > end:
            raise ValueError(f"an attribute claims {length} bytes at offset {offset} of {end}")
        yield kind & NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += _padded(length)


class Attributes(dict[int, bytes]):
    """Values by type. One that is not there raises ValueError: the message is broken, as where its bytes are."""

    def __missing__(self, kind: int) -> bytes:
        raise ValueError(f"attribute {kind} is missing")


def attributes(data: bytes) -> Attributes:
    """The attributes by type; of one that comes several times the last. Raises ValueError for a broken one."""
    return Attributes(each_attribute(data))


def to_text(value: bytes) -> str:
    """A string attribute's text; bytes that are no UTF-8 are kept recognisable."""
    return value.rstrip(b"\0").decode(errors="backslashreplace")


def to_int(value: bytes) -> int:
    """A big-endian integer of any size."""
    return int.from_bytes(value, "big")


def _padded(length: int) -> int:
    return (length + 3) & ~3
