"""The scheduler: which node a pod without one is bound to. Pure.

Filters and their messages (`node_filters`) and what a pod wishes for (`node_scores`) are kube-scheduler's. Among the
nodes it likes best the choice is simpler and strict: the one with the fewest pods of the same owner, then of the same
Services, then of any kind, then by name. So as many replicas as there are eligible nodes are one on each, always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from fairway.api.resources import PODS
from fairway.api.types import Object
from fairway.controllers.node_filters import Filters, Refusal
from fairway.controllers.node_scores import scores
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
from fairway.controllers.pods import is_active, node_of
from fairway.controllers.preemption import counted, is_under_way, make_way, preempt
from fairway.controllers.scheduling import SchedulingView
from fairway.controllers.writes import Bind, EventType, Record, Update, Write

SCHEDULER_NAME = "default-scheduler"
_NO_NODES = "no nodes available to schedule pods"


def reconcile(view: SchedulingView, now: datetime) -> list[Write]:
    """Bind the pod; or let others make way for it; or say on it and in an event why no node will have it."""
    pod = view.pod
    if not is_waiting(pod):
        return []
    filters = Filters(view)
    refusals = {name(node): filters.refusal(node) for node in view.nodes}
    fitting = [node for node in view.nodes if refusals[name(node)] is None]
    if not fitting:
        return _nowhere(view, {node: one for node, one in refusals.items() if one is not None}, now)
    chosen = _choose(view, fitting)
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


def minds_company(pod: Object) -> bool:
    """Whether where other pods are, not only how many, decides where it may go."""
    affinity = spec(pod).get("affinity") or {}
    constraints = spec(pod).get("topologySpreadConstraints")
    return bool(constraints or affinity.get("podAffinity") or affinity.get("podAntiAffinity"))


def _choose(view: SchedulingView, fitting: Sequence[Object]) -> str:
    """The best by what the pod wishes for, then the least crowded, then the first by name."""
    liked = scores(view, fitting)
    selecting = [one for one in view.services if _selects(one, view.pod)]

    def rank(node: Object) -> tuple[int, tuple[int, int, int], str]:
        return -liked[name(node)], _crowding(view.pod, view.on(node), selecting), name(node)

    return name(min(fitting, key=rank))


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


def _nowhere(view: SchedulingView, refusals: Mapping[str, Refusal], now: datetime) -> list[Write]:
    """As kube-scheduler's FitError tells it: for each reason how many nodes, and what preemption comes to."""
    pod = view.pod
    if not refusals:
        return _unschedulable(pod, _NO_NODES, now)
    if is_under_way(view, refusals):
        return []  # it has been told, and waits for those that make way
    told = counted([reason for one in refusals.values() for reason in one.reasons])
    message = f"0/{len(refusals)} nodes are available: {told}."
    found = preempt(view, refusals)
    if not found.node:
        return _unschedulable(pod, f"{message} preemption: {found.problem}", now)
    return [*make_way(pod, found, now), *_unschedulable(pod, message, now, nominated=found.node)]


def _unschedulable(pod: Object, message: str, now: datetime, *, nominated: str = "") -> list[Write]:
    """nominated: the node that it will get, "" for none as yet."""
    before = condition(pod, "PodScheduled")
    told = before is not None and before.get("message") == message and before.get("status") == "False"
    if told and nominated == str(status(pod).get("nominatedNodeName") or ""):
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
    others = {field: value for field, value in status(pod).items() if field != "nominatedNodeName"}
    named = {"nominatedNodeName": nominated} if nominated else {}
    body["status"] = {**others, **named, "conditions": conditions}
    record = Record(
        regarding=pod, type=EventType.WARNING, reason="FailedScheduling", message=message, action="Scheduling"
    )
    return [Update(resource=PODS, body=body, subresource="status"), record]
