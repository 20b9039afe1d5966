from __future__ import annotations

from typing import Any

import pytest

from fairway.controllers.affinity import matches_node_selection, names_asked_for, preference
from tests.controllers.objects import node


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


SSD = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
NAMED = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}]}


@pytest.mark.parametrize(
    ("spec", "matches", "why"),
    [
        ({}, True, "asks for nothing"),
        (affinity(SSD), True, "has the label"),
        (affinity(NAMED), False, "by its name"),
        (affinity(NAMED, SSD), True, "one of two terms"),
        (affinity({**SSD, **NAMED}), False, "both parts of one term"),
        (affinity({}), False, "an empty term matches nothing"),
        ({"affinity": {"nodeAffinity": {}}}, True, "only preferences"),
    ],
)
def test_required_node_affinity_is_met_by_one_term(spec: dict[str, Any], matches: bool, why: str) -> None:
    assert matches_node_selection(spec, node("n", labels={"disk": "ssd"})) is matches, why


def by_disk(operator: str, *values: str) -> dict[str, Any]:
    return affinity({"matchExpressions": [{"key": "disk", "operator": operator, "values": list(values)}]})


@pytest.mark.parametrize(
    ("spec", "having", "matches"),
    [
        (by_disk("In", "ssd", "hdd"), "ssd", True),
        (by_disk("In", "hdd"), "ssd", False),
        (by_disk("NotIn", "ssd"), "ssd", False),
        (by_disk("NotIn", "ssd"), None, True),
        (by_disk("Exists"), "", True),
        (by_disk("Exists"), None, False),
        (by_disk("DoesNotExist"), None, True),
        (by_disk("DoesNotExist"), "ssd", False),
        (by_disk("Gt", "9"), "10", True),
        (by_disk("Gt", "10"), "10", False),
        (by_disk("Lt", "10"), "9", True),
        (by_disk("Lt", "10"), "few", False),
        (by_disk("Lt", "10"), None, False),
    ],
)
def test_each_operator(spec: dict[str, Any], having: str | None, matches: bool) -> None:
    labels = {} if having is None else {"disk": having}
    assert matches_node_selection(spec, node("n", labels=labels)) is matches


def named(*names: str, operator: str = "In") -> dict[str, Any]:
    return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": list(names)}]}


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({}, None),
        (affinity(named("a")), {"a"}),
        (affinity(named("a"), named("b")), {"a", "b"}),
        (affinity(named("a"), SSD), None),
        (affinity(named("a", operator="NotIn")), None),
        (affinity({"matchFields": [*named("a", "b")["matchFields"], *named("b")["matchFields"]]}), {"b"}),
    ],
)
def test_nodes_that_are_asked_for_by_name(spec: dict[str, Any], names: set[str] | None) -> None:
    assert names_asked_for(spec) == names


def test_preferred_terms_count_by_their_weight_and_an_empty_one_not_at_all() -> None:
    terms = [
        {"weight": 5, "preference": SSD},
        {"weight": 7, "preference": named("n")},
        {"weight": 11, "preference": named("other")},
        {"weight": 13, "preference": {}},
    ]
    spec = {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}}
    assert preference(spec, node("n", labels={"disk": "ssd"})) == 12
    assert preference(spec, node("n")) == 7
