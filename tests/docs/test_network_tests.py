"""docs/kubernetes-network-tests.md is true both ways: what it names is there, and what is there is named."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "kubernetes-network-tests.md"
LAB = ROOT / "tests" / "lab"
COUNTS = {"T0": 15, "T1": 52, "T2": 8, "T3": 22}
"""The tests of Kubernetes v1.36 of each tier."""
NOT_COVERED = "not covered: "


def rows() -> Iterator[list[str]]:
    """The cells of each row below a table's head."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[-1] != "ours" and set(cells[0]) != {"-"}:
            yield cells


def named(cells: list[str]) -> list[str]:
    """The tests of ours that a row names: MODULE::TEST."""
    return [] if cells[-1].startswith(NOT_COVERED) else [each.strip("`") for each in cells[-1].split("<br>")]


def functions_of(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    found = (each.name for each in tree.body if isinstance(each, ast.FunctionDef))
    return {f"{module.stem}::{name}" for name in found if name.startswith("test_")}


ROWS = list(rows())
KUBERNETES = [cells for cells in ROWS if len(cells) == 4]


@pytest.mark.parametrize("cells", ROWS, ids=[cells[0].strip("`") + " " + cells[1] for cells in ROWS])
def test_a_row_names_tests_that_exist_or_says_why_there_is_none(cells: list[str]) -> None:
    if cells[-1].startswith(NOT_COVERED):
        assert len(cells[-1]) > len(NOT_COVERED) + 20
        return
    assert named(cells)
    for name in named(cells):
        module = LAB / f"{name.partition('::')[0]}.py"
        assert module.exists(), name
        assert name in functions_of(module)


def test_every_test_of_kubernetes_of_these_tiers_has_one_row() -> None:
    tiers = [cells[2] for cells in KUBERNETES]
    assert {tier: tiers.count(tier) for tier in COUNTS} == COUNTS
    places = [cells[0] for cells in KUBERNETES]
    assert len(places) == len(set(places))


def test_every_test_in_their_manner_is_named() -> None:
    ours = {name for module in LAB.glob("test_e2e_*.py") for name in functions_of(module)}
    assert ours
    assert ours - {name for cells in KUBERNETES for name in named(cells)} == set()
