from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairway.api.resources import NODES, PODS
from fairway.api.types import Key
from fairway.controllers.pod_garbage import PodGarbageView, reconcile
from fairway.controllers.writes import Absent, Delete, Recheck, Update, Write
from tests.controllers.objects import NOW, node, pod

Json = dict[str, Any]
GIVEN_UP = [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]


def judged(where: Json | None, *pods: Json, missed_s: float = 0.0) -> list[Write]:
    return reconcile(PodGarbageView(name="n", node=where, pods=pods), NOW - timedelta(seconds=missed_s), NOW)


@pytest.mark.parametrize("missed_s", [0.0, 39.5])
def test_a_node_may_come_back_for_a_while(missed_s: float) -> None:
    assert judged(None, pod("a", node="n"), missed_s=missed_s) == [Recheck(after_s=40.0 - missed_s)]


def test_a_node_without_pods_is_not_waited_for() -> None:
    assert judged(None) == []


@pytest.mark.parametrize("fields", [{}, {"ready": True}, {"terminating": True}, {"phase": "Pending"}])
def test_pods_of_a_node_that_is_gone_fail_and_are_deleted_at_once(fields: Json) -> None:
    orphan = pod("a", node="n", **fields)
    [absent, update, delete] = judged(None, orphan, missed_s=40.0)
    assert absent == Absent(resource=NODES, key=Key("", "n")), "the API is asked once more"
    assert isinstance(update, Update)
    assert (update.resource, update.subresource, update.body["status"]["phase"]) == (PODS, "status", "Failed")
    assert update.body["status"]["conditions"] == [
        *orphan["status"]["conditions"],
        {
            "type": "DisruptionTarget",
            "lastProbeTime": None,
            "lastTransitionTime": "2025-06-01T12:00:00Z",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
        },
    ]
    assert delete == Delete(resource=PODS, key=Key("default", "a"), uid="uid-a", grace_s=0)
    assert orphan["status"]["phase"] != "Failed", "what the caches hold is not changed"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_ended_is_deleted_as_it_ended(phase: str) -> None:
    [_, delete] = judged(None, pod("a", node="n", phase=phase), missed_s=40.0)
    assert delete == Delete(resource=PODS, key=Key("default", "a"), uid="uid-a", grace_s=0)


@pytest.mark.parametrize(
    ("where", "terminating", "goes"),
    [
        (node("n", ready="Unknown", taints=GIVEN_UP), True, True),
        (node("n", ready="False", taints=GIVEN_UP), True, True),
        (node("n", ready="Unknown", taints=GIVEN_UP), False, False),
        (node("n", ready="Unknown"), True, False),
        (node("n", taints=GIVEN_UP), True, False),
        (node("n"), True, False),
    ],
)
def test_pods_told_to_end_are_gone_where_a_person_gave_their_node_up(
    where: Json, terminating: bool, goes: bool
) -> None:
    writes = judged(where, pod("a", node="n", terminating=terminating), missed_s=60.0)
    assert [type(write) for write in writes] == ([Update, Delete] if goes else [])
    for write in writes:
        assert isinstance(write, Update) or write == Delete(
            resource=PODS, key=Key("default", "a"), uid="uid-a", grace_s=0
        )
