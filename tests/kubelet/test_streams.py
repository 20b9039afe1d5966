"""Frames of v5.channel.k8s.io."""

from __future__ import annotations

import pytest

from fairway.kubelet.streams import Channel, Input, Resize, exited, failed, frame, parse, success


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        (b"\x00ls\n", Input(data=b"ls\n")),
        (b"\xff\x00", Input(end=True)),
        (b'\x04{"Width":80,"Height":24}', Resize(rows=24, columns=80)),
        (b"", None),
        (b"\x00", None),
        (b"\xff", None),
        (b"\xff\x01", None),
        (b"\x04nonsense", None),
        (b'\x04{"Width":"x"}', None),
        (b"\x04[]", None),
        (b"\x07what", None),
    ],
)
def test_a_clients_message_says(message: bytes, meaning: Input | Resize | None) -> None:
    assert parse(message) == meaning


def test_a_frame_begins_with_its_channel() -> None:
    assert frame(Channel.STDERR, b"oops") == b"\x02oops"
    assert frame(Channel.STDOUT) == b"\x01"


def test_the_last_word_tells_how_it_ended() -> None:
    assert success() == {"metadata": {}, "status": "Success"}
    assert exited(3)["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
    assert exited(3)["reason"] == "NonZeroExitCode"
    assert (failed("no such program")["reason"], failed("x")["code"]) == ("InternalError", 500)
