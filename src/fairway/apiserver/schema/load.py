"""Reads the description of the types: the text files beside this module.

A file is lines, and a line is one of

    package io.k8s.api.core.v1                    what follows is of this OpenAPI package
    string AddressType Protocol ...               names Go gives to plain strings
    ServicePort -- text                           a type begins; the text is for `kubectl explain`; `atomic` after the
                                                  name: server-side apply takes an object of it as one value
      4  targetPort  IntOrString                  a field: protobuf number, JSON name, Go type, attributes
         -- text                                   the text of the field above
      2  (VolumeSource)                           an inline struct

A name ends with `!` where it is written to JSON even if empty (no `omitempty`) and so is required, unless the attribute
`optional` follows. Types are Go's: `*T` tells unset from zero, `[]T` is a list, `map[string]T` a map. Attributes:
`atomic`, `set` and `map=KEY,KEY` are list types (`atomic` also of maps), `merge`, `merge=KEY` and `retainKeys` patch
strategies, `required` and `optional`, `omitzero` (an unset struct is left out).

Names, numbers, types and strategies are facts of the API, from the struct tags of k8s.io/api and k8s.io/apimachinery
0.33 (`core/v1/types.go`, `meta/v1/types.go`, ...); fields newer than that from the OpenAPI of 1.36.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from fairway.apiserver.schema.model import Field, Inline, ListType, Scalar, Schema, Shape, Type

FILES = (
    "meta",
    "core",
    "services",
    "pods",
    "containers",
    "volumes",
    "nodes",
    "workloads",
    "leases",
    "scheduling",
    "networking",
    "reviews",
    "policy",
)

_SCALARS = {scalar.value: scalar for scalar in Scalar}


@dataclass(slots=True)
class _Draft:
    """A type while its lines are read."""

    name: str
    package: str
    text: str
    atomic: bool
    fields: list[Field] = field(default_factory=list)
    inline: list[Inline] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    drafts: dict[str, _Draft] = field(default_factory=dict)
    strings: set[str] = field(default_factory=set)
    package: str = ""

    def line(self, line: str) -> None:
        body, _, text = line.partition("-- ")
        words = body.split()
        if not line.startswith(" "):
            self._heading(words, text.strip())
        elif words:
            self._field(words)
        elif text:
            fields = self._last.fields
            fields[-1] = replace(fields[-1], text=text.strip())

    @property
    def _last(self) -> _Draft:
        return self.drafts[next(reversed(self.drafts))]

    def _heading(self, words: list[str], text: str) -> None:
        if not words:
            return
        if words[0] == "package":
            self.package = words[1]
        elif words[0] == "string":
            self.strings.update(words[1:])
        else:
            self.drafts[words[0]] = _Draft(words[0], self.package, text, "atomic" in words[1:])

    def _field(self, words: list[str]) -> None:
        number = int(words[0])
        if words[1].startswith("("):
            self._last.inline.append(Inline(number=number, type_name=words[1].strip("()")))
            return
        self._last.fields.append(self._parse(number, words[1], words[2], words[3:]))

    def _parse(self, number: int, name: str, go_type: str, attributes: Iterable[str]) -> Field:
        always = name.endswith("!")
        shape, pointer, element = _shape(go_type)
        scalar = Scalar.STRING if element in self.strings else _SCALARS.get(element)
        made = Field(
            name=name.rstrip("!"),
            number=number,
            element=element,
            scalar=scalar,
            shape=shape,
            pointer=pointer,
            # A struct held by value has no empty form in Go: it is written whatever it holds.
            always=always or (shape is Shape.ONE and not pointer and scalar in _WRITTEN_WHEN_EMPTY),
            required=always,
        )
        for attribute in attributes:
            made = _with(made, attribute)
        return made

    def types(self) -> Iterator[Type]:
        for draft in self.drafts.values():
            inlined = [found for inline in draft.inline for found in self.drafts[inline.type_name].fields]
            yield Type(
                name=draft.name,
                package=draft.package,
                fields={found.name: found for found in [*draft.fields, *inlined]},
                inline=tuple(draft.inline),
                text=draft.text,
                atomic=draft.atomic,
            )


_WRITTEN_WHEN_EMPTY = (None, Scalar.TIME, Scalar.MICRO_TIME, Scalar.INT_OR_STRING, Scalar.QUANTITY, Scalar.RAW)


def _shape(go_type: str) -> tuple[Shape, bool, str]:
    if go_type.startswith("[]"):
        return Shape.LIST, False, go_type[2:]
    if go_type.startswith("map[string]"):
        return Shape.MAP, False, go_type[len("map[string]") :]
    return Shape.ONE, go_type.startswith("*"), go_type.lstrip("*")


def _with(made: Field, attribute: str) -> Field:
    word, _, value = attribute.partition("=")
    match word:
        case "atomic" if made.shape is Shape.LIST:
            return replace(made, list_type=ListType.ATOMIC)
        case "atomic":
            return replace(made, atomic_map=True)
        case "set":
            return replace(made, list_type=ListType.SET)
        case "map":
            return replace(made, list_type=ListType.MAP, map_keys=tuple(value.split(",")))
        case "merge":
            return replace(made, merge=True, merge_key=value)
        case "retainKeys":
            return replace(made, retain_keys=True)
        case "required":
            return replace(made, required=True)
        case "optional":
            return replace(made, required=False)
        case "omitzero":
            return replace(made, always=False)
        case _:
            raise ValueError(f"unknown attribute {attribute!r} of field {made.name!r}")


def parse(texts: Iterable[str]) -> Schema:
    """The schema of description texts. Raises ValueError or KeyError where they are malformed."""
    reader = _Reader()
    for text in texts:
        for line in text.splitlines():
            reader.line(line)
    schema = Schema({made.name: made for made in reader.types()})
    for made in schema.types.values():
        for found in made.fields.values():
            if found.scalar is None and found.element not in schema.types:
                raise ValueError(f"{made.name}.{found.name}: unknown type {found.element!r}")
    return schema


def load() -> Schema:
    """The schema of every kind served."""
    folder = importlib.resources.files(__package__)
    return parse(folder.joinpath(f"{name}.txt").read_text(encoding="utf-8") for name in FILES)
