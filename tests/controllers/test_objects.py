from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from fairway.controllers.objects import created, format_time, meets, parse_time, selects, version, without_zeros

LABELS = {"app": "web", "tier": "front", "rank": "3"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "back"}}, False),
        ({"matchLabels": {"missing": ""}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}, True),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_a_label_selector_needs_all_of_its_parts(selector: dict[str, Any] | None, matches: bool) -> None:
    assert selects(selector, LABELS) is matches


@pytest.mark.parametrize(
    ("key", "operator", "values", "holds"),
    [
        ("app", "In", ["web"], True),
        ("app", "In", ["db"], False),
        ("missing", "In", ["web"], False),
        ("app", "NotIn", ["db"], True),
        ("app", "NotIn", ["web"], False),
        ("missing", "NotIn", ["web"], True),
        ("app", "Exists", [], True),
        ("missing", "Exists", [], False),
        ("missing", "DoesNotExist", [], True),
        ("app", "DoesNotExist", [], False),
        ("rank", "Gt", ["2"], True),
        ("rank", "Gt", ["3"], False),
        ("rank", "Lt", ["4"], True),
        ("rank", "Lt", ["3"], False),
        ("app", "Gt", ["2"], False),
        ("missing", "Lt", ["2"], False),
        ("rank", "Gt", [], False),
        ("app", "Like", ["web"], False),
    ],
)
def test_a_requirement_holds_as_its_operator_says(key: str, operator: str, values: list[str], holds: bool) -> None:
    assert meets({"key": key, "operator": operator, "values": values}, LABELS) is holds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-06-01T12:00:00Z", datetime(2025, 6, 1, 12, tzinfo=UTC)),
        ("2025-06-01T12:00:00.250000Z", datetime(2025, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("2025-06-01T14:00:00+02:00", datetime(2025, 6, 1, 12, tzinfo=UTC)),
        ("2025-06-01T12:00:00", datetime(2025, 6, 1, 12, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times_are_read_as_the_api_writes_them(text: str | None, moment: datetime | None) -> None:
    assert parse_time(text) == moment


def test_times_are_written_in_whole_seconds_of_utc() -> None:
    moment = datetime(2025, 6, 1, 14, 0, 0, 900_000, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2025-06-01T12:00:00Z"


def test_objects_sort_by_age_and_those_of_one_second_by_name() -> None:
    def made(name: str, at: str | None) -> dict[str, Any]:
        return {"metadata": {"name": name, "creationTimestamp": at}}

    old, twin, twin2, ageless = (
        made("z", "2025-06-01T11:00:00Z"),
        made("a", "2025-06-01T12:00:00Z"),
        made("b", "2025-06-01T12:00:00Z"),
        made("c", None),
    )
    assert sorted([twin2, twin, old, ageless], key=created) == [ageless, old, twin, twin2]


@pytest.mark.parametrize(("text", "number"), [("17", 17), ("", 0), (None, 0), ("abc", 0)])
def test_a_version_that_is_no_number_counts_as_none(text: str | None, number: int) -> None:
    assert version({"metadata": {"resourceVersion": text}}) == number


def test_zeros_say_nothing() -> None:
    assert without_zeros({"a": 0, "b": 1, "c": [], "d": None, "e": "x"}) == {"b": 1, "e": "x"}
