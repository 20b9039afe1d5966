"""Observed x desired -> the least iptables-restore --noflush must be told. Pure.

What is sent follows only from what is there now, never from what was sent before: after a failure, a restart or a
stranger's flush the next step is the normal step. A chain that already says the same is not written again, so its
counters live on; chains and rules that are not ours are not named at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.frame import BLOCK_LOCALNET, JUMPS
from fairway.dataplane.ipt.parse import ForeignRuleError, Lines, jump_of, parse_rule
from fairway.dataplane.ipt.ruleset import BuiltinJump, Jump, Rule, Ruleset, Table
from fairway.dataplane.ipt.text import ChainTexts, format_rule


@dataclass(frozen=True, slots=True)
class Line:
    """One line of input, with the rule it adds where it adds one: iptables names only line numbers when it fails."""

    text: str
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Input for `iptables-restore --noflush`; without lines there is nothing to do."""

    lines: tuple[Line, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lines)

    @property
    def text(self) -> str:
        return "".join(f"{line.text}\n" for line in self.lines)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those it changes, each in one transaction of the kernel."""
        return tuple(Table(line.text[1:]) for line in self.lines if line.text.startswith("*"))

    def rule_at(self, number: int) -> Rule | None:
        """The rule of line `number`, counted from 1 as iptables does; None where there is none."""
        return self.lines[number - 1].rule if 0 < number <= len(self.lines) else None

    def table_at(self, number: int) -> str:
        """The table line `number` is about; legacy iptables names the COMMIT that failed, or the line behind it."""
        tables = [line.text[1:] for line in self.lines[:number] if line.text.startswith("*")]
        return tables[-1] if tables else ""


def diff(observed: Lines, desired: Ruleset, texts: ChainTexts | None = None) -> Batch:
    """What turns `observed` into `desired` in our chains and jumps, and removes the chains of gone Service ports.

    texts: of an earlier call, where the same rules come again.
    """
    texts = texts or ChainTexts()
    lines: list[Line] = []
    for table in Table:
        chains = desired.chains.get(table, {})
        jumps = [jump for jump in desired.jumps if jump.table is table]
        lines += _in_table(table, _table_lines(_Table(table, observed.get(table, {}), chains, jumps, texts)))
    texts.forget_others()
    return Batch(tuple(lines))


def cleanup(observed: Lines) -> Batch:
    """What removes all of ours and no more.

    A chain a foreign rule still leads to is only emptied: the kernel refuses to delete it. Where a kubelet runs, as its
    own chains show, or has left a rule in it, KUBE-FIREWALL and the jumps to it are its too and stay.
    """
    firewall = observed.get(Table.FILTER, {}).get(names.KUBE_FIREWALL, ())
    kubelet = any(chain in observed.get(Table.MANGLE, {}) for chain in names.KUBELET_CHAINS)
    shared = kubelet or not all(_says(line, BLOCK_LOCALNET) for line in firewall)
    lines: list[Line] = []
    for table in Table:
        chains = observed.get(table, {})
        ours = {chain for chain in chains if _is_ours(table, chain) and not (shared and chain == names.KUBE_FIREWALL)}
        jumps = [jump for jump in JUMPS if jump.table is table and not (shared and jump.shared)]
        deleted = [Line(f"-D {chain} {line}") for chain, line in _found(jumps, chains)]
        lines += _in_table(table, [*_removal(ours, chains, deleted)])
    return Batch(tuple(lines))


@dataclass(frozen=True, slots=True)
class _Table:
    table: Table
    observed: Mapping[str, tuple[str, ...]]
    desired: Mapping[str, tuple[Rule, ...]]
    jumps: Sequence[BuiltinJump]
    texts: ChainTexts

    def desired_text(self, chain: str) -> tuple[str, ...]:
        return self.texts.of(self.table, chain, self.desired[chain])

    def holds(self, chain: str) -> bool:
        """Whether a chain is there and says what it should.

        Text first: it is what the kernel prints on every version we know. Only where it differs are the lines
        understood, so that another version's order or spelling is no reason to write a chain again and again.
        """
        observed, desired = self.observed.get(chain), self.desired[chain]
        if observed is None or len(observed) != len(desired):
            return False
        return observed == self.desired_text(chain) or all(map(_says, observed, desired))


def _table_lines(given: _Table) -> list[Line]:
    observed, desired = given.observed, given.desired
    added = {
        chain: _missing(observed[chain], rules)
        for chain, rules in desired.items()
        if chain in observed and chain == names.KUBE_FIREWALL
    }
    written = {chain: rules for chain, rules in desired.items() if chain not in added and not given.holds(chain)}
    stale = {chain for chain in observed if chain not in desired and _is_ours(given.table, chain)}
    # A chain that holds what it should, as one that is written, leads to no chain but ours that stay.
    deleted = stale - _referred_to(observed, besides=stale | desired.keys() - added.keys()) if stale else stale
    emptied = {chain for chain in stale if chain in deleted or observed[chain]}
    return [
        *(Line(f":{chain} - [0:0]") for chain in written),
        *(Line(f":{chain} - [0:0]") for chain in sorted(emptied)),
        *(
            Line(f"-I {jump.chain} {format_rule(jump.rule)}", jump.rule)
            for jump in given.jumps
            if not _found([jump], observed)
        ),
        *(Line(f"-A {chain} {format_rule(rule)}", rule) for chain, rules in added.items() for rule in rules),
        *(
            Line(f"-A {chain} {text}", rule)
            for chain, rules in written.items()
            for rule, text in zip(rules, given.desired_text(chain), strict=True)
        ),
        *(Line(f"-X {chain}") for chain in sorted(deleted)),
    ]


def _in_table(table: Table, lines: list[Line]) -> list[Line]:
    return [Line(f"*{table.value}"), *lines, Line("COMMIT")] if lines else []


def _missing(observed: tuple[str, ...], desired: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """What a shared chain lacks; what else is in it is its other owner's."""
    return tuple(rule for rule in desired if not any(_says(line, rule) for line in observed))


