from __future__ import annotations

from typing import Any

import pytest

from fairway.controllers.pod_affinity import (
    AFFINITY_RULES,
    ANTI_AFFINITY_RULES,
    EXISTING_ANTI_AFFINITY,
    PodAffinity,
    affinity_score,
    matches,
)
from fairway.controllers.scheduling import Domain, SchedulingView
from tests.controllers.objects import node, pod

Json = dict[str, Any]
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
NODES = [
    node("a1", labels={ZONE: "a"}),
    node("a2", labels={ZONE: "a"}),
    node("b1", labels={ZONE: "b"}),
    node("nowhere"),
]
NAMESPACES = {"default": {"team": "web"}, "other": {"team": "db"}}


def term(app: str, key: str = ZONE, **fields: Any) -> Json:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **fields}


def requiring(kind: str, *terms: Json) -> Json:
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}}


def preferring(kind: str, weight: int, one: Json) -> Json:
    wished = [{"weight": weight, "podAffinityTerm": one}]
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": wished}}}


def near(*terms: Json) -> Json:
    return requiring("podAffinity", *terms)


def away(*terms: Json) -> Json:
    return requiring("podAntiAffinity", *terms)


def looking(spec: Json, *bound: Json) -> SchedulingView:
    new = pod("new", labels={"app": "web"}, spec=spec, phase="Pending")
    return SchedulingView(pod=new, nodes=NODES, bound=bound, namespaces=NAMESPACES)


DB = pod("db", labels={"app": "db"}, node="a1")
WEB = pod("web", labels={"app": "web"}, node="a1")
ELSEWHERE = pod("db", labels={"app": "db"}, node="a1", namespace="other")
GUARD = pod("guard", labels={"app": "guard"}, node="b1", spec=away(term("web")))


@pytest.mark.parametrize(
    ("spec", "bound", "refused"),
    [
        (near(term("db")), [DB], {"b1": AFFINITY_RULES, "nowhere": AFFINITY_RULES}),
        (near(term("db", HOST)), [DB], dict.fromkeys(("a2", "b1", "nowhere"), AFFINITY_RULES)),
        (near(term("db")), [], dict.fromkeys(("a1", "a2", "b1", "nowhere"), AFFINITY_RULES)),
        # The first of a group that wants to be together may start anywhere in a zone.
        (near(term("web")), [], {"nowhere": AFFINITY_RULES}),
        (near(term("web")), [WEB], {"b1": AFFINITY_RULES, "nowhere": AFFINITY_RULES}),
        # One pod has to match all terms.
        (near(term("db"), term("web")), [DB, WEB], dict.fromkeys(("a1", "a2", "b1", "nowhere"), AFFINITY_RULES)),
        (near(term("db")), [ELSEWHERE], dict.fromkeys(("a1", "a2", "b1", "nowhere"), AFFINITY_RULES)),
        (
            near(term("db", namespaces=["other"])),
            [ELSEWHERE],
            {"b1": AFFINITY_RULES, "nowhere": AFFINITY_RULES},
        ),
        (away(term("db")), [DB], {"a1": ANTI_AFFINITY_RULES, "a2": ANTI_AFFINITY_RULES}),
        (away(term("web", HOST)), [WEB], {"a1": ANTI_AFFINITY_RULES}),
        (away(term("db")), [], {}),
        ({}, [GUARD], {"b1": EXISTING_ANTI_AFFINITY}),
        ({}, [DB], {}),
    ],
)
def test_where_a_pod_may_be(spec: Json, bound: list[Json], refused: dict[str, str]) -> None:
    view = looking(spec, *bound)
    rules = PodAffinity(view)
    found = {one["metadata"]["name"]: rules.refusal(one) for one in NODES}
    assert {name: reason for name, reason in found.items() if reason} == refused


@pytest.mark.parametrize(
    ("one", "other", "meant"),
    [
        (term("db"), DB, True),
        (term("db"), ELSEWHERE, False),
        (term("db", namespaceSelector={}), ELSEWHERE, True),
        (term("db", namespaceSelector={"matchLabels": {"team": "web"}}), ELSEWHERE, False),
        (term("db", namespaceSelector={"matchLabels": {"team": "db"}}), DB, False),
        (term("db", namespaceSelector={"matchLabels": {"team": "db"}}, namespaces=["default"]), DB, True),
        ({"topologyKey": ZONE}, DB, False),
        ({"topologyKey": ZONE, "labelSelector": {}}, DB, True),
        ({"topologyKey": ZONE, "labelSelector": {}, "matchLabelKeys": ["app"]}, DB, False),
        ({"topologyKey": ZONE, "labelSelector": {}, "matchLabelKeys": ["app"]}, WEB, True),
        ({"topologyKey": ZONE, "labelSelector": {}, "mismatchLabelKeys": ["app"]}, WEB, False),
    ],
)
def test_which_pods_a_term_means(one: Json, other: Json, meant: bool) -> None:
    assert matches(pod("new", labels={"app": "web"}), one, other, NAMESPACES) is meant


@pytest.mark.parametrize(
    ("spec", "bound", "drawn"),
    [
        (preferring("podAffinity", 10, term("db")), [DB], {Domain(ZONE, "a"): 10}),
        (preferring("podAntiAffinity", 10, term("db", HOST)), [DB], {Domain(HOST, "a1"): -10}),
        ({}, [pod("db", node="b1", spec=preferring("podAffinity", 7, term("web")))], {Domain(ZONE, "b"): 7}),
        ({}, [pod("db", node="b1", spec=near(term("web")))], {Domain(ZONE, "b"): 1}),
        (preferring("podAffinity", 10, term("db")), [pod("db", labels={"app": "db"}, node="nowhere")], {}),
    ],
)
def test_where_a_pod_is_drawn_to(spec: Json, bound: list[Json], drawn: dict[Domain, int]) -> None:
    assert affinity_score(looking(spec, *bound)) == drawn
