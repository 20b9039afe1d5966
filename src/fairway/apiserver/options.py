"""What a request's query (and a DELETE's body) asks for: ListOptions, CreateOptions, DeleteOptions and so on.

Rules and messages: apimachinery `meta/v1/validation` and `meta/internalversion/validation`, and conversion of query
parameters (`runtime/conversion.go`, `meta/v1/conversion.go`).
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.api.status import ApiError, Cause, causes_of
from fairway.api.types import Object
from fairway.apiserver.request import Request

_INT64_MAX = 2**63 - 1
_FORBIDDEN = "FieldValueForbidden"
_INVALID = "FieldValueInvalid"
_UNSUPPORTED = "FieldValueNotSupported"
_REQUIRED = "FieldValueRequired"
_EXACT = "Exact"
_NOT_OLDER_THAN = "NotOlderThan"


class FieldValidation(enum.Enum):
    """What becomes of fields the server does not know, and of those given twice."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"


class Propagation(enum.Enum):
    """What becomes of the objects an object owns."""

    FOREGROUND = "Foreground"
    BACKGROUND = "Background"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Of a list, a watch or the deletion of a collection.

    resource_version: None where the query has none. exact: the state at that very revision.
    limit: 0 for no limit. send_initial_events: None where the query does not say.
    """

    label_selector: str = ""
    field_selector: str = ""
    resource_version: int | None = None
    exact: bool = False
    limit: int = 0
    continue_token: str = ""
    watch: bool = False
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """Of a create, update or patch."""

    dry_run: bool
    field_validation: FieldValidation


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """Of a deletion; None where nothing was asked for. uid, resource_version: preconditions."""

    grace_period_s: int | None = None
    propagation: Propagation | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False
    orphan_dependents: bool | None = None


def list_options(request: Request) -> ListOptions:
    """Raises ApiError 400 for malformed values, 422 for those that do not go together."""
    watch = _bool(request, "watch") or False
    token, match = request.first("continue"), request.first("resourceVersionMatch")
    text = request.first("resourceVersion")
    initial = _bool(request, "sendInitialEvents")
    limit = _integer(request, "limit") or 0
    timeout_s = _integer(request, "timeoutSeconds")
    check = _watch_causes if watch else _list_causes
    _raise_invalid("ListOptions", check(match, text, token, initial))
    version = _resource_version(text)
    if token and text and text != "0":
        raise ApiError(400, "BadRequest", "specifying resource version is not allowed when using continue")
    return ListOptions(
        label_selector=request.first("labelSelector"),
        field_selector=request.first("fieldSelector"),
        resource_version=version,
        exact=match == _EXACT or (not match and bool(version) and limit > 0 and not watch),
        limit=max(limit, 0),
        continue_token=token,
        watch=watch,
        allow_bookmarks=_bool(request, "allowWatchBookmarks") or False,
        send_initial_events=initial,
        timeout_s=timeout_s,
    )


def get_resource_version(request: Request) -> int | None:
    """The resourceVersion a GET of one object wants at least."""
    return _resource_version(request.first("resourceVersion"))


def write_options(request: Request, kind: str) -> WriteOptions:
    """kind: CreateOptions, UpdateOptions or PatchOptions, for the messages. Raises ApiError 422."""
    causes = _dry_run_causes(request.query.get("dryRun", ()))
    text = request.first("fieldValidation")
    known = [one.value for one in FieldValidation]
    if text and text not in known:
        causes.append(_not_supported("fieldValidation", f'"{text}"', ["", "Ignore", "Strict", "Warn"]))
    manager = request.first("fieldManager")
    if len(manager.encode()) > 128:
        message = f'Invalid value: "{manager}": may not be more than 128 bytes'
        causes.append(Cause(reason="FieldValueTooLong", message=message, field="fieldManager"))
    if request.query.get("force") and kind == "PatchOptions":
        message = "Forbidden: may not be specified for non-apply patch"
        causes.append(Cause(reason=_FORBIDDEN, message=message, field="force"))
    _raise_invalid(kind, causes)
    # Without a word about it the server warns (KEP-2885).
    return WriteOptions(
        dry_run=_is_dry_run(request.query.get("dryRun", ())), field_validation=FieldValidation(text or "Warn")
    )


def delete_options(request: Request, body: Object | None) -> DeleteOptions:
    """From the body where there is one, else from the query. Raises ApiError 400 or 422."""
    wanted = body if body is not None else _delete_query(request)
    conditions = wanted.get("preconditions") or {}
    dry_run = wanted.get("dryRun") or ()
    orphan, propagation = wanted.get("orphanDependents"), wanted.get("propagationPolicy")
    causes: list[Cause] = []
    if orphan is not None and propagation is not None:
        message = f'Invalid value: "{propagation}": orphanDependents and deletionPropagation cannot be both set'
        causes.append(Cause(reason=_INVALID, message=message, field="propagationPolicy"))
    known = [one.value for one in Propagation]
    if propagation is not None and propagation not in known:
        causes.append(_not_supported("propagationPolicy", f'"{propagation}"', [*known, "nil"]))
    causes += _dry_run_causes(dry_run)
    _raise_invalid("DeleteOptions", causes)
    if orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    return DeleteOptions(
        grace_period_s=wanted.get("gracePeriodSeconds"),
        propagation=Propagation(propagation) if propagation is not None else None,
        uid=conditions.get("uid"),
        resource_version=conditions.get("resourceVersion"),
        dry_run=_is_dry_run(dry_run),
        orphan_dependents=orphan,
    )


_DELETE_TYPES: dict[str, tuple[type, str]] = {
    "gracePeriodSeconds": (int, "int64"),
    "propagationPolicy": (str, "v1.DeletionPropagation"),
    "orphanDependents": (bool, "bool"),
    "preconditions": (dict, "v1.Preconditions"),
    "dryRun": (list, "[]string"),
}


def check_delete_body(body: Any) -> Object:
    """A DELETE's body with its types checked. Raises ApiError 400."""
    if not isinstance(body, dict):
        raise ApiError(400, "BadRequest", "the body of a DELETE must be DeleteOptions, a JSON object")
    for name, (kind, go_type) in _DELETE_TYPES.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise ApiError(
                400,
                "BadRequest",
                f'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: json: cannot unmarshal '
                f"{json_kind(value)} into Go struct field DeleteOptions.{name} of type {go_type}",
            )
    return body


