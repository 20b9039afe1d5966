"""exec's streams as a state machine: frames and messages in, frames and messages out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.apiserver.pod_streams import Location
from fairway.apiserver.spdy import (
    Data,
    Frame,
    GoAway,
    MoreHeaders,
    Ping,
    ResetStatus,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)
from fairway.apiserver.spdy_exec import (
    MAX_PIECE_BYTES,
    MAX_RESIZE_BYTES,
    ExecStreams,
    Reaction,
    Stream,
    expected_streams,
)

ERROR, STDIN, STDOUT, STDERR = 1, 3, 5, 7
"""The order in which client-go opens them."""
RESIZE = 7
"""With a terminal, instead of stderr."""
PLAIN = {ERROR: Stream.ERROR, STDIN: Stream.STDIN, STDOUT: Stream.STDOUT, STDERR: Stream.STDERR}
TERMINAL = {ERROR: Stream.ERROR, STDIN: Stream.STDIN, STDOUT: Stream.STDOUT, RESIZE: Stream.RESIZE}
SIZE = b'{"Width":80,"Height":24}'


def syn(number: int, name: str, *, fin: bool = False) -> SynStream:
    return SynStream(stream_id=number, headers=(("streamtype", name),), fin=fin)


def opened(streams: dict[int, Stream] = PLAIN) -> ExecStreams:
    made = ExecStreams(frozenset(streams.values()))
    for number, stream in streams.items():
        assert made.receive(syn(number, stream.value)) == Reaction(frames=(SynReply(stream_id=number),))
    assert made.is_ready
    return made


def messages(streams: ExecStreams, *frames: Frame) -> list[bytes]:
    """What the kubelet is sent, and nobody else."""
    reactions = [streams.receive(frame) for frame in frames]
    assert [reaction.frames for reaction in reactions] == [()] * len(frames)
    return [message for reaction in reactions for message in reaction.messages]


@pytest.mark.parametrize(
    ("names", "streams"),
    [
        (("output", "error"), {Stream.ERROR, Stream.STDOUT, Stream.STDERR}),
        (("input", "output", "error"), {Stream.ERROR, Stream.STDIN, Stream.STDOUT, Stream.STDERR}),
        (("input", "output", "tty"), {Stream.ERROR, Stream.STDIN, Stream.STDOUT, Stream.RESIZE}),
        (("output", "error", "tty"), {Stream.ERROR, Stream.STDOUT, Stream.RESIZE}),
    ],
)
def test_a_client_opens_a_stream_for_each_it_asks_for(names: tuple[str, ...], streams: set[Stream]) -> None:
    query = [*((name, "1") for name in names), ("command", "input")]
    assert expected_streams(Location(host="", port=0, path="", query=query)) == streams


def test_it_is_ready_when_every_expected_stream_is_open() -> None:
    streams = ExecStreams(frozenset({Stream.ERROR, Stream.STDOUT}))
    seen = []
    for frame in (syn(1, "error"), syn(3, "stdout")):
        assert streams.receive(frame).frames == (SynReply(stream_id=frame.stream_id),)
        seen.append((streams.is_ready, streams.last_id))
    assert seen == [(False, 1), (True, 3)]


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (syn(9, "stdout"), ResetStatus.REFUSED_STREAM),
        (syn(9, "resize"), ResetStatus.REFUSED_STREAM),
        (syn(9, "other"), ResetStatus.REFUSED_STREAM),
        (SynStream(stream_id=9), ResetStatus.REFUSED_STREAM),
        (syn(10, "stdout"), ResetStatus.PROTOCOL_ERROR),
        (syn(STDERR, "stdout"), ResetStatus.PROTOCOL_ERROR),
        (syn(ERROR, "stdout"), ResetStatus.PROTOCOL_ERROR),
        (Data(stream_id=9, data=b"x"), ResetStatus.INVALID_STREAM),
    ],
)
def test_a_stream_that_is_not_expected_is_reset(frame: SynStream | Data, status: ResetStatus) -> None:
    reset = RstStream(stream_id=frame.stream_id, status=status)
    assert opened().receive(frame) == Reaction(frames=(reset,))


def test_what_comes_for_a_refused_stream_is_passed_over() -> None:
    streams = opened()
    streams.receive(syn(9, "other"))
    assert messages(streams, Data(stream_id=9, data=b"x", fin=True)) == []


def test_a_client_that_is_leaving_opens_nothing() -> None:
    streams = ExecStreams(frozenset({Stream.ERROR}))
    assert messages(streams, GoAway(last_stream_id=0)) == []
    assert streams.receive(syn(1, "error")).frames == (RstStream(stream_id=1, status=ResetStatus.REFUSED_STREAM),)
    assert not streams.is_ready


@pytest.mark.parametrize(
    ("frames", "sent"),
    [
        ((Data(stream_id=STDIN, data=b"ab"), Data(stream_id=STDIN, data=b"c")), [b"\0ab", b"\0c"]),
        ((Data(stream_id=STDIN, data=b"ab", fin=True),), [b"\0ab", b"\xff\0"]),
        ((Data(stream_id=STDIN, fin=True), Data(stream_id=STDIN, data=b"late")), [b"\xff\0"]),
        ((Data(stream_id=STDIN),), []),
        ((RstStream(stream_id=STDIN, status=5), Data(stream_id=STDIN, data=b"late", fin=True)), [b"\xff\0"]),
        ((Data(stream_id=STDIN, fin=True), RstStream(stream_id=STDIN, status=5)), [b"\xff\0"]),
        ((Data(stream_id=STDOUT, data=b"x", fin=True), Data(stream_id=ERROR, data=b"x")), []),
        ((RstStream(stream_id=99, status=5), RstStream(stream_id=STDOUT, status=5)), []),
        ((Settings(), WindowUpdate(stream_id=0, delta=1), MoreHeaders(stream_id=1), Ping(ping_id=2)), []),
        ((SynReply(stream_id=1),), []),
    ],
)
def test_input_reaches_the_kubelet_and_its_end_once(frames: tuple[Frame, ...], sent: list[bytes]) -> None:
    assert messages(opened(), *frames) == sent


def test_a_stream_for_input_that_opens_ended_has_none() -> None:
    streams = ExecStreams(frozenset({Stream.STDIN}))
    assert streams.receive(syn(1, "stdin", fin=True)) == Reaction(
        frames=(SynReply(stream_id=1),), messages=(b"\xff\0",)
    )


def test_a_clients_ping_comes_back() -> None:
    assert opened().receive(Ping(ping_id=7)) == Reaction(frames=(Ping(ping_id=7),))


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [
        ([SIZE + b"\n"], [b"\4" + SIZE]),
        ([SIZE], [b"\4" + SIZE]),
        ([SIZE + b"\n" + SIZE + b"\n"], [b"\4" + SIZE] * 2),
        ([SIZE[:5], SIZE[5:] + b"\n " + SIZE[:1], SIZE[1:]], [b"\4" + SIZE] * 2),
        ([b"\n \n"], []),
    ],
)
def test_a_terminals_size_is_passed_on_whole(pieces: list[bytes], sent: list[bytes]) -> None:
    frames = [Data(stream_id=RESIZE, data=piece) for piece in pieces]
    assert messages(opened(TERMINAL), *frames) == sent


def test_a_size_that_never_ends_resets_its_stream_only() -> None:
    streams = opened(TERMINAL)
    reset = RstStream(stream_id=RESIZE, status=ResetStatus.PROTOCOL_ERROR)
    assert messages(streams, Data(stream_id=RESIZE, data=b"[" * MAX_RESIZE_BYTES)) == []
    assert streams.receive(Data(stream_id=RESIZE, data=b"[")) == Reaction(frames=(reset,))
    later = (Data(stream_id=RESIZE, data=SIZE), Data(stream_id=STDIN, data=b"x"))
    assert messages(streams, *later) == [b"\0x"]


@pytest.mark.parametrize(
    ("message", "frames"),
    [
        (b"\1hello", (Data(stream_id=STDOUT, data=b"hello"),)),
        (b"\2oops", (Data(stream_id=STDERR, data=b"oops"),)),
        (b"\1", ()),
        (b"\3", ()),
        (b"\0x", ()),
        (b"\xff\1", ()),
        (b"\x63x", ()),
        (b"", ()),
    ],
)
def test_output_reaches_its_stream(message: bytes, frames: tuple[Frame, ...]) -> None:
    assert opened().deliver(message) == frames


@given(st.integers(0, 3 * MAX_PIECE_BYTES))
def test_large_output_is_sent_in_pieces(size: int) -> None:
    frames = opened().deliver(b"\1" + bytes(size))
    found = [(frame.stream_id, len(frame.data), frame.fin) for frame in frames if isinstance(frame, Data)]
    rest = [size % MAX_PIECE_BYTES] if size % MAX_PIECE_BYTES else []
    wanted = [MAX_PIECE_BYTES] * (size // MAX_PIECE_BYTES) + rest
    assert found == [(STDOUT, length, False) for length in wanted]


def test_a_status_ends_every_stream_and_everything() -> None:
    streams = opened()
    assert streams.deliver(b'\3{"status":"Success"}') == (
        Data(stream_id=STDOUT, fin=True),
        Data(stream_id=STDERR, fin=True),
        Data(stream_id=ERROR, data=b'{"status":"Success"}', fin=True),
        Data(stream_id=STDIN, fin=True),
    )
    assert streams.is_over
    assert streams.deliver(b"\1late") == streams.deliver(b"\3again") == streams.finish() == ()
    late = (Data(stream_id=STDIN, data=b"late"), Data(stream_id=STDIN, fin=True), RstStream(stream_id=STDIN, status=5))
    assert messages(streams, *late) == []
    assert streams.receive(syn(9, "stdin")).frames == (RstStream(stream_id=9, status=ResetStatus.REFUSED_STREAM),)


def test_a_stream_the_client_reset_is_told_nothing() -> None:
    streams = opened(TERMINAL)
    assert messages(streams, RstStream(stream_id=STDOUT, status=5), RstStream(stream_id=RESIZE, status=5)) == []
    assert streams.deliver(b"\1hello") == ()
    assert streams.deliver(b"\3{}") == (Data(stream_id=ERROR, data=b"{}", fin=True), Data(stream_id=STDIN, fin=True))


def test_a_kubelet_that_ends_without_a_status_is_a_failure() -> None:
    streams = opened({ERROR: Stream.ERROR, 3: Stream.STDOUT})
    output, error = streams.finish()
    assert output == Data(stream_id=3, fin=True)
    assert isinstance(error, Data)
    assert (error.stream_id, error.fin) == (ERROR, True)
    status = json.loads(error.data)
    assert (status["kind"], status["status"], status["reason"], status["code"], status["message"]) == (
        "Status",
        "Failure",
        "InternalError",
        500,
        "the kubelet ended the connection before it told how the command ended",
    )
    assert streams.is_over
