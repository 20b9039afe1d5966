"""Rules of others that a packet meets on a node, in one form for nf_tables and iptables; and what they do to it. Pure.

A rule is a list of tests. What is not understood of it is a test too, whose answer nobody knows: a rule then may match,
and what comes of the packet is certain only where no such rule stood in the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from fairway.base.addresses import IPAddress, IPNetwork, parse_network

OPAQUE = "?"
"""The field of a test that is not understood."""


class Match(Struct, frozen=True, kw_only=True):
    """The field is, or with negated is not, one of the values.

    fields: "saddr" "daddr" (networks), "proto" (names), "dport" "sport" ("80", "80-90"), "iif" "oif" (names, "eth+"
    for all that begin so), "state" (as iptables has them), "mark" ("0x4000/0x4000"), "daddr-type" "saddr-type"
    ("local"), "version" (of IP), OPAQUE.
    """

    field: str
    values: tuple[str, ...] = ()
    negated: bool = False


class Act(Enum):
    """What a rule does with a packet that it matches."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    DNAT = "dnat"
    """The destination becomes another, perhaps a port of this node."""
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    NOTHING = "nothing"
    """It counts, marks or logs, and the packet goes on."""
    UNKNOWN = "unknown"
    """It may do anything."""


class FilterRule(Struct, frozen=True, kw_only=True):
    """text: in its program's own words. chain: where JUMP and GOTO lead. remove: a command that takes it away.

    marks: it may change the packet's mark, which rules elsewhere look at.
    """

    text: str
    act: Act
    tests: tuple[Match, ...] = ()
    chain: str = ""
    remove: tuple[str, ...] = ()
    marks: bool = False


class FilterChain(Struct, frozen=True, kw_only=True):
    """hook: lower case, "" for a chain that no packet enters by itself. drops: its policy is drop.

    accept: a command that makes its policy accept.
    """

    name: str
    rules: tuple[FilterRule, ...] = ()
    hook: str = ""
    priority: int = 0
    nat: bool = False
    drops: bool = False
    accept: tuple[str, ...] = ()


class FilterTable(Struct, frozen=True, kw_only=True):
    """program: "nft", or the iptables that wrote it. families: 4 and 6."""

    program: str
    family: str
    name: str
    chains: tuple[FilterChain, ...]
    families: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.program} table {self.family} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A first packet as it is at one hook; what is not known is None."""

    source: IPAddress | None
    destination: IPAddress
    protocol: str
    port: int
    iif: str | None = None
    oif: str | None = None
    mark: int | None = 0
    to_node: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """What a base chain does to a packet for certain. rule: None where it is the chain's policy."""

    table: FilterTable
    chain: FilterChain
    act: Act
    rule: FilterRule | None


_DEPTH = 16
"""NFT_JUMP_STACK_SIZE; a jump deeper is none of a table that the kernel took."""


def meet(
    tables: Iterable[FilterTable], hook: str, probe: Probe, *, above: int | None = None, upto: int | None = None
) -> Meeting | None:
    """The first base chain at `hook` that for certain drops, rejects or redirects the packet; None where none does.

    above: only chains of a greater priority. upto: only those up to this one.
    """
    for table, chain in _at_hook(tables, hook, probe.destination.version):
        if (above is not None and chain.priority <= above) or (upto is not None and chain.priority > upto):
            continue
        walk = _Walk({each.name: each for each in table.chains}, probe)
        act, rule = walk.run(chain)
        if walk.uncertain or act in (Act.ACCEPT, Act.UNKNOWN):
            continue
        return Meeting(table=table, chain=chain, act=act, rule=rule)
    return None


def _at_hook(tables: Iterable[FilterTable], hook: str, version: int) -> list[tuple[FilterTable, FilterChain]]:
    found = [(table, chain) for table in tables if version in table.families for chain in table.chains]
    return sorted(((table, chain) for table, chain in found if chain.hook == hook), key=lambda pair: pair[1].priority)


