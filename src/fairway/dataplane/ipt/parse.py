"""Read what iptables-save prints: chains with their lines, and a line as a typed rule. Pure.

Reading a table only splits it into lines; a line becomes a Rule where one must be understood, which is seldom.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network

from fairway.base.addresses import Family
from fairway.dataplane.ipt.ruleset import (
    RECENT_MASK,
    REJECT_WITH,
    Address,
    AddrTypeLocal,
    Comment,
    Conntrack,
    Dnat,
    Interface,
    Jump,
    Mark,
    Masquerade,
    Match,
    Nfacct,
    RecentCheck,
    RecentSet,
    Reject,
    Rule,
    SetXmark,
    Side,
    State,
    Statistic,
    Table,
    Target,
    Transport,
    Verdict,
)
from fairway.flow.packet import Protocol
from fairway.plan.model import Links

Lines = Mapping[Table, Mapping[str, tuple[str, ...]]]
"""By table and chain, builtin ones too: each rule's line without its "-A CHAIN "."""


class ForeignRuleError(ValueError):
    """A rule with a match or a target we never write; whoever made it, it is none of ours."""


def parse_save(text: str) -> Lines:
    """The chains of the tables we use; lines of other tables and comments are passed over.

    Raises ValueError where `text` is not iptables-save's, or was asked of it with counters, or ends before a table's
    COMMIT: acting on half of it would write again what is there.
    """
    tables: dict[Table, dict[str, list[str]]] = {}
    current: dict[str, list[str]] | None = None
    # Not splitlines: a stranger's comment may hold what Unicode calls the end of a line.
    for line in text.split("\n"):
        # By how often they come: there may be tens of thousands.
        if line.startswith("-") and current is not None:
            _, chain, *rest = line.split(" ", 2)
            current.setdefault(chain, []).append(rest[0] if rest else "")
        elif line.startswith(":") and current is not None:
            current[line[1:].split(" ", 1)[0]] = []
        elif line == "" or line.startswith("#"):
            continue
        elif line.startswith("*") and current is None:
            current = tables.setdefault(Table(line[1:]), {}) if line[1:] in _TABLES else {}
        elif line == "COMMIT" and current is not None:
            current = None
        else:
            raise ValueError(f"not a line of iptables-save: {line!r}")
    if current is not None:
        raise ValueError("iptables-save's output ends without COMMIT")
    return {table: {chain: tuple(lines) for chain, lines in chains.items()} for table, chains in tables.items()}


_TABLES = frozenset(table.value for table in Table)


def jump_of(line: str) -> str | None:
    """The chain or target a line names, without reading the rest of it: of a foreign rule too."""
    found = _JUMP.search(_QUOTED.sub('""', line))
    return found.group(1) if found else None


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_JUMP = re.compile(r"(?:^| )(?:-j|-g) (\S+)")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPE = re.compile(r"\\(.)")


def parse_rule(line: str) -> Rule:
    """The typed rule of a line. Raises ForeignRuleError where it holds something our types do not know."""
    words = _Words(line)
    source = destination = interface = protocol = None
    matches: list[Match] = []
    target: Target | None = None
    try:
        while words.left:
            match words.option():
                case (negated, "-s"):
                    source = Address(ip_network(words.take()), negated)
                case (negated, "-d"):
                    destination = Address(ip_network(words.take()), negated)
                case (negated, "-i"):
                    interface = Interface(_links(words.take()), negated)
                case (False, "-p"):
                    protocol = Protocol(words.take())
                case (False, "-m"):
                    matches.append(_MATCHES[words.take()](words))
                case (False, "-j"):
                    target = _parse_target(words)
                case _:
                    raise ForeignRuleError(line)
    except (ValueError, KeyError, IndexError) as error:
        raise ForeignRuleError(line) from error
    return Rule(
        source=source,
        destination=destination,
        interface=interface,
        protocol=protocol,
        matches=tuple(matches),
        target=target,
    )


def _links(text: str) -> Links:
    return Links(name=text.removesuffix("+"), is_prefix=text.endswith("+"))


