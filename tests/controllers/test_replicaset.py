from __future__ import annotations

from random import Random
from typing import Any

import pytest

from fairway.api.resources import PODS, REPLICA_SETS
from fairway.api.types import Key
from fairway.controllers.replicaset import ReplicaSetView, least_useful, reconcile
from fairway.controllers.writes import Create, Delete, Recheck, Record, Update, Write
from tests.controllers.objects import NOW, controlled_by, pod, replica_set

OWNER = replica_set()
COUNTED = {
    "replicas": 3,
    "fullyLabeledReplicas": 3,
    "readyReplicas": 3,
    "availableReplicas": 3,
    "observedGeneration": 1,
}


def writes(owner: dict[str, Any], *pods: dict[str, Any], **view: Any) -> list[Write]:
    return reconcile(ReplicaSetView(replica_set=owner, pods=pods, **view), NOW, Random(1))


def status_of(found: list[Write]) -> dict[str, Any]:
    [update] = [one for one in found if isinstance(one, Update)]
    assert (update.resource, update.subresource) == (REPLICA_SETS, "status")
    return update.body["status"]


def mine(name: str, **fields: Any) -> dict[str, Any]:
    return pod(name, owner=OWNER, node="n1", **{"ready": True} | fields)


def test_missing_pods_are_created_from_the_template() -> None:
    owner = replica_set(replicas=2)
    owner["spec"]["template"]["metadata"] |= {"annotations": {"a": "b"}, "creationTimestamp": None}
    found = writes(owner)
    creates = [one for one in found if isinstance(one, Create)]
    [first, second] = [one.body["metadata"]["name"] for one in creates]
    assert first != second
    assert creates[0].body == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": first,
            "generateName": "web-abc-",
            "namespace": "default",
            "labels": {"app": "web"},
            "annotations": {"a": "b"},
            "ownerReferences": [controlled_by(owner)],
        },
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    records = [(one.reason, one.message) for one in found if isinstance(one, Record)]
    assert records == [
        ("SuccessfulCreate", f"Created pod: {first}"),
        ("SuccessfulCreate", f"Created pod: {second}"),
    ]
    assert status_of(found) == {"replicas": 0, "observedGeneration": 1}


def test_the_right_number_of_ready_pods_only_needs_a_status() -> None:
    found = writes(OWNER, mine("a"), mine("b"), mine("c"))
    assert [type(one) for one in found] == [Update]
    assert status_of(found) == COUNTED
    assert writes({**OWNER, "status": COUNTED}, mine("a"), mine("b"), mine("c")) == []


def test_finished_and_terminating_pods_are_no_replicas() -> None:
    gone = [
        mine("a", phase="Failed", ready=False),
        mine("b", phase="Succeeded", ready=False),
        mine("c", terminating=True),
    ]
    found = writes(OWNER, *gone)
    assert len([one for one in found if isinstance(one, Create)]) == 3
    assert status_of(found)["replicas"] == 0


def test_excess_pods_are_deleted_the_least_useful_first() -> None:
    found = writes(replica_set(replicas=1), mine("a"), mine("b", ready=False), mine("c", phase="Pending", ready=False))
    assert [(one.key, one.uid) for one in found if isinstance(one, Delete)] == [
        (Key("default", "c"), "uid-c"),
        (Key("default", "b"), "uid-b"),
    ]
    assert [one.message for one in found if isinstance(one, Record)] == ["Deleted pod: c", "Deleted pod: b"]


def test_a_burst_is_bounded() -> None:
    assert len([one for one in writes(replica_set(replicas=700)) if isinstance(one, Create)]) == 500


def test_an_orphan_is_adopted_before_anything_is_counted() -> None:
    orphan = pod("a", ready=True, node="n1")
    [update] = writes(OWNER, orphan)
    assert isinstance(update, Update)
    assert (update.resource, update.subresource) == (PODS, "")
    assert update.body["metadata"]["ownerReferences"] == [controlled_by(OWNER)]


def test_a_replica_set_on_its_way_out_creates_nothing() -> None:
    going = replica_set(deletionTimestamp="2025-06-01T12:00:00Z", status={"replicas": 0, "observedGeneration": 1})
    assert writes(going) == []


def test_a_pod_is_available_once_it_was_ready_long_enough() -> None:
    owner = replica_set(replicas=2)
    owner["spec"]["minReadySeconds"] = 30
    old, new = mine("a", ready_since="2025-06-01T11:59:30Z"), mine("b", ready_since="2025-06-01T11:59:50Z")
    found = writes(owner, old, new)
    assert status_of(found)["availableReplicas"] == 1
    assert [one for one in found if isinstance(one, Recheck)] == [Recheck(after_s=20.0)]


def test_a_failure_is_a_condition_until_it_is_over() -> None:
    failing = writes(OWNER, failure=("FailedCreate", "no"))
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "lastTransitionTime": "2025-06-01T12:00:00Z",
        "reason": "FailedCreate",
        "message": "no",
    }
    assert status_of(failing)["conditions"] == [condition]
    before = {**OWNER, "status": {**COUNTED, "conditions": [condition]}}
    assert status_of(writes(before, mine("a"), mine("b"), mine("c"))) == COUNTED


def with_cost(name: str, cost: str) -> dict[str, Any]:
    return mine(name, annotations={"controller.kubernetes.io/pod-deletion-cost": cost})


def restarted(name: str, times: int) -> dict[str, Any]:
    one = mine(name)
    one["status"]["containerStatuses"] = [{"restartCount": times}]
    return one


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        (pod("z", owner=OWNER, ready=True), mine("a"), "has no node"),
        (mine("z", phase="Pending"), mine("a", phase="Unknown"), "is Pending"),
        (mine("z", phase="Unknown"), mine("a"), "may not run"),
        (mine("z", ready=False), mine("a"), "is not Ready"),
        (with_cost("z", "-5"), with_cost("a", "7"), "costs less"),
        (with_cost("z", "nonsense"), with_cost("a", "7"), "costs nothing"),
        (mine("z", ready_since="2025-06-01T11:30:00Z"), mine("a"), "is Ready for less time"),
        (restarted("z", 4), restarted("a", 1), "restarts more"),
        (mine("z", creationTimestamp="2025-06-01T11:30:00Z"), mine("a"), "is newer"),
        (mine("a"), mine("b"), "comes first by name"),
    ],
)
def test_of_two_pods_that_one_goes_first_which(first: dict[str, Any], then: dict[str, Any], why: str) -> None:
    assert least_useful([then, first]) == [first, then], why


def test_a_node_with_more_pods_of_the_workload_is_relieved_first() -> None:
    crowded, alone = mine("z"), {**mine("a"), "spec": {"nodeName": "n2"}}
    assert least_useful([alone, crowded], {"n1": 2, "n2": 1}) == [crowded, alone]
    assert least_useful([crowded, alone], {"n1": 1, "n2": 2}) == [alone, crowded]