class _Walk:
    """One packet through one table. uncertain: a rule may have ended it before."""

    def __init__(self, chains: Mapping[str, FilterChain], probe: Probe) -> None:
        self._chains, self._probe = chains, probe
        self.uncertain = False

    def run(self, base: FilterChain) -> tuple[Act, FilterRule | None]:
        act, rule = self._chain(base, 0)
        if act in (Act.RETURN, Act.NOTHING):
            return (Act.DROP if base.drops else Act.ACCEPT), None
        return act, rule

    def _chain(self, chain: FilterChain, depth: int) -> tuple[Act, FilterRule | None]:
        for rule in chain.rules:
            matched = matches(rule.tests, self._probe)
            if matched is False or rule.act is Act.NOTHING:
                continue
            if matched is None:
                self._doubt(rule, depth)
                continue
            if rule.act not in (Act.JUMP, Act.GOTO):
                return rule.act, rule
            target = self._chains.get(rule.chain)
            if target is None or depth >= _DEPTH:
                return Act.UNKNOWN, rule
            act, ended_by = self._chain(target, depth + 1)
            if act not in (Act.RETURN, Act.NOTHING):
                return act, ended_by
            if rule.act is Act.GOTO:
                return Act.RETURN, None
        return Act.NOTHING, None

    def _doubt(self, rule: FilterRule, depth: int) -> None:
        """A rule that may match: only what may let the packet through makes a later end uncertain."""
        if rule.act in (Act.DROP, Act.REJECT):
            return  # in either case the packet does not get farther than it would
        target = self._chains.get(rule.chain) if rule.act in (Act.JUMP, Act.GOTO) else None
        if target is not None and rule.act is Act.JUMP and not _lets_through(target, self._chains, depth):
            return
        self.uncertain = True


def _lets_through(chain: FilterChain, chains: Mapping[str, FilterChain], depth: int) -> bool:
    """Whether a packet may leave the table in this chain by anything but its end."""
    if depth >= _DEPTH:
        return True
    for rule in chain.rules:
        if rule.act in (Act.ACCEPT, Act.UNKNOWN, Act.DNAT, Act.GOTO):
            return True
        if rule.act is Act.JUMP and rule.chain in chains and _lets_through(chains[rule.chain], chains, depth + 1):
            return True
    return False


def matches(tests: Iterable[Match], probe: Probe) -> bool | None:
    """Whether all hold; None where that cannot be told."""
    answer: bool | None = True
    for test in tests:
        held = _holds(test, probe)
        if held is not None and held is test.negated:
            return False
        if held is None:
            answer = None
    return answer


def _holds(test: Match, probe: Probe) -> bool | None:
    """Whether the field is one of the values, before negation."""
    match test.field:
        case "saddr":
            return _in_networks(probe.source, test.values)
        case "daddr":
            return _in_networks(probe.destination, test.values)
        case "proto":
            return probe.protocol in test.values or "all" in test.values
        case "dport":
            return any(_in_range(probe.port, value) for value in test.values)
        case "version":
            return str(probe.destination.version) in test.values
        case "iif":
            return _is_named(probe.iif, test.values)
        case "oif":
            return _is_named(probe.oif, test.values)
        case "state":
            return "NEW" in test.values
        case "mark":
            return _is_marked(probe.mark, test.values)
        case "daddr-type":
            return probe.to_node if test.values == ("local",) else None
        case "saddr-type":
            return False if test.values == ("local",) else None
    return None


def _in_networks(address: IPAddress | None, networks: Iterable[str]) -> bool | None:
    parsed = [_network(network) for network in networks]
    if address is None:
        return True if any(network.prefixlen == 0 for network in parsed) else None
    return any(address in network for network in parsed)


@cache
def _network(text: str) -> IPNetwork:
    return parse_network(text)


def _in_range(port: int, text: str) -> bool:
    first, _, last = text.partition("-")
    return int(first) <= port <= int(last or first)


def _is_named(name: str | None, values: Iterable[str]) -> bool | None:
    if name is None:
        return None
    return any(name.startswith(value[:-1]) if value.endswith("+") else name == value for value in values)


def _is_marked(mark: int | None, values: Iterable[str]) -> bool | None:
    if mark is None:
        return None
    pairs = [value.partition("/") for value in values]
    return any(mark & int(mask or "0xffffffff", 0) == int(value, 0) for value, _, mask in pairs)


def changes_marks(tables: Iterable[FilterTable], *, besides: str) -> bool:
    """Whether a rule may give packets a mark; besides: how chains begin that are left out of it."""
    return any(
        rule.marks
        for table in tables
        for chain in table.chains
        if not chain.name.startswith(besides)
        for rule in chain.rules
    )


def without_chains(tables: Iterable[FilterTable], prefixes: tuple[str, ...]) -> Iterator[FilterTable]:
    """The tables with what leads to chains whose names begin so ending as accepted: they are somebody's who is trusted.

    A packet that is for a Service ends in the Service's own chains; all others they leave alone, which no check asks.
    """
    for table in tables:
        yield replace(table, chains=tuple(_trusting(chain, prefixes) for chain in table.chains))


def _trusting(chain: FilterChain, prefixes: tuple[str, ...]) -> FilterChain:
    def trusting(rule: FilterRule) -> FilterRule:
        if rule.act not in (Act.JUMP, Act.GOTO) or not rule.chain.startswith(prefixes):
            return rule
        return replace(rule, act=Act.ACCEPT if chain.nat else Act.NOTHING)

    return replace(chain, rules=tuple(trusting(rule) for rule in chain.rules))
