from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairway.controllers.deployment_status import (
    Condition,
    deadline_in_s,
    is_complete,
    paused_condition,
    progressing,
    put,
    wanted_status,
)
from tests.controllers.objects import NOW, deployment, replica_set

DONE = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "observedGeneration": 1}
STAMP = "2025-06-01T12:00:00Z"
BEFORE = "2025-06-01T11:58:20Z"


def saying(reason: str, *, status: str = "True", updated: str = BEFORE) -> dict[str, Any]:
    return {
        "type": "Progressing",
        "status": status,
        "reason": reason,
        "message": "m",
        "lastUpdateTime": updated,
        "lastTransitionTime": BEFORE,
    }


def counted(**numbers: int) -> dict[str, Any]:
    return replica_set(status=numbers)


def progress(obj: dict[str, Any], new: dict[str, Any] | None, *old: dict[str, Any]) -> dict[str, Any]:
    everyone = [*old, new] if new else [*old]
    found = wanted_status(obj, new, everyone, NOW)
    return next(one for one in found["conditions"] if one["type"] == "Progressing")


def test_numbers_are_summed_over_replica_sets() -> None:
    new = counted(replicas=2, readyReplicas=2, availableReplicas=1)
    old = counted(replicas=1, readyReplicas=1, availableReplicas=1)
    wanted = wanted_status(deployment(), new, [old, new], NOW)
    assert {field: value for field, value in wanted.items() if field != "conditions"} == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 2,
        "readyReplicas": 3,
        "availableReplicas": 2,
        "unavailableReplicas": 4,
    }


