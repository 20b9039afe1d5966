from __future__ import annotations

from typing import Any

import pytest

from fairway.api.status import Cause
from fairway.apiserver.validation import field


@pytest.mark.parametrize(
    ("cause", "reason", "message"),
    [
        (field.required("x"), "FieldValueRequired", "Required value"),
        (field.required("x", "why"), "FieldValueRequired", "Required value: why"),
        (field.invalid_value("x", 1, "why"), "FieldValueInvalid", "Invalid value: 1: why"),
        (
            field.not_supported("x", "c", ("a", "b")),
            "FieldValueNotSupported",
            'Unsupported value: "c": supported values: "a", "b"',
        ),
        (field.duplicate("x", "a"), "FieldValueDuplicate", 'Duplicate value: "a"'),
        (field.not_found("x", "a"), "FieldValueNotFound", 'Not found: "a"'),
        (field.forbidden("x", "why"), "FieldValueForbidden", "Forbidden: why"),
        (field.too_long("x", 9), "FieldValueTooLong", "Too long: may not be more than 9 bytes"),
        (field.too_many("x", 9, 8), "FieldValueTooMany", "Too many: 9: must have at most 8 items"),
    ],
)
def test_each_way_to_be_wrong_has_its_reason_and_words(cause: Cause, reason: str, message: str) -> None:
    assert cause == Cause(reason=reason, message=message, field="x")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a"b', '"a\\"b"'),
        ("ä", '"ä"'),
        (None, "null"),
        (True, "true"),
        ({"a": ["<b>", 1]}, '{"a":["\\u003cb\\u003e",1]}'),
    ],
)
def test_values_are_shown_as_go_shows_them(value: Any, text: str) -> None:
    assert field.shown(value) == text


def test_one_of_needs_a_value_among_those_known() -> None:
    assert field.one_of("x", "a", ("a", "b")) == []
    assert field.one_of("x", "", ("a",)) == [field.required("x")]
    assert field.one_of("x", "c", ("b", "a")) == [field.not_supported("x", "c", ("b", "a"))]
