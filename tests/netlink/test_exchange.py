"""The conversation, without a kernel: acknowledgements, errors, dumps and what goes wrong with them."""

from __future__ import annotations

import errno
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.netlink.exchange import (
    AnswerLost,
    Failure,
    Interrupted,
    KernelRefused,
    Reply,
    check_batch,
    encode_batch,
    parts_within,
    size_of,
)
from fairway.netlink.nftables import BATCH_BEGIN, BATCH_END, Kind, Request, delete_chain, dump, request
from fairway.netlink.wire import (
    HEADER,
    NLM_F_ACK,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_OVERRUN,
    Received,
    attribute,
    attributes,
    decode_messages,
    text,
)

FIRST = 40
REQUESTS = [delete_chain(2, "t", name) for name in ("a", "b", "c")]
CAPPED, TLVS = 0x100, 0x200
DUMP = dump(Kind.GETCHAIN, 2, "t")


def error(sequence: int, number: int, *, words: str = "", offset: int | None = None, repeated: bytes = b"") -> Received:
    """As the kernel answers; repeated: the body of the message it concerns, "" where the answer is capped."""
    flags = TLVS if words or offset is not None else 0
    told = HEADER.pack(HEADER.size + len(repeated), 0x0A05, 0, sequence, 0) + repeated + bytes(-len(repeated) % 4)
    body = struct.pack("=i", -number) + told
    if words:
        body += text(1, words)
    if offset is not None:
        body += attribute(2, struct.pack("=I", offset))
    return Received(NLMSG_ERROR, flags | (0 if repeated else CAPPED), sequence, 0, body)


def ack(sequence: int) -> Received:
    return error(sequence, 0)


def refusal(*answers: Received) -> KernelRefused:
    with pytest.raises(KernelRefused) as caught:
        check_batch(answers, REQUESTS, FIRST)
    return caught.value


def test_a_batch_begins_ends_and_asks_for_one_acknowledgement() -> None:
    messages = list(decode_messages(encode_batch(REQUESTS, FIRST)))
    assert [each.kind for each in messages] == [BATCH_BEGIN, *[0x0A05] * 3, BATCH_END]
    assert [each.sequence for each in messages] == [40, 41, 42, 43, 44]
    assert [bool(each.flags & NLM_F_ACK) for each in messages] == [False, False, False, True, False]
    assert attributes(messages[0].body[4:]) == {}


def test_a_batch_may_name_the_generation_it_builds_on() -> None:
    begin = next(decode_messages(encode_batch(REQUESTS, FIRST, generation=7)))
    assert attributes(begin.body[4:]) == {1: b"\0\0\0\7"}


@given(st.integers(0, 5), st.booleans())
def test_the_size_of_a_batch_is_known_before_it_is_made(count: int, named: bool) -> None:
    some = REQUESTS[:1] * count
    largest = len(encode_batch(some, 1, generation=1))
    assert size_of(some) == largest
    assert len(encode_batch(some, 1, generation=1 if named else None)) <= largest


def test_an_acknowledged_batch_is_in() -> None:
    check_batch([ack(FIRST + 3)], REQUESTS, FIRST)
    check_batch([], [], FIRST)


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [ack(FIRST + 2)],
        [ack(FIRST - 1)],
        [ack(FIRST + 5)],
        [Received(NLMSG_ERROR, 0, FIRST + 3, 0, b"")],
        [Received(0x0A03, 0, FIRST + 3, 0, bytes(20))],
    ],
)
def test_without_the_last_acknowledgement_nothing_is_known(answers: list[Received]) -> None:
    with pytest.raises(AnswerLost):
        check_batch(answers, REQUESTS, FIRST)


def test_errors_name_their_messages_and_what_they_were_about() -> None:
    refused = refusal(error(FIRST + 1, errno.ENOENT), error(FIRST + 3, errno.EBUSY))
    assert [(each.index, each.number, each.about) for each in refused.failures] == [
        (0, errno.ENOENT, "chain a"),
        (2, errno.EBUSY, "chain c"),
    ]
    assert refused.number == errno.ENOENT
    assert str(refused) == "chain a: No such file or directory; chain c: Device or resource busy"


def test_an_error_outweighs_an_acknowledgement() -> None:
    assert refusal(ack(FIRST + 3), error(FIRST + 2, errno.EEXIST)).failures[0].index == 1


def test_a_batch_that_fails_as_a_whole_fails_at_no_message() -> None:
    for sequence in (FIRST, FIRST + 4):
        (failure,) = refusal(error(sequence, errno.ERESTART)).failures
        assert (failure.index, failure.number, failure.about) == (-1, errno.ERESTART, None)


def test_answers_of_an_earlier_conversation_are_passed_over() -> None:
    check_batch([error(FIRST - 1, errno.EPERM), error(FIRST + 9, errno.EPERM), ack(FIRST + 3)], REQUESTS, FIRST)


