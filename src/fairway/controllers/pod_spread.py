"""Topology spread constraints: pods of a selector evenly over domains. Pure.

Rules: `plugins/podtopologyspread/{common,filtering,scoring}.go`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fairway.api.types import Object
from fairway.controllers.affinity import matches_node_selection
from fairway.controllers.objects import is_terminating, labels, name, namespace, selects, spec
from fairway.controllers.scheduling import SchedulingView
from fairway.controllers.taints import BARRING, taints_of, tolerates

CONSTRAINTS = "node(s) didn't match pod topology spread constraints"
MISSING_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"

Constraint = Mapping[str, Any]


class PodSpread:
    """What the constraints of a pod that must hold say of each node."""

    def __init__(self, view: SchedulingView) -> None:
        self._pod = view.pod
        self._constraints = constraints(view.pod, "DoNotSchedule")
        keys = [_key(one) for one in self._constraints]
        nodes = [node for node in view.nodes if all(key in labels(node) for key in keys)]
        self._counts = [_counts(view, one, nodes) for one in self._constraints]

    def refusal(self, node: Object) -> str | None:
        """Why a node will not do, in kube-scheduler's words; None if it will."""
        for constraint, counts in zip(self._constraints, self._counts, strict=True):
            value = labels(node).get(_key(constraint))
            if value is None:
                return MISSING_LABEL
            least = min(counts.values(), default=0)
            if len(counts) < int(constraint.get("minDomains") or 1):
                least = 0
            itself = _counted(self._pod, constraint, self._pod)
            if counts.get(value, 0) + itself - least > int(constraint.get("maxSkew") or 1):
                return CONSTRAINTS
        return None


def crowding(view: SchedulingView, nodes: Sequence[Object]) -> dict[str, float] | None:
    """By node, how full its domains are by the constraints that are only wished for; None without such.

    A node that lacks a label of one is not in it. More domains weigh more: log(domains + 2) for each pod.
    """
    wished = constraints(view.pod, "ScheduleAnyway")
    if not wished:
        return None
    inside = [node for node in nodes if all(_key(one) in labels(node) for one in wished)]
    keyed = [node for node in view.nodes if all(_key(one) in labels(node) for one in wished)]
    full = {name(node): 0.0 for node in inside}
    for constraint in wished:
        counts = _counts(view, constraint, keyed)
        weight = math.log(len({labels(node)[_key(constraint)] for node in inside}) + 2)
        for node in inside:
            full[name(node)] += counts.get(labels(node)[_key(constraint)], 0) * weight
            full[name(node)] += int(constraint.get("maxSkew") or 1) - 1
    return full


def constraints(pod: Object, action: str) -> list[Constraint]:
    """action: DoNotSchedule or ScheduleAnyway."""
    written = spec(pod).get("topologySpreadConstraints") or ()
    return [one for one in written if one.get("whenUnsatisfiable") == action]


def _counts(view: SchedulingView, constraint: Constraint, nodes: Sequence[Object]) -> Counter[str]:
    """Pods that count, by domain; a domain is known by the nodes that the pod could go to."""
    found: Counter[str] = Counter()
    for node in nodes:
        if _is_included(view.pod, constraint, node):
            there = sum(_counted(view.pod, constraint, one) for one in view.on(node))
            found[labels(node)[_key(constraint)]] += there
    return found


def _is_included(pod: Object, constraint: Constraint, node: Object) -> bool:
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not matches_node_selection(spec(pod), node):
        return False
    if constraint.get("nodeTaintsPolicy", "Ignore") == "Ignore":
        return True
    tolerations = spec(pod).get("tolerations") or ()
    return all(tolerates(tolerations, one) for one in taints_of(node) if one.get("effect") in BARRING)


def _counted(pod: Object, constraint: Constraint, other: Object) -> bool:
    """Whether `other` is one of those that are to be spread; one on its way out is not."""
    if namespace(other) != namespace(pod) or is_terminating(other):
        return False
    mine, having = labels(pod), labels(other)
    keys = [key for key in constraint.get("matchLabelKeys") or () if key in mine]
    return selects(constraint.get("labelSelector"), having) and all(having.get(key) == mine[key] for key in keys)


def _key(constraint: Constraint) -> str:
    return str(constraint.get("topologyKey") or "")
