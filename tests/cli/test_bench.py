"""`fairway bench` refuses what it cannot measure before it begins."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from fairway.cli.bench import bench


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
