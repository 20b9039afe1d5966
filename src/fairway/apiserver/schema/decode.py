"""JSON checked against the types and brought into the form Go's encoding would give it back.

A server decodes into Go structs and encodes them again, and that is what a client sees: unknown fields are gone, empty
ones too unless Go writes them, times and quantities have one spelling. The texts of errors are those of
`sigs.k8s.io/json`, apimachinery's decoder.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from typing import Any

from fairway.api.quantity import canonical_quantity
from fairway.api.types import Object
from fairway.apiserver.schema.model import Field, Scalar, Schema, Shape, Type


class WrongTypeError(ValueError):
    """A value that its field cannot hold; the text is the decoder's: `json: cannot unmarshal string into ...`."""


def decode(schema: Schema, type_name: str, body: Object) -> tuple[Object, list[str]]:
    """The object in canonical form, and `unknown field "PATH"` for each field the type does not have.

    `apiVersion` and `kind` are kept first where given. Raises WrongTypeError.
    """
    reader = _Reader(schema)
    head = {name: body[name] for name in ("kind", "apiVersion") if body.get(name)}
    for name, value in head.items():
        if not isinstance(value, str):
            raise WrongTypeError(
                f"json: cannot unmarshal {_kind_of(value)} into Go struct field {type_name}.{name} of type string"
            )
    rest = {name: value for name, value in body.items() if name not in ("kind", "apiVersion")}
    return head | reader.struct(schema.types[type_name], rest, "", ""), reader.problems


