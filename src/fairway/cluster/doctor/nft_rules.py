"""Tables of nf_tables that are not ours as filter tables. Pure.

Only what tells which packets a rule is for is understood, by following registers as nft does; what is not makes the
rule one that may match.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address

from fairway.cluster.doctor.filters import OPAQUE, Act, FilterChain, FilterRule, FilterTable, Match
from fairway.netlink.expressions import (
    REG_VERDICT,
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
    MetaSet,
    Payload,
    PayloadBase,
    Reject,
    Unknown,
)
from fairway.netlink.nftables import ChainInfo, Hook, RuleInfo
from fairway.netlink.wire import attributes, to_int, to_text

FAMILIES: Mapping[int, tuple[str, tuple[int, ...]]] = {1: ("inet", (4, 6)), 2: ("ip", (4,)), 10: ("ip6", (6,))}
"""By NFPROTO_*, nft's word for a family and the families of addresses its packets have."""

Elements = Mapping[str, tuple[bytes, ...]]
"""The keys of sets by name; one of ranges, or whose elements are not known, is missing."""

_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp", 1: "icmp", 58: "icmpv6"}
_VERSIONS = {2: "4", 10: "6"}
_STATES = {1: "INVALID", 2: "ESTABLISHED", 4: "RELATED", 8: "NEW", 64: "UNTRACKED"}
"""NF_CT_STATE_BIT of linux/netfilter/nf_conntrack_common.h; nft's ct state."""
_META: Mapping[int, str] = {3: "mark", 6: "iif", 7: "oif", 15: "version", 16: "proto"}
"""enum nft_meta_keys: MARK, IIFNAME, OIFNAME, NFPROTO, L4PROTO."""
_CT_STATE = 0
_RTN_LOCAL = 2
_POLICY_DROP = 0
_GTE, _LTE = 5, 3
"""NFT_CMP_GTE, NFT_CMP_LTE."""
_ADDRESSES = {12: ("saddr", 4), 16: ("daddr", 4), 8: ("saddr", 16), 24: ("daddr", 16)}
"""By offset in the header of IPv4 or IPv6, with the length of an address there."""
_IP_PROTOCOL, _IP_TTL = (9, 1), (8, 1)
_QUIET = frozenset({"log", "notrack", "masq", "dynset", "objref"})
"""Expressions after which a packet goes on as it was, as far as its way is concerned."""
_UNKNOWN_ENDS = frozenset({"target", "queue", "tproxy", "fwd", "dup", "synproxy"})


def read_table(
    family: int, name: str, chains: Iterable[ChainInfo], rules: Iterable[RuleInfo], elements: Elements
) -> FilterTable:
    """One table. family: NFPROTO_*, one of FAMILIES. elements: of its sets."""
    word, versions = FAMILIES[family]
    by_chain: dict[str, list[FilterRule]] = {}
    for info in rules:
        by_chain.setdefault(info.chain, []).append(_rule(info, word, elements))
    return FilterTable(
        program="nft",
        family=word,
        name=name,
        chains=tuple(_chain(info, word, by_chain.get(info.name, [])) for info in chains),
        families=versions,
    )


def _chain(info: ChainInfo, family: str, rules: list[FilterRule]) -> FilterChain:
    return FilterChain(
        name=info.name,
        rules=tuple(rules),
        hook=Hook(info.hook).name.lower() if info.hook is not None and info.hook in tuple(Hook) else "",
        priority=info.priority,
        nat=info.kind == "nat",
        drops=info.hook is not None and info.policy == _POLICY_DROP,
        accept=("nft", "chain", family, info.table, info.name, "{ policy accept; }"),
    )


def _rule(info: RuleInfo, family: str, elements: Elements) -> FilterRule:
    reader = _Reader(elements)
    for expression in info.expressions:
        try:
            reader.add(expression)
        except ValueError:  # attributes of another make than we know
            reader.puzzled()
    words = [_say(test) for test in reader.matches]
    end = f"{reader.act.value} {reader.chain}".strip()
    return FilterRule(
        text=" ".join([*words, end, f"# handle {info.handle}"]),
        act=reader.act,
        tests=tuple(reader.matches),
        chain=reader.chain,
        marks=reader.marks,
        remove=("nft", "delete", "rule", family, info.table, info.chain, "handle", str(info.handle)),
    )


