"""How answers look: JSON or YAML; the object, a Table, or its metadata only; one or a list.

Negotiation: apiserver `endpoints/handlers/{negotiation,response.go}`. The JSON of a list is joined from that of its
objects, which each revision encodes once.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import yaml

from fairway.api.resources import Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.apiserver.bodies import JSON, YAML
from fairway.apiserver.request import Request, Response
from fairway.apiserver.revisions import Record
from fairway.apiserver.tables import table
from fairway.apiserver.watching import ObjectEncoder

META_VERSION = "meta.k8s.io/v1"


class Shape(enum.Enum):
    """What of an object is shown (the `as` of an Accept header)."""

    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the client asked for. include: the `includeObject` of Tables: Metadata, None or Object."""

    shape: Shape = Shape.OBJECT
    is_yaml: bool = False
    is_pretty: bool = False
    include: str = "Metadata"

    @property
    def content_type(self) -> str:
        return YAML if self.is_yaml else JSON


def negotiate(request: Request) -> Form:
    """The best form the Accept header allows. Raises ApiError 406 where there is none, 400 for a bad includeObject."""
    include = request.first("includeObject") or "Metadata"
    if include not in ("Metadata", "None", "Object"):
        raise ApiError(400, "BadRequest", f'unrecognized includeObject value: "{include}"')
    pretty = request.first("pretty")
    is_pretty = pretty not in ("", "0", "false") if pretty else _is_for_people(request.user_agent)
    for kind, parameters in _clauses(request.accept or "*/*"):
        shape = _shape(parameters)
        if shape is not None and kind in (JSON, YAML, "*/*", "application/*"):
            return Form(shape=shape, is_yaml=kind == YAML, is_pretty=is_pretty, include=include)
    message = f"only the following media types are accepted: {JSON}, {YAML}"
    raise ApiError(406, "NotAcceptable", message)


def object_response(
    record: Record, form: Form, *, now: datetime, code: int = 200, warnings: Sequence[str] = ()
) -> Response:
    """One stored object."""
    if form.shape is Shape.OBJECT and not form.is_yaml and not form.is_pretty:
        body = record.typed_json
    else:
        body = dump(_shaped(record, form, now), form)
    return Response(code=code, body=body, content_type=form.content_type, warnings=tuple(warnings))


def value_response(value: Object, form: Form, *, code: int = 200, warnings: Sequence[str] = ()) -> Response:
    """An object that is not stored: a Status, a Scale."""
    return Response(code=code, body=dump(value, form), content_type=form.content_type, warnings=tuple(warnings))


def list_response(
    resource: Resource,
    records: Sequence[Record],
    metadata: Object,
    form: Form,
    *,
    now: datetime,
    warnings: Sequence[str] = (),
) -> Response:
    """A List, a Table or a PartialObjectMetadataList of records. metadata: the list's own."""
    if form.shape is Shape.TABLE:
        rows = table(resource, [record.obj for record in records], now=now, include=form.include, metadata=metadata)
        return value_response(rows, form, warnings=warnings)
    if form.shape is Shape.METADATA:
        items = [_partial(record.obj) for record in records]
        kind = {"kind": "PartialObjectMetadataList", "apiVersion": META_VERSION}
        return value_response({**kind, "metadata": metadata, "items": items}, form, warnings=warnings)
    head = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata}
    if form.is_yaml or form.is_pretty:
        items = [_untyped(record.obj) for record in records]
        return value_response({**head, "items": items}, form, warnings=warnings)
    start = msgspec.json.encode(head)[:-1]
    body = b"".join((start, b',"items":[', b",".join([record.json for record in records]), b"]}"))
    return Response(code=200, body=body, content_type=JSON, warnings=tuple(warnings))


def error_response(error: ApiError, form: Form | None = None) -> Response:
    """A failure."""
    response = value_response(error.to_json(), form or Form(), code=error.code)
    after = (error.details or {}).get("retryAfterSeconds")
    if after is None:
        return response
    return Response(
        code=response.code,
        body=response.body,
        content_type=response.content_type,
        headers={"Retry-After": str(after)},
    )


def event_encoder(form: Form) -> ObjectEncoder:
    """How a watch writes its objects. Tables carry their column definitions in the first event only."""
    if form.shape is Shape.OBJECT:
        return _typed_json
    if form.shape is Shape.METADATA:
        return lambda record, _: msgspec.json.encode(_partial(record.obj))
    seen: list[bool] = []

    def encode(record: Record, now: datetime) -> bytes:
        table = _shaped(record, form, now)
        if seen:
            del table["columnDefinitions"]
        seen.append(True)
        return msgspec.json.encode(table)

    return encode


def bookmark_json(bookmark: Object, form: Form) -> bytes:
    """A bookmark in the form of the watch it stands in."""
    if form.shape is Shape.TABLE:
        metadata = {"resourceVersion": bookmark["metadata"]["resourceVersion"]}
        empty = {"kind": "Table", "apiVersion": META_VERSION, "metadata": metadata, "columnDefinitions": []}
        row = {"cells": [], "object": _partial(bookmark)}
        return msgspec.json.encode({**empty, "rows": [row]})
    return msgspec.json.encode(_partial(bookmark) if form.shape is Shape.METADATA else bookmark)


def dump(value: Any, form: Form) -> bytes:
    """A value as the bytes of an answer."""
    if form.is_yaml:
        text: bytes = yaml.dump(value, Dumper=yaml.CSafeDumper, encoding="utf-8", sort_keys=False, allow_unicode=True)
        return text
    if form.is_pretty:
        return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
    return msgspec.json.encode(value)


def _typed_json(record: Record, _: datetime) -> bytes:
    return record.typed_json


def _shaped(record: Record, form: Form, now: datetime) -> Object:
    if form.shape is Shape.TABLE:
        metadata = {"resourceVersion": str(record.revision)}
        return table(record.resource, [record.obj], now=now, include=form.include, metadata=metadata)
    return _partial(record.obj) if form.shape is Shape.METADATA else record.obj


def _partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": META_VERSION, "metadata": obj["metadata"]}


def _untyped(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("kind", "apiVersion")}


def _is_for_people(user_agent: str) -> bool:
    """Browsers and curl get indented JSON (apiserver `endpoints/handlers/negotiation/negotiate.go`)."""
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """An Accept header's media types with their parameters, the most wanted first."""
    clauses: list[tuple[float, str, dict[str, str]]] = []
    for clause in accept.split(","):
        kind, *rest = [part.strip() for part in clause.split(";")]
        parameters = dict(_parameter(part) for part in rest)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        clauses.append((quality, kind.lower(), parameters))
    return [(kind, parameters) for _, kind, parameters in sorted(clauses, key=lambda one: -one[0])]


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip()


def _shape(parameters: dict[str, str]) -> Shape | None:
    wanted = parameters.get("as", "")
    if not wanted:
        return Shape.OBJECT
    if parameters.get("g") != "meta.k8s.io" or parameters.get("v") not in ("v1", "v1beta1"):
        return None
    return {
        "Table": Shape.TABLE,
        "PartialObjectMetadata": Shape.METADATA,
        "PartialObjectMetadataList": Shape.METADATA,
    }.get(wanted)
