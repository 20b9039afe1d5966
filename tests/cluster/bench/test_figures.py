"""Percentiles, slopes and ratios."""

from __future__ import annotations

import pytest

from fairway.cluster.bench.figures import exponent, percentile, ratio, rounded


@pytest.mark.parametrize(("percent", "expected"), [(1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed(percent: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_of_one_sample_every_percentile_is_that_sample() -> None:
    assert {percentile([7.5], percent) for percent in (1, 50, 99, 100)} == {7.5}


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_the_exponent_is_the_power_by_which_it_grows(power: float) -> None:
    assert exponent([(x, 3 * x**power) for x in (100, 1000, 10000)]) == pytest.approx(power)


def test_the_exponent_of_points_off_the_line_is_that_of_least_squares() -> None:
    assert exponent([(1, 1), (10, 100), (100, 100)]) == pytest.approx(1.0)


@pytest.mark.parametrize("points", [[], [(10, 1.0)], [(10, 1.0), (10, 2.0)]])
def test_one_size_has_no_exponent(points: list[tuple[float, float]]) -> None:
    assert exponent(points) is None


@pytest.mark.parametrize(
    ("value", "to", "expected"), [(6.0, 2.0, 3.0), (None, 2.0, None), (6.0, None, None), (6.0, 0, None)]
)
def test_a_ratio_is_known_where_both_are(value: float | None, to: float | None, expected: float | None) -> None:
    assert ratio(value, to) == expected


def test_rounding_leaves_what_is_unknown() -> None:
    assert (rounded(1.23456, 2), rounded(None, 2)) == (1.23, None)
