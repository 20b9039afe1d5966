"""What is particular to a kind: how its objects are read, defaulted, prepared, validated and selected.

The handlers call a strategy in the order of a real API server (apiserver `registry/rest/create.go`, `update.go`):

    create: decode, default, (namespace, generateName), allocate, prepare_create, validate_create, warnings, store
    update: decode or patch, default, allocate, prepare_update, validate_update, (equal to old: not written), store

`allocate` is for Services only (`allocators.ServiceAllocator`); a real server runs it before it validates, and so the
messages about addresses and node ports win over all others.

Objects are plain dicts; no method changes its arguments, each returns a new object. The handlers own metadata that no
kind decides: uid, creationTimestamp, resourceVersion, generateName's suffix, deletionTimestamp.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairway.api.resources import Resource
from fairway.api.status import ApiError, Cause, causes_of
from fairway.api.types import Object
from fairway.apiserver.schema.model import PatchRule


class Strategy:
    """The behaviour every kind shares; kinds override what is theirs. `strategy_for` in `apiserver.kinds` finds one.

    allow_create_on_update: PUT of a name that does not exist creates it.
    allow_unconditional_update: an update without metadata.resourceVersion is taken as it is; otherwise 422.
    returns_deleted: DELETE answers with the last state of the object instead of a Status.
    keeps_generation: metadata.generation counts the changes of the spec.
    """

    allow_create_on_update: bool = False
    allow_unconditional_update: bool = True
    returns_deleted: bool = False
    keeps_generation: bool = False

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    @property
    def schema_type(self) -> str:
        """The name of the root type, where `patch_rule` starts."""
        return self.resource.kind

    def patch_rule(self, type_name: str, field: str) -> PatchRule | None:
        """How a strategic merge treats a field of a type; None for an unknown field (replace it).

        Start with `schema_type`; go on with the rule's `element`.
        """
        raise NotImplementedError

    def decode(self, body: Object, *, strict: bool = False) -> tuple[Object, list[str]]:
        """The object with its types checked and unknown fields dropped, and what was unknown.

        The problems are messages such as `unknown field "spec.foo"`, in the order of the document; with `strict` they
        raise ApiError 400 `strict decoding error: ...` at once. A value of a wrong type always raises ApiError 400
        with the text of a real server. `apiVersion` and `kind` are filled in where missing.
        """
        raise NotImplementedError

    def default(self, obj: Object) -> Object:
        """The object with every default filled in that its author left out."""
        raise NotImplementedError

    def prepare_create(self, obj: Object) -> Object:
        """Without what a client may not set at creation (status), generation 1 where it is kept."""
        raise NotImplementedError

    def prepare_update(self, new: Object, old: Object, *, subresource: str = "") -> Object:
        """`new` with what may not change through this URL taken from `old`; generation + 1 where the spec differs.

        subresource: "" or "status" (spec and most metadata kept from old; without it the status is kept from old),
        for pods also "binding", for namespaces "finalize".
        """
        raise NotImplementedError

    def validate_create(self, obj: Object) -> list[Cause]:
        """Everything wrong with a new object (metadata first), in the order of the real server; empty: it is valid."""
        raise NotImplementedError

    def validate_update(self, new: Object, old: Object, *, subresource: str = "") -> list[Cause]:
        """Everything wrong with a change."""
        raise NotImplementedError

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        """Texts for `Warning: 299` headers: deprecated fields and kinds."""
        return []

    def fields(self, obj: Object) -> Mapping[str, str]:
        """What a field selector may name, with this object's values; metadata.name and metadata.namespace always."""
        raise NotImplementedError

    def field_names(self) -> frozenset[str]:
        """The keys of `fields`: others are refused with 400."""
        return frozenset(self.fields({"metadata": {"name": ""}}))

    def grace_period_s(self, obj: Object, requested_s: int | None) -> int | None:
        """Seconds between the deletion mark and removal; None: the kind has no graceful deletion, 0: remove at once.

        Only pods have one: `requested_s`, or the pod's own; 0 for a pod that is bound to no node or has ended.
        """
        return None


def load_json(data: bytes) -> tuple[Any, list[str]]:
    """JSON, and the fields that stand twice in it as `duplicate field "metadata.labels.a"`; the last one wins.

    Raises json.JSONDecodeError (a ValueError) where it is no JSON.
    """
    return json.loads(data), []


def strict_error(problems: Iterable[str]) -> ApiError:
    """400 for unknown and duplicate fields under fieldValidation=Strict."""
    return ApiError(400, "BadRequest", "strict decoding error: " + ", ".join(problems))


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 Invalid: `Service "a" is invalid: FIELD: MESSAGE`, several as `[a, b]` (apimachinery `api/errors`)."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details: Object = {"name": name, "group": resource.group, "kind": resource.kind, "causes": causes_of(causes)}
    if not resource.group:
        del details["group"]
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details=details)
