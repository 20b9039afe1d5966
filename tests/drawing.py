"""Hypothesis as the one who draws generated clusters, so that what fails is shrunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st

from fairway.cluster.verify.generate import Case, draw_case

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HypothesisDraw:
    """A fairway.cluster.verify.draw.Draw, from the `draw` of a composite strategy or of st.data()."""

    draw: st.DrawFn

    def choice(self, among: Sequence[T]) -> T:
        return self.draw(st.sampled_from(among))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def number(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))


@st.composite
def drawn_cases(draw: st.DrawFn) -> Case:
    """Generated clusters. Packets to one are drawn with st.data(), as they depend on its Plan."""
    return draw_case(HypothesisDraw(draw))
