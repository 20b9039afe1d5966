"""How generated objects are chosen: by whatever can choose, so that tests may let hypothesis do it and shrink. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

T = TypeVar("T")


class Draw(Protocol):
    """A source of choices. What comes first, False and the least number are the plainest, for one that shrinks."""

    def choice(self, among: Sequence[T]) -> T:
        """One of these, which are not none."""

    def flag(self) -> bool:
        """Yes or no."""

    def number(self, least: int, most: int) -> int:
        """From least to most, both included."""


class RandomDraw:
    """Choices by chance, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def choice(self, among: Sequence[T]) -> T:
        return self._random.choice(among)

    def flag(self) -> bool:
        return self._random.random() < 0.5

    def number(self, least: int, most: int) -> int:
        return self._random.randint(least, most)
