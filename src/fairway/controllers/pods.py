"""What controllers ask of a pod. Pure (`pkg/api/v1/pod/util.go`, `pkg/controller/controller_utils.go`)."""

from __future__ import annotations

from datetime import datetime, timedelta

from fairway.api.types import Object
from fairway.controllers.objects import (
    changed,
    condition,
    find_condition,
    format_time,
    is_terminating,
    is_true,
    parse_time,
    spec,
    status,
)

SUCCEEDED = "Succeeded"
FAILED = "Failed"
PENDING = "Pending"
RUNNING = "Running"
DISRUPTION_TARGET = "DisruptionTarget"


def phase(pod: Object) -> str:
    """`status.phase`; Pending where the kubelet has said nothing yet, as the API server stores it."""
    return str(status(pod).get("phase") or PENDING)


def is_finished(pod: Object) -> bool:
    """Whether its containers ended for good: it will never serve or run again."""
    return phase(pod) in (SUCCEEDED, FAILED)


def is_active(pod: Object) -> bool:
    """Whether it counts as a replica: neither finished nor being deleted."""
    return not is_finished(pod) and not is_terminating(pod)


def is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready")


def node_of(pod: Object) -> str:
    """The node it is bound to, "" while it is not."""
    return str(spec(pod).get("nodeName") or "")


def disrupted(pod: Object, reason: str, message: str, now: datetime) -> Object:
    """A copy whose status tells that the pod is made to go, by whom and why (condition DisruptionTarget, KEP-3329)."""
    body = changed(pod)
    conditions = body.setdefault("status", {}).setdefault("conditions", [])
    told = find_condition(conditions, DISRUPTION_TARGET)
    if told is None:
        told = {"type": DISRUPTION_TARGET, "lastProbeTime": None}
        conditions.append(told)
    if told.get("status") != "True":
        told["lastTransitionTime"] = format_time(now)
    told |= {"status": "True", "reason": reason, "message": message}
    return body


def ready_since(pod: Object) -> datetime | None:
    """When its Ready condition last changed, None without one."""
    ready = condition(pod, "Ready")
    return parse_time(ready.get("lastTransitionTime")) if ready else None


def available_at(pod: Object, min_ready_s: int) -> datetime | None:
    """When it will have been Ready for `minReadySeconds`; None while not Ready, or where no transition time is told."""
    since = ready_since(pod)
    return since + timedelta(seconds=min_ready_s) if is_ready(pod) and since is not None else None


def is_available(pod: Object, min_ready_s: int, now: datetime) -> bool:
    """Whether it is Ready and has been for `minReadySeconds`."""
    if min_ready_s == 0:
        return is_ready(pod)
    due = available_at(pod, min_ready_s)
    return due is not None and due <= now
