"""Restarts wait as the kubelet makes them wait."""

from __future__ import annotations

import pytest

from fairway.kubelet.backoff import FORGET_AFTER_S, Backoff


def test_the_first_restart_is_at_once() -> None:
    assert Backoff().until(finished_at=100.0) == 100.0


def test_waits_double_from_ten_seconds_to_five_minutes() -> None:
    backoff, now, waits = Backoff(), 0.0, []
    for _ in range(8):
        due = backoff.until(now)
        waits.append(due - now)
        backoff = backoff.restarted(now, due)
        now = due + 1.0  # every run lasts a second

    assert waits == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


@pytest.mark.parametrize(("ran_s", "wait_s"), [(FORGET_AFTER_S, 10.0), (FORGET_AFTER_S + 1, 0.0)])
def test_a_long_run_makes_the_next_crash_a_first_one(ran_s: float, wait_s: float) -> None:
    backoff = Backoff().restarted(finished_at=0.0, now=0.0)

    assert backoff.until(finished_at=ran_s) - ran_s == wait_s


def test_a_restart_after_a_long_run_begins_at_ten_seconds_again() -> None:
    worn = Backoff(delay_s=160.0, updated_at=0.0)

    assert worn.restarted(finished_at=601.0, now=601.0) == Backoff(delay_s=10.0, updated_at=601.0)