def json_kind(value: Any) -> str:
    """What encoding/json calls a value."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
    return "number"


def _delete_query(request: Request) -> Object:
    query: Object = {
        "gracePeriodSeconds": _integer(request, "gracePeriodSeconds"),
        "propagationPolicy": request.first("propagationPolicy") or None,
        "orphanDependents": _bool(request, "orphanDependents"),
        "dryRun": list(request.query.get("dryRun", ())),
    }
    return query


def _list_causes(match: str, version: str, token: str, initial: bool | None) -> list[Cause]:
    causes: list[Cause] = []
    if match:
        add = _adder(causes, "resourceVersionMatch")
        if not version:
            add("resourceVersionMatch is forbidden unless resourceVersion is provided")
        if token:
            add("resourceVersionMatch is forbidden when continue is provided")
        if match not in (_EXACT, _NOT_OLDER_THAN):
            known = [_EXACT, _NOT_OLDER_THAN, ""]
            causes.append(_not_supported("resourceVersionMatch", f'"{match}"', known))
        if match == _EXACT and version == "0":
            add('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    if initial is not None:
        _adder(causes, "sendInitialEvents")("sendInitialEvents is forbidden for list")
    return causes


def _watch_causes(match: str, _version: str, token: str, initial: bool | None) -> list[Cause]:
    causes: list[Cause] = []
    add = _adder(causes, "resourceVersionMatch")
    if initial is not None and match != _NOT_OLDER_THAN:
        add(f"sendInitialEvents requires setting resourceVersionMatch to {_NOT_OLDER_THAN}")
    if match:
        if initial is None:
            add("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        if match != _NOT_OLDER_THAN:
            causes.append(_not_supported("resourceVersionMatch", f'"{match}"', [_NOT_OLDER_THAN]))
        if token:
            add("resourceVersionMatch is forbidden when continue is provided")
    return causes


def _adder(causes: list[Cause], field: str) -> Callable[[str], None]:
    def add(message: str) -> None:
        causes.append(Cause(reason=_FORBIDDEN, message=f"Forbidden: {message}", field=field))

    return add


def _not_supported(field: str, value: str, known: Sequence[str]) -> Cause:
    supported = ", ".join(f'"{one}"' for one in known)
    return Cause(reason=_UNSUPPORTED, message=f"Unsupported value: {value}: supported values: {supported}", field=field)


def _dry_run_causes(values: Sequence[str]) -> list[Cause]:
    if all(value == "All" for value in values if value):
        return []
    return [_not_supported("dryRun", json.dumps(list(values), separators=(",", ":")), ["All"])]


def _is_dry_run(values: Sequence[str]) -> bool:
    return any(values)


def _raise_invalid(kind: str, causes: Sequence[Cause]) -> None:
    if not causes:
        return
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {"group": "meta.k8s.io", "kind": kind, "causes": causes_of(causes)}
    raise ApiError(422, "Invalid", f'{kind}.meta.k8s.io "" is invalid: {joined}', details=details)


def _bool(request: Request, name: str) -> bool | None:
    """As apimachinery converts it: present and neither false nor 0 is true."""
    values = request.query.get(name)
    if not values:
        return None
    return values[0].lower() != "false" and values[0] != "0"


def _integer(request: Request, name: str) -> int | None:
    text = request.first(name)
    if not text:
        return None
    return parse_integer(text)


def parse_integer(text: str) -> int:
    """An int64 of a query. Raises ApiError 400 with the words of Go's strconv."""
    if re.fullmatch(r"[+-]?[0-9]+", text) is None:
        raise ApiError(400, "BadRequest", f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if not -_INT64_MAX - 1 <= int(text) <= _INT64_MAX:
        raise ApiError(400, "BadRequest", f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def _resource_version(text: str) -> int | None:
    if not text:
        return None
    problem = ""
    if re.fullmatch(r"[0-9]+", text) is None:
        problem = "invalid syntax"
    elif int(text) > 2**64 - 1:
        problem = "value out of range"
    if problem:
        raise ApiError(
            400,
            "BadRequest",
            f'invalid resource version: resourceVersion: Invalid value: "{text}": '
            f'strconv.ParseUint: parsing "{text}": {problem}',
        )
    return int(text)
