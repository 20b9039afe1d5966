"""Metadata no kind decides: names, uids, times, versions, deletion marks.

Rules: apiserver `registry/rest/{create,update,delete}.go`, apimachinery `api/validation/objectmeta.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fairway.api.resources import Resource
from fairway.api.status import ApiError, Cause
from fairway.api.types import Object

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
"""Finalizers that ask the garbage collector for its part before an object goes."""

_MAX_GENERATED_BASE = 58
"""Letters of generateName that are kept: 63 less the suffix (apiserver `storage/names/generate.go`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a decision takes from outside: the time (aware, UTC), fresh uids, fresh suffixes of five letters."""

    now: datetime
    new_uid: Callable[[], str]
    new_suffix: Callable[[], str]


def rfc3339(moment: datetime) -> str:
    """As metav1.Time is written: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def metadata_of(obj: Object) -> Object:
    """The metadata, {} where it is missing or no object."""
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def with_metadata(obj: Object, **changes: object) -> Object:
    """A copy with metadata fields set; None removes one."""
    metadata = {**metadata_of(obj), **changes}
    return {**obj, "metadata": {name: value for name, value in metadata.items() if value is not None}}


def conflict(resource: Resource, name: str, reason: str) -> ApiError:
    """409 Conflict in the words of apimachinery `NewConflict`."""
    details: Object = {"name": name, "group": resource.group, "kind": resource.plural}
    if not resource.group:
        del details["group"]
    message = f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {reason}'
    return ApiError(409, "Conflict", message, details=details)


def not_found(resource: Resource, name: str) -> ApiError:
    """404 NotFound."""
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    if not resource.group:
        del details["group"]
    return ApiError(404, "NotFound", f'{resource.group_resource} "{name}" not found', details=details)


def already_exists(resource: Resource, name: str) -> ApiError:
    """409 AlreadyExists."""
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    if not resource.group:
        del details["group"]
    return ApiError(409, "AlreadyExists", f'{resource.group_resource} "{name}" already exists', details=details)


def forbidden(resource: Resource, name: str, reason: str, *, causes: list[Object] | None = None) -> ApiError:
    """403 Forbidden."""
    details: Object = {"name": name, "group": resource.group, "kind": resource.plural}
    if not resource.group:
        del details["group"]
    if causes:
        details["causes"] = causes
    message = f'{resource.group_resource} "{name}" is forbidden: {reason}'
    return ApiError(403, "Forbidden", message, details=details)


def modified_elsewhere(resource: Resource, name: str) -> ApiError:
    """409 for a stale resourceVersion."""
    reason = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, reason)


def begin(obj: Object, namespace: str, around: Surroundings) -> Object:
    """A new object with its namespace, a name where one is to be generated, uid and creationTimestamp."""
    metadata = metadata_of(obj)
    name = metadata.get("name") or ""
    prefix = metadata.get("generateName") or ""
    if not name and prefix:
        name = prefix[:_MAX_GENERATED_BASE] + around.new_suffix()
    return with_metadata(
        obj,
        name=name or None,
        namespace=namespace or None,
        uid=around.new_uid(),
        creationTimestamp=rfc3339(around.now),
        deletionTimestamp=None,
        deletionGracePeriodSeconds=None,
        resourceVersion=None,
        managedFields=None,
        selfLink=None,
    )


def carry_over(new: Object, old: Object) -> Object:
    """A changed object with the metadata a client may leave out, or may not change, taken from the old one."""
    before, after = metadata_of(old), metadata_of(new)
    changes: dict[str, object] = {
        "name": after.get("name") or before["name"],
        "namespace": after.get("namespace") or before.get("namespace"),
        "uid": after.get("uid") or before["uid"],
        "creationTimestamp": before["creationTimestamp"],
        "deletionTimestamp": before.get("deletionTimestamp"),
        "deletionGracePeriodSeconds": before.get("deletionGracePeriodSeconds"),
        "resourceVersion": before["resourceVersion"],
        "managedFields": None,
        "selfLink": None,
    }
    return with_metadata(new, **changes)


def immutable_causes(new: Object, old: Object) -> list[Cause]:
    """What a client tried to change of name, namespace and uid, and finalizers added to an object on its way out."""
    before, after = metadata_of(old), metadata_of(new)
    causes = [
        Cause(
            reason="FieldValueInvalid",
            message=f'Invalid value: "{after[name]}": field is immutable',
            field=f"metadata.{name}",
        )
        for name in ("name", "namespace", "uid")
        if after.get(name) and after[name] != before.get(name)
    ]
    added = [one for one in after.get("finalizers") or () if one not in (before.get("finalizers") or ())]
    if before.get("deletionTimestamp") and added:
        found = " ".join(f'"{one}"' for one in added)
        message = (
            "Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{', '.join(found.split())}}}"
        )
        causes.append(Cause(reason="FieldValueForbidden", message=message, field="metadata.finalizers"))
    return causes


def mark_deleted(obj: Object, *, grace_period_s: int, now: datetime, graceful: bool) -> Object:
    """The object with its deletion mark. graceful: its kind has a grace period, which the mark adds to the time.

    A mark that is there keeps its time, or moves nearer with a shorter grace period.
    """
    metadata = metadata_of(obj)
    existing = metadata.get("deletionTimestamp")
    generation = metadata.get("generation")
    if existing is None:
        moment = now + timedelta(seconds=grace_period_s if graceful else 0)
        bumped = generation + 1 if generation else None
        return with_metadata(
            obj,
            generation=bumped,
            deletionTimestamp=rfc3339(moment),
            deletionGracePeriodSeconds=grace_period_s if graceful else 0,
        )
    shortened = (metadata.get("deletionGracePeriodSeconds") or 0) - grace_period_s
    moment = datetime.strptime(existing, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return with_metadata(
        obj,
        deletionTimestamp=rfc3339(moment - timedelta(seconds=shortened)),
        deletionGracePeriodSeconds=grace_period_s,
    )


def may_go(obj: Object) -> bool:
    """It is marked, nobody's finalizer holds it, and no grace period is left."""
    metadata = metadata_of(obj)
    return bool(
        metadata.get("deletionTimestamp")
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not (obj.get("kind") == "Namespace" and (obj.get("spec") or {}).get("finalizers"))
    )
