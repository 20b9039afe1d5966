"""Times as the API writes them."""

from __future__ import annotations

from fairway.kubelet.times import micro_time, parse_timestamp, timestamp


def test_whole_seconds_in_utc() -> None:
    assert timestamp(1_700_000_000.999) == "2023-11-14T22:13:20Z"


def test_micro_times_have_six_digits() -> None:
    assert micro_time(1_700_000_000.25) == "2023-11-14T22:13:20.250000Z"


def test_a_timestamp_is_read_back() -> None:
    assert parse_timestamp("2023-11-14T22:13:20Z", 0.0) == 1_700_000_000.0


def test_what_is_no_time_is_the_default() -> None:
    assert parse_timestamp("soon", 7.0) == 7.0
