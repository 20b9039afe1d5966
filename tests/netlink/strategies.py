"""Values that messages are made of."""

from __future__ import annotations

from hypothesis import strategies as st

from fairway.netlink.expressions import (
    Bitwise,
    Cmp,
    CmpOp,
    Code,
    Counter,
    Ct,
    CtKey,
    Dnat,
    Expression,
    FibType,
    Immediate,
    ImmediateVerdict,
    Lookup,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Numgen,
    Payload,
    PayloadBase,
    Reject,
    Unknown,
    Update,
    Verdict,
)

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
registers = st.integers(0, 23)
numbers = st.integers(0, 0xFFFFFFFF)
values = st.binary(min_size=1, max_size=64)
verdicts = st.one_of(
    st.sampled_from([code for code in Code if code not in (Code.JUMP, Code.GOTO)]).map(Verdict),
    st.builds(Verdict, st.sampled_from([Code.JUMP, Code.GOTO]), names),
)
expressions: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Payload, st.sampled_from(PayloadBase), numbers, numbers, registers),
    st.builds(Meta, st.sampled_from(MetaKey), registers),
    st.builds(MetaSet, st.sampled_from(MetaKey), registers),
    st.builds(Ct, st.sampled_from(CtKey), registers),
    st.builds(FibType, st.booleans(), registers),
    st.builds(Cmp, st.sampled_from(CmpOp), values, registers),
    st.builds(Bitwise, values, values, registers, registers),
    st.builds(Immediate, values, registers),
    st.builds(ImmediateVerdict, verdicts),
    st.builds(Lookup, names, registers, st.none() | registers, st.booleans()),
    st.builds(Numgen, numbers, numbers, registers),
    st.builds(Dnat, st.sampled_from([2, 10]), registers, registers),
    st.just(Masquerade()),
    st.builds(Reject, st.integers(0, 255)),
    st.builds(Update, names, registers),
    st.just(Counter()),
    st.builds(Unknown, st.sampled_from(["limit", "quota", "no-such"]), st.binary(max_size=40)),
)


@st.composite
def broken(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with some of them changed, left out or put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 2)):
            case 0 if data:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at : at + draw(st.integers(1, 8))]
            case _:
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)
