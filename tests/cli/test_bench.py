"""`fairway bench` refuses what it cannot measure before it begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fairway.cli.bench import _MEANING, bench
from fairway.cluster.bench.record import LIMITS, Figure, Run


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["program", "--services", "10,x"], "is not a list of whole numbers"),
        (["program", "--services", ""], "is not a list of whole numbers"),
        (["program", "--endpoints", "0"], "0 is below 1"),
        (["connect", "--services", "1"], "1 is below 2"),
        (["connect", "--plane", "ipvs"], "'ipvs' is not one of"),
        (["connect", "--plot", "figure.pdf"], "should end in .png or .svg"),
        (["connect", "--load-limit", "0"], "not in the range"),
        (["lab", "--only", "speed"], "'speed' is not one of"),
        (["lab", "--runs", "0"], "not in the range"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], why: str) -> None:
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 2
    assert why in result.output


@pytest.mark.parametrize("verb", ["program", "connect"])
def test_a_picture_nobody_can_draw_is_refused_before_measuring(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(bench, [verb, "--plot", "figure.png"])
    assert "pip install 'fairway[plot]'" in str(result.exception)


def test_every_figure_of_a_lab_is_told_in_words_and_in_the_reference() -> None:
    reference = Path("docs/cli.md").read_text()
    assert set(_MEANING) == set(LIMITS)
    assert [name for name in LIMITS if f"`{name}`" not in reference] == []


def test_lab_measures_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def bench_lab(*, runs: int, wanted: set[str], say: object) -> list[Figure]:
        asked.append(wanted)
        return [Figure(name="idle_cpu", runs=[Run(value=0.625, load=1.0)] * runs)]

    monkeypatch.setattr("fairway.cli.bench.bench_lab", bench_lab)
    only = CliRunner().invoke(bench, ["lab", "--only", "idle_cpu", "--only", "up", "--runs", "2"])
    assert (only.exit_code, asked.pop()) == (0, {"idle_cpu", "up"})
    assert "0.62 0.62" in only.output
    CliRunner().invoke(bench, ["lab", "--no-demo", "-o", "json"])
    assert asked.pop() == set(LIMITS) - {"demo"}
