from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import PODS, PRIORITY_CLASSES
from tests.apiserver.kinds.support import new, wrong, wrong_change


def named(name: str, value: int, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "value": value, **fields}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (named("high", 1_000_000_000), []),
        (named("low", -5, preemptionPolicy="Never", globalDefault=True, description="d"), []),
        (named("system-node-critical", 2_000_001_000), []),
        (
            named("high", 1_000_000_001),
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            named("system-mine", 1),
            [
                (
                    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use "
                    "only. error: system-mine is not a known system priority class"
                )
            ],
        ),
        (
            named("high", 1, preemptionPolicy="Sometimes"),
            ['preemptionPolicy: Unsupported value: "Sometimes": supported values: "PreemptLowerPriority", "Never"'],
        ),
    ],
)
def test_what_a_class_may_be(body: dict[str, Any], found: list[str]) -> None:
    assert wrong(PRIORITY_CLASSES, body) == found


def test_its_value_and_policy_never_change() -> None:
    made = new(PRIORITY_CLASSES, named("a", 5))
    assert made["preemptionPolicy"] == "PreemptLowerPriority"
    assert wrong_change(PRIORITY_CLASSES, made, {"description": "d", "globalDefault": True}) == []
    assert wrong_change(PRIORITY_CLASSES, made, {"value": 6}) == ["value: Forbidden: may not be changed in an update."]
    assert wrong_change(PRIORITY_CLASSES, made, {"preemptionPolicy": "Never"}) == [
        'preemptionPolicy: Invalid value: "Never": field is immutable'
    ]


def test_the_name_of_a_class_in_a_pod_is_one() -> None:
    [found] = wrong(PODS, {"spec": {"containers": [{"name": "c", "image": "i"}], "priorityClassName": "A b"}})
    assert found.startswith('spec.priorityClassName: Invalid value: "A b": a lowercase RFC 1123 subdomain must')
