"""The matrix as a table: rows of senders, columns of doors; text, JSON and Markdown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fairway.api.types import Key
from fairway.base.text import one_line
from fairway.flow.trace import Disposition, Trace
from fairway.trace.journey import Asker
from fairway.trace.matrix import Cell, Entry
from fairway.trace.sentences import escape_markdown, fate_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """What one sender meets at one entry.

    fate: the disposition, None where it depends on the node that is entered. words: `DNAT 3, source rewritten`.
    more: what else to know, such as the node it depends on; "" for nothing.
    """

    fate: Disposition | None
    words: str
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """squares: by the sender's and the entry's place in `askers` and `entries`."""

    service: Key
    summary: tuple[str, ...]
    askers: tuple[Asker, ...]
    entries: tuple[Entry, ...]
    squares: Mapping[tuple[int, int], Square]
    cells: tuple[Cell, ...]


def matrix_of(service: Key, summary: Iterable[str], found: tuple[Cell, ...]) -> Matrix:
    """The cells, in a row for each sender and a column for each entry, in the order they come."""
    askers = tuple(dict.fromkeys(cell.asker for cell in found))
    entries = tuple(dict.fromkeys(cell.entry for cell in found))
    grouped: dict[tuple[int, int], list[Cell]] = {}
    for cell in found:
        grouped.setdefault((askers.index(cell.asker), entries.index(cell.entry)), []).append(cell)
    squares = {place: _square(cells) for place, cells in grouped.items()}
    return Matrix(service=service, summary=tuple(summary), askers=askers, entries=entries, squares=squares, cells=found)


def fate_words(trace: Trace) -> str:
    """`DNAT 3 SNAT`, `DNAT 1`, `REJECT`: how many endpoints, and whether the source is rewritten."""
    if trace.disposition is not Disposition.DNAT:
        return trace.disposition.value
    return f"DNAT {len(trace.candidates)}{' SNAT' if trace.masquerade else ''}"


_COLUMNS = 6
"""A family with more of them has a table for each Service port."""


def parts_of(matrix: Matrix) -> tuple[tuple[str, Matrix], ...]:
    """The tables a matrix is told in, each with its name: one a family, and where they are wide one a Service port.

    "" names the only one.
    """
    groups: dict[tuple[int, str], list[Entry]] = {}
    for entry in matrix.entries:
        wide = sum(1 for each in matrix.entries if each.address.version == entry.address.version) > _COLUMNS
        groups.setdefault((entry.address.version, entry.service_port if wide else ""), []).append(entry)
    if len(groups) == 1:
        return (("", matrix),)
    return tuple(
        (f"IPv{version}{f', {port}' if port else ''}", _part(matrix, tuple(entries), version))
        for (version, port), entries in groups.items()
    )


def _part(matrix: Matrix, entries: tuple[Entry, ...], version: int) -> Matrix:
    askers = tuple(asker for asker in matrix.askers if asker.address.version == version)
    squares = {
        (askers.index(matrix.askers[row]), entries.index(matrix.entries[column])): square
        for (row, column), square in matrix.squares.items()
        if matrix.askers[row] in askers and matrix.entries[column] in entries
    }
    cells = tuple(cell for cell in matrix.cells if cell.entry in entries)
    return replace(matrix, askers=askers, entries=entries, squares=squares, cells=cells)


LEGEND = (
    ("DNAT n", "goes to one of n endpoints, and keeps its source"),
    ("DNAT n SNAT", "goes to one of n endpoints, under a node's address"),
    ("REJECT", "refused at once: no endpoint anywhere, or nothing at that port"),
    ("DROP", "vanishes: no endpoint here under Local, or a source that is not admitted"),
    ("NONE", "no rule of a Service takes it"),
    ("*", "a pod comes to another node's port as its own node, whose network plugin rewrites its source"),
    ("(...)", "nothing outside has a route to a clusterIP: what would happen if it came to a node"),
)


def legend_of(matrix: Matrix) -> tuple[tuple[str, str], ...]:
    """The lines of the legend that the matrix needs."""
    words = [square.words for square in matrix.squares.values()]
    used = {
        "DNAT n": any(re.search(r"DNAT \d+(?! SNAT)", each) for each in words),
        "DNAT n SNAT": any("SNAT" in each for each in words),
        "*": any("*" in each for each in words),
        "(...)": any(each.startswith("(") for each in words),
    }
    return tuple((sign, text) for sign, text in LEGEND if used.get(sign, any(sign in each for each in words)))


def asker_label(asker: Asker) -> str:
    """`mypc (172.18.0.100)`."""
    return one_line(f"{asker.name} ({asker.address})")


def text_table(matrix: Matrix) -> list[str]:
    """Lines for a terminal: a row for each sender, a column for each door, two lines of heads."""
    heads = [["", "", *(one_line(entry.title) for entry in matrix.entries)]]
    heads += [["from", "", *(entry.place for entry in matrix.entries)]]
    rows = [
        [one_line(asker.name), str(asker.address), *(_words(matrix, row, column) for column in _columns(matrix))]
        for row, asker in enumerate(matrix.askers)
    ]
    widths = [max(map(len, column)) for column in zip(*heads, *rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (*heads, *rows)
    ]


def markdown_table(matrix: Matrix) -> str:
    """A section of a page, with its legend."""
    lines = [f"### {escape_markdown(f'Service {matrix.service}')}", ""]
    lines += [*(f"{escape_markdown(text)}." for text in matrix.summary), ""]
    for name, part in parts_of(matrix):
        lines += [f"#### {escape_markdown(name)}", ""] if name else []
        lines += [*_markdown_rows(part), ""]
    lines += [f"- `{sign}`: {text}" for sign, text in legend_of(matrix)]
    return "\n".join(lines) + "\n"


def _markdown_rows(matrix: Matrix) -> Iterator[str]:
    head = ["from", *(f"{escape_markdown(entry.title)}<br>`{entry.place}`" for entry in matrix.entries)]
    rows = [
        [
            escape_markdown(asker_label(asker)),
            *(escape_markdown(_words(matrix, row, each)) for each in _columns(matrix)),
        ]
        for row, asker in enumerate(matrix.askers)
    ]
    yield from (f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _columns(matrix: Matrix) -> range:
    return range(len(matrix.entries))


def matrix_json(matrix: Matrix) -> dict[str, Any]:
    """Every cell with its packet and fate."""
    return {
        "service": str(matrix.service),
        "summary": list(matrix.summary),
        "cells": [
            {
                "from": {
                    "name": cell.asker.name,
                    "kind": cell.asker.kind.value,
                    "node": cell.asker.node or None,
                    "address": str(cell.asker.address),
                },
                "by": {
                    "label": cell.entry.label,
                    "kind": cell.entry.kind.value,
                    "node": cell.entry.node,
                    "servicePort": cell.entry.service_port,
                    "address": str(cell.entry.address),
                    "port": cell.entry.port,
                    "protocol": cell.entry.protocol.value,
                },
                "node": cell.node,
                "source": str(cell.packet.source),
                "routed": cell.routed,
                **fate_json(cell.trace),
            }
            for cell in matrix.cells
        ],
    }


def _words(matrix: Matrix, row: int, column: int) -> str:
    square = matrix.squares.get((row, column))
    return "" if square is None else f"{square.words}{f' {square.more}' if square.more else ''}"


def _square(cells: list[Cell]) -> Square:
    """Of several cells, one a node that may be entered, what they have in common; else how many have what."""
    words = list(dict.fromkeys(fate_words(cell.trace) for cell in cells))
    if len(words) == 1:
        mark = "*" if any(cell.legs[-1].rewritten for cell in cells) else ""
        text = f"{words[0]}{mark}" if cells[0].routed else f"({words[0]})"
        return Square(fate=cells[0].trace.disposition, words=text)
    by_words = {each: [cell.node for cell in cells if fate_words(cell.trace) == each] for each in words}
    parts = " / ".join(f"{each} by {_nodes(names, len(cells))}" for each, names in by_words.items())
    return Square(fate=None, words=parts if cells[0].routed else f"({parts})")


def _nodes(names: list[str], total: int) -> str:
    return ", ".join(names) if len(names) <= total // 2 or len(names) == 1 else f"{len(names)} nodes"
