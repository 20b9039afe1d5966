"""The work queue: keys to reconcile, each once, never two at the same time, failed ones later. Pure.

As client-go's `util/workqueue`: a key added while it waits is there once; one added while it is worked on comes again
after that. One whose work was dear may rest: what comes meanwhile is done at once after the rest, in one go. Time is a
parameter, in seconds of any steady clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from fairway.watch.reflector import Backoff

K = TypeVar("K", bound=Hashable)

DEFAULT_BACKOFF = Backoff(initial_s=0.005, factor=2.0, limit_s=60.0, jitter=0.0)
"""5 ms doubled with each failure, as client-go's ItemExponentialFailureRateLimiter; capped at a minute, not 1000 s: a
person is watching."""


class WorkQueue(Generic[K]):
    """Keys in the order they were added."""

    def __init__(self, backoff: Backoff = DEFAULT_BACKOFF) -> None:
        self._backoff = backoff
        self._ready: dict[K, None] = {}
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._due: dict[K, float] = {}
        self._resting: dict[K, float] = {}
        self._later: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        """Keys that could be worked on now."""
        return len(self._ready)

    def add(self, key: K) -> None:
        """Now, or when the work on it that is under way is done."""
        if key in self._working:
            self._again.add(key)
        else:
            self._ready[key] = None

    def add_at(self, key: K, at: float) -> None:
        """Not before `at`; the earliest of several counts, and the key may well come sooner by `add`."""
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            self._count += 1
            heapq.heappush(self._later, (at, self._count, key))

    def get(self, now: float) -> K | None:
        """The next key to work on, None while there is none; end the work with `done` or `failed`."""
        self._wake(now)
        while (key := next(iter(self._ready), None)) is not None:
            del self._ready[key]
            rested_at = self._resting.pop(key, now)
            if rested_at <= now:
                self._working.add(key)
                return key
            self._resting[key] = rested_at
            self.add_at(key, rested_at)
        return None

    def done(self, key: K, *, rest_until: float | None = None) -> None:
        """The work on a key succeeded; before `rest_until` it is not worked on again."""
        self._failures.pop(key, None)
        if rest_until is not None:
            self._resting[key] = rest_until
        self._finish(key)

    def failed(self, key: K, now: float, *, after_s: float = 0.0) -> float:
        """The work on a key failed: it comes again after a wait that doubles each time, and at least `after_s`.

        Returns the wait in seconds.
        """
        self._failures[key] = self._failures.get(key, 0) + 1
        wait = max(after_s, self._backoff.delay_s(self._failures[key], 0.0))
        self._finish(key)
        if key not in self._ready:
            self.add_at(key, now + wait)
        return wait

    def failures(self, key: K) -> int:
        """How often in a row the work on a key has failed."""
        return self._failures.get(key, 0)

    def next_at(self) -> float | None:
        """When the next waiting key is due; None where none waits."""
        while self._later and self._due.get(self._later[0][2]) != self._later[0][0]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def _wake(self, now: float) -> None:
        while (due := self.next_at()) is not None and due <= now:
            key = heapq.heappop(self._later)[2]
            del self._due[key]
            self.add(key)

    def _finish(self, key: K) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self._ready[key] = None
