"""One rule's expressions as nft prints them: the reverse of `chains`. Pure.

nft rebuilds statements from what the kernel holds by following registers (src/netlink_delinearize.c of nftables 1.0.6);
so does this, for the statements our rules are made of and no others.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from fairway.base.addresses import Family
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.ruleset import Rule, SetSpec, protocol_family
from fairway.dataplane.nft.words import (
    CT_STATUS,
    IFNAME,
    MARK,
    ROUTE,
    format_interface,
    format_mark,
    format_port,
    format_value,
    format_verdict,
)
from fairway.netlink.expressions import (
    Bitwise,
    Cmp,
    CmpOp,
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
    word_index,
)
from fairway.netlink.userdata import COMMENT_LIMIT, Field

_IPS_DST_NAT = 0x20
_PORT_UNREACHABLE = {Family.IPV4: 3, Family.IPV6: 4}
"""As in `chains`; nft leaves the reason out where it is this one."""


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
                self._store(dreg, _Term("ct status", 4, CT_STATUS))
            case FibType(source, dreg):
                self._store(dreg, _Term(f"fib {'saddr' if source else 'daddr'} type", 4, ROUTE))
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
        elif term.datatype != MARK or mask not in (every, every ^ xor):
            raise ValueError(f"no words for {operation}")
        else:
            sign = "^" if mask == every else "|"
            changed = _Term(f"{term.text} {sign} {format_mark(operation.xor)}", term.length)
        self._store(operation.dreg, changed)

    def _compare(self, comparison: Cmp) -> str:
        term, data = self._at(comparison.sreg), comparison.data
        negated = "!= " if comparison.op is CmpOp.NEQ else ""
        if term.datatype == IFNAME:
            return f"{term.text} {negated}{format_interface(data)}"
        if len(data) != term.length:
            raise ValueError(f"{len(data)} bytes to compare {term.text!r} with")
        if term.datatype in (layout.IPV4_ADDR, layout.IPV6_ADDR):
            prefix = _prefix_length(term)
            address = format_value(term.datatype, data + bytes(term.whole - len(data)))
            return f"{term.text} {negated}{address}{'' if prefix == 8 * term.whole else f'/{prefix}'}"
        if term.mask is None:
            return f"{_said(term, term)} {negated}{format_value(term.datatype, data)}"
        if term.datatype == MARK:
            return f"{term.text} & {format_mark(term.mask)} {negated or '== '}{format_mark(data)}"
        dst_nat = _IPS_DST_NAT.to_bytes(4, sys.byteorder)
        if (term.datatype, term.mask, data, bool(negated)) == (CT_STATUS, dst_nat, bytes(4), True):
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
        host = format_value(_ADDRESS[self.family], address.data)
        return f"dnat to {f'[{host}]' if self.family is Family.IPV6 else host}:{format_port(port.data)}"


def _meta(key: MetaKey) -> _Term:
    if key not in _META:
        raise ValueError(f"no words for {key.name.lower()} of a packet's metadata")
    return _META[key]


def _said(term: _Term, target: _Term) -> str:
    """A register's content as words; a constant as a value of what it goes to."""
    if term.data is not None:
        return format_value(target.datatype, term.data)
    if term.mask is not None and term.datatype == MARK:
        return f"{term.text} & {format_mark(term.mask)}"
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
    MetaKey.MARK: _Term("meta mark", 4, MARK),
    MetaKey.IIFNAME: _Term("iifname", layout.IFNAME_SIZE, IFNAME),
    MetaKey.OIFNAME: _Term("oifname", layout.IFNAME_SIZE, IFNAME),
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
