"""A Deployment's status: counts and the conditions that `kubectl rollout status` and `kubectl wait` read. Pure.

Rules: `pkg/controller/deployment/{sync,progress}.go`. `now` stamps conditions that change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fairway.api.types import Object
from fairway.controllers.deployment_rolling import Strategy
from fairway.controllers.objects import find_condition, format_time, meta, name, parse_time, spec, status
from fairway.controllers.replicaset import replicas

NO_DEADLINE = 2**31 - 1
"""The `progressDeadlineSeconds` that means none (`deployment_util.go`, HasProgressDeadline)."""

NEW_AVAILABLE = "NewReplicaSetAvailable"
UPDATED = "ReplicaSetUpdated"
CREATED = "NewReplicaSetCreated"
FOUND = "FoundNewReplicaSet"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"
CREATE_ERROR = "ReplicaSetCreateError"
_PROGRESSING = "Progressing"
_AVAILABLE = "Available"
_REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition before it is stamped."""

    type: str
    true: bool | None
    """None is Unknown."""
    reason: str
    message: str

    def to_json(self, now: datetime) -> Object:
        return {
            "type": self.type,
            "status": "Unknown" if self.true is None else str(self.true),
            "lastUpdateTime": format_time(now),
            "lastTransitionTime": format_time(now),
            "reason": self.reason,
            "message": self.message,
        }


def counts(deployment: Object, new: Object | None, everyone: Sequence[Object]) -> Object:
    """The numbers of the status; zeros are left out, as the API does."""

    def total(field: str) -> int:
        return sum(int(status(one).get(field) or 0) for one in everyone)

    available = total("availableReplicas")
    numbers = {
        "observedGeneration": meta(deployment).get("generation", 0),
        "replicas": total("replicas"),
        "updatedReplicas": int(status(new).get("replicas") or 0) if new else 0,
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(replicas(one) for one in everyone) - available),
        "collisionCount": status(deployment).get("collisionCount") or 0,
    }
    return {field: number for field, number in numbers.items() if number}


def wanted_status(
    deployment: Object,
    new: Object | None,
    everyone: Sequence[Object],
    now: datetime,
    *,
    news: Condition | None = None,
    estimate: bool = True,
) -> Object:
    """The status a Deployment should have.

    news: something about its new ReplicaSet that has just come to pass. estimate: judge progress; not while paused or
    scaling.
    """
    wanted = counts(deployment, new, everyone)
    conditions = [dict(one) for one in status(deployment).get("conditions") or ()]
    strategy = Strategy.of(deployment)
    conditions = put(conditions, _availability(int(wanted.get("availableReplicas", 0)), strategy), now)
    if news is not None and deadline_s(deployment) is not None:
        conditions = put(conditions, news, now)
    if estimate:
        conditions = _progress(deployment, new, wanted, conditions, now)
    conditions = [one for one in conditions if one.get("type") != _REPLICA_FAILURE]
    failure = _failure(new, everyone)
    wanted["conditions"] = [*conditions, failure] if failure else conditions
    return wanted


def deadline_s(deployment: Object) -> int | None:
    """`progressDeadlineSeconds`, None where there is none."""
    deadline = spec(deployment).get("progressDeadlineSeconds")
    return None if deadline is None or deadline == NO_DEADLINE else int(deadline)


def is_complete(deployment: Object, numbers: Mapping[str, Any]) -> bool:
    """Whether these numbers say that the new template is everywhere, available, and nothing old is left."""
    wanted = replicas(deployment)
    return all(
        int(numbers.get(field) or 0) == wanted for field in ("replicas", "updatedReplicas", "availableReplicas")
    ) and int(numbers.get("observedGeneration") or 0) >= meta(deployment).get("generation", 0)


def deadline_in_s(deployment: Object, wanted: Object, now: datetime) -> float | None:
    """Seconds until the rollout of a Deployment with this status may have timed out; None where it cannot."""
    deadline = deadline_s(deployment)
    progressing = find_condition(wanted.get("conditions") or (), _PROGRESSING)
    if deadline is None or progressing is None or is_complete(deployment, wanted):
        return None
    since = parse_time(progressing.get("lastUpdateTime"))
    if since is None or progressing.get("reason") in (TIMED_OUT, NEW_AVAILABLE, PAUSED):
        return None
    # Times of conditions are cut to seconds: one more, and the deadline has passed for certain.
    return max(0.0, (since + timedelta(seconds=deadline + 1) - now) / timedelta(seconds=1))


