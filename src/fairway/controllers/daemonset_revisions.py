"""The ControllerRevisions of a DaemonSet as its history: which is of its template, and which may go. Pure.

Rules: `pkg/controller/daemon/update.go` (constructHistory, cleanupHistory). A rollback is a template that an old
revision has: that one gets the newest number, and with it its pods' old label.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, PODS
from fairway.api.types import Object, key_of
from fairway.controllers.names import template_hash
from fairway.controllers.objects import (
    annotations_of,
    changed,
    controller_reference,
    labels,
    name,
    namespace,
    spec,
    status,
    uid,
)
from fairway.controllers.writes import Create, Delete, EventType, Record, Update, Write

REVISION = "controller-revision-hash"
"""Label of a pod and of a ControllerRevision: the hash of the template."""
DEFAULT_HISTORY_LIMIT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """digest: the label of pods of the template as it is now. old: revisions of other templates.

    writes: what makes the history right; with any of these, look again after them.
    """

    digest: str
    old: tuple[Object, ...]
    writes: tuple[Write, ...]


def judge(
    daemon_set: Object, revisions: Sequence[Object], pods: Sequence[Object], strangers: Collection[str]
) -> History:
    """revisions, pods: those the DaemonSet owns. strangers: names that revisions of others have in its namespace."""
    wanted = template_patch(daemon_set)
    current = sorted((one for one in revisions if one.get("data") == wanted), key=number)
    old = tuple(one for one in revisions if one.get("data") != wanted)
    due = max(map(number, old), default=0) + 1
    if not current:
        return History(digest="", old=old, writes=(_make(daemon_set, wanted, due, strangers),))
    *doubles, kept = current
    digest = _digest(kept)
    writes = [write for double in doubles for write in _merge(double, digest, pods)]
    if number(kept) < due or REVISION not in labels(kept):
        writes.append(_as(kept, max(number(kept), due), digest))
    return History(digest=digest, old=old, writes=tuple(writes))


def template_patch(daemon_set: Object) -> Object:
    """What a revision keeps: the strategic merge patch that brings the template back, its keys sorted as Go's are.

    kubectl compares it with its own form of the template: in that of 1.33 the metadata's creationTimestamp is null.
    """
    template = changed(spec(daemon_set).get("template") or {})
    template["metadata"] = {"creationTimestamp": None, **(template.get("metadata") or {})}
    patch: Object = _sorted({"spec": {"template": {"$patch": "replace", **template}}})
    return patch


def number(revision: Object) -> int:
    return int(revision.get("revision") or 0)


def surplus(daemon_set: Object, old: Iterable[Object], pods: Iterable[Object]) -> list[Write]:
    """Deletes of old revisions beyond `revisionHistoryLimit` that no pod is of, the oldest first."""
    limit = spec(daemon_set).get("revisionHistoryLimit")
    by_age = sorted(old, key=number)
    excess = len(by_age) - (DEFAULT_HISTORY_LIMIT if limit is None else int(limit))
    live = {labels(pod).get(REVISION) for pod in pods}
    idle = [one for one in by_age if _digest(one) not in live]
    return [_delete(one) for one in idle[: max(0, excess)]]


def _make(daemon_set: Object, data: Object, due: int, strangers: Collection[str]) -> Write:
    """A revision named after its hash; where a stranger has that name, the collision counted: the next is another."""
    collisions = int(status(daemon_set).get("collisionCount") or 0)
    digest = template_hash(spec(daemon_set).get("template") or {}, collisions)
    called = f"{name(daemon_set)}-{digest}"
    if called in strangers:
        body = changed(daemon_set)
        body["status"] = {**status(daemon_set), "collisionCount": collisions + 1}
        return Update(resource=DAEMON_SETS, body=body, subresource="status")
    of_template = ((spec(daemon_set).get("template") or {}).get("metadata") or {}).get("labels") or {}
    metadata: Object = {
        "name": called,
        "namespace": namespace(daemon_set),
        "labels": {**of_template, REVISION: digest},
        "ownerReferences": [controller_reference(daemon_set, DAEMON_SETS)],
    }
    if annotations_of(daemon_set):
        metadata["annotations"] = dict(annotations_of(daemon_set))
    body = {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": metadata,
        "data": data,
        "revision": due,
    }
    failed = Record(regarding=daemon_set, type=EventType.WARNING, reason="FailedCreate", message="Error creating: ")
    return Create(resource=CONTROLLER_REVISIONS, body=body, failed=failed)


def _merge(double: Object, digest: str, pods: Iterable[Object]) -> list[Write]:
    """One of two revisions of a template goes, and its pods become those of the other (dedupCurHistories)."""
    relabelled: list[Write] = []
    for pod in pods:
        if labels(pod).get(REVISION) == _digest(double):
            body = changed(pod)
            body["metadata"]["labels"][REVISION] = digest
            relabelled.append(Update(resource=PODS, body=body))
    return [*relabelled, _delete(double)]


def _as(revision: Object, due: int, digest: str) -> Update:
    body = changed(revision)
    body["metadata"]["labels"] = {**labels(revision), REVISION: digest}
    body["revision"] = due
    return Update(resource=CONTROLLER_REVISIONS, body=body)


def _digest(revision: Object) -> str:
    """Its label; of one that was made without, its name."""
    return labels(revision).get(REVISION) or name(revision)


def _delete(revision: Object) -> Delete:
    return Delete(resource=CONTROLLER_REVISIONS, key=key_of(revision), uid=uid(revision))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value