class _Reader:
    """Follows what the register holds from one expression to the next."""

    def __init__(self, elements: Elements) -> None:
        self._elements = elements
        self._field = OPAQUE
        self._size = self._register = 0
        self._mask: bytes | None = None
        self._least: int | None = None
        self.matches: list[Match] = []
        self.act = Act.NOTHING
        self.chain = ""
        self.marks = False

    def add(self, expression: Expression) -> None:
        match expression:
            case Payload() | Meta() | Ct() | FibType():
                self._load(*_field_of(expression), register=expression.dreg)
            case Bitwise(mask, xor):
                self._mask = mask if not any(xor) else None
                self._field = self._field if not any(xor) else OPAQUE
            case Cmp(op, data):
                self._test(data, negated=op is CmpOp.NEQ)
            case Lookup(name, dreg=dreg) if dreg is not None:
                self._load(OPAQUE)
                self._opaque(f"@{name}")
                self.act = Act.UNKNOWN if dreg == REG_VERDICT else self.act
            case Lookup(name, sreg, inverted=inverted):
                self._look_up(name, inverted, sreg)
            case ImmediateVerdict(verdict):
                self.act, self.chain = _VERDICTS.get(verdict.code, Act.UNKNOWN), verdict.chain
            case Reject():
                self.act = Act.REJECT
            case Dnat():
                self.act = Act.DNAT
            case MetaSet():
                self.marks = True
            case Masquerade() | Counter() | Immediate():
                pass
            case Unknown(name, data):
                self._unknown(name, data)
            case _:
                self._opaque(type(expression).__name__.lower())

    def _load(self, field: str, size: int = 0, *, register: int = 0) -> None:
        """size: bytes of the whole address, of which the first may be loaded alone. register: where it is put."""
        self._field, self._size, self._register = field, size, register
        self._mask = self._least = None

    def _unknown(self, name: str, data: bytes) -> None:
        found = attributes(data)
        if name == "meta" and 3 not in found:
            self._load(_META.get(to_int(found[2]), OPAQUE), register=to_int(found[1]))
        elif name == "ct" and 3 not in found and to_int(found.get(2, b"")) == _CT_STATE:
            self._load("state", register=to_int(found[1]))
        elif name == "cmp" and self._field == "dport" and to_int(found[2]) in (_GTE, _LTE):
            self._range(to_int(found[2]), to_int(attributes(found[3])[1]))
        elif name == "redir" or name == "nat":
            self.act = Act.DNAT if name == "redir" or to_int(found[1]) == 1 else self.act
        elif name == "reject":
            self.act = Act.REJECT
        elif name in _UNKNOWN_ENDS:
            self.act, self.marks = Act.UNKNOWN, True
        elif name in ("meta", "ct") and 3 in found:
            self.marks = True
        elif name not in _QUIET:
            self._load(OPAQUE)
            self._opaque(_named(name, data))

    def _range(self, op: int, port: int) -> None:
        if op == _GTE:
            self._least = port
        else:
            self.matches.append(Match(field="dport", values=(f"{self._least or 0}-{port}",)))

    def _look_up(self, name: str, inverted: bool, register: int) -> None:
        """Of several fields together the last was put elsewhere than where their key begins."""
        keys = self._elements.get(name)
        reader = _VALUES.get(self._field)
        if keys is None or reader is None or self._mask is not None or register != self._register:
            self._opaque(f"@{name}")
            return
        self.matches.append(Match(field=self._field, values=tuple(map(reader, keys)), negated=inverted))

    def _test(self, data: bytes, *, negated: bool) -> None:
        if self._field == "state" and self._mask is not None and not any(data):
            values = _states(self._mask)
            negated = not negated  # `ct state new` is: the bits that are left are not 0
        elif self._field == "state" and self._mask is None:
            values = _states(data)
        elif self._field in ("saddr", "daddr"):
            network = _network(data, self._mask, self._size)
            if network is None:
                self._opaque(self._field)
                return
            values = (network,)
        elif self._field == "mark":
            mask = self._mask or b"\xff" * 4
            values = (f"{_own(data):#x}/{_own(mask):#x}",)
        elif self._field in _VALUES and self._mask is None:
            values = (_VALUES[self._field](data),)
        else:
            self._opaque(self._field)
            return
        self.matches.append(Match(field=self._field, values=values, negated=negated))

    def puzzled(self) -> None:
        self._load(OPAQUE)
        self._opaque("something")

    def _opaque(self, what: str) -> None:
        self.matches.append(Match(field=OPAQUE, values=(what,)))


