"""conntrack's listing, read: one connection with its two tuples. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PAIR = re.compile(r"\b(src|dst|sport|dport)=(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuple:
    """One direction of a connection as the kernel expects its packets."""

    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A conntrack entry: the packets as the client sends them, and the replies as they come from the pod.

    DNAT shows as reply.source differing from original.destination, SNAT as reply.destination differing from
    original.source.
    """

    original: Tuple
    reply: Tuple
    line: str


def parse_connections(text: str) -> list[Connection]:
    """The TCP and UDP entries of `conntrack -L`, one a line."""
    connections = []
    for line in text.splitlines():
        pairs = _PAIR.findall(line)
        if [name for name, _ in pairs] == ["src", "dst", "sport", "dport"] * 2:
            values = [value for _, value in pairs]
            connections.append(Connection(original=_tuple(values[:4]), reply=_tuple(values[4:]), line=line.strip()))
    return connections


def _tuple(values: list[str]) -> Tuple:
    source, destination, source_port, destination_port = values
    return Tuple(
        source=source,
        source_port=int(source_port),
        destination=destination,
        destination_port=int(destination_port),
    )
