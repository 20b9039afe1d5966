"""Two texts of one nftables table in one form: what `nft list table` prints, and commands as `nft -f` reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

Table = dict[str, tuple[str, ...]]
"""By the name of a chain its rules, in order; by that of a set or map its type, comment and elements, sorted."""

_POLICY = re.compile(r";( policy accept;)?$")
"""That of every base chain here; the commands leave it to be so."""


def listed(text: str) -> Table:
    """A table as `nft list table` prints it."""
    table: Table = {}
    for kind, name, body in re.findall(r"^\t(set|map|chain) (\S+) \{\n(.*?)^\t\}", text, re.DOTALL | re.MULTILINE):
        lines = [_POLICY.sub("", line.strip()) for line in re.sub(r",\n\s+", ", ", body).splitlines()]
        table[name] = tuple(lines) if kind == "chain" else tuple(sorted(_elements(lines)))
    return table


def commanded(text: str) -> Table:
    """The same from commands, one a line."""
    table: Table = {}
    for line in text.splitlines():
        verb, kind, family, owner, *rest = line.split(" ", 5)
        assert (verb, family, owner) == ("add", "ip", "kube-proxy")
        if kind == "table":
            continue
        name, body = rest[0], rest[1] if len(rest) > 1 else ""
        if kind == "rule":
            table[name] = (*table[name], body)
        elif kind == "element":
            table[name] = tuple(sorted((*table[name], body.removeprefix("{ ").removesuffix(" }"))))
        else:
            parts = body.removeprefix("{ ").removesuffix("}").split(" ;")
            table[name] = tuple(sorted(part.strip() for part in parts if part.strip()))
    return table


def _elements(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("elements = "):
            yield from line.removeprefix("elements = { ").removesuffix(" }").split(", ")
        else:
            yield line