def _field_of(expression: Payload | Meta | Ct | FibType) -> tuple[str, int]:
    match expression:
        case Payload(PayloadBase.NETWORK, offset, length) if (offset, length) == _IP_PROTOCOL:
            return "proto", 0
        case Payload(PayloadBase.NETWORK, offset, length) if (offset, length) != _IP_TTL:
            field, size = _ADDRESSES.get(offset, (OPAQUE, 0))
            return (field, size) if length <= size else (OPAQUE, 0)
        case Payload(PayloadBase.TRANSPORT, 2, 2):
            return "dport", 0
        case Meta(key):
            return _META.get(int(key), OPAQUE), 0
        case FibType(source):
            return ("saddr-type" if source else "daddr-type"), 0
    return OPAQUE, 0


def _own(data: bytes) -> int:
    """A number in the machine's own order, as registers hold marks and the like."""
    return int.from_bytes(data, sys.byteorder)


def _link(data: bytes) -> str:
    """A name that ends without its zero byte is a beginning of names."""
    return data.rstrip(b"\0").decode(errors="backslashreplace") + ("" if data.endswith(b"\0") else "+")


def _kind(data: bytes) -> str:
    return "local" if _own(data) == _RTN_LOCAL else f"type {_own(data)}"


_VALUES: Mapping[str, Callable[[bytes], str]] = {
    "dport": lambda data: str(to_int(data[:2])),
    "proto": lambda data: _PROTOCOLS.get(data[0], str(data[0])),
    "iif": _link,
    "oif": _link,
    "saddr": lambda data: f"{ip_address(data)}/{len(data) * 8}",
    "daddr": lambda data: f"{ip_address(data)}/{len(data) * 8}",
    "daddr-type": _kind,
    "saddr-type": _kind,
    "version": lambda data: _VERSIONS.get(data[0], str(data[0])),
}
_VERDICTS = {
    Code.ACCEPT: Act.ACCEPT,
    Code.DROP: Act.DROP,
    Code.RETURN: Act.RETURN,
    Code.CONTINUE: Act.NOTHING,
    Code.JUMP: Act.JUMP,
    Code.GOTO: Act.GOTO,
}


def _states(mask: bytes) -> tuple[str, ...]:
    bits = _own(mask)
    return tuple(name for bit, name in _STATES.items() if bits & bit)


def _network(data: bytes, mask: bytes | None, size: int) -> str | None:
    """Of the first bytes of an address of `size`; None for a mask with holes."""
    bits = len(data) * 8
    whole = int.from_bytes(mask, "big") if mask is not None else (1 << bits) - 1
    ones = whole.bit_count()
    if whole != ((1 << ones) - 1) << (bits - ones):
        return None
    return f"{ip_address(data.ljust(size, bytes(1)))}/{ones}"


def _named(name: str, data: bytes) -> str:
    """Of an extension of xtables that iptables-nft keeps as it is, its own name."""
    return f"{name} {to_text(attributes(data)[1])}" if name in ("match", "target") else name


def _say(test: Match) -> str:
    field = "" if test.field == OPAQUE else f"{test.field} "
    values = ",".join(test.values)
    return f"{field}{'!= ' if test.negated else ''}{values}"
