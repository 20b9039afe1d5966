"""Pods that no kubelet will ever end: those of a node that is gone, and of one given up. Pure.

Rules: `pkg/controller/podgc/gc_controller.go`. Pods that ended are kept, up to 12,500 there, without limit here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.api.resources import NODES, PODS
from fairway.api.types import Key, Object, key_of
from fairway.controllers.objects import is_terminating, is_true, uid
from fairway.controllers.pods import FAILED, disrupted, is_finished
from fairway.controllers.taints import OUT_OF_SERVICE, taints_of
from fairway.controllers.writes import Absent, Delete, Recheck, Update, Write

QUARANTINE = timedelta(seconds=40)
"""How long a node must have been gone before its pods are taken for orphans: it may be about to register again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodGarbageView:
    """The pods bound to a node, and the Node; None where there is no such object."""

    name: str
    node: Object | None
    pods: Sequence[Object]


def reconcile(view: PodGarbageView, since: datetime, now: datetime) -> list[Write]:
    """since: when the node was first missed."""
    if not view.pods:
        return []
    if view.node is not None:
        return list(_terminating(view.pods)) if is_given_up(view.node) else []
    if now < since + QUARANTINE:
        return [Recheck(after_s=(since + QUARANTINE - now) / timedelta(seconds=1))]
    return [Absent(resource=NODES, key=Key("", view.name)), *_orphans(view.pods, now)]


def _orphans(pods: Sequence[Object], now: datetime) -> Iterator[Write]:
    for pod in pods:
        if not is_finished(pod):
            # Nobody is left to say that it does not run: those who count replicas must not wait for it.
            body = disrupted(pod, "DeletionByPodGC", "PodGC: node no longer exists", now)
            yield _failed(body)
        yield _removal(pod)


def is_given_up(node: Object) -> bool:
    """Whether the node is not Ready and has the taint out-of-service (KEP-2268): pods told to end there are gone."""
    return not is_true(node, "Ready") and any(taint.get("key") == OUT_OF_SERVICE for taint in taints_of(node))


def _terminating(pods: Sequence[Object]) -> Iterator[Write]:
    for pod in pods:
        if is_terminating(pod):
            if not is_finished(pod):
                yield _failed(pod)
            yield _removal(pod)


def _failed(pod: Object) -> Update:
    body = {**pod, "status": {**(pod.get("status") or {}), "phase": FAILED}}
    return Update(resource=PODS, body=body, subresource="status")


def _removal(pod: Object) -> Delete:
    return Delete(resource=PODS, key=key_of(pod), uid=uid(pod), grace_s=0)
