"""Which nodes a pod asks for and which it would rather have: nodeSelector and node affinity. Pure.

Rules: `component-helpers/scheduling/corev1/nodeaffinity`. Terms are alternatives; the requirements of one term must
all hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairway.api.types import Object
from fairway.controllers.objects import labels, matches_labels, meets, name

_NAME = "metadata.name"
"""The only field of a node that matchFields knows."""


def matches_node_selection(pod_spec: Mapping[str, Any], node: Object) -> bool:
    """Whether the node has what the pod's `nodeSelector` and required `nodeAffinity` ask for."""
    if not matches_labels(pod_spec.get("nodeSelector") or {}, labels(node)):
        return False
    terms = _required_terms(pod_spec)
    return terms is None or any(_holds(term, node) for term in terms)


def names_asked_for(pod_spec: Mapping[str, Any]) -> frozenset[str] | None:
    """The only nodes that required affinity can mean, by their names; None where it is not about names.

    The pod of a DaemonSet asks so for its one node (`plugins/nodeaffinity`, PreFilter).
    """
    terms = _required_terms(pod_spec)
    if not terms:
        return None
    allowed: set[str] = set()
    for term in terms:
        named = [
            frozenset(one.get("values") or ())
            for one in term.get("matchFields") or ()
            if one.get("key") == _NAME and one.get("operator") == "In"
        ]
        if not named:
            return None
        allowed |= frozenset.intersection(*named)
    return frozenset(allowed)


def preference(pod_spec: Mapping[str, Any], node: Object) -> int:
    """The weights of the preferred terms that the node meets, summed; an empty term counts for no node."""
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(int(one.get("weight") or 0) for one in preferred if _holds(one.get("preference") or {}, node))


def _required_terms(pod_spec: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else required.get("nodeSelectorTerms") or ()


def _holds(term: Mapping[str, Any], node: Object) -> bool:
    """Whether a term matches; an empty one matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    having = {_NAME: name(node)}
    return all(meets(one, labels(node)) for one in expressions) and all(meets(one, having) for one in fields)