class _Reader:
    """One pass over a document. `path` is with indexes (for unknown fields), `names` without (for wrong types)."""

    def __init__(self, schema: Schema) -> None:
        self.types = schema.types
        self.problems: list[str] = []

    def struct(self, owner: Type, body: Object, path: str, names: str) -> Object:
        seen: Object = {}
        for name, value in body.items():
            field = owner.fields.get(name)
            if field is None:
                self.problems.append(f'unknown field "{path}{name}"')
            elif value is not None:
                decoded = self._field(owner, field, value, f"{path}{name}", f"{names}{name}")
                if field.always or not _is_empty(field, decoded):
                    seen[name] = decoded
        if len(seen) < len(owner.fields):
            return {
                name: seen[name] if name in seen else self._zero(field)
                for name, field in owner.fields.items()
                if name in seen or field.always
            }
        return {name: seen[name] for name in owner.fields}

    def _field(self, owner: Type, field: Field, value: Any, path: str, names: str) -> Any:
        if field.shape is Shape.ONE:
            return self._value(owner, field, value, path, names)
        if field.shape is Shape.LIST:
            if not isinstance(value, list):
                raise _wrong(value, owner, names, f"[]{_go_type(field)}")
            return [self._element(owner, field, item, f"{path}[{index}]", names) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            raise _wrong(value, owner, names, f"map[string]{_go_type(field)}")
        return {key: self._element(owner, field, item, f"{path}.{key}", names) for key, item in value.items()}

    def _element(self, owner: Type, field: Field, value: Any, path: str, names: str) -> Any:
        return self._zero_value(field) if value is None else self._value(owner, field, value, path, names)

    def _value(self, owner: Type, field: Field, value: Any, path: str, names: str) -> Any:
        if field.scalar is None:
            if not isinstance(value, dict):
                raise _wrong(value, owner, names, _go_type(field))
            return self.struct(self.types[field.element], value, f"{path}.", f"{names}.")
        return _scalar(owner, field, field.scalar, value, names)

    def _zero(self, field: Field) -> Any:
        return None if field.pointer or field.shape is not Shape.ONE else self._zero_value(field)

    def _zero_value(self, field: Field) -> Any:
        if field.scalar is None:
            return self.struct(self.types[field.element], {}, "", "")
        return _ZERO[field.scalar]


_ZERO: dict[Scalar, Any] = {
    Scalar.STRING: "",
    Scalar.BOOL: False,
    Scalar.INT32: 0,
    Scalar.INT64: 0,
    Scalar.BYTES: None,
    Scalar.TIME: None,
    Scalar.MICRO_TIME: None,
    Scalar.QUANTITY: "0",
    Scalar.INT_OR_STRING: 0,
    Scalar.ANY: None,
    Scalar.RAW: None,
}


def _is_empty(field: Field, value: Any) -> bool:
    if field.shape is not Shape.ONE:
        return not value
    if value is None:
        return True
    return not field.pointer and field.scalar in _DROPPED and not value


_DROPPED = (Scalar.STRING, Scalar.BOOL, Scalar.INT32, Scalar.INT64, Scalar.BYTES)


def _scalar(owner: Type, field: Field, scalar: Scalar, value: Any, names: str) -> Any:
    match scalar:
        case Scalar.STRING:
            if isinstance(value, str):
                return value
        case Scalar.BOOL:
            if isinstance(value, bool):
                return value
        case Scalar.INT32 | Scalar.INT64:
            if isinstance(value, int) and not isinstance(value, bool) and _fits(value, scalar):
                return value
            if isinstance(value, int | float) and not isinstance(value, bool):
                raise _wrong(value, owner, names, _go_type(field), number=f"number {value}")
        case Scalar.INT_OR_STRING:
            return _int_or_string(value)
        case Scalar.TIME | Scalar.MICRO_TIME:
            return _time(value, micro=scalar is Scalar.MICRO_TIME)
        case Scalar.QUANTITY:
            return _quantity(value)
        case Scalar.BYTES:
            if isinstance(value, str):
                return _bytes(value)
        case Scalar.ANY | Scalar.RAW:
            return value
    raise _wrong(value, owner, names, _go_type(field))


def _fits(value: int, scalar: Scalar) -> bool:
    bits = 31 if scalar is Scalar.INT32 else 63
    return -(1 << bits) <= value < 1 << bits


def _int_or_string(value: Any) -> int | str:
    if isinstance(value, str) or (
        isinstance(value, int) and not isinstance(value, bool) and _fits(value, Scalar.INT32)
    ):
        return value
    number = f"number {value}" if isinstance(value, int | float) and not isinstance(value, bool) else _kind_of(value)
    raise WrongTypeError(f"json: cannot unmarshal {number} into Go value of type int32")


def _quantity(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WrongTypeError("json: cannot unmarshal " + _kind_of(value) + " into Go value of type string")
    try:
        return canonical_quantity(str(value))
    except ValueError as error:
        raise WrongTypeError(str(error)) from None


def _bytes(value: str) -> str:
    try:
        return base64.b64encode(base64.b64decode(value, validate=True)).decode("ascii")
    except (binascii.Error, ValueError):
        bad = re.search(r"[^A-Za-z0-9+/]", value)
        raise WrongTypeError(f"illegal base64 data at input byte {bad.start() if bad else len(value)}") from None


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _time(value: Any, *, micro: bool) -> str | None:
    """UTC, whole seconds or microseconds, as metav1.Time and MicroTime write themselves."""
    if not isinstance(value, str):
        raise WrongTypeError(f"json: cannot unmarshal {_kind_of(value)} into Go value of type string")
    found = _RFC3339.fullmatch(value)
    try:
        if found is None:
            raise ValueError
        moment = datetime.datetime.fromisoformat(found.group(1) + found.group(3).replace("Z", "+00:00"))
    except ValueError:
        layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
        raise WrongTypeError(f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"') from None
    text = moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = (found.group(2) or ".")[1:7].ljust(6, "0")
    return f"{text}.{fraction}Z" if micro else f"{text}Z"


def _go_type(field: Field) -> str:
    if field.scalar is None:
        return f"v1.{field.element.rpartition('.')[2]}"
    if field.scalar is Scalar.BYTES:
        return "[]uint8"
    if field.scalar is Scalar.STRING:
        return {"string": "string", "UID": "types.UID"}.get(field.element, f"v1.{field.element}")
    return str(field.scalar.value)


def _kind_of(value: Any) -> str:
    """encoding/json's word for a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _wrong(value: Any, owner: Type, names: str, go_type: str, *, number: str = "") -> WrongTypeError:
    what = number or _kind_of(value)
    return WrongTypeError(
        f"json: cannot unmarshal {what} into Go struct field {owner.go_name}.{names} of type {go_type}"
    )
