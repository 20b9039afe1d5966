"""Elements, verdicts and single values as nft prints them. Pure.

nft keeps a way to print each of its types (src/datatype.c of nftables 1.0.6); here are those of our fields.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from socket import AF_INET, AF_INET6, inet_ntop

from fairway.dataplane.nft import layout
from fairway.dataplane.nft.ruleset import SetSpec
from fairway.netlink.elements import Value
from fairway.netlink.expressions import Code, Verdict
from fairway.netlink.userdata import Field

_RTN_LOCAL = 2
"""linux/rtnetlink.h."""
_ROOT = 0xFFFFFFFF
"""TC_H_ROOT of linux/pkt_sched.h."""
_PROTOCOLS = {number: protocol.value for protocol, number in layout.PROTOCOL_NUMBERS.items()}
"""nft asks /etc/protocols, and prints numbers where a machine has none; these names are the same everywhere."""

MARK, CT_STATUS, ROUTE, IFNAME = 19, 28, 38, 41
"""nft's numbers of types (enum datatypes), as in `layout`: TYPE_MARK, TYPE_CT_STATUS, TYPE_FIB_ADDR, TYPE_IFNAME."""


def format_element(spec: SetSpec, key: bytes, value: Value) -> str:
    """One element, also for a person to read: `10.200.1.1 . tcp . 443 : 3:1`.

    Raises ValueError where it is not of the set's make.
    """
    if spec.ranges:
        return " . ".join(_format_ranges(spec.key, key, value))
    text = _format_fields(spec.key, key)
    if spec.data is None:
        if value is not None:
            raise ValueError(f"set {spec.name}: an element has a value")
        return text
    if isinstance(value, Verdict) and not spec.data:
        return f"{text} : {format_verdict(value)}"
    if isinstance(value, bytes) and spec.data:
        return f"{text} : {_format_fields(spec.data, value)}"
    raise ValueError(f"map {spec.name}: an element has a value of another kind")


def format_verdict(verdict: Verdict) -> str:
    """`drop`, `goto services`. Raises ValueError for a chain where none can be, or none where one must be."""
    if (verdict.code in (Code.JUMP, Code.GOTO)) is not bool(verdict.chain):
        raise ValueError(f"no verdict: {verdict}")
    word = verdict.code.name.lower()
    return f"{word} {verdict.chain}" if verdict.chain else word


def _split(fields: Sequence[Field], data: bytes) -> list[tuple[Field, bytes]]:
    """Each field and its bytes without padding."""
    if len(data) != sum(each.padded for each in fields):
        raise ValueError(f"{len(data)} bytes for {' . '.join(each.text for each in fields)}")
    parts, offset = [], 0
    for each in fields:
        parts.append((each, data[offset : offset + each.length]))
        offset += each.padded
    return parts


def _format_fields(fields: Sequence[Field], data: bytes) -> str:
    return " . ".join([format_value(each.datatype, part) for each, part in _split(fields, data)])


def _format_ranges(fields: Sequence[Field], first: bytes, last: Value) -> list[str]:
    if not isinstance(last, bytes):
        raise ValueError("a range without an end")
    pairs = zip(_split(fields, first), _split(fields, last), strict=True)
    return [_format_range(each.datatype, low, high) for (each, low), (_, high) in pairs]


def _format_range(datatype: int, low: bytes, high: bytes) -> str:
    """nft prints a range of addresses as a network where it is one."""
    if low > high:
        raise ValueError("a range that ends before it begins")
    text = format_value(datatype, low)
    if low == high:
        return text
    if datatype in (layout.IPV4_ADDR, layout.IPV6_ADDR):
        prefix = _shared_prefix(low, high)
        if prefix is not None:
            return f"{text}/{prefix}"
    return f"{text}-{format_value(datatype, high)}"


def _shared_prefix(low: bytes, high: bytes) -> int | None:
    """The prefix length of the network from `low` to `high`, None where they are no network's ends."""
    first, last = int.from_bytes(low, "big"), int.from_bytes(high, "big")
    size = last - first + 1
    return 8 * len(low) - size.bit_length() + 1 if size & (size - 1) == 0 and first % size == 0 else None


def format_value(datatype: int, data: bytes) -> str:
    format_data = _FORMATS.get(datatype)
    if format_data is None:
        raise ValueError(f"no words for values of nft's type {datatype}")
    return format_data(data)


def _format_ipv4(data: bytes) -> str:
    return inet_ntop(AF_INET, data)


def _format_ipv6(data: bytes) -> str:
    # As nft: unlike Python it writes the last 32 bits of mapped addresses as IPv4's.
    return inet_ntop(AF_INET6, data)


def _format_protocol(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    if number not in _PROTOCOLS:
        raise ValueError(f"protocol {number} is none of a Service's")
    return _PROTOCOLS[number]


def format_port(data: bytes) -> str:
    return str(int.from_bytes(data, "big"))


def _format_number(data: bytes) -> str:
    return str(int.from_bytes(data, sys.byteorder))


def format_mark(data: bytes) -> str:
    return f"0x{int.from_bytes(data, sys.byteorder):08x}"


def format_interface(data: bytes) -> str:
    """A link's name, or how names begin where there are fewer bytes than a name has. Raises ValueError for neither."""
    name = data.rstrip(b"\0").decode("ascii")
    if not name or not name.isprintable() or '"' in name or len(data) > layout.IFNAME_SIZE:
        raise ValueError(f"no link's name: {data!r}")
    if len(data) < layout.IFNAME_SIZE:
        if len(name) < len(data):
            raise ValueError(f"no beginning of a link's name: {data!r}")
        name += "*"
    return f'"{name}"'


def _format_class(data: bytes) -> str:
    """tchandle_type_print in nft's src/meta.c."""
    number = int.from_bytes(data, sys.byteorder)
    if number in (0, _ROOT):
        return "root" if number else "none"
    return f"{number >> 16:x}:{number & 0xFFFF:x}"


def _format_route(data: bytes) -> str:
    if int.from_bytes(data, sys.byteorder) != _RTN_LOCAL:
        raise ValueError("a kind of route that our rules do not ask for")
    return "local"


_FORMATS: Mapping[int, Callable[[bytes], str]] = {
    layout.IPV4_ADDR: _format_ipv4,
    layout.IPV6_ADDR: _format_ipv6,
    layout.INET_PROTO: _format_protocol,
    layout.INET_SERVICE: format_port,
    layout.CLASSID: _format_class,
    layout.INTEGER: _format_number,
    MARK: format_mark,
    ROUTE: _format_route,
}
