"""A kernel in memory that takes what iptables-restore is given and tells what iptables-save prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from subprocess import CompletedProcess

from fairway.dataplane.ipt.diff import Batch, Line
from fairway.dataplane.ipt.parse import Lines
from fairway.dataplane.ipt.ruleset import Table


def apply(observed: Lines, batch: Batch) -> Lines:
    """What iptables-restore --noflush makes of it; raises where it would refuse, or would do harm."""
    tables: dict[Table, dict[str, list[str]]] = {
        table: {chain: list(rules) for chain, rules in observed.get(table, {}).items()} for table in Table
    }
    chains: dict[str, list[str]] = {}
    for line in batch.lines:
        verb, _, rest = line.text.partition(" ")
        chain, _, rule = rest.partition(" ")
        match verb:
            case "-A":
                chains[chain].append(rule)
            case "-I":
                chains.setdefault(chain, []).insert(0, rule)
            case "-D":
                chains[chain].remove(rule)
            case "-X":
                assert not chains[chain]
                assert not any(f"-j {chain}" in some for rules in chains.values() for some in rules)
                del chains[chain]
            case "COMMIT":
                chains = {}
            case _ if verb.startswith("*"):
                chains = tables[Table(verb[1:])]
            case _:
                assert verb.startswith(":")
                assert rest == "- [0:0]"
                chains[verb[1:]] = []
    return {table: {chain: tuple(rules) for chain, rules in found.items()} for table, found in tables.items() if found}


class Kernel:
    """Rules in memory behind the two programs, and the number nf_tables counts their changes with.

    meanwhile: what another does while a restore runs; once.
    """

    def __init__(self) -> None:
        self.rules: Lines = {}
        self.generation: int | None = 7
        self.saves = 0
        self.refuses = False
        self.meanwhile: Callable[[], None] = lambda: None

    def change(self, table: Table, chain: str, *rules: str) -> None:
        """Another program gives a chain these rules."""
        self.rules = {**self.rules, table: {**self.rules.get(table, {}), chain: rules}}
        self._count(1)

    def run(self, arguments: Sequence[str], *, input: bytes, **_: object) -> CompletedProcess[bytes]:  # noqa: A002 - its name
        """In place of subprocess.run."""
        if arguments[0].endswith("-save"):
            self.saves += 1
            return CompletedProcess(arguments, 0, self._text().encode(), b"")
        if self.refuses:
            return CompletedProcess(arguments, 1, b"", b"line 2 failed")
        batch = Batch(tuple(Line(line) for line in input.decode().splitlines()))
        self.rules = apply(self.rules, batch)
        self._count(len(batch.tables))
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return CompletedProcess(arguments, 0, b"", b"")

    def _count(self, changes: int) -> None:
        if self.generation is not None:
            self.generation += changes

    def _text(self) -> str:
        lines: list[str] = []
        for table, chains in self.rules.items():
            lines += [f"*{table.value}", *(f":{chain} - [0:0]" for chain in chains)]
            lines += [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
            lines.append("COMMIT")
        return "".join(f"{line}\n" for line in lines)
