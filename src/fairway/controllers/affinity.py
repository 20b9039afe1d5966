"""Which nodes a pod asks for: nodeSelector and required node affinity. Pure.

Rules: `component-helpers/scheduling/corev1/nodeaffinity`. Terms are alternatives; the requirements of one term must
all hold. Preferred terms, pod affinity and topology spread constraints have no say here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.api.types import Object
from fairway.controllers.objects import labels, matches_labels, meets, name


def matches_node_selection(pod_spec: Mapping[str, Any], node: Object) -> bool:
    """Whether the node has what the pod's `nodeSelector` and required `nodeAffinity` ask for."""
    if not matches_labels(pod_spec.get("nodeSelector") or {}, labels(node)):
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_holds(term, node) for term in required.get("nodeSelectorTerms") or ())


def _holds(term: Mapping[str, Any], node: Object) -> bool:
    """Whether a term matches; an empty one matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    having = {"metadata.name": name(node)}
    return all(meets(one, labels(node)) for one in expressions) and all(meets(one, having) for one in fields)
