"""Elements of all shapes, by template and attribute by attribute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.netlink.elements import (
    CATCHALL,
    RangeShape,
    Shape,
    Value,
    delete_elements,
    dump_elements,
    element_list,
    new_elements,
)
from fairway.netlink.expression_codec import encode_value, encode_verdict
from fairway.netlink.expressions import DROP, Verdict, goto
from fairway.netlink.nftables import Kind, Request, body_of, kind_of
from fairway.netlink.wire import MAX_ATTRIBUTE, attribute, attributes, nested, u32
from tests.netlink.strategies import broken, verdicts

sizes = st.sampled_from([4, 8, 12, 16, 24, 44])


@st.composite
def shaped(draw: st.DrawFn) -> tuple[Shape, dict[bytes, Value]]:
    """A shape and elements that have it."""
    key = draw(sizes)
    kind = draw(st.sampled_from(["set", "map", "verdicts", "ranges"]))
    size = draw(sizes)
    values: st.SearchStrategy[Value] = {
        "set": st.none(),
        "map": st.binary(min_size=size, max_size=size),
        "verdicts": verdicts,
        "ranges": st.binary(min_size=key, max_size=key),
    }[kind]  # strategies of each are of values, too
    elements = draw(st.dictionaries(st.binary(min_size=key, max_size=key), values, max_size=20))
    shape = RangeShape(key) if kind == "ranges" else Shape(key, size if kind == "map" else 0)
    return shape, elements


def unpacked(requests: list[Request], shape: Shape) -> dict[bytes, Value]:
    found: dict[bytes, Value] = {}
    for each in requests:
        table, name, data = element_list(body_of(each.body))
        assert (table, name) == ("t", "s")
        found |= shape.unpack(data)
    return found


@given(shaped())
def test_elements_come_back_as_they_were(given: tuple[Shape, dict[bytes, Value]]) -> None:
    shape, elements = given
    assert unpacked(list(new_elements(2, "t", "s", shape, elements)), shape) == elements


@given(shaped())
def test_the_template_makes_the_bytes_that_attributes_make(given: tuple[Shape, dict[bytes, Value]]) -> None:
    shape, elements = given
    assert list(shape.pack(elements)) == [shape.element(key, value) for key, value in elements.items()]


@given(shaped())
def test_the_template_reads_what_attributes_say(given: tuple[Shape, dict[bytes, Value]]) -> None:
    """The kernel's lists have no flags of nesting; with them it is read attribute by attribute."""
    shape, elements = given
    data = b"".join(as_dumped(key, value, ranges=isinstance(shape, RangeShape)) for key, value in elements.items())
    assert shape.unpack(data) == elements == dict(shape._unpack(data))
    if shape.value and elements:
        assert shape._unpack_fast(data) == elements


def as_dumped(key: bytes, value: Value, *, ranges: bool = False) -> bytes:
    parts = [attribute(1, encode_value(key))]
    if isinstance(value, Verdict):
        parts.append(attribute(2, encode_verdict(value)))
    elif value is not None:
        parts.append(attribute(10 if ranges else 2, encode_value(value)))
    return attribute(1, b"".join(parts))


def test_the_template_gives_way_to_elements_of_another_shape() -> None:
    """With a timeout, of another size, or twice the same: read one by one, and none is lost."""
    shape = Shape(4, 4)
    plain = as_dumped(b"aaaa", b"bbbb")
    timed = attribute(
        1, attribute(1, encode_value(b"cccc")) + attribute(2, encode_value(b"dddd")) + attribute(4, bytes(8))
    )
    longer = as_dumped(b"eeee", b"ffffffff")
    assert shape.unpack(plain + timed + longer) == {b"aaaa": b"bbbb", b"cccc": b"dddd", b"eeee": b"ffffffff"}
    assert shape.unpack(plain + as_dumped(b"aaaa", b"gggg")) == {b"aaaa": b"gggg"}
    sized = as_dumped(b"aaa", b"bbbb")
    assert len(sized) == len(plain)
    assert shape.unpack(sized) == {b"aaa": b"bbbb"}


def test_ends_of_intervals_are_no_elements() -> None:
    end = attribute(1, attribute(1, encode_value(b"bbbb")) + u32(3, 1))
    assert Shape(4).unpack(as_dumped(b"aaaa", None) + end) == {b"aaaa": None}


@given(st.data())
def test_broken_lists_are_refused_or_are_others(data: st.DataObject) -> None:
    shape, elements = data.draw(shaped())
    whole = b"".join(shape.pack(elements))
    try:
        shape.unpack(data.draw(broken(whole)))
    except ValueError:
        pass


def test_the_element_for_every_key_has_a_key_of_its_own() -> None:
    every = attribute(1, u32(3, 2) + attribute(2, encode_value(b"bbbb")))
    assert Shape(4, 4).unpack(as_dumped(b"aaaa", b"bbbb") + every) == {b"aaaa": b"bbbb", CATCHALL: b"bbbb"}


def test_an_element_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        Shape(4).unpack(attribute(1, u32(3, 0)))


def test_a_key_that_is_a_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match="verdict"):
        Shape(4).unpack(nested(1, nested(1, encode_verdict(DROP))))


def test_shapes_that_need_padding_are_refused() -> None:
    for key, value in ((3, 0), (4, 2)):
        with pytest.raises(ValueError, match="padding"):
            Shape(key, value)


def test_deletions_name_keys_alone_but_for_the_ends_of_ranges() -> None:
    (plain,) = delete_elements(2, "t", "s", Shape(4, 4), {b"aaaa": b"bbbb"})
    assert kind_of(plain.kind) is Kind.DELSETELEM
    assert Shape(4).unpack(element_list(body_of(plain.body))[2]) == {b"aaaa": None}
    (ranged,) = delete_elements(2, "t", "s", RangeShape(4), {b"aaaa": b"bbbb"})
    assert RangeShape(4).unpack(element_list(body_of(ranged.body))[2]) == {b"aaaa": b"bbbb"}


def test_many_elements_are_several_messages_each_as_full_as_can_be() -> None:
    elements: dict[bytes, Value] = {number.to_bytes(4, "big"): goto(f"chain-{number % 7}") for number in range(5000)}
    shape = Shape(4)
    requests = list(new_elements(2, "t", "s", shape, elements))
    lists = [element_list(body_of(each.body))[2] for each in requests]
    largest = max(len(shape.element(key, value)) for key, value in elements.items())
    assert all(MAX_ATTRIBUTE - 4 - largest < len(each) <= MAX_ATTRIBUTE - 4 for each in lists[:-1])
    assert len(requests) > 2
    assert unpacked(requests, shape) == elements


def test_no_elements_are_no_message() -> None:
    assert list(new_elements(2, "t", "s", Shape(4), {})) == []
    assert list(delete_elements(2, "t", "s", Shape(4), {})) == []


def test_a_dump_asks_for_one_set() -> None:
    asked = dump_elements(10, "t", "s")
    assert kind_of(asked.kind) is Kind.GETSETELEM
    assert attributes(body_of(asked.body)) == {1: b"t\0", 2: b"s\0"}
