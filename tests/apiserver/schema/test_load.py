from __future__ import annotations

import pytest

from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.load import parse
from fairway.apiserver.schema.model import Field, ListType, Scalar, Shape, Type

TEXT = """
string Protocol

package io.example.v1

Thing atomic -- A thing.
    1  name!     string
    2  ports     []Port             map=port,protocol merge=port
       -- Its ports.
    3  labels    map[string]string  atomic
    4  (Source)

Port
    1  protocol  *Protocol
    2  number!   int32              optional

Source
    7  host      *Port
"""


def test_a_description_is_read() -> None:
    schema = parse([TEXT])
    thing = schema.types["Thing"]
    assert (thing.full_name, thing.text, thing.atomic) == ("io.example.v1.Thing", "A thing.", True)
    assert [inline.type_name for inline in thing.inline] == ["Source"]
    assert thing.fields == {
        "name": Field(name="name", number=1, element="string", scalar=Scalar.STRING, always=True, required=True),
        "ports": Field(
            name="ports",
            number=2,
            element="Port",
            scalar=None,
            shape=Shape.LIST,
            list_type=ListType.MAP,
            map_keys=("port", "protocol"),
            merge=True,
            merge_key="port",
            text="Its ports.",
        ),
        "labels": Field(
            name="labels", number=3, element="string", scalar=Scalar.STRING, shape=Shape.MAP, atomic_map=True
        ),
        "host": Field(name="host", number=7, element="Port", scalar=None, pointer=True),
    }
    assert schema.types["Port"].fields["protocol"].element == "Protocol"
    assert not schema.types["Port"].fields["number"].required


def test_a_type_that_nobody_describes_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^Thing\.x: unknown type 'Nothing'$"):
        parse(["package p\nThing\n  1  x  Nothing\n"])


def test_an_attribute_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown attribute 'atomc' of field 'x'"):
        parse(["package p\nThing\n  1  x  []string  atomc\n"])


@pytest.mark.parametrize("owner", SCHEMA.types.values(), ids=lambda owner: owner.name)
def test_protobuf_numbers_are_unique_in_a_message(owner: Type) -> None:
    inlined = {name for one in owner.inline for name in SCHEMA.types[one.type_name].fields}
    numbers = [field.number for name, field in owner.fields.items() if name not in inlined and field.number]
    numbers += [one.number for one in owner.inline]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("owner", SCHEMA.types.values(), ids=lambda owner: owner.name)
def test_keys_of_lists_are_fields_of_their_elements(owner: Type) -> None:
    for field in owner.fields.values():
        for key in {*field.map_keys, field.merge_key} - {""}:
            assert key in SCHEMA.types[field.element].fields


def test_patch_rules_lead_through_the_types() -> None:
    spec = SCHEMA.patch_rule("Service", "spec")
    assert spec is not None
    ports = SCHEMA.patch_rule(spec.element, "ports")
    assert ports is not None
    assert (ports.element, ports.shape, ports.merge, ports.merge_key) == ("ServicePort", Shape.LIST, True, "port")
    volumes = SCHEMA.patch_rule("PodSpec", "volumes")
    assert volumes is not None
    assert (volumes.merge_key, volumes.retain_keys) == ("name", True)
    assert SCHEMA.patch_rule("ServicePort", "nothing") is None
    assert SCHEMA.patch_rule("string", "anything") is None
