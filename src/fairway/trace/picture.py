"""The matrix as a picture: SVG that any browser shows, told by words as well as by colours. Pure.

All text is escaped, and the picture refers to nothing outside itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from fairway.base.text import one_line
from fairway.flow.trace import Disposition
from fairway.trace.table import Matrix, Square, legend_of, parts_of

_FONT = "ui-sans-serif, system-ui, 'Noto Sans', 'DejaVu Sans', sans-serif"
_MONO = "ui-monospace, 'DejaVu Sans Mono', monospace"
_CHARACTER = 7.3
"""Width of a character of 12 px that is wide for its font, so that no text leaves its place."""
_ROW, _HEAD, _MARGIN, _GAP = 34, 46, 24, 4

_COLOURS: dict[Disposition | None, tuple[str, str]] = {
    Disposition.DNAT: ("#d7f0dd", "#14532d"),
    Disposition.REJECT: ("#fde3c8", "#7c2d12"),
    Disposition.DROP: ("#f9cfd3", "#7f1d1d"),
    Disposition.NONE: ("#e7e9ee", "#374151"),
    Disposition.ACCEPT: ("#d8e6fb", "#1e3a8a"),
    None: ("#f4ecc2", "#5f4b00"),
}
"""Ground and ink of a fate; None where it depends on the node that is entered. Ink on ground is 7:1 or better."""
_KEPT = ("#bfe3f2", "#0c4a6e")
"""Of what is sent on with its own source."""


def draw(matrix: Matrix) -> str:
    """The whole picture. Its size follows from its words."""
    return "\n".join(_Drawing(matrix).lines()) + "\n"


class _Drawing:
    """Tables one below the other, between a head and a legend."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._legend = legend_of(matrix)
        self._parts: list[_Part] = []
        bottom = _MARGIN + 12 + 22 * len(matrix.summary) + 8.0
        for name, part in parts_of(matrix):
            self._parts.append(_Part(name, part, bottom))
            bottom = self._parts[-1].bottom
        self._bottom = bottom + 26

    def lines(self) -> Iterator[str]:
        height = self._bottom + 20 * len(self._legend) + _MARGIN
        words = [f"{sign}: {text}" for sign, text in self._legend] + list(self._matrix.summary)
        width = max(_width(words) + 2 * _MARGIN, *(part.right + _MARGIN for part in self._parts))
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" font-family="{_FONT}" font-size="12" role="img">'
        )
        name = f"Service {self._matrix.service}"
        yield f"<title>{_escape(f'{name}: who meets what by which door')}</title>"
        yield f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
        yield _label(_MARGIN, _MARGIN + 12, name, size=17, weight=600)
        for number, text in enumerate(self._matrix.summary, 1):
            yield _label(_MARGIN, _MARGIN + 12 + 22 * number, text, ink="#4b5563")
        for part in self._parts:
            yield from part.lines()
        for number, (sign, text) in enumerate(self._legend):
            y = self._bottom + 20 * number
            yield _label(_MARGIN, y, sign, family=_MONO, weight=600)
            yield _label(_MARGIN + 100, y, text, ink="#4b5563")
        yield "</svg>"


class _Part:
    """One table. top: where its place begins."""

    def __init__(self, name: str, matrix: Matrix, top: float) -> None:
        self._name = name
        self._matrix = matrix
        self._left = _MARGIN + _width([text for each in matrix.askers for text in (each.name, str(each.address))]) + 18
        texts = [[entry.title, entry.place] for entry in matrix.entries]
        for (_, column), square in matrix.squares.items():
            texts[column].append(_text(square))
        self._widths = [max(_width(column) + 20, 96.0) for column in texts]
        self._top = top + _HEAD + (18 if name else 0)

    @property
    def right(self) -> float:
        return self._left + sum(self._widths) + _GAP * len(self._widths)

    @property
    def bottom(self) -> float:
        return self._top + _ROW * len(self._matrix.askers)

    def lines(self) -> Iterator[str]:
        if self._name:
            yield _label(_MARGIN, self._top - 28, self._name, size=14, weight=600)
        yield from self._heads()
        for row in range(len(self._matrix.askers)):
            yield from self._row(row)

    def _heads(self) -> Iterator[str]:
        for x, width, entry in zip(self._columns(), self._widths, self._matrix.entries, strict=True):
            middle = x + width / 2
            yield _label(middle, self._top - 28, entry.title, anchor="middle", weight=600)
            yield _label(middle, self._top - 11, entry.place, anchor="middle", ink="#4b5563", family=_MONO, size=11)

    def _row(self, row: int) -> Iterator[str]:
        asker = self._matrix.askers[row]
        y = self._top + _ROW * row
        yield _label(self._left - 12, y + 14, asker.name, anchor="end", weight=600)
        yield _label(self._left - 12, y + 27, str(asker.address), anchor="end", ink="#4b5563", family=_MONO, size=10)
        for column, (x, width) in enumerate(zip(self._columns(), self._widths, strict=True)):
            square = self._matrix.squares.get((row, column))
            if square is not None:
                yield from _square(square, x, y, width)

    def _columns(self) -> Iterator[float]:
        x = float(self._left)
        for width in self._widths:
            yield x
            x += width + _GAP


def _square(square: Square, x: float, y: float, width: float) -> Iterator[str]:
    ground, ink = _COLOURS[square.fate]
    if square.fate is Disposition.DNAT and "SNAT" not in square.words:
        ground, ink = _KEPT
    faint = ' fill-opacity="0.45" stroke-dasharray="4 3"' if square.words.startswith("(") else ""
    height = _ROW - _GAP
    yield (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="4" fill="{ground}" '
        f'stroke="{ink}" stroke-opacity="0.35"{faint}/>'
    )
    yield _label(x + width / 2, y + height / 2 + 4, _text(square), anchor="middle", ink=ink, weight=600)


def _label(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    ink: str = "#111827",
    size: int = 12,
    weight: int = 400,
    family: str = "",
) -> str:
    font = f' font-family="{family}"' if family else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{ink}" font-size="{size}" '
        f'font-weight="{weight}"{font}>{_escape(text)}</text>'
    )


def _text(square: Square) -> str:
    return f"{square.words} {square.more}".strip()


def _width(texts: list[str]) -> float:
    return max((len(text) for text in texts), default=0) * _CHARACTER


def _escape(text: str) -> str:
    """Also what XML cannot hold at all, as control characters."""
    return escape(one_line(text), {'"': "&quot;"})
