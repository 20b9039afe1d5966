"""Kubernetes' protobuf: some commands of kubectl send nothing else (`kubectl create namespace`, `auth can-i`).

Envelope: apimachinery `runtime/serializer/protobuf`. Wire format: protobuf.dev "Encoding". Field numbers: those of
the schema (`generated.proto`).
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from typing import Any

import msgspec

from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.model import Field, Scalar, Shape, Type

_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _MalformedError(ValueError):
    """These bytes are no protobuf of the type."""


def decode(data: bytes) -> Object:
    """The object in an envelope (`k8s\\0`, then runtime.Unknown), with its apiVersion and kind.

    Raises ApiError 400 for anything else, and for a kind the schema does not have.
    """
    try:
        if not data.startswith(_MAGIC):
            raise _MalformedError("provided data does not appear to be a protobuf message, expected prefix 6b 38 73 00")
        kind, version, raw, content_type = _envelope(data[len(_MAGIC) :])
        if content_type == "application/json":
            return {"kind": kind, "apiVersion": version} | dict(msgspec.json.decode(raw))
        owner = SCHEMA.types.get(kind)
        if owner is None:
            raise _MalformedError(f'no kind "{kind}" is registered for version "{version}"')
        return {"kind": kind, "apiVersion": version} | _message(owner, raw)
    except (_MalformedError, UnicodeDecodeError, msgspec.DecodeError, IndexError) as error:
        message = f"the object provided is unrecognized: {error}"
        raise ApiError(400, "BadRequest", message) from None


def _envelope(data: bytes) -> tuple[str, str, bytes, str]:
    """runtime.Unknown: typeMeta{1 apiVersion, 2 kind} 1, raw 2, contentEncoding 3, contentType 4."""
    meta, raw, content_type = b"", b"", ""
    for number, value in _fields(data):
        if isinstance(value, int):
            continue
        if number == 1:
            meta = value
        elif number == 2:
            raw = value
        elif number == 4:
            content_type = value.decode()
    texts = {number: value.decode() for number, value in _fields(meta) if isinstance(value, bytes)}
    return texts.get(2, ""), texts.get(1, ""), raw, content_type


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of every field; the value of a length-delimited one is bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire == _BYTES:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise _MalformedError("unexpected EOF")
            yield number, data[at : at + size]
            at += size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise _MalformedError(f"illegal wireType {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise _MalformedError("unexpected EOF")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise _MalformedError("integer overflow")


def _message(owner: Type, data: bytes) -> Object:
    # The fields of an inline struct stand in a message of their own, under numbers of its own.
    inline = {one.number: SCHEMA.types[one.type_name] for one in owner.inline}
    by_number = {field.number: field for field in _own(owner) if field.number}
    made: Object = {}
    for number, value in _fields(data):
        if number in inline and isinstance(value, bytes):
            made |= _message(inline[number], value)
        elif number in by_number:
            _put(made, by_number[number], value)
    return made


def _own(owner: Type) -> list[Field]:
    inlined = {name for one in owner.inline for name in SCHEMA.types[one.type_name].fields}
    return [field for name, field in owner.fields.items() if name not in inlined]


def _put(made: Object, field: Field, value: int | bytes) -> None:
    if field.shape is Shape.MAP:
        entry = dict(_fields(value)) if isinstance(value, bytes) else {}
        key = entry.get(1, b"")
        name = key.decode() if isinstance(key, bytes) else str(key)
        made.setdefault(field.name, {})[name] = _value(field, entry.get(2, b""))
    elif field.shape is Shape.LIST:
        made.setdefault(field.name, []).append(_value(field, value))
    else:
        decoded = _value(field, value)
        # An empty time is a message without fields.
        if decoded is not None:
            made[field.name] = decoded


def _value(field: Field, value: int | bytes) -> Any:
    if isinstance(value, int):
        if field.scalar is Scalar.BOOL:
            return bool(value)
        return value - (1 << 64) if value >= 1 << 63 else value
    if field.scalar is None:
        return _message(SCHEMA.types[field.element], value)
    match field.scalar:
        case Scalar.STRING:
            return value.decode()
        case Scalar.BYTES:
            return base64.b64encode(value).decode("ascii")
        case Scalar.TIME | Scalar.MICRO_TIME:
            return _time(value, micro=field.scalar is Scalar.MICRO_TIME)
        case Scalar.QUANTITY:
            return _text(value, 1)
        case Scalar.INT_OR_STRING:
            return _int_or_string(value)
        case Scalar.ANY | Scalar.RAW:
            return msgspec.json.decode(_raw(value))
    raise _MalformedError(f"field {field.name} has a wrong wire type")


def _time(data: bytes, *, micro: bool) -> str | None:
    """Time: seconds 1, nanos 2, since 1970."""
    parts = {number: value for number, value in _fields(data) if isinstance(value, int)}
    if not parts:
        return None
    seconds = parts.get(1, 0)
    seconds = seconds - (1 << 64) if seconds >= 1 << 63 else seconds
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        raise _MalformedError("time out of range") from None
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{parts.get(2, 0) // 1000:06d}Z" if micro else f"{text}Z"


def _int_or_string(data: bytes) -> int | str:
    """IntOrString: type 1 (0: the number), intVal 2, strVal 3."""
    parts = dict(_fields(data))
    if parts.get(1, 0) == 1:
        text = parts.get(3, b"")
        return text.decode() if isinstance(text, bytes) else ""
    number = parts.get(2, 0)
    if not isinstance(number, int):
        return 0
    return number - (1 << 64) if number >= 1 << 63 else number


def _text(data: bytes, wanted: int) -> str:
    return next(
        (value.decode() for number, value in _fields(data) if number == wanted and isinstance(value, bytes)), ""
    )


def _raw(data: bytes) -> bytes:
    """FieldsV1 and RawExtension: the JSON in field 1."""
    return next((value for number, value in _fields(data) if number == 1 and isinstance(value, bytes)), b"null")
