"""The types as OpenAPI v3 schemas, in the shape kubectl's `apply`, `create --validate` and `explain` read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fairway.api.resources import Resource
from fairway.api.types import Object
from fairway.apiserver.schema.model import Field, ListType, Scalar, Schema, Shape, Type

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_API = "io.k8s.apimachinery.pkg"

_SCALARS: dict[Scalar, Object] = {
    Scalar.STRING: {"type": "string"},
    Scalar.BOOL: {"type": "boolean"},
    Scalar.INT32: {"type": "integer", "format": "int32"},
    Scalar.INT64: {"type": "integer", "format": "int64"},
    Scalar.BYTES: {"type": "string", "format": "byte"},
}
_NAMED: dict[Scalar, tuple[str, Object]] = {
    Scalar.TIME: (f"{_META}.Time", {"type": "string", "format": "date-time", "description": "RFC 3339, seconds."}),
    Scalar.MICRO_TIME: (
        f"{_META}.MicroTime",
        {"type": "string", "format": "date-time", "description": "RFC 3339, microseconds."},
    ),
    Scalar.QUANTITY: (
        f"{_API}.api.resource.Quantity",
        {
            "description": "A number with an optional suffix: m, k, M, G (decimal) or Ki, Mi, Gi (binary).",
            "oneOf": [{"type": "string"}, {"type": "number"}],
        },
    ),
    Scalar.INT_OR_STRING: (
        f"{_API}.util.intstr.IntOrString",
        {
            "description": "A whole number or a string (a name, a percentage).",
            "format": "int-or-string",
            "oneOf": [{"type": "integer"}, {"type": "string"}],
        },
    ),
    Scalar.ANY: (f"{_META}.FieldsV1", {"type": "object", "description": "Any JSON value."}),
    Scalar.RAW: (f"{_API}.runtime.RawExtension", {"type": "object", "description": "Any JSON value."}),
}
_ZERO: dict[Scalar, Any] = {
    Scalar.STRING: "",
    Scalar.BOOL: False,
    Scalar.INT32: 0,
    Scalar.INT64: 0,
}
_TYPE_META: Object = {
    "apiVersion": {"type": "string", "description": "The group and version of the schema, such as apps/v1."},
    "kind": {"type": "string", "description": "The kind of the object, such as Service."},
}


def schemas(schema: Schema, roots: Iterable[str], lists: Iterable[Resource]) -> Object:
    """`components.schemas`: the root types (with apiVersion and kind), the lists of resources, all they refer to."""
    made: Object = {}
    for root in roots:
        owner = schema.types[root]
        _collect(schema, root, made)
        gvk = _group_version_kind(owner)
        described = made[owner.full_name]
        properties = {**_TYPE_META, **described["properties"]}
        made[owner.full_name] = {**described, "properties": properties, "x-kubernetes-group-version-kind": [gvk]}
    for resource in lists:
        _collect(schema, "ListMeta", made)
        owner = schema.types[resource.kind]
        made[f"{owner.package}.{resource.list_kind}"] = _list_of(resource, owner)
    return made


def _collect(schema: Schema, name: str, made: Object) -> None:
    owner = schema.types[name]
    if owner.full_name in made:
        return
    described: Object = {"type": "object"}
    made[owner.full_name] = described
    if owner.text:
        described["description"] = owner.text
    if owner.atomic:
        described["x-kubernetes-map-type"] = "atomic"
    required = sorted(field.name for field in owner.fields.values() if field.required)
    if required:
        described["required"] = required
    described["properties"] = {field.name: _property(schema, field) for field in owner.fields.values()}
    for field in owner.fields.values():
        if field.scalar is None:
            _collect(schema, field.element, made)
        elif field.scalar in _NAMED:
            full_name, body = _NAMED[field.scalar]
            made[full_name] = body


def _property(schema: Schema, field: Field) -> Object:
    made: Object = {"description": field.text} if field.text else {}
    if field.shape is Shape.ONE:
        made |= _one(schema, field)
    elif field.shape is Shape.LIST:
        made |= {"type": "array", "items": _element(schema, field)}
    else:
        made |= {"type": "object", "additionalProperties": _element(schema, field)}
    if field.list_type is not ListType.NONE:
        made["x-kubernetes-list-type"] = field.list_type.value
    if field.map_keys:
        made["x-kubernetes-list-map-keys"] = list(field.map_keys)
    if field.atomic_map:
        made["x-kubernetes-map-type"] = "atomic"
    strategies = [word for word, on in (("merge", field.merge), ("retainKeys", field.retain_keys)) if on]
    if strategies:
        made["x-kubernetes-patch-strategy"] = ",".join(strategies)
    if field.merge_key:
        made["x-kubernetes-patch-merge-key"] = field.merge_key
    return made


def _one(schema: Schema, field: Field) -> Object:
    plain = _SCALARS.get(field.scalar) if field.scalar is not None else None
    made: Object = dict(plain) if plain is not None else {"allOf": [_reference(schema, field)]}
    if field.always and not field.pointer:
        if field.scalar is None:
            made["default"] = {}
        elif field.scalar in _ZERO:
            made["default"] = _ZERO[field.scalar]
    return made


def _element(schema: Schema, field: Field) -> Object:
    plain = _SCALARS.get(field.scalar) if field.scalar is not None else None
    return dict(plain) if plain is not None else _reference(schema, field)


def _reference(schema: Schema, field: Field) -> Object:
    full_name = schema.types[field.element].full_name if field.scalar is None else _NAMED[field.scalar][0]
    return {"$ref": f"#/components/schemas/{full_name}"}


def _list_of(resource: Resource, owner: Type) -> Object:
    return {
        "type": "object",
        "description": f"A list of {resource.plural}.",
        "required": ["items"],
        "properties": {
            **_TYPE_META,
            "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{owner.full_name}"}},
            "metadata": {"allOf": [{"$ref": f"#/components/schemas/{_META}.ListMeta"}], "default": {}},
        },
        "x-kubernetes-group-version-kind": [
            {"group": resource.group, "version": resource.version, "kind": resource.list_kind}
        ],
    }


_GROUPS = {
    "core": "",
    "apps": "apps",
    "autoscaling": "autoscaling",
    "discovery": "discovery.k8s.io",
    "coordination": "coordination.k8s.io",
    "scheduling": "scheduling.k8s.io",
    "networking": "networking.k8s.io",
    "authentication": "authentication.k8s.io",
    "authorization": "authorization.k8s.io",
}


def _group_version_kind(owner: Type) -> Object:
    """From an OpenAPI package, "io.k8s.api.apps.v1"; the types of apimachinery (DeleteOptions) go with every group."""
    group, version = owner.package.split(".")[-2:]
    return {"group": _GROUPS.get(group, ""), "version": version, "kind": owner.go_name}
