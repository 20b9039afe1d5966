"""How often what somebody else did to the rules is undone. Pure: the time is a parameter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class RepairLimit:
    """Repairs are made at once, but no more than `burst` together and then one every `every_s` seconds.

    Somebody who undoes them again and again would otherwise keep the node busy with the two of us.
    """

    burst: int = 10
    every_s: float = 1.0
    _left: float = 10.0
    _seen_s: float = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long until the next repair may be made; 0 takes it."""
        self._left = min(float(self.burst), self._left + (now_s - self._seen_s) / self.every_s)
        self._seen_s = now_s
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) * self.every_s
