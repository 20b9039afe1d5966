from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairway.api.resources import NODES, PODS
from fairway.api.types import Key
from fairway.controllers.node_lifecycle import NodeView, reconcile
from fairway.controllers.objects import format_micro_time
from fairway.controllers.writes import Delete, EventType, Recheck, Record, Update, Write
from tests.controllers.objects import LONG_AGO, NOW, node, pod

Json = dict[str, Any]
NOW_TEXT = "2025-06-01T12:00:00Z"
UNREACHABLE, NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"
CORDONED = "node.kubernetes.io/unschedulable"
EARLY = NOW - timedelta(days=1)


def lease(renewed_s_ago: float) -> Json:
    return {"spec": {"renewTime": format_micro_time(NOW - timedelta(seconds=renewed_s_ago))}}


def judged(where: Json, renewed_s_ago: float = 0.0, *pods: Json, since: Any = EARLY) -> list[Write]:
    return reconcile(NodeView(node=where, lease=lease(renewed_s_ago), judged_since=since, pods=pods), NOW)


def tainted(key: str, effect: str, added: str | None = NOW_TEXT) -> Json:
    return {"key": key, "effect": effect} | ({"timeAdded": added} if added else {})


def both(key: str, added: str = NOW_TEXT) -> list[Json]:
    return [tainted(key, "NoSchedule", added), tainted(key, "NoExecute", added)]


def lost(**fields: Any) -> Json:
    """A node that is known to be silent since LONG_AGO."""
    made = node("n", ready="Unknown", **({"taints": both(UNREACHABLE)} | fields))
    made["status"]["conditions"][0]["lastTransitionTime"] = LONG_AGO
    return made


def test_a_node_that_renews_is_looked_at_when_it_would_be_late() -> None:
    assert judged(node("n"), 1.0) == [Recheck(after_s=3.5)]


def test_a_node_that_was_silent_for_too_long_is_unknown() -> None:
    before = node("n")
    before["status"]["conditions"][0]["lastHeartbeatTime"] = LONG_AGO
    [update, record] = judged(before, 4.5)
    assert isinstance(update, Update)
    assert (update.resource, update.subresource) == (NODES, "status")
    unknown = {
        "status": "Unknown",
        "lastTransitionTime": NOW_TEXT,
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }
    assert update.body["status"]["conditions"] == [
        {"type": "Ready", "lastHeartbeatTime": LONG_AGO, **unknown},
        *({"type": f"{kind}Pressure", **unknown} for kind in ("Memory", "Disk", "PID")),
    ]
    assert record == Record(regarding=before, reason="NodeNotReady", message="Node n status is now: NodeNotReady")


def test_the_conditions_of_a_silent_node_keep_their_places() -> None:
    before = node("n")
    pressures = [{"type": f"{kind}Pressure", "status": "False"} for kind in ("Memory", "Disk", "PID")]
    mine = {"type": "Mine", "status": "True"}
    before["status"]["conditions"] = [*pressures, mine, *before["status"]["conditions"]]
    update = judged(before, 4.5)[0]
    assert isinstance(update, Update)
    told = [(one["type"], one["status"]) for one in update.body["status"]["conditions"]]
    unknown = [(f"{kind}Pressure", "Unknown") for kind in ("Memory", "Disk", "PID")]
    assert told == [*unknown, ("Mine", "True"), ("Ready", "Unknown")]


@pytest.mark.parametrize(
    ("renewed_s_ago", "since", "writes"),
    [
        (60.0, None, []),
        (60.0, NOW - timedelta(seconds=1), [Recheck(after_s=3.5)]),
        (1.0, NOW - timedelta(seconds=2), [Recheck(after_s=3.5)]),
    ],
)
def test_silence_counts_from_when_a_node_could_have_been_heard(
    renewed_s_ago: float, since: Any, writes: list[Write]
) -> None:
    assert judged(node("n"), renewed_s_ago, since=since) == writes


def test_a_node_without_a_lease_is_not_judged() -> None:
    assert reconcile(NodeView(node=node("n"), judged_since=EARLY), NOW) == []


OWN = {"key": "mine", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("where", "taints"),
    [
        (lost(taints=None), both(UNREACHABLE)),
        (lost(taints=[OWN]), [OWN, *both(UNREACHABLE)]),
        (lost(taints=both(NOT_READY, LONG_AGO)), both(UNREACHABLE)),
        (lost(taints=both(UNREACHABLE, LONG_AGO)[1:]), [*both(UNREACHABLE, LONG_AGO)[1:], both(UNREACHABLE)[0]]),
        (node("n", ready="False"), both(NOT_READY)),
        (node("n", ready=None), [tainted(NOT_READY, "NoSchedule")]),
        (node("n", taints=both(UNREACHABLE)), None),
        (node("n", taints=[OWN, *both(NOT_READY)]), [OWN]),
        (node("n", unschedulable=True), [tainted(CORDONED, "NoSchedule")]),
        (node("n", taints=[tainted(CORDONED, "NoSchedule")]), None),
    ],
)
def test_taints_follow_conditions_and_leave_others_alone(where: Json, taints: list[Json] | None) -> None:
    [update] = judged(where, 0.0)[:1]
    assert isinstance(update, Update)
    assert (update.resource, update.subresource) == (NODES, "")
    assert update.body["spec"].get("taints") == taints


