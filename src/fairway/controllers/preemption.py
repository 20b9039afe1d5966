"""Preemption: which pods make way for one of higher priority that fits nowhere. Pure.

Rules: `pkg/scheduler/framework/preemption/preemption.go`, `plugins/defaultpreemption`; there are no disruption budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fairway.api.resources import PODS
from fairway.api.types import Object, key_of
from fairway.controllers.node_filters import Filters, Refusal
from fairway.controllers.objects import created, is_terminating, name, spec, status, uid
from fairway.controllers.pods import disrupted
from fairway.controllers.scheduling import SchedulingView, priority
from fairway.controllers.writes import Delete, Record, Update, Write

HELPLESS = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
UNDER_WAY = "not eligible due to a terminating pod on the nominated node."
_MOST_CANDIDATES = 100
"""Nodes to try (DefaultPreemptionArgs minCandidateNodesAbsolute)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """node: where the pod will fit once the victims are gone, "" for nowhere. problem: why nowhere."""

    node: str = ""
    victims: tuple[Object, ...] = ()
    problem: str = ""


def preempt(view: SchedulingView, refusals: Mapping[str, Refusal]) -> Preemption:
    """For a pod that no node will have now. refusals: by node."""
    pod = view.pod
    if spec(pod).get("preemptionPolicy") == "Never":
        return Preemption(problem=NEVER)
    if is_under_way(view, refusals):
        return Preemption(problem=UNDER_WAY)
    problems: list[str] = []
    found: list[tuple[Object, tuple[Object, ...]]] = []
    for node in view.nodes:
        refusal = refusals[name(node)]
        lower = _lower(view, node)
        if refusal.final:
            problems.append(HELPLESS)
        elif not lower:
            problems.append(NO_VICTIMS)
        elif len(found) < _MOST_CANDIDATES:
            chosen = _victims(view, node, lower)
            if isinstance(chosen, Refusal):
                problems.extend(chosen.reasons)
            else:
                found.append((node, chosen))
    if not found:
        return Preemption(problem=f"0/{len(refusals)} nodes are available: {counted(problems)}.")
    node, victims = min(found, key=lambda pair: (_cost(pair[1]), name(pair[0])))
    return Preemption(node=name(node), victims=victims)


def counted(texts: Sequence[str]) -> str:
    """ "2 Too many pods, 1 Insufficient cpu", in the order of the words, as FitError sorts them."""
    return ", ".join(sorted(f"{texts.count(text)} {text}" for text in set(texts)))


def is_under_way(view: SchedulingView, refusals: Mapping[str, Refusal]) -> bool:
    """Whether the pod has been given a node that it can still get, and those that make way there are still on it."""
    nominated = str(status(view.pod).get("nominatedNodeName") or "")
    if nominated not in refusals or refusals[nominated].final:
        return False
    there = view.by_node.get(nominated, ())
    return any(is_terminating(one) and priority(one) < priority(view.pod) for one in there)


def make_way(pod: Object, found: Preemption, now: datetime) -> list[Write]:
    """The victims go, and are told for whom."""
    scheduler = spec(pod).get("schedulerName") or "default-scheduler"
    message = f"{scheduler}: preempting to accommodate a higher priority pod"
    writes: list[Write] = []
    for victim in (one for one in found.victims if not is_terminating(one)):
        told = disrupted(victim, "PreemptionByScheduler", message, now)
        writes += [
            Update(resource=PODS, body=told, subresource="status"),
            Delete(resource=PODS, key=key_of(victim), uid=uid(victim)),
            Record(
                regarding=victim,
                reason="Preempted",
                message=f"Preempted by pod {uid(pod)} on node {found.node}",
                action="Preempting",
            ),
        ]
    return writes


def _lower(view: SchedulingView, node: Object) -> list[Object]:
    return [one for one in view.on(node) if priority(one) < priority(view.pod)]


def _victims(view: SchedulingView, node: Object, lower: Sequence[Object]) -> tuple[Object, ...] | Refusal:
    """As few as will do, of little importance: all go, and come back one by one as long as the pod still fits."""
    gone = {uid(one) for one in lower}
    refusal = _without(view, gone).refusal(node)
    if refusal is not None:
        return refusal
    for one in sorted(lower, key=_importance):
        if _without(view, gone - {uid(one)}).refusal(node) is None:
            gone.discard(uid(one))
    return tuple(one for one in sorted(lower, key=_importance) if uid(one) in gone)


def _without(view: SchedulingView, gone: set[str]) -> Filters:
    return Filters(replace(view, bound=[one for one in view.bound if uid(one) not in gone]))


def _importance(pod: Object) -> tuple[object, ...]:
    """The most important first: of high priority, then running for long (`util.MoreImportantPod`)."""
    return -priority(pod), str(status(pod).get("startTime") or ""), created(pod)


def _cost(victims: Sequence[Object]) -> tuple[object, ...]:
    """The least counts: the highest priority, the sum of priorities, the number (pickOneNodeForPreemption).

    Among equals the node whose most important victim started last.
    """
    ranks = [priority(one) for one in victims]
    # A sum in which a pod of negative priority counts as one too.
    total = sum(rank + (1 << 31) for rank in ranks)
    first = min((str(status(one).get("startTime") or "") for one in victims if priority(one) == max(ranks)), default="")
    return max(ranks, default=-(1 << 31)), total, len(ranks), _Latest(first)


@dataclass(frozen=True, slots=True, order=False)
class _Latest:
    """Sorts times latest first."""

    time: str

    def __lt__(self, other: _Latest) -> bool:
        return self.time > other.time
