"""Taints of nodes and tolerations of pods. Pure.

Rules: `core/v1/toleration.go` and `taint.go`; keys: `core/v1/well_known_taints.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairway.api.types import Object
from fairway.controllers.objects import condition, spec

Taint = Mapping[str, str]

NOT_READY = "node.kubernetes.io/not-ready"
"""The node's kubelet says that it is not Ready."""
UNREACHABLE = "node.kubernetes.io/unreachable"
"""The node's kubelet has said nothing for too long."""
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
"""The node is cordoned."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""A person says that a node that is not Ready will not come back as it was: its pods need no kubelet to be gone."""
NO_SCHEDULE = "NoSchedule"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
NO_EXECUTE = "NoExecute"
BARRING = (NO_SCHEDULE, NO_EXECUTE)
"""Effects that keep a new pod away; PreferNoSchedule does not."""


def taints_of(node: Object) -> list[Taint]:
    return list(spec(node).get("taints") or ())


def due_taint(node: Object, effect: str) -> Taint | None:
    """The taint that a node's Ready condition asks for: it is there, or will be as soon as somebody writes it."""
    ready = condition(node, "Ready")
    if ready is None or ready.get("status") == "False":
        return {"key": NOT_READY, "effect": effect}
    return {"key": UNREACHABLE, "effect": effect} if ready.get("status") != "True" else None


def tolerates(tolerations: Sequence[Mapping[str, str]], taint: Taint) -> bool:
    """Whether one toleration covers the taint."""
    return any(covers(one, taint) for one in tolerations)


def covers(toleration: Mapping[str, str], taint: Taint) -> bool:
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
