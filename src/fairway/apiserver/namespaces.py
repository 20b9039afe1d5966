"""Namespaces on their way out: everything in them is deleted, then they go (the namespace controller's part,
`pkg/controller/namespace/deletion`). What keeps one is told in its conditions (`status_condition_utils.go`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from fairway.api.resources import NAMESPACES, PODS, RESOURCES, Resource
from fairway.api.types import Object
from fairway.apiserver.metadata import Surroundings, rfc3339
from fairway.apiserver.options import DeleteOptions, Propagation
from fairway.apiserver.registry import Registry, delete, update
from fairway.apiserver.revisions import Record

FINALIZER = "kubernetes"
"""In spec.finalizers of every namespace: what keeps it until it is empty."""

_OPTIONS = DeleteOptions(propagation=Propagation.BACKGROUND)
_CONTENT = "NamespaceContentRemaining"
_FINALIZERS = "NamespaceFinalizersRemaining"
_WELL = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (_CONTENT, "ContentRemoved", "All content successfully removed"),
    (_FINALIZERS, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
)
"""Type, reason and message of each condition where it is False. The first three can only be so here: kinds are a table,
and a deletion in one's own store does not fail."""


def empty_terminating(registry: Registry, around: Surroundings) -> None:
    """One step for every namespace that is terminating; to be repeated when anything has changed, it never harms."""
    for namespace in registry.revisions.latest_records(NAMESPACES):
        if namespace.obj["metadata"].get("deletionTimestamp") and FINALIZER in _finalizers(namespace.obj):
            _step(registry, namespace, around)


def _step(registry: Registry, namespace: Record, around: Surroundings) -> None:
    """Pods go first: while they end they still have their ConfigMaps, Secrets and Services (KEP-5080)."""
    name = namespace.key.name
    left = _emptied(registry, (PODS,), name, around) or _emptied(registry, _others(), name, around)
    told = _with_conditions(namespace.obj, _conditions(left), rfc3339(around.now))
    if told is not namespace.obj:
        namespace = update(registry, namespace, told, around, subresource="status")
    if not left:
        _finalize(registry, namespace, around)


def _emptied(registry: Registry, kinds: Sequence[Resource], namespace: str, around: Surroundings) -> list[Record]:
    """Delete what is there of these kinds; returns what waits for its kubelet or its finalizers."""
    for record in _contents(registry, kinds, namespace):
        if not record.obj["metadata"].get("deletionTimestamp"):
            delete(registry, record, _OPTIONS, around)
    return list(_contents(registry, kinds, namespace))


def _contents(registry: Registry, kinds: Sequence[Resource], namespace: str) -> Iterator[Record]:
    for resource in kinds:
        for record in registry.revisions.latest_records(resource, namespace):
            # Deleting a Service deletes its Endpoints too.
            if registry.revisions.latest(resource, record.key) is not None:
                yield record


def _others() -> tuple[Resource, ...]:
    return tuple(resource for resource in RESOURCES if resource.namespaced and resource is not PODS)


def _finalizers(namespace: Object) -> list[str]:
    return (namespace.get("spec") or {}).get("finalizers") or []


def _finalize(registry: Registry, namespace: Record, around: Surroundings) -> None:
    spec = {name: value for name, value in namespace.obj["spec"].items() if name != "finalizers"}
    left = [one for one in _finalizers(namespace.obj) if one != FINALIZER]
    if left:
        spec["finalizers"] = left
    update(registry, namespace, {**namespace.obj, "spec": spec}, around, subresource="finalize")


# What is told of it


def _conditions(left: Iterable[Record]) -> list[Object]:
    """The conditions of a namespace in which this is left, without their times."""
    kinds: Counter[str] = Counter()
    finalizers: Counter[str] = Counter()
    for record in left:
        # The real server writes the dot without a group, too: "pods. has 1 resource instances".
        kinds[f"{record.resource.plural}.{record.resource.group}"] += 1
        finalizers.update(record.obj["metadata"].get("finalizers") or ())
    problems: dict[str, tuple[str, str]] = {}
    if kinds:
        counted = ", ".join(f"{kind} has {count} resource instances" for kind, count in sorted(kinds.items()))
        problems[_CONTENT] = "SomeResourcesRemain", f"Some resources are remaining: {counted}"
    if finalizers:
        counted = ", ".join(f"{one} in {count} resource instances" for one, count in sorted(finalizers.items()))
        message = f"Some content in the namespace has finalizers remaining: {counted}"
        problems[_FINALIZERS] = "SomeFinalizersRemain", message
    found = []
    for kind, reason, message in _WELL:
        why = problems.get(kind, (reason, message))
        found.append({"type": kind, "status": str(kind in problems), "reason": why[0], "message": why[1]})
    return found


def _with_conditions(namespace: Object, wanted: Sequence[Object], now: str) -> Object:
    """The namespace itself where it says so already; the time of a condition that stays as it is stays, too."""
    status = namespace.get("status") or {}
    before = {one["type"]: one for one in status.get("conditions") or ()}
    conditions = []
    for one in wanted:
        had = before.pop(one["type"], {})
        is_same = {**had, "lastTransitionTime": None} == {**one, "lastTransitionTime": None}
        conditions.append(had if is_same else {**one, "lastTransitionTime": now})
    changed = {**namespace, "status": {**status, "conditions": [*before.values(), *conditions]}}
    return namespace if changed["status"] == status else changed
