"""The scheduler: which node a pod without one is bound to. Pure.

Filters and their messages are kube-scheduler's (`pkg/scheduler/framework/plugins`); the choice among the nodes left is
simpler and strict: the node with the fewest pods of the same owner, then of the same Services, then of any kind, then
by name. So as many replicas as there are eligible nodes are one on each, always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.api.resources import PODS
from fairway.api.types import Object
from fairway.controllers.affinity import matches_node_selection
from fairway.controllers.objects import (
    changed,
    condition,
    controller_of,
    format_time,
    is_terminating,
    labels,
    matches_labels,
    name,
    namespace,
    spec,
    status,
)
from fairway.controllers.pods import is_active, is_finished, node_of
from fairway.controllers.writes import Bind, EventType, Record, Update, Write

SCHEDULER_NAME = "default-scheduler"
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_BARRING = ("NoSchedule", "NoExecute")
"""Taint effects that keep a new pod away; PreferNoSchedule does not."""

_NO_NODES = "no nodes available to schedule pods"
_CORDONED = "node(s) were unschedulable"
_NO_MATCH = "node(s) didn't match Pod's node affinity/selector"
_PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"
_FULL = "Too many pods"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulingView:
    """A pod without a node, all nodes, and all pods that have one; services: of the pod's namespace."""

    pod: Object
    nodes: Sequence[Object]
    bound: Sequence[Object]
    services: Sequence[Object] = ()


def reconcile(view: SchedulingView, now: datetime) -> list[Write]:
    """Bind the pod, or say on it and in an event why no node will have it."""
    pod = view.pod
    if not is_waiting(pod):
        return []
    by_node: dict[str, list[Object]] = {}
    for one in view.bound:
        if not is_finished(one):
            by_node.setdefault(node_of(one), []).append(one)
    refusals = {name(node): refusal(pod, node, by_node.get(name(node), ())) for node in view.nodes}
    fitting = [node for node, reason in refusals.items() if reason is None]
    if not fitting:
        return _unschedulable(pod, _explain(refusals), now)
    selecting = [one for one in view.services if _selects(one, pod)]
    chosen = min(fitting, key=lambda node: (*_crowding(pod, by_node.get(node, ()), selecting), node))
    assigned = f"Successfully assigned {namespace(pod)}/{name(pod)} to {chosen}"
    return [
        Bind(pod=pod, node=chosen),
        Record(regarding=pod, reason="Scheduled", message=assigned, action="Binding"),
    ]


def is_waiting(pod: Object) -> bool:
    """Whether the pod is this scheduler's to place."""
    return (
        not node_of(pod)
        and is_active(pod)
        and not spec(pod).get("schedulingGates")
        and spec(pod).get("schedulerName", SCHEDULER_NAME) == SCHEDULER_NAME
    )


def refusal(pod: Object, node: Object, there: Sequence[Object]) -> str | None:
    """Why a node that holds these pods cannot take the pod, in kube-scheduler's words and order; None if it can."""
    tolerations = spec(pod).get("tolerations") or ()
    if spec(node).get("unschedulable") and not _tolerates(tolerations, {"key": _UNSCHEDULABLE, "effect": "NoSchedule"}):
        return _CORDONED
    for taint in _taints(node):
        if taint.get("effect") in _BARRING and not _tolerates(tolerations, taint):
            return f"node(s) had untolerated taint {{{taint.get('key')}: {taint.get('value') or ''}}}"
    if not matches_node_selection(spec(pod), node):
        return _NO_MATCH
    ports = _host_ports(pod)
    if ports and any(_collide(port, other) for one in there for other in _host_ports(one) for port in ports):
        return _PORTS_TAKEN
    room = (status(node).get("allocatable") or {}).get("pods")
    if room is not None and str(room).isdecimal() and len(there) >= int(room):
        return _FULL
    return None


def _taints(node: Object) -> list[Mapping[str, str]]:
    """A node's taints; one that is not Ready is treated as tainted, as the node lifecycle controller would do it."""
    taints = list(spec(node).get("taints") or ())
    ready = condition(node, "Ready")
    if ready is None or ready.get("status") == "False":
        taints.append({"key": _NOT_READY, "effect": "NoSchedule"})
    elif ready.get("status") != "True":
        taints.append({"key": _UNREACHABLE, "effect": "NoSchedule"})
    return taints


def _tolerates(tolerations: Sequence[Mapping[str, str]], taint: Mapping[str, str]) -> bool:
    """Whether one toleration covers the taint (`core/v1/toleration.go`)."""
    return any(_covers(one, taint) for one in tolerations)


def _covers(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")
    return False


def _host_ports(pod: Object) -> list[tuple[str, str, int]]:
    """(host address, protocol, port) of each host port a pod occupies; a hostNetwork pod names all its ports there."""
    return [
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"]))  # noqa: S104 - compared
        for container in spec(pod).get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def _collide(left: tuple[str, str, int], right: tuple[str, str, int]) -> bool:
    wild = "0.0.0.0"  # noqa: S104 - compared
    return left[1:] == right[1:] and (left[0] == right[0] or wild in (left[0], right[0]))


def _selects(service: Object, pod: Object) -> bool:
    selector = spec(service).get("selector") or {}
    return bool(selector) and matches_labels(selector, labels(pod))


def _crowding(pod: Object, there: Sequence[Object], services: Sequence[Object]) -> tuple[int, int, int]:
    """Pods on a node: of the same owner, behind the same Services, all. Those on their way out do not count."""
    staying = [one for one in there if not is_terminating(one)]
    controller = controller_of(pod)
    siblings = 0
    if controller is not None:
        uids = [(controller_of(one) or {}).get("uid") for one in staying]
        siblings = uids.count(controller.get("uid"))
    peers = sum(
        namespace(one) == namespace(pod) and any(_selects(service, one) for service in services) for one in staying
    )
    return siblings, peers, len(staying)


def _explain(refusals: Mapping[str, str | None]) -> str:
    """As kube-scheduler's FitError: how many nodes, and for each reason how many of them."""
    if not refusals:
        return _NO_NODES
    reasons = Counter(reason for reason in refusals.values() if reason)
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{len(refusals)} nodes are available: {told}."


def _unschedulable(pod: Object, message: str, now: datetime) -> list[Write]:
    before = condition(pod, "PodScheduled")
    if before is not None and before.get("message") == message and before.get("status") == "False":
        return []
    since = before.get("lastTransitionTime") if before and before.get("status") == "False" else format_time(now)
    body = changed(pod)
    conditions = [one for one in status(pod).get("conditions") or () if one.get("type") != "PodScheduled"]
    conditions.append(
        {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": since,
            "reason": "Unschedulable",
            "message": message,
        }
    )
    body["status"] = {**status(pod), "conditions": conditions}
    record = Record(
        regarding=pod, type=EventType.WARNING, reason="FailedScheduling", message=message, action="Scheduling"
    )
    return [Update(resource=PODS, body=body, subresource="status"), record]
