from __future__ import annotations

from fairway.fabric.supervise import failures_after, restart_delay_s


def test_the_delay_doubles_with_every_failure_up_to_five_seconds() -> None:
    assert [restart_delay_s(failures) for failures in (1, 2, 3, 4, 5, 6, 7, 8, 10_000)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        5.0,
        5.0,
        5.0,
    ]


def test_a_run_that_lasted_starts_the_count_anew() -> None:
    assert [failures_after(4, ran_s) for ran_s in (0.0, 9.9, 10.0, 3600.0)] == [5, 5, 1, 1]