def put(conditions: Sequence[Object], condition: Condition, now: datetime, *, refresh: bool = False) -> list[Object]:
    """Set a condition. One of the same status and reason stays as it is, unless `refresh`; the time of transition only
    moves where the status does."""
    before = find_condition(conditions, condition.type)
    after = condition.to_json(now)
    if before is not None and before.get("status") == after["status"]:
        if before.get("reason") == condition.reason and not refresh:
            return list(conditions)
        after["lastTransitionTime"] = before.get("lastTransitionTime", after["lastTransitionTime"])
    return [*(one for one in conditions if one.get("type") != condition.type), after]


def paused_condition(deployment: Object) -> Condition | None:
    """What `spec.paused` asks the Progressing condition to say; None where it says so, or has no deadline to hold."""
    if deadline_s(deployment) is None:
        return None
    progressing = find_condition(status(deployment).get("conditions") or (), _PROGRESSING)
    reason = progressing.get("reason") if progressing else None
    if reason == TIMED_OUT:
        return None
    paused = bool(spec(deployment).get("paused"))
    if paused and reason != PAUSED:
        return Condition(type=_PROGRESSING, true=None, reason=PAUSED, message="Deployment is paused")
    if not paused and reason == PAUSED:
        return Condition(type=_PROGRESSING, true=None, reason=RESUMED, message="Deployment is resumed")
    return None


def progressing(reason: str, message: str, *, true: bool = True) -> Condition:
    return Condition(type=_PROGRESSING, true=true, reason=reason, message=message)


def _availability(available: int, strategy: Strategy) -> Condition:
    if available >= strategy.fewest_available:
        message = "Deployment has minimum availability."
        return Condition(type=_AVAILABLE, true=True, reason="MinimumReplicasAvailable", message=message)
    message = "Deployment does not have minimum availability."
    return Condition(type=_AVAILABLE, true=False, reason="MinimumReplicasUnavailable", message=message)


def _progress(
    deployment: Object, new: Object | None, wanted: Object, conditions: list[Object], now: datetime
) -> list[Object]:
    """Judge the rollout: done, moving, or stuck for longer than its deadline."""
    deadline = deadline_s(deployment)
    if deadline is None:
        return [one for one in conditions if one.get("type") != _PROGRESSING]
    before = find_condition(status(deployment).get("conditions") or (), _PROGRESSING)
    settled = wanted.get("replicas", 0) == wanted.get("updatedReplicas", 0)
    if settled and before is not None and before.get("reason") == NEW_AVAILABLE:
        return conditions
    what = f'ReplicaSet "{name(new)}"' if new else f'Deployment "{name(deployment)}"'
    if is_complete(deployment, wanted):
        return put(conditions, progressing(NEW_AVAILABLE, f"{what} has successfully progressed."), now)
    if _moved(status(deployment), wanted):
        return put(conditions, progressing(UPDATED, f"{what} is progressing."), now, refresh=True)
    if _timed_out(find_condition(conditions, _PROGRESSING), deadline, now):
        return put(conditions, progressing(TIMED_OUT, f"{what} has timed out progressing.", true=False), now)
    return conditions


def _moved(before: Mapping[str, Any], wanted: Object) -> bool:
    """Whether more is updated, ready or available, or less is old, than the last status said."""

    def grew(field: str) -> bool:
        return int(wanted.get(field) or 0) > int(before.get(field) or 0)

    def old(numbers: Mapping[str, Any]) -> int:
        return int(numbers.get("replicas") or 0) - int(numbers.get("updatedReplicas") or 0)

    return grew("updatedReplicas") or grew("readyReplicas") or grew("availableReplicas") or old(wanted) < old(before)


def _timed_out(progressing: Object | None, deadline: int, now: datetime) -> bool:
    if progressing is None or progressing.get("reason") == NEW_AVAILABLE:
        return False
    if progressing.get("reason") == TIMED_OUT:
        return True
    since = parse_time(progressing.get("lastUpdateTime"))
    return since is not None and since + timedelta(seconds=deadline) < now


def _failure(new: Object | None, everyone: Sequence[Object]) -> Object | None:
    """The ReplicaFailure of the new ReplicaSet, else of any (`progress.go`, getReplicaFailures)."""
    for one in ([new] if new else []) + list(everyone):
        failure = find_condition(status(one).get("conditions") or (), _REPLICA_FAILURE)
        if failure is not None:
            return {"lastUpdateTime": failure.get("lastTransitionTime"), **failure}
    return None
