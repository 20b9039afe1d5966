"""What a type of the API is made of: its fields, their types, and how lists of them are merged.

A `Field` carries what four readers need: JSON decoding (names, types), OpenAPI (required, list types, text for
`kubectl explain`), strategic merge patches (merge keys and strategies) and protobuf (field numbers).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

SCALARS: Mapping[str, str] = {
    "string": "string",
    "bool": "bool",
    "int32": "int32",
    "int64": "int64",
    "bytes": "[]uint8",
    "Time": "string",
    "MicroTime": "string",
    "Quantity": "string",
    "IntOrString": "string",
    "Any": "interface {}",
}
"""The types that have no fields of their own, with the Go type their JSON form is read into (encoding/json's words).

`Time` is RFC 3339 with seconds, `MicroTime` with microseconds, `Quantity` a number with a suffix such as 100m or 1Gi,
`Any` is any JSON value (a patch, managed fields, raw extensions).
"""


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
        `Schema.patch_rule` to go on below. A name in `SCALARS` has no fields.
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

    number: its protobuf field number (`generated.proto`). element: name of the type of the value, of an element or of
    a map's values; a name of `SCALARS` or of another type. required: absent in OpenAPI's sense, nothing is refused
    here. embedded: the struct is anonymous in Go, its name does not show in error messages.
    """

    name: str
    number: int
    element: str
    shape: Shape = Shape.ONE
    required: bool = False
    list_type: ListType = ListType.NONE
    map_keys: tuple[str, ...] = ()
    merge_key: str = ""
    merge: bool = False
    retain_keys: bool = False
    atomic_map: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type with fields; `name` is Go's ("ServicePort"), `full_name` OpenAPI's ("io.k8s.api.core.v1.ServicePort")."""

    name: str
    full_name: str
    fields: Mapping[str, Field]
    text: str = ""
    by_number: Mapping[int, Field]


class Schema:
    """All types by name; a name is Go's, unique over all groups served ("Service", "Deployment", "ObjectMeta")."""

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
