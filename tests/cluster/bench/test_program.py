"""`bench program` measures what it says it does, told by a data plane that only counts."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from fairway.api.types import Key
from fairway.cluster.bench import program
from fairway.cluster.bench.objects import Shape
from fairway.cluster.bench.program import Baseline, Change, Full, ProgramOptions, Restart, Run, bench_program, report
from fairway.cluster.bench.program_target import Sent
from fairway.plan.options import NodeView
from tests.cluster.bench.fakes import FakeTarget, here


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """What a measurement freezes it freezes for good, which only a child of its own may."""
    yield
    gc.unfreeze()


def options(*services: int, **more: Any) -> ProgramOptions:
    return ProgramOptions(**{"services": services, "endpoints": (3,), "changes": 7, "baseline_services": None, **more})


def bench(*services: int, **more: Any) -> dict[str, Any]:
    return bench_program(options(*services, **more), say=lambda _: None, make=FakeTarget, isolate=here)


def run_of(services: int, total_s: float, endpoints: int = 10) -> Run:
    sent = Sent(elements=1, messages=2, bytes=3, build_s=0.1, commit_s=0.2)
    return Run(
        services=services,
        endpoints=endpoints,
        full=Full(compile_s=0.3, sent=sent, total_s=total_s),
        changes=tuple(Change(compile_s=0.001, apply_s=0.001 * number) for number in range(1, 101)),
        restart=Restart(seconds=0.5, messages=0),
        rss_mb=50.0,
    )


def test_each_size_is_a_run() -> None:
    answer = bench(5, 8, endpoints=(2, 4))
    assert [(run["services"], run["endpoints"]) for run in answer["runs"]] == [(5, 2), (8, 2), (5, 4), (8, 4)]
    assert [run["elements"] for run in answer["runs"]] == [10, 16, 20, 32]
    assert [run["messages"] for run in answer["runs"]] == [5, 8, 5, 8]
    assert isinstance(answer["exponent"], float)


def test_a_single_run_stands_at_the_top_too() -> None:
    answer = bench(5)
    (run,) = answer.pop("runs")
    assert answer == run
    assert set(run) == {
        "services", "endpoints", "seconds", "change", "restart", "rss_mb",
        "elements", "messages", "bytes", "baseline", "ratio",
    }  # fmt: skip
    assert (run["seconds"]["build"], run["seconds"]["commit"]) == (0.25, 0.5)
    assert run["change"]["n"] == 7
    assert run["restart"]["messages"] == 0
    assert (run["baseline"], run["ratio"]) == (None, None)


def test_a_change_takes_one_endpoint_and_the_next_gives_it_back() -> None:
    made: list[FakeTarget] = []
    counts: list[tuple[Key, int]] = []

    class Watched(FakeTarget):
        def __init__(self, view: NodeView) -> None:
            super().__init__(view)
            made.append(self)

        def apply(self, changed: frozenset[Key] | None) -> Sent:
            counts.extend((key, len(self.parts[key].ports[0].cluster)) for key in changed or ())
            return super().apply(changed)

    bench_program(options(20, changes=9), say=lambda _: None, make=Watched, isolate=here)
    assert made[0].applied[0] is None
    assert [count for _, count in counts] == [2, 3, 2, 3, 2, 3, 2, 3, 2]
    assert all(one == other for (one, _), (other, _) in zip(counts[0:8:2], counts[1:8:2], strict=True))
    assert len({key for key, _ in counts}) > 1


def test_the_same_seed_makes_the_same_changes() -> None:
    def changed(seed: int) -> list[frozenset[Key] | None]:
        made: list[FakeTarget] = []

        def make(view: NodeView) -> FakeTarget:
            made.append(FakeTarget(view))
            return made[-1]

        bench_program(options(50, seed=seed), say=lambda _: None, make=make, isolate=here)
        return made[0].applied

    assert changed(1) == changed(1)
    assert changed(1) != changed(2)


def test_no_changes_have_no_percentiles() -> None:
    assert bench(5, changes=0)["change"] == {
        "n": 0, "p50_s": None, "p99_s": None, "compile_p50_s": None, "apply_p50_s": None,
    }  # fmt: skip


def test_the_figures_are_those_of_the_samples() -> None:
    answer = report([run_of(100, 1.0), run_of(1000, 10.0), run_of(10000, 100.0)], {})
    assert answer["exponent"] == 1.0
    change = answer["runs"][0]["change"]
    assert (change["p50_s"], change["p99_s"], change["compile_p50_s"]) == (0.051, 0.1, 0.001)


def test_the_ratio_is_that_of_the_medians() -> None:
    baseline = Baseline(
        what="kube-proxy", services=2000, endpoints=10, seconds=(3.0, 9.0, 6.0), fairway_seconds=(2.0, 1.0, 8.0)
    )
    answer = report([run_of(100, 1.0)], {10: baseline})
    assert answer["ratio"] == 3.0
    assert answer["baseline"]["seconds"] == 6.0
    assert answer["baseline"]["fairway_seconds"] == 2.0
    assert answer["baseline"]["runs_s"] == [3.0, 9.0, 6.0]


def test_both_are_measured_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    monkeypatch.setattr(program, "why_not", lambda plane: None)
    monkeypatch.setattr(program, "load", lambda *_, **__: turns.append("kube-proxy") or 1.0)
    monkeypatch.setattr(program, "measure_full", lambda *_: turns.append("fairway") or 0.5)
    answer = bench(5, baseline_services=20, runs=3)
    assert turns == ["kube-proxy", "fairway"] * 3
    assert answer["ratio"] == 2.0


def test_without_nft_the_reason_stands_in_the_place_of_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "why_not", lambda plane: "nft is not installed")
    answer = bench(5, baseline_services=20)
    assert answer["baseline"]["what"] == "nft is not installed"
    assert (answer["baseline"]["seconds"], answer["ratio"]) == (None, None)


def test_resident_memory_is_that_of_this_process() -> None:
    assert program.measure(Shape(services=2, endpoints=1), options(2), FakeTarget).rss_mb > 1
