"""Namespaces on their way out: everything in them is deleted, then they go (the namespace controller's part,
`pkg/controller/namespace/deletion`)."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.api.resources import NAMESPACES, RESOURCES, Resource
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.options import DeleteOptions, Propagation
from fairway.apiserver.registry import Registry, delete, update
from fairway.apiserver.revisions import Record

FINALIZER = "kubernetes"
"""In spec.finalizers of every namespace: what keeps it until it is empty."""

_OPTIONS = DeleteOptions(propagation=Propagation.BACKGROUND)


def empty_terminating(registry: Registry, around: Surroundings) -> None:
    """One step for every namespace that is terminating; to be repeated when anything has changed, it never harms."""
    for namespace in registry.revisions.latest_records(NAMESPACES):
        if namespace.obj["metadata"].get("deletionTimestamp"):
            _step(registry, namespace, around)


def _step(registry: Registry, namespace: Record, around: Surroundings) -> None:
    for record in _contents(registry, namespace.key.name):
        # What is marked already waits for its kubelet or its finalizers.
        if not record.obj["metadata"].get("deletionTimestamp"):
            delete(registry, record, _OPTIONS, around)
    if next(_contents(registry, namespace.key.name), None) is None:
        _finalize(registry, namespace)


def _contents(registry: Registry, namespace: str) -> Iterator[Record]:
    for resource in _namespaced():
        for record in registry.revisions.latest_records(resource, namespace):
            # Deleting a Service deletes its Endpoints too.
            if registry.revisions.latest(resource, record.key) is not None:
                yield record


def _namespaced() -> tuple[Resource, ...]:
    return tuple(resource for resource in RESOURCES if resource.namespaced)


def _finalize(registry: Registry, namespace: Record) -> None:
    spec = namespace.obj.get("spec") or {}
    finalizers = spec.get("finalizers") or []
    if FINALIZER not in finalizers:
        return
    left = [one for one in finalizers if one != FINALIZER]
    changed = {name: value for name, value in spec.items() if name != "finalizers"}
    if left:
        changed["finalizers"] = left
    update(registry, namespace, {**namespace.obj, "spec": changed}, subresource="finalize")
