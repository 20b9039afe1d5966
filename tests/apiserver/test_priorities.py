"""A pod's priority is that of its class, and of nobody else's making."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.api.status import ApiError
from fairway.apiserver.priorities import system_classes, with_priority

Json = dict[str, Any]


def one_class(name: str, value: int, **fields: Any) -> Json:
    return {"metadata": {"name": name}, "value": value, "preemptionPolicy": "PreemptLowerPriority", **fields}


HIGH, POLITE = one_class("high", 1000), one_class("polite", 10, preemptionPolicy="Never")
USUAL, RARE = one_class("usual", 7, globalDefault=True), one_class("rare", 9, globalDefault=True)
LOWER = "PreemptLowerPriority"


@pytest.mark.parametrize(
    ("spec", "classes", "expected"),
    [
        ({}, [HIGH], (None, 0, LOWER)),
        ({"priorityClassName": "high"}, [HIGH, USUAL], ("high", 1000, LOWER)),
        ({"priorityClassName": "polite"}, [POLITE], ("polite", 10, "Never")),
        ({}, [HIGH, RARE, USUAL], ("usual", 7, LOWER)),
        ({"priorityClassName": "high", "priority": 1000, "preemptionPolicy": LOWER}, [HIGH], ("high", 1000, LOWER)),
        ({"priority": 0}, [], (None, 0, LOWER)),
        ({"priorityClassName": "system-node-critical"}, [], ("system-node-critical", 2_000_001_000, LOWER)),
    ],
)
def test_it_is_that_of_its_class_or_of_the_least_of_the_default_ones(
    spec: Json, classes: list[Json], expected: tuple[Any, ...]
) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", **spec}}
    made = with_priority(pod, [*classes, *system_classes()])["spec"]
    assert (made.get("priorityClassName"), made["priority"], made["preemptionPolicy"]) == expected
    assert made["nodeName"] == "n"
    assert pod["spec"] == {"nodeName": "n", **spec}, "what was given is not changed"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        (
            {"priority": 5},
            (
                "the integer value of priority (5) must not be provided in pod spec; priority admission controller "
                "computed 0 from the given PriorityClass name"
            ),
        ),
        (
            {"priorityClassName": "high", "preemptionPolicy": "Never"},
            (
                "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission "
                "controller computed PreemptLowerPriority from the given PriorityClass name"
            ),
        ),
    ],
)
def test_what_is_not_of_the_class_is_forbidden(spec: Json, reason: str) -> None:
    with pytest.raises(ApiError) as refused:
        with_priority({"metadata": {"name": "p"}, "spec": spec}, [HIGH])
    assert (refused.value.code, refused.value.message) == (403, f'pods "p" is forbidden: {reason}')
