"""ReplicaSets: as many active pods as `spec.replicas` asks for. Pure (`pkg/controller/replicaset/replica_set.go`).

The view must hold the caller's own writes already (see `cache`): a pod created a moment ago and not seen yet by the
watch would otherwise be created again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from fairway.api.resources import PODS, REPLICA_SETS
from fairway.api.types import Object, key_of
from fairway.controllers import names
from fairway.controllers.objects import (
    changed,
    condition,
    controller_reference,
    format_time,
    is_terminating,
    labels,
    matches_labels,
    meta,
    name,
    namespace,
    parse_time,
    spec,
    status,
    uid,
    without_zeros,
)
from fairway.controllers.ownership import claim
from fairway.controllers.pods import (
    PENDING,
    RUNNING,
    available_at,
    is_active,
    is_available,
    is_ready,
    node_of,
    phase,
    ready_since,
)
from fairway.controllers.writes import Create, Delete, EventType, Recheck, Record, Update, Write

BURST = 500
"""Pods created or deleted by one reconcile at most (`BurstReplicas`)."""
POD_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation: pods with a lower number are deleted first (KEP-2255)."""
_REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSetView:
    """A ReplicaSet and what it could own.

    pods: those it controls and those of its namespace without a controller, finished ones too.
    related: active pods of the ReplicaSets of the same owner, by node: a node that has many is relieved first.
    failure: why the last reconcile could not create or delete a pod, as (reason, message).
    """

    replica_set: Object
    pods: Sequence[Object]
    related: Mapping[str, int] | None = None
    failure: tuple[str, str] | None = None


def reconcile(view: ReplicaSetView, now: datetime, random: Random) -> list[Write]:
    """Adopt and release pods, or else write the status and create or delete pods."""
    replica_set = view.replica_set
    claimed = claim(replica_set, REPLICA_SETS, [pod for pod in view.pods if is_active(pod)], PODS)
    if claimed.writes:
        return list(claimed.writes)
    active = claimed.owned
    writes: list[Write] = [*_status(view, active, now)]
    if not is_terminating(replica_set):
        missing = replicas(replica_set) - len(active)
        if missing > 0:
            writes += _create(replica_set, {name(pod) for pod in view.pods}, min(missing, BURST), random)
        elif missing < 0:
            writes += _delete(replica_set, least_useful(active, view.related)[: min(-missing, BURST)])
    return writes + _recheck(active, min_ready_s(replica_set), now)


def replicas(replica_set: Object) -> int:
    """`spec.replicas`, 1 where it is absent."""
    wanted = spec(replica_set).get("replicas")
    return 1 if wanted is None else int(wanted)


def min_ready_s(replica_set: Object) -> int:
    return int(spec(replica_set).get("minReadySeconds") or 0)


def least_useful(active: Sequence[Object], related: Mapping[str, int] | None = None) -> list[Object]:
    """Active pods in the order they are given up (`controller_utils.go`, ActivePodsWithRanks).

    Unscheduled, then Pending, then not Ready; a lower deletion cost; on a node that has more pods of this workload;
    Ready more recently; restarted more often; newer; by name.
    """
    crowd = related if related is not None else Counter(node_of(pod) for pod in active)

    def rank(pod: Object) -> tuple[Any, ...]:
        ready = is_ready(pod)
        since = ready_since(pod) if ready else None
        return (
            bool(node_of(pod)),
            {PENDING: 0, RUNNING: 2}.get(phase(pod), 1),
            ready,
            _deletion_cost(pod),
            -crowd.get(node_of(pod), 0),
            -since.timestamp() if since else 0.0,
            -_restarts(pod),
            -_creation_s(pod),
            name(pod),
        )

    return sorted(active, key=rank)


def _deletion_cost(pod: Object) -> int:
    try:
        return int((meta(pod).get("annotations") or {}).get(POD_DELETION_COST, "0"))
    except ValueError:
        return 0


def _restarts(pod: Object) -> int:
    return max((int(one.get("restartCount") or 0) for one in status(pod).get("containerStatuses") or ()), default=0)


