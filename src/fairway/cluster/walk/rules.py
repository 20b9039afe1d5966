"""`iptables -t nat -v -S`, read: what the walk judges the kernel's rules by. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as iptables lists it.

    packets: how many it matched since the counters were zeroed.
    """

    chain: str
    target: str | None
    packets: int
    words: tuple[str, ...]
    line: str

    def option(self, name: str) -> str | None:
        """The word after an option such as --probability; None without it."""
        return self.words[self.words.index(name) + 1] if name in self.words else None


def parse_rules(listing: str) -> list[Rule]:
    """The -A lines of `iptables -v -S`, in order; other lines are passed over."""
    return [_rule(line) for line in listing.splitlines() if line.startswith("-A ")]


def matched(rules: list[Rule], chain: str, target: str) -> int:
    """Packets matched by the rules that lead from a chain to a target."""
    return sum(rule.packets for rule in rules if (rule.chain, rule.target) == (chain, target))


def _rule(line: str) -> Rule:
    words = tuple(shlex.split(line))
    packets = int(words[words.index("-c") + 1]) if "-c" in words else 0
    target = words[words.index("-j") + 1] if "-j" in words else None
    return Rule(chain=words[1], target=target, packets=packets, words=words, line=line)
