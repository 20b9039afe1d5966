"""When to start a service again that ended."""

from __future__ import annotations

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_STABLE_S = 10.0
"""The kubelet's way with containers (10 s, doubled to 5 min, anew after 10 min) on the scale of a lab's life."""


def failures_after(failures: int, ran_s: float) -> int:
    """Consecutive failures once another run of `ran_s` seconds has ended: one that lasted starts the count anew."""
    return 1 if ran_s >= _STABLE_S else failures + 1


def restart_delay_s(failures: int) -> float:
    """Seconds to wait after that many failures in a row (at least 1): doubled each time, up to a limit."""
    return min(_FIRST_DELAY_S * 2.0 ** min(failures - 1, 30), _LONGEST_DELAY_S)
