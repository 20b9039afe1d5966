"""Expressions as attributes, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.netlink.expression_codec import (
    decode_data,
    decode_expressions,
    decode_verdict,
    encode_expressions,
    encode_value,
    encode_verdict,
)
from fairway.netlink.expressions import (
    Code,
    Counter,
    Expression,
    Payload,
    PayloadBase,
    Unknown,
    Verdict,
    goto,
    word,
    word_index,
)
from fairway.netlink.wire import attribute, each_attribute, nested, text, u32
from tests.netlink.strategies import broken, expressions, verdicts


@given(st.lists(expressions, max_size=6))
def test_expressions_come_back_as_they_were(given: list[Expression]) -> None:
    assert decode_expressions(encode_expressions(given)) == tuple(given)


@given(verdicts)
def test_verdicts_come_back_as_they_were(given: Verdict) -> None:
    ((_, value),) = each_attribute(encode_verdict(given))
    assert decode_verdict(value) == given
    assert decode_data(encode_verdict(given)) == given


@given(st.data())
def test_broken_bytes_are_refused_or_are_other_expressions(data: st.DataObject) -> None:
    whole = encode_expressions(data.draw(st.lists(expressions, min_size=1, max_size=4)))
    try:
        decode_expressions(data.draw(broken(whole)))
    except ValueError:
        pass


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for decode in (decode_expressions, decode_verdict, decode_data):
        try:
            decode(data)
        except ValueError:
            pass


def one(name: str, *inner: bytes) -> Expression:
    (found,) = decode_expressions(nested(1, text(1, name), nested(2, *inner)))
    return found


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("payload", (u32(2, 0), u32(3, 0), u32(4, 4), u32(1, 1))),
        ("payload", (u32(5, 1), u32(2, 1), u32(3, 12), u32(4, 4))),
        ("meta", (u32(2, 4), u32(1, 1))),
        ("ct", (u32(2, 2), u32(3, 1))),
        ("ct", (u32(2, 0), u32(1, 1))),
        ("fib", (u32(3, 3), u32(2, 3), u32(1, 1))),
        ("fib", (u32(3, 1), u32(2, 1), u32(1, 1))),
        ("cmp", (u32(1, 1), u32(2, 2), nested(3, encode_value(b"\1")))),
        ("cmp", (u32(1, 1), u32(2, 0), nested(3, encode_verdict(goto("x"))))),
        ("cmp", (u32(1, 1), u32(2, 0))),
        ("bitwise", (u32(1, 1), u32(2, 1), u32(6, 1), u32(3, 4))),
        ("immediate", (u32(1, 0), nested(2, u32(9, 9)))),
        ("immediate", (u32(1, 0), nested(2, nested(2, u32(1, 77))))),
        ("numgen", (u32(1, 1), u32(2, 3), u32(3, 0))),
        ("nat", (u32(1, 0), u32(2, 2), u32(3, 1), u32(5, 2))),
        ("nat", (u32(1, 1), u32(2, 2), u32(3, 1), u32(4, 2), u32(5, 2))),
        ("nat", (u32(1, 1), u32(2, 2), u32(3, 1))),
        ("masq", ()),
        ("masq", (u32(1, 0x10), u32(2, 1))),
        ("reject", (u32(1, 1),)),
        ("dynset", (u32(4, 1), u32(3, 0), text(1, "x"))),
        ("limit", (u32(1, 1),)),
    ],
)
def test_what_no_rule_of_ours_says_is_unknown_with_all_its_bytes(name: str, inner: tuple[bytes, ...]) -> None:
    """So that a rule somebody changed never equals ours."""
    assert one(name, *inner) == Unknown(name, b"".join(inner))


def test_an_expression_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        decode_expressions(nested(1, attribute(2, b"")))


def test_counters_are_the_same_whatever_they_count() -> None:
    assert one("counter", attribute(1, bytes(7) + b"\5"), attribute(2, bytes(8))) == Counter()


def test_verdicts_below_zero_are_signed() -> None:
    assert encode_verdict(goto("a")).hex() == "14000280 08000100 fffffffc 06000200 61000000".replace(" ", "")
    assert Verdict(Code.GOTO, "a") == goto("a")


@pytest.mark.parametrize(
    ("register", "offset", "named"),
    [(1, 0, 1), (1, 1, 9), (1, 3, 11), (1, 4, 2), (2, 0, 2), (2, 1, 13), (9, 3, 2), (8, 0, 1), (1, 15, 23), (1, 12, 4)],
)
def test_registers_are_named_as_the_kernel_prints_them(register: int, offset: int, named: int) -> None:
    """By sixteen bytes where they begin there, else by four."""
    assert word(register, offset) == named
    assert word_index(named) == word_index(register) + offset


def test_the_verdicts_register_is_none_of_the_others() -> None:
    assert word_index(0) < 0


def test_the_bytes_of_a_load() -> None:
    """nft --debug=mnl of `ip daddr`."""
    assert encode_expressions([Payload(PayloadBase.NETWORK, 16, 4)]).hex() == (
        "340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300000000100800040000000004"
    )
