"""One rule's expressions as nft prints them, and one element's key and value: the reverse of `chains`. Pure.

nft rebuilds statements from what the kernel holds by following registers (src/netlink_delinearize.c of nftables 1.0.6);
so does this, for the statements our rules are made of and no others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_ntop

from fairway.base.addresses import Family
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.ruleset import Rule, SetSpec, protocol_family
from fairway.netlink.elements import Value
from fairway.netlink.expressions import (
    Bitwise,
    Cmp,
    CmpOp,
    Code,
    Counter,
    Ct,
    Dnat,
    Expression,
    FibType,
    Immediate,
    ImmediateVerdict,
    Lookup,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Numgen,
    Payload,
    PayloadBase,
    Register,
    Reject,
    Update,
    Verdict,
    word_index,
)
from fairway.netlink.userdata import COMMENT_LIMIT, Field

_RTN_LOCAL = 2
_IPS_DST_NAT = 0x20
_PORT_UNREACHABLE = {Family.IPV4: 3, Family.IPV6: 4}
"""As in `chains`; nft leaves the reason out where it is this one."""
_ROOT = 0xFFFFFFFF
"""TC_H_ROOT of linux/pkt_sched.h."""
_PROTOCOLS = {number: protocol.value for protocol, number in layout.PROTOCOL_NUMBERS.items()}
"""nft asks /etc/protocols; these three have the same names everywhere."""


def format_rule(rule: Rule, family: Family, sets: Mapping[str, SetSpec]) -> str:
    """A rule on its line: `meta priority set none meta l4proto tcp dnat to 10.1.1.1:80`.

    sets: those of its table. Raises ValueError for expressions that no rule of ours is made of.
    """
    printer = _Printer(family, sets)
    for expression in rule.expressions:
        printer.add(expression)
    words = printer.words
    if rule.comment:
        words.append(format_comment(rule.comment))
    return " ".join(words)


def format_comment(text: str) -> str:
    """As of a table, set, chain or rule. Raises ValueError for what could end the quotes or is cut by nft."""
    if not (text.isascii() and text.isprintable()) or '"' in text or len(text) >= COMMENT_LIMIT:
        raise ValueError(f"no comment for nft: {text!r}")
    return f'comment "{text}"'


def format_element(spec: SetSpec, key: bytes, value: Value) -> str:
    """One element, also for a person to read: `10.200.1.1 . tcp . 443 : 3:1`. Raises ValueError where it is not of
    the set's make."""
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


# -- values


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
    return " . ".join([_format_value(each.datatype, part) for each, part in _split(fields, data)])


def _format_ranges(fields: Sequence[Field], first: bytes, last: Value) -> list[str]:
    if not isinstance(last, bytes):
        raise ValueError("a range without an end")
    pairs = zip(_split(fields, first), _split(fields, last), strict=True)
    return [_format_range(each.datatype, low, high) for (each, low), (_, high) in pairs]


def _format_range(datatype: int, low: bytes, high: bytes) -> str:
    """nft prints a range of addresses as a network where it is one."""
    if low > high:
        raise ValueError("a range that ends before it begins")
    text = _format_value(datatype, low)
    if low == high:
        return text
    if datatype in (layout.IPV4_ADDR, layout.IPV6_ADDR):
        prefix = _shared_prefix(low, high)
        if prefix is not None:
            return f"{text}/{prefix}"
    return f"{text}-{_format_value(datatype, high)}"


def _shared_prefix(low: bytes, high: bytes) -> int | None:
    """The prefix length of the network from `low` to `high`, None where they are no network's ends."""
    first, last = int.from_bytes(low, "big"), int.from_bytes(high, "big")
    size = last - first + 1
    return 8 * len(low) - size.bit_length() + 1 if size & (size - 1) == 0 and first % size == 0 else None


def _format_value(datatype: int, data: bytes) -> str:
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


def _format_port(data: bytes) -> str:
    return str(int.from_bytes(data, "big"))


def _format_number(data: bytes) -> str:
    return str(int.from_bytes(data, sys.byteorder))


def _format_mark(data: bytes) -> str:
    return f"0x{int.from_bytes(data, sys.byteorder):08x}"


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


_MARK, _ROUTE, _CT_STATUS = 19, 21, 27
"""nft's numbers of types (enum datatypes), as in `layout`: TYPE_MARK, TYPE_FIB_ADDR, TYPE_CT_STATUS."""

_FORMATS: Mapping[int, Callable[[bytes], str]] = {
    layout.IPV4_ADDR: _format_ipv4,
    layout.IPV6_ADDR: _format_ipv6,
    layout.INET_PROTO: _format_protocol,
    layout.INET_SERVICE: _format_port,
    layout.CLASSID: _format_class,
    layout.INTEGER: _format_number,
    _MARK: _format_mark,
    _ROUTE: _format_route,
}


