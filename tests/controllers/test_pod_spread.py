from __future__ import annotations

from typing import Any

import pytest

from fairway.controllers.pod_spread import CONSTRAINTS, MISSING_LABEL, PodSpread, crowding
from fairway.controllers.scheduling import SchedulingView
from tests.controllers.objects import node, pod

Json = dict[str, Any]
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
NODES = [
    node("a1", labels={ZONE: "a"}),
    node("a2", labels={ZONE: "a"}, taints=[{"key": "k", "effect": "NoSchedule"}]),
    node("b1", labels={ZONE: "b", "disk": "ssd"}),
    node("nowhere"),
]


def evenly(key: str = ZONE, **fields: Any) -> Json:
    selector = {"matchLabels": {"app": "web"}}
    constraint = {"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
    return {"topologySpreadConstraints": [constraint | fields]}


def looking(spec: Json, *bound: Json) -> SchedulingView:
    return SchedulingView(pod=pod("new", spec=spec, phase="Pending"), nodes=NODES, bound=bound)


def on(where: str, **fields: Any) -> Json:
    return pod(f"on-{where}", node=where, **fields)


SSD = {"nodeSelector": {"disk": "ssd"}}
A, B = on("a1"), on("b1")


@pytest.mark.parametrize(
    ("spec", "bound", "refused"),
    [
        (evenly(), [], {"nowhere": MISSING_LABEL}),
        (evenly(), [A], {"a1": CONSTRAINTS, "a2": CONSTRAINTS, "nowhere": MISSING_LABEL}),
        (evenly(), [A, B], {"nowhere": MISSING_LABEL}),
        (evenly(maxSkew=2), [A], {"nowhere": MISSING_LABEL}),
        (evenly(HOST), [A], {"a1": CONSTRAINTS}),
        (evenly(HOST), [on("a1", terminating=True)], {}),
        (evenly(HOST), [on("a1", namespace="other")], {}),
        (evenly(HOST), [on("a1", labels={"app": "db"})], {}),
        # A pod that its own constraint does not count adds nothing.
        (evenly(HOST, labelSelector={"matchLabels": {"app": "db"}}), [on("a1", labels={"app": "db"})], {}),
        (evenly(HOST, labelSelector={}, matchLabelKeys=["app"]), [on("a1", labels={"app": "db"})], {}),
        (
            evenly(minDomains=3),
            [A, B],
            {"a1": CONSTRAINTS, "a2": CONSTRAINTS, "b1": CONSTRAINTS, "nowhere": MISSING_LABEL},
        ),
        # Only nodes that the pod may go to make domains: zone a does not hold zone b back.
        (evenly() | SSD, [B], {"nowhere": MISSING_LABEL}),
        (evenly(nodeAffinityPolicy="Ignore") | SSD, [B], {"b1": CONSTRAINTS, "nowhere": MISSING_LABEL}),
        (evenly(HOST), [A, B, on("nowhere")], {"a1": CONSTRAINTS, "b1": CONSTRAINTS, "nowhere": CONSTRAINTS}),
        (evenly(HOST, nodeTaintsPolicy="Honor"), [A, B, on("nowhere")], {}),
        (evenly(whenUnsatisfiable="ScheduleAnyway"), [A], {}),
    ],
)
def test_what_must_hold(spec: Json, bound: list[Json], refused: dict[str, str]) -> None:
    rules = PodSpread(looking(spec, *bound))
    found = {one["metadata"]["name"]: rules.refusal(one) for one in NODES}
    assert {name: reason for name, reason in found.items() if reason} == refused


def test_what_is_only_wished_for_tells_how_full_a_domain_is() -> None:
    full = crowding(looking(evenly(whenUnsatisfiable="ScheduleAnyway"), A, on("a2"), B), NODES)
    assert full is not None
    assert set(full) == {"a1", "a2", "b1"}
    assert full["a1"] == full["a2"] == 2 * full["b1"] > 0
    assert crowding(looking(evenly(), A), NODES) is None
