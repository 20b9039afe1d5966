"""PUT and PATCH: from a body to the object that takes the place of the old one.

Order and messages: apiserver `endpoints/handlers/{update,patch}.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from fairway.api.resources import Resource
from fairway.api.status import ApiError, Cause, causes_of
from fairway.api.types import Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.bodies import Body, media_type, parse_json, read_object
from fairway.apiserver.options import FieldValidation, json_kind
from fairway.apiserver.patches import MAX_OPERATIONS, PatchError, apply_operations, merge
from fairway.apiserver.request import Request
from fairway.apiserver.routes import Target
from fairway.apiserver.strategic_merge import StrategicMergeError, strategic_merge
from fairway.apiserver.strategy import DecodeError, Strategy

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """A document after a patch. shown: it, or the patch, as an error about the result shows it.

    duplicates: fields that stand twice in the patch.
    """

    document: Object
    shown: str
    duplicates: tuple[str, ...] = ()


def read_replacement(request: Request, target: Target, strategy: Strategy, validation: FieldValidation) -> Body:
    """The object of a PUT; its name and namespace must be the URL's. Raises ApiError 400 or 415."""
    body = read_object(request.body, request.content_type, strategy, validation)
    metadata = meta.metadata_of(body.obj)
    name, namespace = metadata.get("name") or "", metadata.get("namespace") or ""
    if not name:
        raise ApiError(400, "BadRequest", "name must be provided")
    if name != target.name:
        message = f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        raise ApiError(400, "BadRequest", message)
    if target.resource.namespaced and namespace and namespace != target.namespace:
        message = (
            f"the namespace of the object ({namespace}) does not match the namespace on the URL ({target.namespace})"
        )
        raise ApiError(400, "BadRequest", message)
    return body


def check_patch_type(request: Request) -> str:
    """The kind of patch. Raises ApiError 415; a missing type is none of them."""
    kind = media_type(request.content_type) if request.content_type else ""
    if kind not in PATCH_TYPES:
        # The text of the router (go-restful), which knows which types a PATCH takes before a handler is asked.
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    return kind


def apply_patch(request: Request, document: Object, strategy: Strategy, validation: FieldValidation) -> Body:
    """The stored object with a patch applied, decoded by its kind. Raises ApiError 400, 413, 415 or 422."""
    patched = patch_document(request, document, strategy)
    try:
        obj, unknown = strategy.decode(patched.document)
    except DecodeError as error:
        raise _invalid_patch(patched, error.detail) from None
    problems = [*patched.duplicates, *unknown]
    if not problems or validation is FieldValidation.IGNORE:
        return Body(obj=obj, warnings=())
    if validation is FieldValidation.STRICT:
        raise _invalid_patch(patched, f"strict decoding error: {', '.join(problems)}")
    return Body(obj=obj, warnings=tuple(problems))


def patch_document(request: Request, document: Object, strategy: Strategy) -> Patched:
    """The document with the request's patch applied, its types not yet checked."""
    kind = check_patch_type(request)
    if kind == STRATEGIC_MERGE_PATCH:
        patch, duplicates = parse_json(request.body)
        if not isinstance(patch, dict):
            raise _bad_patch("map[string]interface {}", patch, prefix="")
        try:
            merged = strategic_merge(document, patch, strategy.schema_type, strategy.patch_rule)
        except StrategicMergeError as error:
            raise ApiError(400, "BadRequest", str(error)) from None
        return Patched(document=merged, shown=go_text(patch), duplicates=tuple(duplicates))
    patch, duplicates = parse_json(request.body, "error decoding patch: ")
    patched = _merge_patch(document, patch) if kind == MERGE_PATCH else _json_patch(document, patch)
    shown = msgspec.json.encode(patched).decode()
    if not isinstance(patched, dict):
        raise _invalid_patch(Patched(document={}, shown=shown), _go_mismatch(strategy.resource, patched))
    return Patched(document=patched, shown=shown, duplicates=tuple(duplicates))


def _merge_patch(document: Object, patch: Any) -> Any:
    if not isinstance(patch, dict):
        raise _bad_patch("map[string]interface {}", patch)
    return merge(document, patch)


def _json_patch(document: Object, patch: Any) -> Any:
    if not isinstance(patch, list):
        raise _bad_patch("[]interface {}", patch)
    if len(patch) > MAX_OPERATIONS:
        message = (
            f"Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, "
            f"got {len(patch)}"
        )
        raise ApiError(413, "RequestEntityTooLarge", message)
    try:
        return apply_operations(document, patch)
    except PatchError:
        # The reason does not reach the client (apimachinery `api/errors`, NewGenericServerResponse of 422).
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message, details={}) from None


def _bad_patch(wanted: str, patch: Any, *, prefix: str = "error decoding patch: ") -> ApiError:
    message = f"{prefix}json: cannot unmarshal {json_kind(patch)} into Go value of type {wanted}"
    return ApiError(400, "BadRequest", message)


def _go_mismatch(resource: Resource, value: Any) -> str:
    return f"json: cannot unmarshal {json_kind(value)} into Go value of type {resource.version}.{resource.kind}"


def _invalid_patch(patched: Patched, problem: str) -> ApiError:
    """422 for a patch whose result is no object of the kind; it names neither kind nor object."""
    shown = msgspec.json.encode(patched.shown).decode()
    cause = Cause(reason="FieldValueInvalid", message=f"Invalid value: {shown}: {problem}", field="patch")
    message = f' "" is invalid: patch: {cause.message}'
    return ApiError(422, "Invalid", message, details={"causes": causes_of([cause])})


def go_text(value: Any) -> str:
    """A decoded value as Go prints it with %+v."""
    match value:
        case dict():
            inner = " ".join(f"{name}:{go_text(value[name])}" for name in sorted(value))
            return f"map[{inner}]"
        case list():
            return f"[{' '.join(go_text(item) for item in value)}]"
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
    return str(value)
