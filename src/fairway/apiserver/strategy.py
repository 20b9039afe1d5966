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
from typing import Any, ClassVar

from fairway.api.resources import Resource
from fairway.api.status import ApiError, Cause, causes_of
from fairway.api.types import Object
from fairway.apiserver.copies import copy_of
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.decode import WrongTypeError, decode
from fairway.apiserver.schema.model import PatchRule
from fairway.apiserver.validation import names
from fairway.apiserver.validation.metadata import NameRule, validate_metadata, validate_metadata_update


class DecodeError(ApiError):
    """400 for a value of a wrong type; `detail` is the decoder's own text, which a patch's answer quotes."""

    def __init__(self, resource: Resource, detail: str) -> None:
        super().__init__(400, "BadRequest", _cannot_be_handled(resource, detail))
        self.detail = detail


class Strategy:
    """The behaviour every kind shares; kinds override what is theirs. `strategy_for` in `apiserver.kinds` finds one.

    allow_create_on_update: PUT of a name that does not exist creates it.
    allow_unconditional_update: an update without metadata.resourceVersion is taken as it is; otherwise 422.
    returns_deleted: DELETE answers with the last state of the object instead of a Status.
    keeps_generation: metadata.generation counts the changes of the spec.
    """

    allow_create_on_update: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = True
    returns_deleted: ClassVar[bool] = False
    keeps_generation: ClassVar[bool] = False
    keeps_status_on_create: ClassVar[bool] = False
    name_rule: ClassVar[NameRule] = staticmethod(names.dns_subdomain)

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self._has_status = any(subresource.name == "status" for subresource in resource.subresources)

    @property
    def schema_type(self) -> str:
        """The name of the root type, where `patch_rule` starts."""
        return self.resource.kind

    def patch_rule(self, type_name: str, field: str) -> PatchRule | None:
        """How a strategic merge treats a field of a type; None for an unknown field (replace it).

        Start with `schema_type`; go on with the rule's `element`.
        """
        return SCHEMA.patch_rule(type_name, field)

    def decode(self, body: Object, *, strict: bool = False) -> tuple[Object, list[str]]:
        """The object with its types checked and unknown fields dropped, and what was unknown.

        The problems are messages such as `unknown field "spec.foo"`, in the order of the document; with `strict` they
        raise ApiError 400 (`strict_error`) at once. A value of a wrong type always raises DecodeError. `apiVersion`
        and `kind` are filled in where missing.
        """
        try:
            obj, problems = decode(SCHEMA, self.schema_type, body)
        except WrongTypeError as error:
            raise DecodeError(self.resource, str(error)) from None
        if strict and problems:
            raise strict_error(self.resource, problems)
        return {"kind": self.resource.kind, "apiVersion": self.resource.api_version} | obj, problems

    def default(self, obj: Object) -> Object:
        """The object with every default filled in that its author left out."""
        made = copy_of(obj)
        self.fill(made)
        return made

    def fill(self, obj: Object) -> None:
        """Fills the kind's defaults into `obj` itself: what `default` calls with a copy."""

    def prepare_create(self, obj: Object) -> Object:
        """Without what a client may not set at creation (status), generation 1 where it is kept."""
        made = copy_of(obj)
        metadata = made["metadata"]
        for field in ("generation", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"):
            metadata.pop(field, None)
        if self.keeps_generation:
            metadata["generation"] = 1
        if self._has_status and not self.keeps_status_on_create:
            made["status"] = self._empty_status()
        return made

    def prepare_update(self, new: Object, old: Object, *, subresource: str = "") -> Object:
        """`new` with what may not change through this URL taken from `old`; generation + 1 where the spec differs.

        subresource: "" (the status is kept from old) or "status" (the spec is kept from old), for pods also "binding",
        for namespaces "finalize".
        """
        made = copy_of(new)
        metadata, previous = made["metadata"], old["metadata"]
        metadata.pop("managedFields", None)
        for field in _SERVER_OWNED:
            _keep(metadata, previous, field)
        if not metadata.get("uid"):
            _keep(metadata, previous, "uid")
        if subresource == "status":
            self.keep_for_status(made, old)
        elif self._has_status:
            _keep(made, old, "status")
        if self.keeps_generation and self.counts_as_change(made, old):
            metadata["generation"] = int(previous.get("generation") or 0) + 1
        return made

    def keep_for_status(self, made: Object, old: Object) -> None:
        """Takes into `made` what an update of the status may not change."""
        _keep(made, old, "spec")

    def counts_as_change(self, new: Object, old: Object) -> bool:
        """Whether metadata.generation goes up."""
        return bool(new.get("spec") != old.get("spec"))

    def validate_create(self, obj: Object) -> list[Cause]:
        """Everything wrong with a new object (metadata first), in the order of the real server; empty: it is valid."""
        return validate_metadata(obj["metadata"], self.resource, self.name_rule) + self.validate(obj)

    def validate_update(self, new: Object, old: Object, *, subresource: str = "") -> list[Cause]:
        """Everything wrong with a change."""
        causes = validate_metadata_update(new["metadata"], old["metadata"])
        if subresource == "status":
            return causes + self.validate_status(new, old)
        return causes + self.validate_change(new, old)

    def validate(self, obj: Object) -> list[Cause]:
        """What is wrong below metadata."""
        return []

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        """What is wrong below metadata of a changed object."""
        return self.validate(new)

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        """What is wrong with a changed status."""
        return []

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        """Texts for `Warning: 299` headers of an answer to a write: fields that are deprecated or have no effect."""
        return []

    def fields(self, obj: Object) -> Mapping[str, str]:
        """What a field selector may name, with this object's values; metadata.name and metadata.namespace always."""
        metadata = obj["metadata"]
        common = {"metadata.name": metadata.get("name") or ""}
        if self.resource.namespaced:
            common["metadata.namespace"] = metadata.get("namespace") or ""
        return common | {name: _text_at(obj, path) for name, path in self.selectable.items()}

    selectable: ClassVar[Mapping[str, str]] = {}
    """Further fields of `fields`: the name in a selector, and where the value is."""

    def field_names(self) -> frozenset[str]:
        """The keys of `fields`: others are refused with 400."""
        return frozenset(self.fields({"metadata": {}}))

    def grace_period_s(self, obj: Object, requested_s: int | None) -> int | None:
        """Seconds between the deletion mark and removal; None: the kind has no graceful deletion, 0: remove at once.

        Only pods have one: `requested_s`, or the pod's own; 0 for a pod that is bound to no node or has ended.
        """
        return None

    def _empty_status(self) -> Object:
        status, _ = decode(SCHEMA, SCHEMA.types[self.schema_type].fields["status"].element, {})
        return status


_SERVER_OWNED = ("generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def _keep(made: Object, old: Object, field: str) -> None:
    if field in old:
        made[field] = copy_of(old[field])
    else:
        made.pop(field, None)


def _text_at(obj: Object, path: str) -> str:
    value: Any = obj
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


class _Pairs(dict[str, Any]):
    """A JSON object that has fields standing twice in it."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.twice: list[str] = []
        for name, _ in pairs:
            if name in seen and name not in self.twice:
                self.twice.append(name)
            seen.add(name)


def load_json(data: bytes) -> tuple[Any, list[str]]:
    """JSON, and the fields that stand twice in it as `duplicate field "metadata.labels.a"`; the last one wins.

    Raises json.JSONDecodeError (a ValueError) where it is no JSON.
    """
    found = False

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
        found = True
        return _Pairs(pairs)

    value = json.loads(data, object_pairs_hook=collect)
    return value, list(_duplicates(value, "")) if found else []


def _duplicates(value: Any, path: str) -> Iterable[str]:
    if isinstance(value, dict):
        for name in getattr(value, "twice", ()):
            yield f'duplicate field "{path}{name}"'
        for name, item in value.items():
            yield from _duplicates(item, f"{path}{name}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _duplicates(item, f"{path.removesuffix('.')}[{index}].")


def _cannot_be_handled(resource: Resource, detail: str) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {detail}'


def strict_error(resource: Resource, problems: Iterable[str]) -> ApiError:
    """400 for unknown and duplicate fields under fieldValidation=Strict."""
    detail = "strict decoding error: " + ", ".join(problems)
    return ApiError(400, "BadRequest", _cannot_be_handled(resource, detail))


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 Invalid: `Service "a" is invalid: FIELD: MESSAGE`, several as `[a, b]` (apimachinery `api/errors`)."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details: Object = {"name": name, "group": resource.group, "kind": resource.kind, "causes": causes_of(causes)}
    details = {field: value for field, value in details.items() if value}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details=details)
