"""Subresources that are no plain part of their object: scale, binding, finalize.

Facts: `pkg/registry/apps/{deployment,replicaset}/storage`, `pkg/registry/core/pod/storage`.
"""

from __future__ import annotations

from typing import Any

from fairway.api.resources import Resource
from fairway.api.status import ApiError, Cause
from fairway.api.types import Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.options import json_kind
from fairway.apiserver.registry import Registry, update
from fairway.apiserver.revisions import Record
from fairway.apiserver.strategy import invalid

SCALE = Resource(kind="Scale", plural="scales", group="autoscaling")
"""What the scale subresource of every kind speaks."""

_INT32 = range(-(2**31), 2**31)


# Scale


def scale_of(record: Record) -> Object:
    """The Scale of a Deployment or ReplicaSet."""
    obj = record.obj
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = spec.get("replicas")
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": status.get("replicas", 0), "selector": selector_text(spec.get("selector") or {})},
    }


def selector_text(selector: Object) -> str:
    """A label selector of a spec in the form of a query, sorted by key (apimachinery `labels.Selector.String`)."""
    terms = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], ",".join(sorted(one.get("values") or ()))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }.get(one.get("operator"), "")
        terms.append((key, text))
    return ",".join(text for _, text in sorted(terms))


def read_replicas(scale: Object, name: str) -> int:
    """spec.replicas of a Scale a client sent. Raises ApiError 400 for a wrong type, 422 below zero."""
    spec = scale.get("spec") or {}
    if not isinstance(spec, dict):
        raise _wrong_scale(spec, "Scale.spec", "v1.ScaleSpec")
    replicas = spec.get("replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise _wrong_scale(replicas, "ScaleSpec.spec.replicas", "int32")
    if replicas not in _INT32:
        raise _wrong_scale(replicas, "ScaleSpec.spec.replicas", "int32", shown=f"number {replicas}")
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(SCALE, name, [Cause(reason="FieldValueInvalid", message=message, field="spec.replicas")])
    return replicas


def scale(
    registry: Registry, old: Record, replicas: int, version: str, around: Surroundings, *, dry_run: bool
) -> Record:
    """Set spec.replicas. version: the Scale's resourceVersion, "" for any; another one raises ApiError 409."""
    changed = {**old.obj, "spec": {**old.obj["spec"], "replicas": replicas}}
    return update(registry, old, meta.with_metadata(changed, resourceVersion=version or None), around, dry_run=dry_run)


def _wrong_scale(value: Any, field: str, wanted: str, *, shown: str = "") -> ApiError:
    return ApiError(
        400,
        "BadRequest",
        'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal '
        f"{shown or json_kind(value)} into Go struct field {field} of type {wanted}",
    )


# Binding


def bind(registry: Registry, old: Record, binding: Object, around: Surroundings, *, dry_run: bool) -> Record:
    """Put a pod on the node a Binding names. Raises ApiError 409 where it has one, 422 where the target is no node."""
    target = binding.get("target") or {}
    causes = _target_causes(target if isinstance(target, dict) else {})
    name = old.key.name
    if causes:
        raise invalid(Resource(kind="Binding", plural="bindings"), name, causes)
    metadata, spec = old.obj["metadata"], old.obj["spec"]
    problem = ""
    if metadata.get("deletionTimestamp"):
        problem = f"pod {name} is being deleted, cannot be assigned to a host"
    elif spec.get("nodeName"):
        problem = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    if problem:
        raise meta.conflict(Resource(kind="Pod", plural="pods/binding"), name, problem)
    annotations = {**(metadata.get("annotations") or {}), **(meta.metadata_of(binding).get("annotations") or {})}
    bound = {
        **meta.with_metadata(old.obj, annotations=annotations or None),
        "spec": {**spec, "nodeName": target["name"]},
        "status": _scheduled(old.obj.get("status") or {}, around),
    }
    return update(registry, old, bound, around, subresource="binding", dry_run=dry_run)


def _target_causes(target: Object) -> list[Cause]:
    causes = []
    if target.get("kind") not in (None, "", "Node"):
        message = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        causes.append(Cause(reason="FieldValueNotSupported", message=message, field="target.kind"))
    if not target.get("name"):
        causes.append(Cause(reason="FieldValueRequired", message="Required value", field="target.name"))
    return causes


def _scheduled(status: Object, around: Surroundings) -> Object:
    condition = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": meta.rfc3339(around.now),
    }
    others = [one for one in status.get("conditions") or () if one.get("type") != "PodScheduled"]
    return {**status, "conditions": [*others, condition]}
