"""From samples to figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` of all do not exceed (nearest rank), in the samples' own unit.

    percent: above 0, at most 100. Raises ValueError without samples.
    """
    if not samples:
        raise ValueError("no samples")
    rank = math.ceil(len(samples) * percent / 100)
    return sorted(samples)[max(rank, 1) - 1]


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The slope of log y over log x by least squares: 1 where y grows as x does, 2 where it grows as its square.

    None for points of fewer than two different x. All x and y are above 0.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points]
    if len({x for x, _ in logs}) < 2:
        return None
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def ratio(value: float | None, to: float | None) -> float | None:
    """How many times `to` fits into `value`; None where either is unknown, or `to` is 0."""
    return value / to if value is not None and to else None


def rounded(value: float | None, digits: int) -> float | None:
    """For printing; None stays."""
    return None if value is None else round(value, digits)