def test_taints_that_are_right_are_left_as_they_are() -> None:
    assert judged(lost(taints=[OWN, *both(UNREACHABLE, LONG_AGO)]), 60.0) == []


TOLERANT = {"tolerations": [{"operator": "Exists"}]}


def test_pods_of_a_lost_node_are_not_ready() -> None:
    ready = pod("a", node="n", ready=True, ready_since="2025-06-01T10:59:59Z", spec=TOLERANT)
    unready = pod("b", node="n", spec=TOLERANT)
    again = pod("c", node="n", ready=True, ready_since=LONG_AGO, spec=TOLERANT)
    [update, record] = judged(lost(), 60.0, ready, unready, again)
    assert isinstance(update, Update)
    assert (update.resource, update.subresource, update.body["metadata"]["name"]) == (PODS, "status", "a")
    assert update.body["status"]["conditions"] == [{"type": "Ready", "status": "False", "lastTransitionTime": NOW_TEXT}]
    assert record == Record(regarding=ready, type=EventType.WARNING, reason="NodeNotReady", message="Node is not ready")
    assert ready["status"]["conditions"][0]["status"] == "True", "what the caches hold is not changed"


def tolerating(*tolerations: Json) -> Json:
    return {"tolerations": [{"operator": "Exists", "effect": "NoExecute", **one} for one in tolerations]}


ADDED = "2025-06-01T11:59:00Z"
"""A minute ago."""


def disrupted(before: Json) -> Json:
    told = {
        "type": "DisruptionTarget",
        "lastProbeTime": None,
        "lastTransitionTime": NOW_TEXT,
        "status": "True",
        "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
    }
    status = before["status"]
    return {**before, "status": {**status, "conditions": [*status["conditions"], told]}}


@pytest.mark.parametrize(
    ("spec", "leaves_in_s"),
    [
        ({}, 0),
        (tolerating({"key": UNREACHABLE, "tolerationSeconds": 300}), 240),
        (tolerating({"key": UNREACHABLE, "tolerationSeconds": 60}), 0),
        (tolerating({"key": UNREACHABLE, "tolerationSeconds": -1}), 0),
        (tolerating({"key": UNREACHABLE}), None),
        (tolerating({"key": UNREACHABLE}, {"tolerationSeconds": 90}), 30),
        (tolerating({"key": NOT_READY}), 0),
        (tolerating({"key": UNREACHABLE, "effect": "NoSchedule"}), 0),
    ],
)
def test_a_pod_leaves_when_its_toleration_has_run_out(spec: Json, leaves_in_s: int | None) -> None:
    staying = pod("a", node="n", spec=spec)
    writes = judged(lost(taints=both(UNREACHABLE, ADDED)), 60.0, staying)
    if leaves_in_s is None:
        assert writes == []
    elif leaves_in_s:
        assert writes == [Recheck(after_s=leaves_in_s)]
    else:
        assert writes == [
            Update(resource=PODS, body=disrupted(staying), subresource="status"),
            Delete(resource=PODS, key=Key("default", "a"), uid="uid-a"),
            Record(regarding=staying, reason="TaintManagerEviction", message="Marking for deletion Pod default/a"),
        ]


def test_one_object_is_changed_once_at_a_time() -> None:
    leaving = pod("a", node="n", ready=True, ready_since="2025-06-01T10:59:59Z")
    [update, _] = judged(lost(), 60.0, leaving)
    assert isinstance(update, Update)
    assert update.body["status"]["conditions"][0]["status"] == "False", "not Ready first, evicted when that is seen"


def test_the_reason_of_an_eviction_is_told_once() -> None:
    [delete, _] = judged(lost(), 60.0, disrupted(pod("a", node="n")))
    assert isinstance(delete, Delete)


@pytest.mark.parametrize("fields", [{"terminating": True}, {"phase": "Succeeded"}])
def test_pods_that_go_anyway_are_not_made_to(fields: Json) -> None:
    assert judged(lost(), 60.0, pod("a", node="n", **fields)) == []


def test_a_taint_of_somebody_elses_makes_pods_leave_a_ready_node_too() -> None:
    [_, delete, _, later] = judged(node("n", taints=[OWN]), 0.0, pod("a", node="n", ready=True))
    assert isinstance(delete, Delete)
    assert later == Recheck(after_s=4.5)