# -- rules


@dataclass(frozen=True, slots=True)
class _Term:
    """What a register holds: nft's words for it, and how to print a constant it is compared with.

    length: bytes. whole: of the field it is the beginning of. data: of a constant, which has no words of its own.
    mask: that it was and-ed with. fields: those of a map's value.
    """

    text: str
    length: int
    datatype: int = 0
    whole: int = 0
    data: bytes | None = None
    mask: bytes | None = None
    fields: tuple[Field, ...] = ()

    @property
    def size(self) -> int:
        """Words of four bytes."""
        return -(-self.length // 4)


@dataclass(slots=True)
class _Printer:
    """The words so far, and what the registers hold, by words of four bytes."""

    family: Family
    sets: Mapping[str, SetSpec]
    words: list[str] = field(default_factory=list)
    _held: dict[int, _Term] = field(default_factory=dict)

    def add(self, expression: Expression) -> None:
        match expression:
            case Payload():
                self._store(expression.dreg, self._payload(expression))
            case Meta(key, dreg):
                self._store(dreg, _meta(key))
            case Ct(_, dreg):
                self._store(dreg, _Term("ct status", 4, _CT_STATUS))
            case FibType(source, dreg):
                self._store(dreg, _Term(f"fib {'saddr' if source else 'daddr'} type", 4, _ROUTE))
            case Numgen(modulus, offset, dreg):
                added = f" offset {offset}" if offset else ""
                self._store(dreg, _Term(f"numgen random mod {modulus}{added}", 4, layout.INTEGER))
            case Immediate(data, dreg):
                self._store(dreg, _Term("", len(data), data=data))
            case Bitwise():
                self._bitwise(expression)
            case Lookup():
                self._lookup(expression)
            case _:
                self.words.append(self._statement(expression))

    def _statement(self, expression: Expression) -> str:
        match expression:
            case Cmp():
                return self._compare(expression)
            case MetaSet(key, sreg):
                return f"{_meta(key).text} set {_said(self._at(sreg), _meta(key))}"
            case Update(name, sreg):
                return f"update @{name} {{ {self._key(name, sreg)} }}"
            case Dnat():
                return self._dnat(expression)
            case ImmediateVerdict(verdict):
                return format_verdict(verdict)
            case Masquerade():
                return "masquerade fully-random"
            case Reject(code) if code == _PORT_UNREACHABLE[self.family]:
                return "reject"
            case Counter():
                return "counter packets 0 bytes 0"
            case _:
                raise ValueError(f"no words for {expression}")

    def _store(self, register: Register, term: _Term) -> None:
        start = word_index(register)
        for index in range(start, start + term.size):
            self._held.pop(index, None)
        self._held[start] = term

    def _at(self, register: Register) -> _Term:
        return self._at_word(word_index(register))

    def _at_word(self, index: int) -> _Term:
        try:
            return self._held[index]
        except KeyError:
            raise ValueError("a register is read that nothing was loaded to") from None

    def _payload(self, load: Payload) -> _Term:
        for spot in _SPOTS[self.family]:
            if (load.base, load.offset) == (spot.base, spot.offset) and load.length <= spot.term.length:
                return _Term(spot.term.text, load.length, spot.term.datatype, whole=spot.term.length)
        raise ValueError(f"no words for {load}")

    def _bitwise(self, operation: Bitwise) -> None:
        term = self._at(operation.sreg)
        if term.mask is not None or not term.datatype or not len(operation.mask) == len(operation.xor) == term.length:
            raise ValueError(f"no words for {operation}")
        mask, xor = (int.from_bytes(data, sys.byteorder) for data in (operation.mask, operation.xor))
        every = (1 << 8 * term.length) - 1
        if not xor:
            changed = _Term(term.text, term.length, term.datatype, term.whole, mask=operation.mask)
        elif term.datatype != _MARK or mask not in (every, every ^ xor):
            raise ValueError(f"no words for {operation}")
        else:
            sign = "^" if mask == every else "|"
            changed = _Term(f"{term.text} {sign} {_format_mark(operation.xor)}", term.length)
        self._store(operation.dreg, changed)

    def _compare(self, comparison: Cmp) -> str:
        term, data = self._at(comparison.sreg), comparison.data
        negated = "!= " if comparison.op is CmpOp.NEQ else ""
        if len(data) != term.length:
            raise ValueError(f"{len(data)} bytes to compare {term.text!r} with")
        if term.datatype in (layout.IPV4_ADDR, layout.IPV6_ADDR):
            prefix = _prefix_length(term)
            address = _format_value(term.datatype, data + bytes(term.whole - len(data)))
            return f"{term.text} {negated}{address}{'' if prefix == 8 * term.whole else f'/{prefix}'}"
        if term.mask is None:
            return f"{_said(term, term)} {negated}{_format_value(term.datatype, data)}"
        if term.datatype == _MARK:
            return f"{term.text} & {_format_mark(term.mask)} {negated or '== '}{_format_mark(data)}"
        dst_nat = _IPS_DST_NAT.to_bytes(4, sys.byteorder)
        if (term.datatype, term.mask, data, bool(negated)) == (_CT_STATUS, dst_nat, bytes(4), True):
            return f"{term.text} dnat"
        raise ValueError(f"no words for {comparison} of {term.text!r}")

    def _lookup(self, lookup: Lookup) -> None:
        key, spec = self._key(lookup.set, lookup.sreg), self.sets[lookup.set]
        if lookup.dreg is None:
            if spec.is_map:
                raise ValueError(f"{spec.name} is no set")
            self.words.append(f"{key} {'!= ' if lookup.inverted else ''}@{spec.name}")
        elif spec.data is None or lookup.inverted or (word_index(lookup.dreg) < 0) is bool(spec.data):
            raise ValueError(f"{spec.name} is no map that can be asked so")
        elif not spec.data:
            self.words.append(f"{key} vmap @{spec.name}")
        else:
            length = sum(each.padded for each in spec.data)
            self._store(lookup.dreg, _Term(f"{key} map @{spec.name}", length, fields=spec.data))

    def _key(self, name: str, register: Register) -> str:
        """The fields that are asked a set for. Raises ValueError where they are not of its key's sizes."""
        spec = self.sets.get(name)
        if spec is None:
            raise ValueError(f"there is no set {name}")
        index, parts = word_index(register), []
        for each in spec.key:
            term = self._at_word(index)
            if term.data is not None or term.length != each.length or term.datatype != each.datatype:
                raise ValueError(f"set {name} has no key of {term.text!r}")
            parts.append(_said(term, term))
            index += term.size
        return " . ".join(parts)

    def _dnat(self, nat: Dnat) -> str:
        if nat.family != protocol_family(self.family):
            raise ValueError("an address of another family than the table's")
        address, words = self._at(nat.address), self.family.bits // 32
        if address.fields:
            if len(address.fields) != 2 or word_index(nat.port) != word_index(nat.address) + words:
                raise ValueError(f"no address and port: {address.text}")
            return f"dnat {'ip' if self.family is Family.IPV4 else 'ip6'} to {address.text}"
        port = self._at(nat.port)
        if address.data is None or port.data is None or len(address.data) != words * 4 or len(port.data) != 2:
            raise ValueError("no address and port to rewrite the destination to")
        host = _format_value(_ADDRESS[self.family], address.data)
        return f"dnat to {f'[{host}]' if self.family is Family.IPV6 else host}:{_format_port(port.data)}"


def _meta(key: MetaKey) -> _Term:
    if key not in _META:
        raise ValueError(f"no words for {key.name.lower()} of a packet's metadata")
    return _META[key]


def _said(term: _Term, target: _Term) -> str:
    """A register's content as words; a constant as a value of what it goes to."""
    if term.data is not None:
        return _format_value(target.datatype, term.data)
    if term.mask is not None and term.datatype == _MARK:
        return f"{term.text} & {_format_mark(term.mask)}"
    if term.mask is not None or (term.whole and term.whole != term.length):
        raise ValueError(f"only a part of {term.text} is asked for")
    return term.text


def _prefix_length(term: _Term) -> int:
    if term.mask is None:
        return 8 * term.length
    bits = "".join(f"{byte:08b}" for byte in term.mask)
    ones = bits.count("1")
    if "01" in bits or term.length != term.whole:
        raise ValueError("a mask that is none of a network")
    return ones


def _of_field(described: Field) -> _Term:
    return _Term(described.text, described.length, described.datatype)


@dataclass(frozen=True, slots=True)
class _Spot:
    base: PayloadBase
    offset: int
    term: _Term


_ADDRESS = {Family.IPV4: layout.IPV4_ADDR, Family.IPV6: layout.IPV6_ADDR}
_META: Mapping[MetaKey, _Term] = {
    MetaKey.PRIORITY: _of_field(layout.PRIORITY),
    MetaKey.L4PROTO: _of_field(layout.L4PROTO),
    MetaKey.MARK: _Term("meta mark", 4, _MARK),
}
_SPOTS: Mapping[Family, tuple[_Spot, ...]] = {
    family: (
        _Spot(PayloadBase.NETWORK, offsets[0], _of_field(layout.saddr(family))),
        _Spot(PayloadBase.NETWORK, offsets[1], _of_field(layout.daddr(family))),
        _Spot(PayloadBase.TRANSPORT, 2, _of_field(layout.DPORT)),
    )
    for family, offsets in ((Family.IPV4, (12, 16)), (Family.IPV6, (8, 24)))
}
"""Where in their headers fields are: struct iphdr, struct ipv6hdr; a port's place is the same in all three."""
