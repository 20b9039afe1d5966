"""Rules as iptables-restore reads them and iptables-save prints them, both ways. Pure.

One form serves both: what we send is what the kernel will print, so that a look at unchanged rules is a comparison of
strings. Facts: iptables 1.8.9 extensions/*.c; both variants, nf_tables and legacy, print the same for our rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, assert_never

from fairway.base.addresses import format_host
from fairway.dataplane.ipt.ruleset import (
    BUILTIN_CHAINS,
    RECENT_MASK,
    REJECT_WITH,
    Address,
    AddrTypeLocal,
    Comment,
    Conntrack,
    Dnat,
    Jump,
    Mark,
    Masquerade,
    Match,
    Nfacct,
    RecentCheck,
    RecentSet,
    Reject,
    Rule,
    Ruleset,
    SetXmark,
    State,
    Statistic,
    Table,
    Target,
    Transport,
    Verdict,
)

Rules = tuple[Rule, ...]

_PLAIN = frozenset("_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""What needs no quotes, and what is escaped inside them: xtables_save_string in libxtables."""
_ESCAPED = frozenset("\"\\'")


def quote(text: str) -> str:
    """A word as iptables-save prints it. Raises ValueError for a character that could end the line."""
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"not printable: {text!r}")
    if text and _PLAIN.issuperset(text):
        return text
    escaped = "".join(f"\\{char}" if char in _ESCAPED else char for char in text)
    return f'"{escaped}"'


def format_rule(rule: Rule) -> str:
    """All of a rule but its chain: `-d 10.200.1.1/32 -p tcp -m comment --comment "..." -m tcp --dport 443 -j CHAIN`."""
    words = []
    if rule.source is not None:
        words.append(_format_address("-s", rule.source))
    if rule.destination is not None:
        words.append(_format_address("-d", rule.destination))
    if rule.interface is not None:
        links = rule.interface.links
        words.append(f"{_not(rule.interface.negated)}-i {links.name}{'+' if links.is_prefix else ''}")
    if rule.protocol is not None:
        words.append(f"-p {rule.protocol.value}")
    words += [_format_match(match) for match in rule.matches]
    if rule.target is not None:
        words.append(_format_target(rule.target))
    return " ".join(words)


def _format_address(option: Literal["-s", "-d"], address: Address) -> str:
    return f"{_not(address.negated)}{option} {address.network}"


def _not(negated: bool) -> str:
    return "! " if negated else ""


def _format_match(match: Match) -> str:
    match match:
        case Comment(text):
            return f"-m comment --comment {quote(text)}"
        case Transport(protocol, None):
            return f"-m {protocol.value}"
        case Transport(protocol, port):
            return f"-m {protocol.value} --dport {port}"
        case Conntrack(states, negated):
            listed = ",".join(state.value for state in State if state in states)
            return f"-m conntrack {_not(negated)}--ctstate {listed}"
        case AddrTypeLocal(side):
            return f"-m addrtype --{side.value}-type LOCAL"
        case Mark(value, mask, negated):
            return f"-m mark {_not(negated)}--mark {value:#x}/{mask:#x}"
        case Statistic():
            return f"-m statistic --mode random --probability {match.probability:.11f}"
        case RecentSet(name, family):
            return f"-m recent --set --name {quote(name)} --mask {RECENT_MASK[family]} --rsource"
        case RecentCheck(name, seconds, family):
            options = f"--rcheck --seconds {seconds} --reap --name {quote(name)} --mask {RECENT_MASK[family]} --rsource"
            return f"-m recent {options}"
        case Nfacct(name):
            # Two spaces: so libxt_nfacct prints it.
            return f"-m nfacct --nfacct-name  {quote(name)}"
        case _:
            assert_never(match)


def _format_target(target: Target) -> str:
    match target:
        case Jump(chain):
            return f"-j {chain}"
        case Dnat(address, port):
            return f"-j DNAT --to-destination {format_host(address)}:{port}"
        case SetXmark(value, mask):
            return f"-j MARK --set-xmark {value:#x}/{mask:#x}"
        case Masquerade(random_fully):
            return "-j MASQUERADE --random-fully" if random_fully else "-j MASQUERADE"
        case Reject(family):
            return f"-j REJECT --reject-with {REJECT_WITH[family]}"
        case Verdict():
            return f"-j {target.value}"
        case _:
            assert_never(target)


class ChainTexts:
    """The texts of chains, made anew only for rules that are new: a rule that is the very same keeps its text.

    Most rules of a large ruleset are those of the last one. A chain nobody asks for between two calls of
    `forget_others` is forgotten.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[Table, str], _Texts] = {}
        self._asked: dict[tuple[Table, str], _Texts] = {}

    def of(self, table: Table, chain: str, rules: Rules) -> tuple[str, ...]:
        """One text for each of the chain's rules, in their order."""
        key = table, chain
        known = self._asked.get(key) or self._kept.get(key) or _NO_TEXTS
        if known[0] is not rules:
            # By identity: an equal rule may be another's. The known rules are kept, so none took over an id.
            texts = {id(rule): text for rule, text in zip(*known, strict=True)}
            known = rules, tuple(texts.get(id(rule)) or format_rule(rule) for rule in rules)
        self._asked[key] = known
        return known[1]

    def forget_others(self) -> None:
        self._kept, self._asked = self._asked, {}


_Texts = tuple[Rules, tuple[str, ...]]
_NO_TEXTS: _Texts = ((), ())


def format_save(ruleset: Ruleset, tables: Sequence[Table]) -> str:
    """What iptables-save prints where nothing but `ruleset` was ever there, table by table, its date lines aside."""
    return "".join(f"{line}\n" for table in tables for line in _format_table(ruleset, table))


def _format_table(ruleset: Ruleset, table: Table) -> Iterator[str]:
    chains = ruleset.chains.get(table, {})
    yield f"*{table.value}"
    for chain in BUILTIN_CHAINS[table]:
        yield f":{chain} ACCEPT [0:0]"
    for chain in sorted(chains):
        yield f":{chain} - [0:0]"
    for chain in BUILTIN_CHAINS[table]:
        for jump in reversed(ruleset.jumps):
            if (jump.table, jump.chain) == (table, chain):
                yield f"-A {chain} {format_rule(jump.rule)}"
    for chain in sorted(chains):
        for rule in chains[chain]:
            yield f"-A {chain} {format_rule(rule)}"
    yield "COMMIT"
