"""The machine that carries out one rule: expressions over registers, and what came of a packet. Pure.

Registers, their words and how an expression ends a rule: nft_do_chain in net/netfilter/nf_tables_core.c, and the
`eval` of each expression beside it. A random number is followed whichever way it may turn out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from typing import assert_never

from fairway.base.addresses import Family, IPAddress
from fairway.dataplane.nft.layout import IFNAME_SIZE, PROTOCOL_NUMBERS
from fairway.dataplane.nft.ruleset import Elements, Rule, Ruleset, SetSpec
from fairway.flow.packet import Packet
from fairway.netlink.elements import Value
from fairway.netlink.expressions import (
    ACCEPT,
    DROP,
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
    Unknown,
    Update,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Found:
    """The element that a look-up met. key: of a set of ranges the first key of the range, whose last is the value."""

    set: str
    key: bytes
    value: Value


@dataclass(frozen=True, slots=True)
class Visit:
    """A rule that was carried out to its end. found: what its look-ups met, in their order."""

    chain: str
    rule: Rule
    found: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """A packet under way: what rules can change of it, and those it met."""

    destination: IPAddress
    port: int
    mark: int
    priority: int = 0
    dnat: bool = False
    masquerade: bool = False
    visits: tuple[Visit, ...] = ()


class End(Enum):
    """How a packet leaves a hook for good; what is accepted goes on to the next one."""

    ACCEPT = auto()
    DROP = auto()
    REJECT = auto()


CONTINUE = Verdict(Code.CONTINUE)
"""The rule was carried out, and the next one has its turn."""
BREAK = Verdict(Code.BREAK)
"""Something in the rule did not hold."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a rule comes to: how likely, and what it made of the packet."""

    chance: Fraction
    state: State
    verdict: Verdict | End


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a packet is: the table, and what the kernel knows of it besides.

    is_own: whether an address is one of this machine. remembered: the sets of clients that hold the packet's source.
    """

    ruleset: Ruleset
    packet: Packet
    is_own: Callable[[IPAddress], bool]
    remembered: frozenset[str]

    def carry_out(self, chain: str, rule: Rule, entering: State) -> Iterator[Way]:
        """How a rule may turn out. Raises ValueError for what no rule of ours has, and for a register read before
        anything was loaded into it, which newer kernels refuse too.

        Ways on which the rule did not hold are one: else each choice among a thousand would be a thousand packets.
        """
        broken: dict[State, Fraction] = {}
        for chance, state, found, verdict in self._from(rule.expressions, entering, {}, ()):
            if verdict is BREAK:
                broken[state] = broken.get(state, Fraction(0)) + chance
            else:
                yield Way(chance, replace(state, visits=(*state.visits, Visit(chain, rule, found))), verdict)
        yield from (Way(chance, state, BREAK) for state, chance in broken.items())

    def _from(
        self, expressions: Sequence[Expression], state: State, registers: dict[int, bytes], found: tuple[Found, ...]
    ) -> Iterator[tuple[Fraction, State, tuple[Found, ...], Verdict | End]]:
        """Expressions, one after another, until one ends the rule; `registers` is this call's to change."""
        sure = Fraction(1)
        for position, expression in enumerate(expressions, 1):
            match expression:
                case Payload(_, _, _, dreg) | Meta(_, dreg) | Ct(_, dreg) | FibType(_, dreg) | Immediate(_, dreg):
                    _store(registers, dreg, self._value(expression, state))
                case MetaSet(key, sreg):
                    state = _with_meta(state, key, _number(_load(registers, sreg, 4)))
                case Bitwise(mask, xor, sreg, dreg):
                    bits = zip(_load(registers, sreg, len(mask)), mask, xor, strict=True)
                    _store(registers, dreg, bytes(byte & kept ^ flipped for byte, kept, flipped in bits))
                case Cmp(op, data, sreg):
                    if (_load(registers, sreg, len(data)) == data) is not (op is CmpOp.EQ):
                        yield sure, state, found, BREAK
                        return
                case Lookup(name, sreg, dreg, inverted):
                    met = self._find(name, _load(registers, sreg, self._key_length(name)))
                    if (met is None) is not inverted:
                        yield sure, state, found, BREAK
                        return
                    if met is not None:
                        found = (*found, met)
                        if isinstance(met.value, Verdict):
                            yield sure, state, found, _ended(met.value)
                            return
                        if dreg is not None and met.value is not None:
                            _store(registers, dreg, met.value)
                case Numgen(_, _, dreg):
                    following = expressions[position:]
                    for value, share in _numbers(expression, following):
                        branched = dict(registers)
                        _store(branched, dreg, _native(value))
                        for chance, after, met_so_far, verdict in self._from(following, state, branched, found):
                            yield share * chance, after, met_so_far, verdict
                    return
                case Dnat():
                    yield sure, self._translated(expression, state, registers), found, End.ACCEPT
                    return
                case Masquerade():
                    yield sure, replace(state, masquerade=True), found, End.ACCEPT
                    return
                case Reject():
                    yield sure, state, found, End.REJECT
                    return
                case ImmediateVerdict(verdict):
                    yield sure, state, found, _ended(verdict)
                    return
                case Update(name, sreg):
                    _load(registers, sreg, self._key_length(name))
                case Counter():
                    pass
                case Unknown(name):
                    raise ValueError(f"no rule of ours has {name}")
                case _:
                    assert_never(expression)
        yield sure, state, found, CONTINUE

    def _value(self, expression: Payload | Meta | Ct | FibType | Immediate, state: State) -> bytes:
        """What an expression loads."""
        match expression:
            case Payload():
                return self._payload(expression, state)
            case Meta(MetaKey.L4PROTO):
                return bytes((PROTOCOL_NUMBERS[self.packet.protocol],))
            case Meta(MetaKey.MARK):
                return _native(state.mark)
            case Meta(MetaKey.IIFNAME):
                interface = "" if self.packet.from_node else self.packet.interface
                return interface.encode().ljust(IFNAME_SIZE, b"\0")
            case Meta():
                return _native(state.priority)
            case Ct():
                return _native(_IPS_DST_NAT if state.dnat else 0)
            case FibType(is_source):
                own = self.is_own(self.packet.source if is_source else state.destination)
                return _native(_RTN_LOCAL if own else _RTN_UNICAST)
            case Immediate(data):
                return data
            case _:
                assert_never(expression)

    def _payload(self, expression: Payload, state: State) -> bytes:
        """Of the headers a Packet has the addresses, which follow each other, and the port it is sent to."""
        if expression.base is PayloadBase.NETWORK:
            known = self.packet.source.packed + state.destination.packed
            begins = _SADDR_OFFSET[self.ruleset.family]
        else:
            known, begins = state.port.to_bytes(2, "big"), _DPORT_OFFSET
        start = expression.offset - begins
        end = start + expression.length
        if not 0 <= start < end <= len(known):
            raise ValueError(f"what {expression} loads is nothing that packets have here")
        return known[start:end]

    def _key_length(self, name: str) -> int:
        return self.ruleset.sets[name].shape.key

    def _find(self, name: str, key: bytes) -> Found | None:
        """The element of a set that a key meets."""
        spec = self.ruleset.sets[name]
        if spec.is_dynamic:
            known = name in self.remembered and key == self.packet.source.packed
            return Found(name, key, None) if known else None
        elements = self.ruleset.elements.get(name, {})
        if spec.ranges:
            return _find_range(spec, elements, key)
        return Found(name, key, elements[key]) if key in elements else None

    def _translated(self, expression: Dnat, state: State, registers: Mapping[int, bytes]) -> State:
        family = self.ruleset.family
        packed = _load(registers, expression.address, family.bits // 8)
        port = _load(registers, expression.port, 2)
        address = IPv4Address(packed) if family is Family.IPV4 else IPv6Address(packed)
        return replace(state, destination=address, port=int.from_bytes(port, "big"), dnat=True)


_RTN_UNICAST, _RTN_LOCAL = 1, 2
"""linux/rtnetlink.h."""
_IPS_DST_NAT = 0x20
"""linux/netfilter/nf_conntrack_common.h."""
_SADDR_OFFSET = {Family.IPV4: 12, Family.IPV6: 8}
_DPORT_OFFSET = 2


def _ended(verdict: Verdict) -> Verdict | End:
    if verdict == DROP:
        return End.DROP
    return End.ACCEPT if verdict == ACCEPT else verdict


def _numbers(numgen: Numgen, following: Sequence[Expression]) -> Iterator[tuple[int, Fraction]]:
    """The numbers that may lead to different places, each with how likely it, or one that leads to the same, is."""
    values = range(numgen.offset, numgen.offset + numgen.modulus)
    match following:
        case [Cmp(_, data, sreg), *_] if sreg == numgen.dreg and len(data) == 4 and _number(data) in values:
            asked = _number(data)
            yield asked, Fraction(1, len(values))
            if len(values) > 1:
                other = values[0] if asked != values[0] else values[-1]
                yield other, Fraction(len(values) - 1, len(values))
        case _:
            share = Fraction(1, len(values))
            yield from ((value, share) for value in values)


def _find_range(spec: SetSpec, elements: Elements, key: bytes) -> Found | None:
    for first, last in elements.items():
        assert isinstance(last, bytes)
        # As a whole first: where each field is in its range, so are all of them together.
        if first <= key <= last and all(first[at] <= key[at] <= last[at] for at in _fields(spec)):
            return Found(spec.name, first, last)
    return None


def _fields(spec: SetSpec) -> Iterable[slice]:
    """Where each field of a key is."""
    start = 0
    for field in spec.key:
        yield slice(start, start + field.padded)
        start += field.padded


def _with_meta(state: State, key: MetaKey, value: int) -> State:
    if key is MetaKey.MARK:
        return replace(state, mark=value)
    if key is MetaKey.PRIORITY:
        return replace(state, priority=value)
    raise ValueError(f"meta {key.name.lower()} cannot be set")


def _store(registers: dict[int, bytes], register: Register, data: bytes) -> None:
    """Into as many words as it takes, the rest of the last one zero."""
    start = _word(register)
    for offset in range(0, len(data), 4):
        registers[start + offset // 4] = data[offset : offset + 4].ljust(4, b"\0")


def _load(registers: Mapping[int, bytes], register: Register, length: int) -> bytes:
    start = _word(register)
    words = range(start, start + -(-length // 4))
    for word in words:
        if word not in registers:
            raise ValueError(f"{length} bytes of register {register} are read, but nothing was loaded into word {word}")
    return b"".join([registers[word] for word in words])[:length]


def _word(register: Register) -> int:
    """The number of a register's first word: 1 to 4 are four words each, 8 and on one."""
    return (register - 1) * 4 if register <= _LAST_OF_SIXTEEN_BYTES else register - _FIRST_OF_FOUR_BYTES


_LAST_OF_SIXTEEN_BYTES, _FIRST_OF_FOUR_BYTES = 4, 8
"""NFT_REG_4, NFT_REG32_00."""


def _native(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)