class _Words:
    """The words of a line, quotes resolved, and a place among them."""

    def __init__(self, line: str) -> None:
        self._words = [
            _ESCAPE.sub(r"\1", found.group(1)) if found.group(2) is None else found.group(2)
            for found in _WORD.finditer(line)
        ]
        self._next = 0

    @property
    def left(self) -> bool:
        return self._next < len(self._words)

    def take(self) -> str:
        """The next word; raises IndexError behind the last."""
        word = self._words[self._next]
        self._next += 1
        return word

    def option(self) -> tuple[bool, str]:
        """Whether a "!" stood before it, and the next option."""
        word = self.take()
        return (True, self.take()) if word == "!" else (False, word)

    def expect(self, *options: str) -> tuple[bool, str]:
        """As `option`, but one of these; raises ValueError for another."""
        found = self.option()
        if found[1] not in options:
            raise ValueError(found[1])
        return found

    def plain(self, *options: str) -> str:
        """As `expect`, without a "!"."""
        negated, option = self.expect(*options)
        if negated:
            raise ValueError(option)
        return option

    def next_is(self, *options: str) -> bool:
        return self.left and self._words[self._next] in options


def _comment(words: _Words) -> Match:
    words.plain("--comment")
    return Comment(words.take())


def _transport(protocol: Protocol) -> Callable[[_Words], Match]:
    def parse(words: _Words) -> Match:
        if not words.next_is("--dport"):
            return Transport(protocol)
        words.take()
        return Transport(protocol, int(words.take()))

    return parse


def _conntrack(words: _Words) -> Match:
    negated, _ = words.expect("--ctstate")
    return Conntrack(frozenset(State(state) for state in words.take().split(",")), negated)


def _addrtype(words: _Words) -> Match:
    side = Side.SOURCE if words.plain("--src-type", "--dst-type") == "--src-type" else Side.DESTINATION
    if words.take() != "LOCAL" or words.next_is("--limit-iface-in", "--limit-iface-out"):
        raise ValueError(side)
    return AddrTypeLocal(side)


def _mark(words: _Words) -> Match:
    negated, _ = words.expect("--mark")
    return Mark(*_with_mask(words.take()), negated)


def _with_mask(text: str) -> tuple[int, int]:
    value, slash, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if slash else 0xFFFFFFFF


def _statistic(words: _Words) -> Match:
    words.plain("--mode")
    if words.take() != "random":
        raise ValueError("mode")
    words.plain("--probability")
    return Statistic.of(float(words.take()))


def _recent(words: _Words) -> Match:
    name, seconds, family = "DEFAULT", None, Family.IPV4
    flags: set[str] = set()
    while words.next_is("--set", "--rcheck", "--seconds", "--reap", "--name", "--mask", "--rsource"):
        match words.take():
            case "--name":
                name = words.take()
            case "--seconds":
                seconds = int(words.take())
            case "--mask":
                family = _FAMILY_OF_MASK[words.take()]
            case flag:
                flags.add(flag)
    flags.discard("--rsource")
    if flags == {"--set"} and seconds is None:
        return RecentSet(name, family)
    if flags == {"--rcheck", "--reap"} and seconds is not None:
        return RecentCheck(name, seconds, family)
    raise ValueError(name)


_FAMILY_OF_MASK = {mask: family for family, mask in RECENT_MASK.items()}
_FAMILY_OF_ANSWER = {answer: family for family, answer in REJECT_WITH.items()}


def _nfacct(words: _Words) -> Match:
    words.plain("--nfacct-name")
    return Nfacct(words.take())


_MATCHES: dict[str, Callable[[_Words], Match]] = {
    "comment": _comment,
    "conntrack": _conntrack,
    "addrtype": _addrtype,
    "mark": _mark,
    "statistic": _statistic,
    "recent": _recent,
    "nfacct": _nfacct,
    **{protocol.value: _transport(protocol) for protocol in Protocol},
}


def _parse_target(words: _Words) -> Target:
    name = words.take()
    match name:
        case "DNAT":
            words.plain("--to-destination")
            host, _, port = words.take().rpartition(":")
            return Dnat(ip_address(host.removeprefix("[").removesuffix("]")), int(port))
        case "MARK":
            words.plain("--set-xmark")
            return SetXmark(*_with_mask(words.take()))
        case "MASQUERADE":
            if words.next_is("--random-fully"):
                words.take()
                return Masquerade()
            return Masquerade(random_fully=False)
        case "REJECT":
            words.plain("--reject-with")
            return Reject(_FAMILY_OF_ANSWER[words.take()])
        case "ACCEPT" | "DROP" | "RETURN":
            return Verdict(name)
        case _:
            return Jump(name)