def _says(line: str, rule: Rule) -> bool:
    try:
        return parse_rule(line).canonical() == rule.canonical()
    except ForeignRuleError:
        return False


def _found(jumps: Iterable[BuiltinJump], chains: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Chain and line of every rule in a builtin chain that is one of these jumps."""
    return [(jump.chain, line) for jump in jumps for line in chains.get(jump.chain, ()) if _is_jump(line, jump)]


def _is_jump(line: str, jump: BuiltinJump) -> bool:
    assert isinstance(jump.rule.target, Jump)
    # A host may have thousands of rules of its own there: few of them are worth reading.
    return jump.rule.target.chain in line and _says(line, jump.rule)


def _is_ours(table: Table, chain: str) -> bool:
    if chain in names.FIXED_CHAINS[table.value]:
        return True
    return table is Table.NAT and chain.startswith(names.PORT_CHAIN_PREFIXES)


def _referred_to(chains: Mapping[str, tuple[str, ...]], *, besides: set[str]) -> set[str]:
    """The chains some rule leads to, in a chain that is not among `besides`."""
    lines = (line for chain, some in chains.items() if chain not in besides for line in some)
    return {target for line in lines if (target := jump_of(line)) is not None}


def _removal(ours: set[str], chains: Mapping[str, tuple[str, ...]], deleted: list[Line]) -> Iterator[Line]:
    yield from (Line(f":{chain} - [0:0]") for chain in sorted(ours))
    yield from deleted
    # A builtin chain's own jumps go in this very batch; any other rule in it is a stranger's and holds its chain.
    gone = {line.text.split(" ", 2)[2] for line in deleted}
    rest = {
        chain: tuple(line for line in lines if line not in gone) for chain, lines in chains.items() if chain not in ours
    }
    yield from (Line(f"-X {chain}") for chain in sorted(ours - _referred_to(rest, besides=set())))
