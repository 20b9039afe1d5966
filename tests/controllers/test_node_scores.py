from __future__ import annotations

from typing import Any

import pytest

from fairway.controllers.node_scores import scores
from fairway.controllers.scheduling import SchedulingView
from tests.controllers.objects import node, pod

Json = dict[str, Any]
ZONE = "topology.kubernetes.io/zone"
AVOIDED = {"key": "k", "effect": "PreferNoSchedule"}
NODES = [node("a", labels={ZONE: "a"}, taints=[AVOIDED]), node("b", labels={ZONE: "b"}), node("c", labels={ZONE: "c"})]
TERM = {"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": "db"}}}
WISHED = "preferredDuringSchedulingIgnoredDuringExecution"
DB = pod("db", labels={"app": "db"}, node="c")


def near(kind: str) -> Json:
    return {"affinity": {kind: {WISHED: [{"weight": 1, "podAffinityTerm": TERM}]}}}


def named(**weights: int) -> Json:
    wished = [
        {
            "weight": weight,
            "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]},
        }
        for name, weight in weights.items()
    ]
    return {"affinity": {"nodeAffinity": {WISHED: wished}}}


TOLERANT = {"tolerations": [{"operator": "Exists"}]}
BARRED_ONLY = {"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]}
SPREAD = {
    "topologySpreadConstraints": [
        {
            "topologyKey": ZONE,
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": TERM["labelSelector"],
        }
    ]
}


@pytest.mark.parametrize(
    ("spec", "scored"),
    [
        ({}, {"a": 0, "b": 300, "c": 300}),
        (TOLERANT, {"a": 300, "b": 300, "c": 300}),
        (BARRED_ONLY, {"a": 0, "b": 300, "c": 300}),
        (TOLERANT | named(a=50, b=100), {"a": 400, "b": 500, "c": 300}),
        (TOLERANT | near("podAffinity"), {"a": 300, "b": 300, "c": 500}),
        (TOLERANT | near("podAntiAffinity"), {"a": 500, "b": 500, "c": 300}),
        (TOLERANT | SPREAD, {"a": 500, "b": 500, "c": 300}),
    ],
)
def test_scores_add_up_by_weight(spec: Json, scored: dict[str, int]) -> None:
    view = SchedulingView(pod=pod("new", spec=spec, phase="Pending"), nodes=NODES, bound=[DB])
    assert scores(view, NODES) == scored
