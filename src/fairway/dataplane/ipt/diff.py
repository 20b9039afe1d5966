"""Observed x desired -> the least iptables-restore --noflush must be told. Pure.

What is sent follows only from what is there now, never from what was sent before: after a failure, a restart or a
stranger's flush the next step is the normal step. A chain that already says the same is not written again, so its
counters live on; chains and rules that are not ours are not named at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.frame import JUMPS
from fairway.dataplane.ipt.parse import ForeignRuleError, Lines, jump_of, parse_rule
from fairway.dataplane.ipt.ruleset import BuiltinJump, Rule, Ruleset, Table
from fairway.dataplane.ipt.text import format_rule


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

    def rule_at(self, number: int) -> Rule | None:
        """The rule of line `number`, counted from 1 as iptables does; None where there is none."""
        return self.lines[number - 1].rule if 0 < number <= len(self.lines) else None

    def table_at(self, number: int) -> str:
        """The table line `number` is about; legacy iptables names the COMMIT that failed, or the line behind it."""
        tables = [line.text[1:] for line in self.lines[:number] if line.text.startswith("*")]
        return tables[-1] if tables else ""


def diff(observed: Lines, desired: Ruleset) -> Batch:
    """What turns `observed` into `desired` in our chains and jumps, and removes the chains of gone Service ports."""
    lines: list[Line] = []
    for table in Table:
        chains = desired.chains.get(table, {})
        lines += _table_lines(table, observed.get(table, {}), chains, desired.jumps)
    return Batch(tuple(lines))


def cleanup(observed: Lines) -> Batch:
    """What removes all of ours and no more.

    A chain a foreign rule still leads to is only emptied: the kernel refuses to delete it. Where a kubelet runs, as its
    own chains show, KUBE-FIREWALL and the jumps to it are its too and stay.
    """
    kubelet = any(chain in observed.get(Table.MANGLE, {}) for chain in names.KUBELET_CHAINS)
    lines: list[Line] = []
    for table in Table:
        chains = observed.get(table, {})
        ours = {chain for chain in chains if _is_ours(table, chain) and not (kubelet and chain == names.KUBE_FIREWALL)}
        jumps = [jump for jump in JUMPS if jump.table is table and not (kubelet and jump.shared)]
        deleted = [Line(f"-D {chain} {line}") for chain, line in _all_jumps(jumps, chains)]
        lines += _in_table(table, [*_removal(ours, chains, deleted)])
    return Batch(tuple(lines))


def _table_lines(
    table: Table,
    observed: Mapping[str, tuple[str, ...]],
    desired: Mapping[str, tuple[Rule, ...]],
    jumps: Sequence[BuiltinJump],
) -> list[Line]:
    written = {chain: rules for chain, rules in desired.items() if not _holds(observed.get(chain), rules)}
    stale = {chain for chain in observed if chain not in desired and _is_ours(table, chain)}
    missing = [jump for jump in jumps if jump.table is table and _found_jump(jump, observed) is None]
    lines = [
        *(Line(f":{chain} - [0:0]") for chain in written),
        *(Line(f":{chain} - [0:0]") for chain in sorted(stale)),
        *(Line(f"-I {jump.chain} {format_rule(jump.rule)}", jump.rule) for jump in missing),
        *(Line(f"-A {chain} {format_rule(rule)}".rstrip(), rule) for chain, rules in written.items() for rule in rules),
        *(Line(f"-X {chain}") for chain in sorted(stale - _referred_to(observed, besides=stale | written.keys()))),
    ]
    return _in_table(table, lines)


def _in_table(table: Table, lines: list[Line]) -> list[Line]:
    return [Line(f"*{table.value}"), *lines, Line("COMMIT")] if lines else []


def _holds(observed: tuple[str, ...] | None, desired: tuple[Rule, ...]) -> bool:
    """Whether a chain is there and says what it should.

    Text first: it is what the kernel prints on every version we know. Only where it differs are the lines understood,
    so that another version's order or spelling is no reason to write a chain again and again.
    """
    if observed is None or len(observed) != len(desired):
        return False
    return all(line == format_rule(rule) or _says(line, rule) for line, rule in zip(observed, desired, strict=True))


def _says(line: str, rule: Rule) -> bool:
    try:
        return parse_rule(line).canonical() == rule.canonical()
    except ForeignRuleError:
        return False


def _found_jump(jump: BuiltinJump, chains: Mapping[str, tuple[str, ...]]) -> str | None:
    """The line of a builtin chain that is this jump."""
    return next((line for _, line in _all_jumps([jump], chains)), None)


def _all_jumps(jumps: Iterable[BuiltinJump], chains: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for jump in jumps:
        text = format_rule(jump.rule)
        for line in chains.get(jump.chain, ()):
            if line == text or _says(line, jump.rule):
                yield jump.chain, line


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
