"""Whether a node can take a pod, in kube-scheduler's words. Pure (`pkg/scheduler/framework/plugins`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from fairway.api.types import Object
from fairway.controllers.affinity import matches_node_selection, names_asked_for
from fairway.controllers.objects import name, spec
from fairway.controllers.pod_affinity import AFFINITY_RULES, PodAffinity
from fairway.controllers.pod_requests import allocatable, requests, total
from fairway.controllers.pod_spread import MISSING_LABEL, PodSpread
from fairway.controllers.scheduling import SchedulingView
from fairway.controllers.taints import BARRING, NO_SCHEDULE, UNSCHEDULABLE, due_taint, taints_of, tolerates

_CORDONED = "node(s) were unschedulable"
_NOT_NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
_NO_MATCH = "node(s) didn't match Pod's node affinity/selector"
_PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"
_FULL = "Too many pods"
_PODS = "pods"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a node cannot take the pod. final: nor could it if pods of less priority were not there."""

    reasons: tuple[str, ...]
    final: bool = False


class Filters:
    """All that is asked of a node; the first that a node fails gives the reason."""

    def __init__(self, view: SchedulingView) -> None:
        self._pod = view.pod
        self._view = view
        self._named = names_asked_for(spec(view.pod))
        self._requests = requests(view.pod)
        self._ports = host_ports(view.pod)
        self._spread = PodSpread(view)
        self._affinity = PodAffinity(view)

    def refusal(self, node: Object) -> Refusal | None:
        """Why the node cannot take the pod, None if it can."""
        there = self._view.on(node)
        final = self._by_node_alone(node)
        if final is not None:
            return Refusal(reasons=(final,), final=True)
        if self._ports and any(
            _collide(mine, other) for one in there for other in host_ports(one) for mine in self._ports
        ):
            return Refusal(reasons=(_PORTS_TAKEN,))
        short = self._short(node, there)
        if short is not None:
            return short
        for reason in (self._spread.refusal(node), self._affinity.refusal(node)):
            if reason is not None:
                return Refusal(reasons=(reason,), final=reason in (MISSING_LABEL, AFFINITY_RULES))
        return None

    def _by_node_alone(self, node: Object) -> str | None:
        tolerations = spec(self._pod).get("tolerations") or ()
        if self._named is not None and name(node) not in self._named:
            return _NOT_NAMED
        cordoned = {"key": UNSCHEDULABLE, "effect": NO_SCHEDULE}
        if spec(node).get("unschedulable") and not tolerates(tolerations, cordoned):
            return _CORDONED
        due = due_taint(node, NO_SCHEDULE)
        for taint in [*taints_of(node), *([due] if due else [])]:
            if taint.get("effect") in BARRING and not tolerates(tolerations, taint):
                return f"node(s) had untolerated taint {{{taint.get('key')}: {taint.get('value') or ''}}}"
        return None if matches_node_selection(spec(self._pod), node) else _NO_MATCH

    def _short(self, node: Object, there: Sequence[Object]) -> Refusal | None:
        """What the node has too little of (`plugins/noderesources/fit.go`); a resource it does not tell of is none."""
        has = allocatable(node)
        reasons = [_FULL] if _PODS in has and len(there) >= has[_PODS] else []
        asked = {resource: amount for resource, amount in self._requests.items() if amount > 0}
        taken = total(there) if asked else {}
        missing = [one for one in sorted(asked, key=_rank) if asked[one] > _of(has, one) - _of(taken, one)]
        reasons += [f"Insufficient {one}" for one in missing]
        if not reasons:
            return None
        return Refusal(reasons=tuple(reasons), final=any(asked[one] > _of(has, one) for one in missing))


def _rank(resource: str) -> tuple[int, str]:
    known = ("cpu", "memory", "ephemeral-storage")
    return (known.index(resource) if resource in known else len(known), resource)


def _of(amounts: dict[str, Decimal], resource: str) -> Decimal:
    return amounts.get(resource, Decimal())


def host_ports(pod: Object) -> list[tuple[str, str, int]]:
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
