from __future__ import annotations

from typing import Any

import pytest

from fairway.apiserver.validation.selector import matches, validate_label_selector


def term(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, False),
        (term("a", "In", "1", "2"), {"a": "2"}, True),
        (term("a", "In", "1"), {}, False),
        (term("a", "NotIn", "1"), {"a": "1"}, False),
        (term("a", "NotIn", "1"), {}, True),
        (term("a", "Exists"), {"a": ""}, True),
        (term("a", "Exists"), {}, False),
        (term("a", "DoesNotExist"), {}, True),
        (term("a", "DoesNotExist"), {"a": ""}, False),
        ({"matchLabels": {"a": "1"}, **term("b", "Exists")}, {"a": "1"}, False),
    ],
)
def test_labels_are_selected(selector: dict[str, Any], labels: dict[str, str], selected: bool) -> None:
    assert matches(selector, labels) is selected


@pytest.mark.parametrize(
    ("selector", "fields"),
    [
        (term("a", "In"), ["s.matchExpressions[0].values"]),
        (term("a", "Exists", "1"), ["s.matchExpressions[0].values"]),
        (term("a", "Is", "1"), ["s.matchExpressions[0].operator"]),
        (term("a b", "Exists"), ["s.matchExpressions[0].key"]),
        ({"matchLabels": {"a b": "c"}}, ["s.matchLabels"]),
        (term("a", "NotIn", "1"), []),
    ],
)
def test_malformed_terms_are_named(selector: dict[str, Any], fields: list[str]) -> None:
    assert [cause.field for cause in validate_label_selector(selector, "s")] == fields
