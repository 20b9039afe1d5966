from __future__ import annotations

from fairway.apiserver.copies import copy_of


def test_a_copy_is_equal_and_shares_nothing_that_can_change() -> None:
    value = {"a": [{"b": 1}, None, "x"], "c": {}}
    made = copy_of(value)
    assert made == value
    made["a"][0]["b"] = 2
    made["c"]["d"] = 3
    assert value == {"a": [{"b": 1}, None, "x"], "c": {}}
