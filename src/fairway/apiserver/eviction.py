"""The eviction subresource of pods: what `kubectl drain` asks for. A pod so deleted says why in a condition.

Order and messages: `pkg/registry/core/pod/storage/eviction.go`. No PodDisruptionBudgets are served that could object.
"""

from __future__ import annotations

from dataclasses import replace

from fairway.api.resources import Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.bodies import check_kind, judge, load
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.options import DeleteOptions, WriteOptions, delete_options
from fairway.apiserver.registry import Registry, check_preconditions, delete, update
from fairway.apiserver.request import Request
from fairway.apiserver.revisions import Record
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.decode import WrongTypeError, decode
from fairway.apiserver.strategy import DecodeError

EVICTION = Resource(kind="Eviction", plural="evictions", group="policy")


def read_eviction(request: Request, name: str, options: WriteOptions) -> tuple[DeleteOptions, tuple[str, ...]]:
    """How the pod `name` is to be deleted, from the body, and warnings about unknown fields.

    Raises ApiError 400 for a body that is no Eviction or one of another pod, 422 for options that cannot be.
    """
    body, duplicates = load(request.body, request.content_type, EVICTION.kind)
    check_kind(body, EVICTION)
    try:
        eviction, unknown = decode(SCHEMA, EVICTION.kind, body)
    except WrongTypeError as error:
        raise DecodeError(EVICTION, str(error)) from None
    warnings = judge([*duplicates, *unknown], options.field_validation, EVICTION)
    if meta.metadata_of(eviction).get("name", "") != name:
        raise ApiError(400, "BadRequest", "name in URL does not match name in Eviction object")
    wanted = delete_options(request, eviction.get("deleteOptions") or {})
    return replace(wanted, dry_run=wanted.dry_run or options.dry_run), warnings


def evict(registry: Registry, old: Record, options: DeleteOptions, around: Surroundings) -> None:
    """Say in the pod's status that it is evicted, and delete it gracefully. Raises ApiError 409 for a precondition."""
    check_preconditions(old, options)
    if options.dry_run:
        delete(registry, old, options, around)
        return
    told = update(registry, old, _with_condition(old.obj, around), around, subresource="status")
    # It held for the pod as it was; what we have just written is another version.
    delete(registry, told, replace(options, resource_version=None), around)


def _with_condition(pod: Object, around: Surroundings) -> Object:
    conditions = (pod.get("status") or {}).get("conditions") or []
    before: Object = next((one for one in conditions if one.get("type") == "DisruptionTarget"), {})
    since = before.get("lastTransitionTime") if before.get("status") == "True" else None
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": since or meta.rfc3339(around.now),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    others = [one for one in conditions if one.get("type") != "DisruptionTarget"]
    return {**pod, "status": {**(pod.get("status") or {}), "conditions": [*others, condition]}}
