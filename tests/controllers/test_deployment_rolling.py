from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairway.controllers.deployment_rolling import (
    ScaledSet,
    Strategy,
    fenceposts,
    new_set_replicas,
    old_sets_replicas,
    proportional,
    resolve,
)
from tests.controllers.objects import NOW, deployment, replica_set


def scaled(
    name: str, desired: int, *, actual: int | None = None, available: int | None = None, **more: Any
) -> ScaledSet:
    age = {"new": 0, "old": 1, "older": 2}[name]
    return ScaledSet(
        name=name,
        created=(NOW - timedelta(hours=age), name),
        desired=desired,
        actual=desired if actual is None else actual,
        available=desired if available is None else available,
        **{"max_before": 0} | more,
    )


def rolling(replicas: int, *, surge: int = 1, unavailable: int = 0) -> Strategy:
    return Strategy(replicas=replicas, rolling=True, surge=surge, unavailable=unavailable)


@pytest.mark.parametrize(
    ("value", "total", "up", "number"),
    [(3, 10, True, 3), ("25%", 3, True, 1), ("25%", 3, False, 0), ("100%", 7, False, 7), ("none", 7, True, 0)],
)
def test_a_percentage_is_resolved_up_or_down(value: int | str, total: int, up: bool, number: int) -> None:
    assert resolve(value, total, up=up) == number


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "resolved"),
    [
        ("25%", "25%", 3, (1, 0)),
        ("25%", "25%", 8, (2, 2)),
        (0, 0, 5, (0, 1)),
        ("0%", "10%", 5, (0, 1)),
        (2, 0, 5, (2, 0)),
    ],
)
def test_a_rollout_always_has_room_to_move(
    surge: Any, unavailable: Any, replicas: int, resolved: tuple[int, int]
) -> None:
    assert fenceposts(surge, unavailable, replicas) == resolved


def test_the_strategy_of_a_deployment_is_resolved_for_its_size() -> None:
    assert Strategy.of(deployment(replicas=4)) == Strategy(replicas=4, rolling=True, surge=1, unavailable=1)
    assert Strategy.of(deployment(strategy={"type": "Recreate"})) == Strategy(
        replicas=3, rolling=False, surge=0, unavailable=0
    )
    all_at_once = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 9, "maxSurge": 0}}
    assert Strategy.of(deployment(strategy=all_at_once)).unavailable == 3


def test_a_report_older_than_the_last_scaling_counts_no_more_than_was_asked_for() -> None:
    stale = replica_set(replicas=1, status={"replicas": 3, "availableReplicas": 3})
    seen = ScaledSet.of(stale)
    assert (seen.desired, seen.actual, seen.available) == (1, 3, 1)


@pytest.mark.parametrize(
    ("strategy", "new", "old", "size", "why"),
    [
        (rolling(3), 0, [scaled("old", 3)], 1, "one above the size"),
        (rolling(3), 1, [scaled("new", 1), scaled("old", 3)], 1, "no room before an old one goes"),
        (rolling(3), 1, [scaled("new", 1), scaled("old", 2)], 2, "one old one went"),
        (rolling(3), 1, [scaled("new", 1), scaled("old", 2, actual=3)], 1, "an old pod is still there"),
        (rolling(3, surge=3), 0, [scaled("old", 3)], 3, "all at once, but no more than wanted"),
        (rolling(3, surge=0, unavailable=1), 0, [scaled("old", 3)], 0, "an old one has to go first"),
        (rolling(2), 5, [scaled("new", 5)], 2, "more than wanted shrinks at once"),
        (Strategy(replicas=3, rolling=False, surge=0, unavailable=0), 0, [], 3, "Recreate fills up at once"),
    ],
)
def test_the_new_set_grows_as_far_as_surge_goes(
    strategy: Strategy, new: int, old: list[ScaledSet], size: int, why: str
) -> None:
    assert new_set_replicas(strategy, new, old) == size, why


@pytest.mark.parametrize(
    ("strategy", "new", "old", "sizes", "why"),
    [
        (rolling(3), scaled("new", 1), [scaled("old", 3)], {"old": 2}, "the new one serves"),
        (rolling(3), scaled("new", 1, available=0), [scaled("old", 3)], {}, "the new one does not serve yet"),
        (rolling(3), scaled("new", 1, available=0), [scaled("old", 3, available=2)], {}, "too few serve"),
        (
            rolling(3, unavailable=1),
            scaled("new", 1, available=0),
            [scaled("old", 3, available=2)],
            {"old": 2},
            "one that does not serve goes first",
        ),
        (
            rolling(4, unavailable=2),
            scaled("new", 1),
            [scaled("old", 2), scaled("older", 2)],
            {"older": 0, "old": 1},
            "the oldest set shrinks first",
        ),
        (rolling(3, surge=0, unavailable=3), None, [scaled("old", 3)], {"old": 0}, "all may go"),
        (rolling(3), scaled("new", 3), [scaled("old", 1)], {"old": 0}, "the last one"),
    ],
)
def test_old_sets_shrink_as_far_as_availability_goes(
    strategy: Strategy, new: ScaledSet | None, old: list[ScaledSet], sizes: dict[str, int], why: str
) -> None:
    assert old_sets_replicas(strategy, new, old) == sizes, why


@pytest.mark.parametrize(
    ("strategy", "new", "old", "sizes", "why"),
    [
        (rolling(5), scaled("new", 3), [scaled("old", 0)], {"new": 5}, "one active set takes everything"),
        (rolling(5), None, [scaled("old", 3)], {"old": 5}, "also an old one"),
        (rolling(5), None, [scaled("old", 0), scaled("older", 0)], {"old": 5}, "of idle ones the latest"),
        (rolling(5), None, [], {}, "nothing to scale"),
        (rolling(3), scaled("new", 3), [scaled("old", 2)], {"old": 0}, "the new one is complete"),
        (
            rolling(20),
            scaled("new", 6, max_before=11),
            [scaled("old", 5, max_before=11)],
            {"new": 11, "old": 10},
            "each keeps its share of 11, of 21 now",
        ),
        (
            rolling(0),
            scaled("new", 2, max_before=4),
            [scaled("old", 2, max_before=4)],
            {"new": 0, "old": 0},
            "to nothing",
        ),
        (
            Strategy(replicas=5, rolling=False, surge=0, unavailable=0),
            scaled("new", 1),
            [scaled("old", 2)],
            {"new": 1, "old": 2},
            "Recreate leaves sizes, and notes them",
        ),
    ],
)
def test_scaling_in_the_middle_of_a_rollout_keeps_proportions(
    strategy: Strategy, new: ScaledSet | None, old: list[ScaledSet], sizes: dict[str, int], why: str
) -> None:
    assert proportional(strategy, new, old, reported=0) == sizes, why