def _creation_s(pod: Object) -> float:
    moment = parse_time(meta(pod).get("creationTimestamp"))
    return moment.timestamp() if moment else 0.0


def _create(replica_set: Object, taken: set[str], count: int, random: Random) -> list[Write]:
    failed = Record(regarding=replica_set, type=EventType.WARNING, reason="FailedCreate", message="Error creating: ")
    creates: list[Write] = []
    records: list[Write] = []
    for _ in range(count):
        pod_name = names.generate(f"{name(replica_set)}-", random, taken)
        taken.add(pod_name)
        creates.append(Create(resource=PODS, body=_pod(replica_set, pod_name), failed=failed))
        records.append(Record(regarding=replica_set, reason="SuccessfulCreate", message=f"Created pod: {pod_name}"))
    return creates + records


def _pod(replica_set: Object, pod_name: str) -> Object:
    """A pod of the template (`controller_utils.go`, GetPodFromTemplate)."""
    template = changed(spec(replica_set).get("template") or {})
    of_template = template.get("metadata") or {}
    metadata: Object = {
        "name": pod_name,
        "generateName": f"{name(replica_set)}-",
        "namespace": namespace(replica_set),
        "ownerReferences": [controller_reference(replica_set, REPLICA_SETS)],
    }
    metadata |= {
        field: of_template[field] for field in ("labels", "annotations", "finalizers") if of_template.get(field)
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def _delete(replica_set: Object, pods: Sequence[Object]) -> list[Write]:
    failed = Record(regarding=replica_set, type=EventType.WARNING, reason="FailedDelete", message="Error deleting: ")
    deletes: list[Write] = [Delete(resource=PODS, key=key_of(pod), uid=uid(pod), failed=failed) for pod in pods]
    records: list[Write] = [
        Record(regarding=replica_set, reason="SuccessfulDelete", message=f"Deleted pod: {name(pod)}") for pod in pods
    ]
    return deletes + records


def _status(view: ReplicaSetView, active: Sequence[Object], now: datetime) -> list[Write]:
    """The status by the pods of the view (`replica_set_utils.go`, calculateStatus)."""
    replica_set = view.replica_set
    ready = [pod for pod in active if is_ready(pod)]
    available = [pod for pod in ready if is_available(pod, min_ready_s(replica_set), now)]
    template_labels = ((spec(replica_set).get("template") or {}).get("metadata") or {}).get("labels") or {}
    wanted: Object = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(matches_labels(template_labels, labels(pod)) for pod in active),
        "readyReplicas": len(ready),
        "availableReplicas": len(available),
        "observedGeneration": meta(replica_set).get("generation", 0),
    }
    wanted["conditions"] = _conditions(view, len(active), now)
    if without_zeros(wanted) == without_zeros(status(replica_set)):
        return []
    body = changed(replica_set)
    body["status"] = {"replicas": 0} | without_zeros(wanted)
    return [Update(resource=REPLICA_SETS, body=body, subresource="status")]


def _conditions(view: ReplicaSetView, have: int, now: datetime) -> list[Object]:
    """ReplicaFailure while pods cannot be made or removed, and nothing else."""
    others = [one for one in status(view.replica_set).get("conditions") or () if one.get("type") != _REPLICA_FAILURE]
    if view.failure is None or have == replicas(view.replica_set):
        return others
    reason, message = view.failure
    before = condition(view.replica_set, _REPLICA_FAILURE)
    since = before["lastTransitionTime"] if before and before.get("reason") == reason else format_time(now)
    failure = {
        "type": _REPLICA_FAILURE,
        "status": "True",
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
    return [*others, failure]


def _recheck(active: Sequence[Object], min_ready: int, now: datetime) -> list[Write]:
    """Look again when the next Ready pod becomes available: no change of an object will tell."""
    if min_ready == 0:
        return []
    due = [moment for pod in active if (moment := available_at(pod, min_ready)) is not None and moment > now]
    if not due:
        return []
    return [Recheck(after_s=(min(due) - now) / timedelta(seconds=1))]
