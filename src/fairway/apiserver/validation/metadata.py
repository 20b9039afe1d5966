"""ObjectMeta: what a client may write there (apimachinery `api/validation/objectmeta.go`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fairway.api.resources import Resource
from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import all_invalid, forbidden, immutable, invalid_value, required, too_long

NameRule = Callable[..., list[str]]
"""Of a name (and `prefix=True` for a generateName): what is wrong with it."""

_ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of all keys and values together (`TotalAnnotationSizeLimitB`)."""


def validate_metadata(metadata: Mapping[str, Any], resource: Resource, name_rule: NameRule) -> list[Cause]:
    """Of a new object."""
    causes: list[Cause] = []
    prefix = metadata.get("generateName")
    if prefix:
        causes += all_invalid("metadata.generateName", prefix, name_rule(prefix, prefix=True))
    name = metadata.get("name")
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    else:
        causes += all_invalid("metadata.name", name, name_rule(name))
    namespace = metadata.get("namespace")
    if not resource.namespaced:
        if namespace:
            causes.append(forbidden("metadata.namespace", "not allowed on this type"))
    elif not namespace:
        causes.append(required("metadata.namespace"))
    else:
        causes += all_invalid("metadata.namespace", namespace, names.dns_label(namespace))
    return causes + _parts(metadata)


def validate_metadata_update(metadata: Mapping[str, Any], old: Mapping[str, Any]) -> list[Cause]:
    """Of a change; the name and the namespace are the URL's and equal already."""
    causes: list[Cause] = []
    for field in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        causes += immutable(f"metadata.{field}", metadata.get(field), old.get(field))
    return causes + _parts(metadata)


def _parts(metadata: Mapping[str, Any]) -> list[Cause]:
    causes = names.labels("metadata.labels", metadata.get("labels") or {})
    causes += _annotations(metadata.get("annotations") or {})
    causes += _owner_references(metadata.get("ownerReferences") or [])
    for index, finalizer in enumerate(metadata.get("finalizers") or []):
        causes += all_invalid(f"metadata.finalizers[{index}]", finalizer, names.qualified_name(finalizer))
    return causes


def _annotations(annotations: Mapping[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    for key in annotations:
        causes += all_invalid("metadata.annotations", key, names.qualified_name(key.lower()))
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        causes.append(too_long("metadata.annotations", _ANNOTATIONS_LIMIT))
    return causes


def _owner_references(owners: list[Object]) -> list[Cause]:
    causes: list[Cause] = []
    controllers: list[str] = []
    for index, owner in enumerate(owners):
        path = f"metadata.ownerReferences[{index}]"
        if not owner.get("apiVersion"):
            causes.append(invalid_value(f"{path}.apiVersion", "", "version must not be empty"))
        causes += [
            invalid_value(f"{path}.{field}", "", "must not be empty")
            for field in ("kind", "name", "uid")
            if not owner.get(field)
        ]
        if owner.get("controller"):
            controllers.append(f"{owner.get('kind', '')}/{owner.get('name', '')}")
    if len(controllers) > 1:
        detail = (
            "Only one reference can have Controller set to true. "
            f'Found "true" in references for {controllers[0]} and {controllers[1]}'
        )
        causes.append(invalid_value("metadata.ownerReferences", owners, detail))
    return causes
