"""What `bench lab` measures, and within which limit: runs become figures. Pure but for the machine's own speed."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fairway.base.errors import FairwayError


class Unit(StrEnum):
    """Of a figure; names in JSON end in it."""

    SECONDS = "s"
    MEGABYTES = "mb"
    PERCENT = "percent"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure should stay below; of calls that were lost, not exceed."""

    most: float
    unit: Unit = Unit.SECONDS


LIMITS: Mapping[str, Limit] = {
    "up": Limit(3.0),
    "up_20_nodes": Limit(8.0),
    "up_50_nodes": Limit(25.0),
    "idle_memory": Limit(500.0, Unit.MEGABYTES),
    "idle_cpu": Limit(3.0, Unit.PERCENT),
    "pod_ready": Limit(1.0),
    "pods_200_ready": Limit(20.0),
    "scale_down": Limit(0, Unit.LOST),
    "scale_down_prestop": Limit(0, Unit.LOST),
    "endpoint_to_rules": Limit(0.02),
    "probe_to_rules": Limit(0.2),
    "repair_table": Limit(0.1),
    "repair_element": Limit(0.1),
    "demo": Limit(60.0),
}
"""Every figure, in the order they are told."""

Say = Callable[[str], None]
"""Tells a person how far it is."""

_DIGITS = {Unit.SECONDS: 4, Unit.MEGABYTES: 1, Unit.PERCENT: 2, Unit.LOST: 0}
_SPAWNING_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Of a client's calls through a node port while a run was made: how many there were, and how many failed."""

    made: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measurement.

    value: in the figure's unit. load: the machine's load average of the last minute when it ended. spawns_per_s: how
    many processes a second the machine started and ended just before, 0 where that was not asked. calls: those that
    were made meanwhile.
    """

    value: float
    load: float
    spawns_per_s: float = 0.0
    calls: Calls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured several times. facts: of all runs alike, for the JSON; their names end in their units."""

    name: str
    runs: Sequence[Run]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def limit(self) -> Limit:
        return LIMITS[self.name]

    @property
    def middle(self) -> float:
        """The median; of lost calls the most, since one run that loses a call is one too many."""
        values = [run.value for run in self.runs]
        return max(values) if self.limit.unit is Unit.LOST else statistics.median(values)

    def to_json(self) -> dict[str, Any]:
        unit = self.limit.unit
        told: dict[str, Any] = {
            f"{'most' if unit is Unit.LOST else 'median'}_{unit}": _rounded(self.middle, unit),
            f"limit_{unit}": self.limit.most,
            f"runs_{unit}": [_rounded(run.value, unit) for run in self.runs],
            "loads": [round(run.load, 2) for run in self.runs],
        }
        if all(run.spawns_per_s for run in self.runs):
            told["spawns_per_s"] = [round(run.spawns_per_s) for run in self.runs]
            told["median_spawns"] = round(statistics.median(run.value * run.spawns_per_s for run in self.runs), 1)
        if calls := [run.calls for run in self.runs if run.calls is not None]:
            told["calls"] = [each.made for each in calls]
            told |= {} if unit is Unit.LOST else {"lost": [each.lost for each in calls]}
        return {**told, **self.facts}


def _rounded(value: float, unit: Unit) -> float:
    digits = _DIGITS[unit]
    return round(value, digits) if digits else round(value)


def ended(value: float, *, spawns_per_s: float = 0.0, calls: Calls | None = None) -> Run:
    """A run that has just ended."""
    return Run(value=value, load=os.getloadavg()[0], spawns_per_s=spawns_per_s, calls=calls)


def spawn_rate() -> float:
    """How fast the machine is right now: processes of /bin/true it starts and ends in a second, one after another."""
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < _SPAWNING_S:
        try:
            subprocess.run(["true"], check=True, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            raise FairwayError(f"the program `true` cannot be run: {error}") from error
        count += 1
    return count / elapsed
