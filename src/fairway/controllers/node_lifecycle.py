"""Nodes that fall silent: not Ready, tainted, and after a while without their pods. Pure.

As `pkg/controller/nodelifecycle` (health by Lease, taints by condition, pods not Ready) and
`pkg/controller/tainteviction` (pods leave when their toleration has run out), with a grace period that suits a lab:
Leases are renewed every 1.5 seconds, not every ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.api.resources import NODES, PODS
from fairway.api.types import Object, key_of
from fairway.controllers.objects import (
    changed,
    condition,
    format_time,
    is_terminating,
    is_true,
    name,
    namespace,
    parse_time,
    spec,
    status,
    uid,
)
from fairway.controllers.pods import disrupted, is_finished, is_ready, ready_since
from fairway.controllers.taints import (
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    UNREACHABLE,
    UNSCHEDULABLE,
    Taint,
    covers,
    due_taint,
    taints_of,
)
from fairway.controllers.writes import Delete, EventType, Recheck, Record, Update, Write

GRACE_S = 4.5
"""How long a node may be silent: two renewals may be missed, and it is told of within five seconds
(`--node-monitor-grace-period` of kube-controller-manager, 50 s there)."""
_HEALTH = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_OURS = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node, its Lease, and its pods.

    judged_since: from when on a missing renewal is the node's own; None while nobody can tell (`tenure`).
    """

    node: Object
    lease: Object | None = None
    judged_since: datetime | None = None
    pods: Sequence[Object] = ()


def reconcile(view: NodeView, now: datetime) -> list[Write]:
    """One step: the node's conditions, then its taints, then its pods; each is seen before the next is taken."""
    node = view.node
    if is_terminating(node):
        return []
    expiry = _expiry(view)
    if expiry is not None and now >= expiry and not _is_unknown(node):
        return _fallen_silent(node, now)
    taints = _taints(node, now)
    if taints != taints_of(node):
        body = changed(node)
        others = {field: value for field, value in spec(node).items() if field != "taints"}
        body["spec"] = {**others, "taints": taints} if taints else others
        return [Update(resource=NODES, body=body)]
    # A pod that was made not Ready comes again for its eviction: one object, one change at a time.
    writes = list(_not_ready(view, now)) or list(_evictions(view, now))
    if expiry is not None and now < expiry:
        writes.append(Recheck(after_s=_seconds(expiry - now)))
    return writes


def registered(node: Object) -> Record:
    """What is told of a node that these controllers see for the first time."""
    told = f"Node {name(node)} event: Registered Node {name(node)} in Controller"
    return Record(regarding=node, reason="RegisteredNode", message=told)


def _expiry(view: NodeView) -> datetime | None:
    """When the node's silence is too long; None where it has no Lease to be judged by."""
    renewed = parse_time(spec(view.lease).get("renewTime")) if view.lease is not None else None
    if renewed is None or view.judged_since is None:
        return None
    return max(renewed, view.judged_since) + timedelta(seconds=GRACE_S)


def _is_unknown(node: Object) -> bool:
    ready = condition(node, "Ready")
    return ready is not None and ready.get("status") == "Unknown"


def _fallen_silent(node: Object, now: datetime) -> list[Write]:
    """Nothing is known of the node any more (`tryUpdateNodeHealth`)."""
    body = changed(node)
    unknown = {
        "status": "Unknown",
        "lastTransitionTime": format_time(now),
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }
    have = status(node).get("conditions") or []
    # In their places: a person reads them in the kubelet's order.
    known = [{**one, **unknown} if one.get("type") in _HEALTH else one for one in have]
    lacking = [{"type": kind, **unknown} for kind in _HEALTH if condition(node, kind) is None]
    body["status"] = {**status(node), "conditions": [*known, *lacking]}
    told = f"Node {name(node)} status is now: NodeNotReady"
    return [
        Update(resource=NODES, body=body, subresource="status"),
        Record(regarding=node, reason="NodeNotReady", message=told),
    ]


def _taints(node: Object, now: datetime) -> list[Taint]:
    """Its taints with ours as they are due; one that stays keeps its time, from which tolerations run."""
    due = [taint for effect in (NO_SCHEDULE, NO_EXECUTE) if (taint := due_taint(node, effect)) is not None]
    if condition(node, "Ready") is None:
        due = [taint for taint in due if taint["effect"] == NO_SCHEDULE]
    if spec(node).get("unschedulable"):
        due.append({"key": UNSCHEDULABLE, "effect": NO_SCHEDULE})
    wanted = {_identity(taint) for taint in due}
    kept = [one for one in taints_of(node) if one.get("key") not in _OURS or _identity(one) in wanted]
    have = {_identity(one) for one in kept}
    return kept + [{**one, "timeAdded": format_time(now)} for one in due if _identity(one) not in have]


def _identity(taint: Taint) -> tuple[str | None, str | None]:
    return taint.get("key"), taint.get("effect")


def _not_ready(view: NodeView, now: datetime) -> Iterator[Write]:
    """Pods of a node that is not Ready are not either: nobody vouches for them, and endpoints must leave.

    Those that became Ready since the node is not are left: a kubelet that is back says so of its pods first. Times are
    of whole seconds; a pod of the same one is left too, for its kubelet has spoken when the node had been silent.
    """
    ready = condition(view.node, "Ready")
    since = parse_time(ready.get("lastTransitionTime")) if ready else None
    if ready is None or is_true(view.node, "Ready"):
        return
    for pod in view.pods:
        pod_since = ready_since(pod)
        if not is_ready(pod) or (since is not None and pod_since is not None and pod_since >= since):
            continue
        body = changed(pod)
        for one in body["status"]["conditions"]:
            if one.get("type") == "Ready":
                one |= {"status": "False", "lastTransitionTime": format_time(now)}
        yield Update(resource=PODS, body=body, subresource="status")
        yield Record(regarding=pod, type=EventType.WARNING, reason="NodeNotReady", message="Node is not ready")


def _evictions(view: NodeView, now: datetime) -> Iterator[Write]:
    """Pods leave a node with NoExecute taints at once, or when the shortest toleration they need has run out."""
    taints = [taint for taint in taints_of(view.node) if taint.get("effect") == NO_EXECUTE]
    for pod in view.pods:
        due = _leaves_at(pod, taints, now)
        if due is None or is_terminating(pod) or is_finished(pod):
            continue
        if due > now:
            yield Recheck(after_s=_seconds(due - now))
            continue
        told = disrupted(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", now)
        if told != pod:
            yield Update(resource=PODS, body=told, subresource="status")
        yield Delete(resource=PODS, key=key_of(pod), uid=uid(pod))
        message = f"Marking for deletion Pod {namespace(pod)}/{name(pod)}"
        yield Record(regarding=pod, reason="TaintManagerEviction", message=message)


def _leaves_at(pod: Object, taints: Sequence[Taint], now: datetime) -> datetime | None:
    """None for never: no such taint, or all tolerated without end. A negative number of seconds is none."""
    dues: list[datetime] = []
    for taint in taints:
        covering = [one for one in spec(pod).get("tolerations") or () if covers(one, taint)]
        if not covering:
            return now
        limits = [int(one["tolerationSeconds"]) for one in covering if one.get("tolerationSeconds") is not None]
        added = parse_time(taint.get("timeAdded")) or now
        dues += [added + timedelta(seconds=max(limit, 0)) for limit in limits]
    return min(dues, default=None)


def _seconds(span: timedelta) -> float:
    return span / timedelta(seconds=1)
