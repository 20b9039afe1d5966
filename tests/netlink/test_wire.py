"""Messages and attributes as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.netlink.wire import (
    MAX_ATTRIBUTE,
    NLA_F_NESTED,
    attribute,
    attributes,
    decode_messages,
    each_attribute,
    encode_message,
    nested,
    text,
    to_int,
    to_text,
    u8,
    u16,
    u32,
    u64,
)

kinds = st.integers(0, 0x3FFF)


def test_a_message_is_its_header_and_its_body() -> None:
    assert (
        encode_message(0x0A03, 5, 7, b"abcd", port=9) == bytes.fromhex("14000000 030a 0500 07000000 09000000") + b"abcd"
    )


def test_an_attribute_is_padded_to_four_bytes_and_its_length_is_not() -> None:
    assert attribute(3, b"abcde") == bytes.fromhex("0900 0300") + b"abcde\0\0\0"
    assert text(1, "abc") == bytes.fromhex("0800 0100") + b"abc\0"
    assert nested(2, u32(1, 0x01020304)) == bytes.fromhex("0c00 0280 0800 0100 01020304")


def test_integers_inside_are_big_endian_in_their_size() -> None:
    assert [make(1, 5)[4:] for make in (u8, u16, u32, u64)] == [
        b"\5\0\0\0",
        b"\0\5\0\0",
        b"\0\0\0\5",
        b"\0\0\0\0\0\0\0\5",
    ]
    assert to_int(b"\1\0") == 256


@given(st.lists(st.tuples(kinds, st.binary(max_size=30)), max_size=8))
def test_attributes_come_back_as_they_were(given: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, value) for kind, value in given)
    assert list(each_attribute(data)) == given
    assert attributes(data) == dict(given)


@given(kinds, st.binary(max_size=8))
def test_the_flags_of_a_type_are_none_of_it(kind: int, value: bytes) -> None:
    assert list(each_attribute(attribute(kind | NLA_F_NESTED, value))) == [(kind, value)]


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=24)), max_size=5))
def test_messages_of_one_datagram_come_back_as_they_were(given: list[tuple[int, int, bytes]]) -> None:
    padded = [(kind, flags, body + bytes(-len(body) % 4)) for kind, flags, body in given]
    data = b"".join(encode_message(kind, flags, number, body) for number, (kind, flags, body) in enumerate(padded))
    found = [(told.kind, told.flags, told.body) for told in decode_messages(data)]
    assert found == padded
    assert [told.sequence for told in decode_messages(data)] == list(range(len(padded)))


def test_an_attribute_that_is_not_there_is_a_broken_message() -> None:
    with pytest.raises(ValueError, match="attribute 5 is missing"):
        attributes(u8(1, 1))[5]
    assert attributes(u8(1, 1)).get(5) is None


def test_the_largest_attribute_fits_and_one_more_byte_does_not() -> None:
    assert attributes(attribute(1, bytes(MAX_ATTRIBUTE - 4))) == {1: bytes(MAX_ATTRIBUTE - 4)}
    with pytest.raises(ValueError, match="do not fit"):
        attribute(1, bytes(MAX_ATTRIBUTE - 3))


@pytest.mark.parametrize("data", ["0300 0100", "0000 0000", "0900 0100 00000000", "ffff 0100"])
def test_an_attribute_that_claims_what_is_not_there_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match="claims"):
        list(each_attribute(bytes.fromhex(data)))


@pytest.mark.parametrize("length", [0, 15, 17, 1 << 31])
def test_a_message_that_claims_what_is_not_there_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="claims"):
        list(decode_messages(length.to_bytes(4, "little") + bytes(12)))


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (each_attribute, decode_messages):
        try:
            list(read(data))
        except ValueError:
            pass


def test_text_that_is_none_stays_recognisable() -> None:
    assert to_text(b"a\xffb\0") == "a\\xffb"
