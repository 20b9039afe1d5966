"""How long a crashed container waits before it is started again.

The rules of client-go `util/flowcontrol/backoff.go` with the kubelet's figures (`pkg/kubelet/kubelet.go`,
MaxContainerBackOff and the 10 s period): the first restart is at once, each later one waits 10 s, 20 s, ... 5 min
from the end of the container's last run.
"""

from __future__ import annotations

from dataclasses import dataclass

INITIAL_S = 10.0
MAX_S = 300.0
FORGET_AFTER_S = 2 * MAX_S
"""A run that ended later than this after the last restart counts as a first crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The back-off of one container: `delay_s` since `updated_at`; 0 before the first restart."""

    delay_s: float = 0.0
    updated_at: float = 0.0

    def _forgotten(self, finished_at: float) -> bool:
        return finished_at - self.updated_at > FORGET_AFTER_S

    def until(self, finished_at: float) -> float:
        """When a container whose last run ended at `finished_at` may start again."""
        if not self.delay_s or self._forgotten(finished_at):
            return finished_at
        return finished_at + self.delay_s

    def restarted(self, finished_at: float, now: float) -> Backoff:
        """After a restart at `now` of a container whose last run ended at `finished_at`."""
        if not self.delay_s or self._forgotten(finished_at):
            return Backoff(delay_s=INITIAL_S, updated_at=now)
        return Backoff(delay_s=min(self.delay_s * 2, MAX_S), updated_at=now)
