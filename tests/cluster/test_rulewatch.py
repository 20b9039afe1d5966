"""A commit is told from the messages that go before it."""

import struct

from fairway.cluster.rulewatch import NEWGEN, commits


def message(kind: int, payload: bytes) -> bytes:
    length = 16 + len(payload)
    return struct.pack("=IHHII", length, kind, 0, 0, 0) + payload + bytes(-length % 4)


def test_the_generation_message_tells_of_a_commit() -> None:
    new_rule = message(10 << 8 | 6, b"abc")
    assert commits(new_rule + message(NEWGEN, bytes(20)))
    assert not commits(new_rule)
    assert not commits(b"")


def test_a_message_cut_short_ends_the_datagram() -> None:
    assert not commits(struct.pack("=IHHII", 0, 1, 0, 0, 0))
    assert not commits(b"\x01\x02")