@pytest.mark.parametrize("repeated", [b"", b"abcde", REQUESTS[1].body])
def test_the_kernels_words_and_the_place_of_the_wrong_attribute_are_told(repeated: bytes) -> None:
    """They follow the message that is repeated, or its header alone."""
    told = error(FIRST + 2, errno.EINVAL, words="Chain is in use", offset=20, repeated=repeated)
    (failure,) = refusal(told).failures
    assert failure == Failure(1, errno.EINVAL, "chain b", "Chain is in use", 20)
    assert str(failure) == "chain b: Invalid argument (Chain is in use)"


def test_an_error_too_short_for_its_words_is_an_error_still() -> None:
    short = Received(NLMSG_ERROR, TLVS, FIRST + 1, 0, struct.pack("=i", -errno.EPERM))
    assert refusal(short).number == errno.EPERM


@given(
    st.binary(max_size=40), st.integers(0, 0xFFFF), st.sampled_from([NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN, 0x0A03])
)
def test_any_answer_is_an_outcome(body: bytes, flags: int, kind: int) -> None:
    told = Received(kind, flags, FIRST + 3, 0, body)
    try:
        check_batch([told], REQUESTS, FIRST)
    except (KernelRefused, AnswerLost, ValueError):
        pass
    try:
        Reply(DUMP, FIRST + 3).feed([told])
    except (KernelRefused, AnswerLost, Interrupted, ValueError):
        pass


# -- dumps


def part(sequence: int, body: bytes = b"body", flags: int = NLM_F_MULTI) -> Received:
    return Received(0x0A03, flags, sequence, 0, body)


def done(sequence: int, number: int = 0, flags: int = NLM_F_MULTI) -> Received:
    return Received(NLMSG_DONE, flags, sequence, 0, struct.pack("=i", -number))


def test_a_dump_comes_in_pieces_until_it_is_done() -> None:
    reply = Reply(DUMP, 9)
    assert not reply.feed([part(9, b"one"), part(9, b"two")])
    assert not reply.feed([])
    assert reply.feed([part(9, b"three"), done(9), part(9, b"never")])
    assert reply.bodies == [(0x0A03, b"one"), (0x0A03, b"two"), (0x0A03, b"three")]


def test_an_answer_ends_with_its_acknowledgement() -> None:
    reply = Reply(DUMP, 9)
    assert reply.feed([part(9), ack(9)])
    assert len(reply.bodies) == 1


def test_pieces_of_an_earlier_dump_are_passed_over() -> None:
    reply = Reply(DUMP, 9)
    assert not reply.feed([part(8), done(8), part(8, flags=NLM_F_DUMP_INTR), error(8, errno.EPERM)])
    assert reply.bodies == []


@pytest.mark.parametrize(
    "told",
    [
        part(9, flags=NLM_F_MULTI | NLM_F_DUMP_INTR),
        done(9, flags=NLM_F_DUMP_INTR),
        done(9, errno.EINTR),
        error(9, errno.EINTR),
    ],
)
def test_a_dump_that_was_changed_meanwhile_is_interrupted(told: Received) -> None:
    with pytest.raises(Interrupted, match="table t"):
        Reply(DUMP, 9).feed([part(9), told])


def test_a_dump_of_what_is_not_there_is_refused() -> None:
    for told in (error(9, errno.ENOENT), done(9, errno.ENOENT)):
        with pytest.raises(KernelRefused) as caught:
            Reply(DUMP, 9).feed([told])
        assert caught.value.failures == (Failure(0, errno.ENOENT, "table t"),)


def test_answers_the_kernel_dropped_are_lost() -> None:
    with pytest.raises(AnswerLost):
        Reply(DUMP, 9).feed([Received(NLMSG_OVERRUN, 0, 9, 0, b"")])


# -- parts


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 400))
def test_parts_keep_the_order_and_the_limit(words: list[int], limit: int) -> None:
    requests = [request(Kind.DELCHAIN, 2, bytes(4 * count), about=index) for index, count in enumerate(words)]
    parts = list(parts_within(requests, limit))
    assert [each for some in parts for each in some] == requests
    for some in parts:
        assert some
        assert len(encode_batch(some, 1, generation=1)) <= limit or len(some) == 1
    for one, other in pairwise(parts):
        assert size_of([*one, other[0]]) > limit


def test_what_fits_is_one_part() -> None:
    assert list(parts_within(REQUESTS, size_of(REQUESTS))) == [REQUESTS]
    assert len(list(parts_within(REQUESTS, size_of(REQUESTS) - 1))) == 2
    assert list(parts_within([], 100)) == []


def test_a_request_without_words_about_it_is_told_by_its_error_alone() -> None:
    plain = Request(0x0A05, 1, bytes(4))
    with pytest.raises(KernelRefused, match=r"^Operation not permitted$"):
        check_batch([error(2, errno.EPERM)], [plain], 1)
