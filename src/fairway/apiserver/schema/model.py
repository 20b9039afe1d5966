"""What a type of the API is made of: its fields, their types, and how lists of them are merged.

A `Field` carries what four readers need: JSON decoding (names, types), OpenAPI (required, list types, text for
`kubectl explain`), strategic merge patches (merge keys and strategies) and protobuf (field numbers).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Scalar(enum.Enum):
    """The types that have no fields of their own; the value is the name in the description files.

    TIME is RFC 3339 with seconds, MICRO_TIME with microseconds, QUANTITY a number with a suffix such as 100m or 1Gi,
    BYTES are base64 in JSON, ANY is any JSON value (managed fields, extra user information), RAW one that an object
    carries for somebody else.
    """

    STRING = "string"
    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    BYTES = "bytes"
    TIME = "Time"
    MICRO_TIME = "MicroTime"
    QUANTITY = "Quantity"
    INT_OR_STRING = "IntOrString"
    ANY = "Any"
    RAW = "RawExtension"


class Shape(enum.Enum):
    """How many values a field holds."""

    ONE = "one"
    LIST = "list"
    MAP = "map"


class ListType(enum.Enum):
    """How server-side apply and validation see a list (`x-kubernetes-list-type`)."""

    NONE = ""
    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRule:
    """How a strategic merge patch treats one field.

    element: the name of the type of the field's value; of an element for a list, of a value for a map. Pass it to
        `Schema.patch_rule` to go on below. The name of a scalar has no fields.
    shape: one value, a list or a map.
    merge: the list's elements are merged (by `merge_key`, or as a set where that is ""); false: the list is replaced.
    merge_key: the field that tells elements apart, or "".
    retain_keys: the patch's `$retainKeys` directive applies (a union such as a volume source or update strategy).
    """

    element: str
    shape: Shape
    merge: bool
    merge_key: str
    retain_keys: bool
    list_type: ListType
    map_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a type.

    number: its protobuf field number; 0 where the field does not travel in protobuf. scalar: what a value (an element,
    a map's value) is, or None where it is of the type named `element`; for a scalar `element` is its Go name, which
    only error messages show ("Protocol" is a string). pointer: unset and zero differ, so a zero is kept.
    always: written also where it is empty. required: as OpenAPI sees it; validation is the kinds' part.
    atomic_map: server-side apply takes the map as one value.
    """

    name: str
    number: int
    element: str
    scalar: Scalar | None
    shape: Shape = Shape.ONE
    pointer: bool = False
    always: bool = False
    required: bool = False
    list_type: ListType = ListType.NONE
    map_keys: tuple[str, ...] = ()
    merge: bool = False
    merge_key: str = ""
    retain_keys: bool = False
    atomic_map: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inline:
    """A struct whose fields stand among its owner's in JSON, and in a message of its own in protobuf."""

    number: int
    type_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type with fields, those of inline structs included.

    name: unique in the schema; Go's name ("ServicePort") is its last part. package: OpenAPI's ("io.k8s.api.core.v1").
    """

    name: str
    package: str
    fields: Mapping[str, Field]
    inline: tuple[Inline, ...] = ()
    atomic: bool = False
    text: str = ""

    @property
    def go_name(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def full_name(self) -> str:
        """As in OpenAPI: "io.k8s.api.core.v1.ServicePort"."""
        return f"{self.package}.{self.go_name}"


class Schema:
    """All types by name; the name of a kind is the kind ("Service", "Deployment")."""

    def __init__(self, types: Mapping[str, Type]) -> None:
        self.types = types

    def patch_rule(self, type_name: str, field: str) -> PatchRule | None:
        """The rule of `type_name`'s field, or None where the type has no such field (or is no type with fields)."""
        owner = self.types.get(type_name)
        found = owner.fields.get(field) if owner is not None else None
        if found is None:
            return None
        return PatchRule(
            element=found.element,
            shape=found.shape,
            merge=found.merge,
            merge_key=found.merge_key,
            retain_keys=found.retain_keys,
            list_type=found.list_type,
            map_keys=found.map_keys,
        )
