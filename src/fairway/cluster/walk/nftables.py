"""A table as nft lists it, and a packet's trace through it, read: what the walk judges mode nftables by. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEAD = re.compile(r"\t(?:map|set|chain) (\S+) \{")
_ELEMENTS = re.compile(r"elements = \{ (.*) \}", re.DOTALL)
_COLUMNS = re.compile(r"\s{2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """sets: by name the elements of each set and map. chains: by name the rules of each chain, in order."""

    sets: dict[str, list[str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)

    def value(self, name: str, key: str) -> str | None:
        """What a map holds for a key, None where it does not have it."""
        found = dict(element.split(" : ", 1) for element in self.sets.get(name, ()))
        return found.get(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A rule that a packet matched.

    packet: where it came from and went to when it entered the hook, `SOURCE:PORT -> DESTINATION:PORT`. verdict: what
    the rule decided, in nft's words.
    """

    packet: str
    chain: str
    verdict: str
    rule: str


def parse_table(listing: str) -> Table:
    """The table of `nft list table`."""
    table = Table()
    for block in listing.split("\n\t}"):
        head = _HEAD.search(block)
        if head is None:
            continue
        name, body = head[1], block[head.end() :]
        if "chain " in head[0]:
            lines = [line.strip() for line in body.strip("\n").splitlines()]
            table.chains[name] = [line for line in lines if not line.startswith(("type ", "comment "))]
        else:
            elements = _ELEMENTS.search(body)
            table.sets[name] = re.split(r",\s+", elements[1]) if elements else []
    return table


def parse_trace(told: str) -> list[Step]:
    """The output of `python -m fairway.cluster.nfttrace`."""
    steps: list[Step] = []
    packet = ""
    for line in told.splitlines():
        if not line.startswith("  "):
            packet = line
            continue
        chain, verdict, *rule = _COLUMNS.split(line.strip())
        steps.append(Step(packet=packet, chain=chain, verdict=verdict, rule=rule[0] if rule else verdict))
    return steps
