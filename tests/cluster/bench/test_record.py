"""Runs become figures."""

from __future__ import annotations

import pytest

from fairway.cluster.bench.record import LIMITS, Calls, Figure, Run, Unit, ended, spawn_rate


def runs(*values: float, spawns_per_s: float = 0.0, calls: Calls | None = None) -> list[Run]:
    return [Run(value=value, load=0.125, spawns_per_s=spawns_per_s, calls=calls) for value in values]


def test_seconds_stand_beside_what_the_machine_could_do_meanwhile() -> None:
    figure = Figure(name="up_20_nodes", runs=runs(3.0, 2.0, 4.0, spawns_per_s=500), facts={"nodes": 20})
    assert figure.to_json() == {
        "median_s": 3.0,
        "limit_s": 8.0,
        "runs_s": [3.0, 2.0, 4.0],
        "loads": [0.12, 0.12, 0.12],
        "spawns_per_s": [500, 500, 500],
        "median_spawns": 1500.0,
        "nodes": 20,
    }


def test_a_repair_tells_the_calls_made_meanwhile() -> None:
    told = Figure(name="repair_table", runs=runs(0.0123, calls=Calls(made=900, lost=1))).to_json()
    assert (told["median_s"], told["calls"], told["lost"]) == (0.0123, [900], [1])


def test_of_lost_calls_the_worst_run_counts() -> None:
    told = Figure(name="scale_down", runs=runs(0, 0, 4, calls=Calls(made=10, lost=4))).to_json()
    assert (told["most_lost"], told["limit_lost"], told["runs_lost"]) == (4, 0, [0, 0, 4])
    assert told["calls"] == [10, 10, 10]
    assert "lost" not in told


@pytest.mark.parametrize(("name", "field"), [("idle_memory", "median_mb"), ("idle_cpu", "median_percent")])
def test_the_unit_is_in_the_name(name: str, field: str) -> None:
    told = Figure(name=name, runs=runs(1.26)).to_json()
    assert told[field] == (1.3 if name == "idle_memory" else 1.26)
    assert "spawns_per_s" not in told


def test_limits_are_those_that_were_promised() -> None:
    assert {name: (limit.most, limit.unit) for name, limit in LIMITS.items() if name.startswith(("idle", "up_"))} == {
        "idle_memory": (500, Unit.MEGABYTES),
        "idle_cpu": (3, Unit.PERCENT),
        "up_20_nodes": (8, Unit.SECONDS),
        "up_50_nodes": (25, Unit.SECONDS),
    }
    assert LIMITS["pods_200_ready"].most == 20
    assert LIMITS["scale_down"].most == LIMITS["scale_down_prestop"].most == 0


def test_the_machine_starts_processes() -> None:
    run = ended(1.5, spawns_per_s=spawn_rate())
    assert run.spawns_per_s > 0
    assert run.load >= 0