@pytest.mark.parametrize(
    ("available", "status", "reason", "message"),
    [
        (3, "True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        (2, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    ],
)
def test_available_is_what_a_rollout_must_keep(available: int, status: str, reason: str, message: str) -> None:
    new = counted(replicas=3, availableReplicas=available)
    wanted = wanted_status(deployment(), new, [new], NOW)
    assert wanted["conditions"][0] == {
        "type": "Available",
        "status": status,
        "lastUpdateTime": STAMP,
        "lastTransitionTime": STAMP,
        "reason": reason,
        "message": message,
    }


def test_a_complete_rollout_has_progressed() -> None:
    new = counted(replicas=3, readyReplicas=3, availableReplicas=3)
    found = progress(deployment(status={"conditions": [saying("ReplicaSetUpdated")]}), new)
    assert found == saying("NewReplicaSetAvailable", updated=STAMP) | {
        "message": 'ReplicaSet "web-abc" has successfully progressed.'
    }


def test_every_progress_moves_the_deadline() -> None:
    new = counted(replicas=2, readyReplicas=1)
    found = progress(deployment(status={"conditions": [saying("ReplicaSetUpdated")], "updatedReplicas": 1}), new)
    assert found == saying("ReplicaSetUpdated", updated=STAMP) | {"message": 'ReplicaSet "web-abc" is progressing.'}


def test_no_progress_for_longer_than_the_deadline_times_out() -> None:
    stuck = {"conditions": [saying("ReplicaSetUpdated")], "replicas": 1, "updatedReplicas": 1}
    new = counted(replicas=1)
    assert progress(deployment(status=stuck, progressDeadlineSeconds=200), new) == saying("ReplicaSetUpdated")
    assert progress(deployment(status=stuck, progressDeadlineSeconds=99), new) == {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": 'ReplicaSet "web-abc" has timed out progressing.',
        "lastUpdateTime": STAMP,
        "lastTransitionTime": STAMP,
    }


def test_a_settled_deployment_does_not_time_out_when_a_pod_is_lost() -> None:
    settled = {"conditions": [saying("NewReplicaSetAvailable")]} | DONE
    new = counted(replicas=3, readyReplicas=2, availableReplicas=2)
    assert progress(deployment(status=settled, progressDeadlineSeconds=1), new) == saying("NewReplicaSetAvailable")


def test_without_a_deadline_nothing_is_said_of_progress() -> None:
    new = counted(replicas=3)
    for deadline in (None, 2**31 - 1):
        obj = deployment(progressDeadlineSeconds=deadline, status={"conditions": [saying("ReplicaSetUpdated")]})
        wanted = wanted_status(obj, new, [new], NOW, news=progressing("NewReplicaSetCreated", "m"))
        assert [one["type"] for one in wanted["conditions"]] == ["Available"]


def test_a_replica_failure_is_passed_on_and_taken_back() -> None:
    failure = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "no",
        "lastTransitionTime": BEFORE,
    }
    failing = replica_set(status={"replicas": 0, "conditions": [failure]})
    wanted = wanted_status(deployment(), failing, [failing], NOW)
    assert wanted["conditions"][-1] == failure | {"lastUpdateTime": BEFORE}
    healed = wanted_status(deployment(status=wanted), counted(), [counted()], NOW)
    assert "ReplicaFailure" not in [one["type"] for one in healed["conditions"]]


@pytest.mark.parametrize(
    ("numbers", "complete"),
    [
        (DONE, True),
        (DONE | {"replicas": 4}, False),
        (DONE | {"updatedReplicas": 2}, False),
        (DONE | {"availableReplicas": 2}, False),
        (DONE | {"observedGeneration": 0}, False),
    ],
)
def test_a_rollout_is_complete_when_only_the_new_serves(numbers: dict[str, Any], complete: bool) -> None:
    assert is_complete(deployment(), numbers) is complete


@pytest.mark.parametrize(
    ("condition", "due", "why"),
    [
        (saying("ReplicaSetUpdated"), 501.0, "100 s have passed of 600, and one for rounding"),
        (saying("ReplicaSetUpdated", updated="2025-06-01T11:00:00Z"), 0.0, "long over"),
        (saying("NewReplicaSetAvailable"), None, "nothing to wait for"),
        (saying("ProgressDeadlineExceeded", status="False"), None, "it has timed out"),
        (saying("DeploymentPaused", status="Unknown"), None, "paused"),
    ],
)
def test_the_deadline_is_looked_at_when_it_is_due(condition: dict[str, Any], due: float | None, why: str) -> None:
    assert deadline_in_s(deployment(), {"conditions": [condition]}, NOW) == due, why
    assert deadline_in_s(deployment(), {"conditions": [condition]} | DONE, NOW) is None


@pytest.mark.parametrize(
    ("paused", "before", "reason"),
    [
        (True, None, "DeploymentPaused"),
        (True, saying("ReplicaSetUpdated"), "DeploymentPaused"),
        (True, saying("DeploymentPaused"), None),
        (True, saying("ProgressDeadlineExceeded"), None),
        (False, saying("DeploymentPaused"), "DeploymentResumed"),
        (False, saying("ReplicaSetUpdated"), None),
        (False, None, None),
    ],
)
def test_pausing_and_resuming_is_told(paused: bool, before: dict[str, Any] | None, reason: str | None) -> None:
    found = paused_condition(deployment(paused=paused, status={"conditions": [before] if before else []}))
    assert (found.reason if found else None) == reason


def test_a_condition_keeps_its_times_as_long_as_it_says_the_same() -> None:
    made = put([], Condition(type="T", true=True, reason="A", message="m"), NOW)
    later = NOW + timedelta(minutes=1)
    assert put(made, Condition(type="T", true=True, reason="A", message="other"), later) == made
    [other_reason] = put(made, Condition(type="T", true=True, reason="B", message="m"), later)
    assert (other_reason["lastUpdateTime"], other_reason["lastTransitionTime"]) == ("2025-06-01T12:01:00Z", STAMP)
    [other_status] = put(made, Condition(type="T", true=False, reason="B", message="m"), later)
    assert other_status["lastTransitionTime"] == "2025-06-01T12:01:00Z"
    [refreshed] = put(made, Condition(type="T", true=True, reason="A", message="m"), later, refresh=True)
    assert (refreshed["lastUpdateTime"], refreshed["lastTransitionTime"]) == ("2025-06-01T12:01:00Z", STAMP)
