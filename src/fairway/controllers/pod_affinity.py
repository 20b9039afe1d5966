"""Pods that want to be near others, or away from them. Pure (`plugins/interpodaffinity/filtering.go`, `scoring.go`).

Near means in one domain: on nodes that have the same value of the term's `topologyKey`. Required anti-affinity binds
both sides: a pod that is there already keeps others away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fairway.api.types import Object
from fairway.controllers.objects import labels, namespace, selects, spec
from fairway.controllers.scheduling import Domain, SchedulingView

AFFINITY_RULES = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY_RULES = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"

HARD_POD_AFFINITY_WEIGHT = 1
"""What the required affinity of a pod that is there counts for one it asks for (InterPodAffinityArgs)."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

Term = Mapping[str, Any]


class PodAffinity:
    """What the affinity of a pod, and of those that are placed, says of each node."""

    def __init__(self, view: SchedulingView) -> None:
        self._view = view
        self._near = required(view.pod, "podAffinity")
        self._away = required(view.pod, "podAntiAffinity")
        self._attracting: Counter[Domain] = Counter()
        self._repelling: Counter[Domain] = Counter()
        self._guarded: set[Domain] = set()
        for node, pod in view.placed():
            self._note(node, pod)

    def _note(self, node: Object, placed: Object) -> None:
        view = self._view
        if self._near and all(self._matches(view.pod, term, placed) for term in self._near):
            self._attracting.update(found for term in self._near if (found := domain(node, term)))
        self._repelling.update(
            found for term in self._away if self._matches(view.pod, term, placed) and (found := domain(node, term))
        )
        self._guarded |= {
            found
            for term in required(placed, "podAntiAffinity")
            if self._matches(placed, term, view.pod) and (found := domain(node, term))
        }

    def refusal(self, node: Object) -> str | None:
        """Why a node will not do, in kube-scheduler's words and order; None if it will."""
        if not self._is_near(node):
            return AFFINITY_RULES
        if any((found := domain(node, term)) and self._repelling[found] for term in self._away):
            return ANTI_AFFINITY_RULES
        if any(labels(node).get(one.key) == one.value for one in self._guarded):
            return EXISTING_ANTI_AFFINITY
        return None

    def _is_near(self, node: Object) -> bool:
        domains = [domain(node, term) for term in self._near]
        if None in domains:
            return False
        if all(self._attracting[found] for found in domains if found):
            return True
        # The first pod of a group that wants to be together has nobody to be near yet.
        pod = self._view.pod
        return not self._attracting and all(self._matches(pod, term, pod) for term in self._near)

    def _matches(self, asking: Object, term: Term, other: Object) -> bool:
        return matches(asking, term, other, self._view.namespaces)


def affinity_score(view: SchedulingView) -> Counter[Domain]:
    """Weights that draw the pod to domains, or keep it away where negative: its own and those of the pods there."""
    drawn: Counter[Domain] = Counter()
    mine = _weighted(view.pod)
    for node, placed in view.placed():
        theirs = [*_weighted(placed), *((HARD_POD_AFFINITY_WEIGHT, one) for one in required(placed, "podAffinity"))]
        for asking, weighted, other in ((view.pod, mine, placed), (placed, theirs, view.pod)):
            for weight, term in weighted:
                found = domain(node, term)
                if found and matches(asking, term, other, view.namespaces):
                    drawn[found] += weight
    return drawn


def required(pod: Object, kind: str) -> Sequence[Term]:
    """kind: podAffinity or podAntiAffinity."""
    return _affinity(pod, kind).get(_REQUIRED) or ()


def domain(node: Object, term: Term) -> Domain | None:
    """Where the node is by the term's `topologyKey`; None where it has no such label."""
    key = str(term.get("topologyKey") or "")
    return Domain(key, labels(node)[key]) if key in labels(node) else None


def matches(asking: Object, term: Term, other: Object, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether the term of `asking` means the pod `other`: by namespace and labels; no selector means none."""
    if not _means_namespace(asking, term, namespace(other), namespaces):
        return False
    mine, having = labels(asking), labels(other)
    return (
        selects(term.get("labelSelector"), having)
        and all(having.get(key) == mine[key] for key in term.get("matchLabelKeys") or () if key in mine)
        and all(having.get(key) != mine[key] for key in term.get("mismatchLabelKeys") or () if key in mine)
    )


def _means_namespace(asking: Object, term: Term, where: str, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    """Those it lists and those it selects; its own where it does neither."""
    listed, selector = term.get("namespaces") or (), term.get("namespaceSelector")
    if not listed and selector is None:
        return where == namespace(asking)
    return where in listed or selects(selector, namespaces.get(where, {}))


def _weighted(pod: Object) -> list[tuple[int, Term]]:
    """Preferred terms with their weights, those of anti-affinity negative."""
    return [
        (sign * int(one.get("weight") or 0), one.get("podAffinityTerm") or {})
        for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1))
        for one in _affinity(pod, kind).get(_PREFERRED) or ()
    ]


def _affinity(pod: Object, kind: str) -> Mapping[str, Any]:
    return (spec(pod).get("affinity") or {}).get(kind) or {}
