"""The ReplicaSets of a Deployment as its history: which template, which revision, which may go. Pure.

Rules: `pkg/controller/deployment/{sync.go,util/deployment_util.go}`. A rollback is a template that an old ReplicaSet
has: it becomes the newest revision, and remembers its former ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fairway.api.resources import DEPLOYMENTS, REPLICA_SETS
from fairway.api.types import Object
from fairway.controllers.deployment_rolling import DESIRED_REPLICAS, MAX_REPLICAS, Strategy
from fairway.controllers.names import template_hash
from fairway.controllers.objects import (
    annotations_of,
    changed,
    controller_reference,
    meta,
    name,
    namespace,
    spec,
    status,
)
from fairway.controllers.replicaset import replicas

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
"""Annotation of a ReplicaSet: its former revisions, with commas between."""
TEMPLATE_HASH = "pod-template-hash"
DEFAULT_HISTORY_LIMIT = 10
_MAX_HISTORY_CHARACTERS = 2000
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    }
)
"""Annotations that describe one object only (`deployment_util.go`, annotationsToSkip)."""


def revision(replica_set: Object) -> int:
    """The revision a ReplicaSet is, 0 where it says none."""
    text = annotations_of(replica_set).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def next_revision(old: Iterable[Object]) -> int:
    """One more than the newest old one."""
    return max((revision(one) for one in old), default=0) + 1


def same_template(deployment: Object, replica_set: Object) -> bool:
    """Whether the ReplicaSet was made from the Deployment's template as it is now."""
    return _bare(spec(deployment).get("template")) == _bare(spec(replica_set).get("template"))


def make_replica_set(deployment: Object, size: int, strategy: Strategy, number: int) -> Object:
    """The new ReplicaSet: named after the template's hash, which is also a label of it, its selector and its pods."""
    template = changed(spec(deployment).get("template") or {})
    collisions = int(status(deployment).get("collisionCount") or 0)
    digest = template_hash(_bare(template), collisions)
    template.setdefault("metadata", {}).setdefault("labels", {})[TEMPLATE_HASH] = digest
    selector = changed(spec(deployment)["selector"])
    selector.setdefault("matchLabels", {})[TEMPLATE_HASH] = digest
    body: Object = {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "name": f"{name(deployment)}-{digest}",
            "namespace": namespace(deployment),
            "labels": dict(template["metadata"]["labels"]),
            "ownerReferences": [controller_reference(deployment, DEPLOYMENTS)],
        },
        "spec": {"replicas": size, "selector": selector, "template": template},
    }
    return with_sizes(with_revision(body, deployment, number), strategy)


def with_sizes(replica_set: Object, strategy: Strategy) -> Object:
    """A copy that notes the sizes it belongs to, by which the next scaling sees what changed."""
    body = changed(replica_set)
    sizes = {DESIRED_REPLICAS: str(strategy.replicas), MAX_REPLICAS: str(strategy.most)}
    body["metadata"]["annotations"] = {**annotations_of(replica_set), **sizes}
    return body


def with_revision(replica_set: Object, deployment: Object, number: int) -> Object:
    """A copy of the new ReplicaSet with what it takes over from its Deployment (`getNewReplicaSet`).

    That is the Deployment's own annotations, its minReadySeconds, and the revision, where it is not that one already.
    """
    body = changed(replica_set)
    notes: dict[str, str] = {
        **annotations_of(replica_set),
        **{key: value for key, value in annotations_of(deployment).items() if key not in _NOT_COPIED},
    }
    before = annotations_of(replica_set).get(REVISION, "")
    if number > revision(replica_set):
        notes[REVISION] = str(number)
        if before:
            notes[REVISION_HISTORY] = _remembered(notes.get(REVISION_HISTORY, ""), before)
    body["metadata"]["annotations"] = notes
    if spec(deployment).get("minReadySeconds"):
        body["spec"]["minReadySeconds"] = spec(deployment)["minReadySeconds"]
    else:
        body["spec"].pop("minReadySeconds", None)
    return body


def history(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old ReplicaSets beyond `revisionHistoryLimit` that are idle, oldest revision first."""
    limit = spec(deployment).get("revisionHistoryLimit")
    excess = len(old) - (DEFAULT_HISTORY_LIMIT if limit is None else int(limit))
    return [one for one in sorted(old, key=revision)[: max(0, excess)] if _is_idle(one)]


def _is_idle(replica_set: Object) -> bool:
    observed = int(status(replica_set).get("observedGeneration") or 0)
    return (
        replicas(replica_set) == 0
        and not status(replica_set).get("replicas")
        and meta(replica_set).get("generation", 0) <= observed
    )


def _remembered(before: str, number: str) -> str:
    numbers = [one for one in before.split(",") if one] + [number]
    while len(",".join(numbers)) > _MAX_HISTORY_CHARACTERS:
        numbers.pop(0)
    return ",".join(numbers)


def _bare(template: Any) -> Object:
    """A template without what only tells ReplicaSets apart or says nothing."""
    bare = changed(template or {})
    metadata = {key: value for key, value in (bare.get("metadata") or {}).items() if value}
    if "labels" in metadata:
        metadata["labels"] = {key: value for key, value in metadata["labels"].items() if key != TEMPLATE_HASH}
    return {**bare, "metadata": metadata}
