"""What nft keeps in the kernel; its own bytes are in tests/golden/nft."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.netlink.userdata import (
    COMMENT_LIMIT,
    Field,
    comment_record,
    key_type,
    meta_field,
    numgen_field,
    payload_field,
    read_comment,
    read_set_comment,
    record,
    set_userdata,
)

ADDRESS = payload_field("ip daddr", 4, 7, protocol=12, template=12)
PROTOCOL = meta_field("meta l4proto", 1, 12, key=16, big_endian=False)

texts = st.text(st.characters(min_codepoint=1, codec="utf-8"), max_size=200)


@given(texts)
def test_a_comment_comes_back_cut_at_a_whole_character(text: str) -> None:
    found = read_comment(comment_record(text))
    assert text.startswith(found)
    assert len(found.encode()) < COMMENT_LIMIT
    if len(text.encode()) < COMMENT_LIMIT:
        assert found == text


@given(texts)
def test_a_sets_comment_stands_after_all_else(text: str) -> None:
    fields: tuple[Field, ...] = (ADDRESS, PROTOCOL)
    plain = set_userdata(fields, None, is_map=True)
    commented = set_userdata(fields, None, is_map=True, comment=text)
    assert commented.startswith(plain)
    assert read_set_comment(plain) == ""
    assert text.startswith(read_set_comment(commented))


@given(st.binary(max_size=40))
def test_any_user_data_has_some_comment_or_none(data: bytes) -> None:
    """Somebody else's table may keep anything there."""
    assert isinstance(read_comment(data), str)
    assert isinstance(read_set_comment(data), str)


def test_a_record_is_its_type_its_length_and_its_value() -> None:
    assert record(7, b"ab") == b"\7\2ab"
    assert len(record(0, bytes(255))) == 257
    with pytest.raises(ValueError, match="do not fit"):
        record(0, bytes(256))


def test_a_concatenations_type_has_six_bits_for_each_field() -> None:
    assert key_type([ADDRESS]) == 7
    assert key_type([ADDRESS, PROTOCOL]) == 7 << 6 | 12


def test_fields_among_others_take_words_of_four_bytes() -> None:
    assert [field.padded for field in (ADDRESS, PROTOCOL, numgen_field(9))] == [4, 4, 4]
