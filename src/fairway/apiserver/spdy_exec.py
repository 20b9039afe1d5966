"""exec over SPDY as a state machine between a client's frames and a kubelet's WebSocket messages. No I/O.

The client speaks `v4.channel.k8s.io`: it opens a stream for each of what it wants and names it in the header
`streamtype`; on `error` it is told in the end, with a Status, how the program ended (apimachinery
`util/remotecommand`, client-go `tools/remotecommand/v4.go`, kubelet `cri/streaming/remotecommand/httpstream.go`).
The kubelet speaks `v5.channel.k8s.io`, whose channels say the same (KEP-4006).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum

from fairway.api.status import ApiError
from fairway.apiserver.pod_streams import Location
from fairway.apiserver.spdy import Data, Frame, GoAway, Ping, ResetStatus, RstStream, SynReply, SynStream

SPDY = "SPDY/3.1"
PROTOCOL_HEADER = "X-Stream-Protocol-Version"
SPDY_EXEC_PROTOCOL = "v4.channel.k8s.io"
"""What clients prefer since Kubernetes 1.5; v3 and older tell exit codes as text only, and are not spoken here."""

MAX_RESIZE_BYTES = 4096
"""Of a terminal's size in JSON, which takes about thirty."""
MAX_PIECE_BYTES = 256 * 1024
"""Of a data frame that is sent."""


class Stream(Enum):
    """The streams of an exec (`api/core/v1`, StreamType...)."""

    STDIN = "stdin"
    STDOUT = "stdout"
    STDERR = "stderr"
    ERROR = "error"
    RESIZE = "resize"


class _Channel(IntEnum):
    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255


_DOWN = {_Channel.STDOUT: Stream.STDOUT, _Channel.STDERR: Stream.STDERR}
_STDIN_ENDS = bytes([_Channel.CLOSE, _Channel.STDIN])
_LOST = ApiError(500, "InternalError", "the kubelet ended the connection before it told how the command ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What a frame leads to: frames for the client and messages for the kubelet, each in their order."""

    frames: tuple[Frame, ...] = ()
    messages: tuple[bytes, ...] = ()


_NOTHING = Reaction()


def expected_streams(location: Location) -> frozenset[Stream]:
    """The streams a client opens for what it asked the kubelet. A terminal merges stderr into stdout."""
    names = dict(location.query)
    has_terminal = "tty" in names
    wanted = {
        Stream.ERROR: True,
        Stream.STDIN: "input" in names,
        Stream.STDOUT: "output" in names,
        Stream.STDERR: "error" in names and not has_terminal,
        Stream.RESIZE: has_terminal,
    }
    return frozenset(stream for stream, is_wanted in wanted.items() if is_wanted)


class ExecStreams:
    """The streams of one exec. expected: those the client has to open before it can be told anything."""

    def __init__(self, expected: frozenset[Stream]) -> None:
        self._missing = set(expected)
        self._streams: dict[int, Stream] = {}
        self._ids: dict[Stream, int] = {}
        self._ended: set[int] = set()
        self._reset: set[int] = set()
        self._last_id = 0
        self._resize = b""
        self._is_leaving = False
        self._is_over = False

    @property
    def is_ready(self) -> bool:
        """Whether every expected stream was opened."""
        return not self._missing

    @property
    def is_over(self) -> bool:
        """Whether the client was told how the command ended."""
        return self._is_over

    @property
    def last_id(self) -> int:
        """The last stream that was opened, for a GOAWAY."""
        return self._last_id

    def receive(self, frame: Frame) -> Reaction:
        """A frame of the client. SETTINGS, WINDOW_UPDATE and HEADERS change nothing."""
        match frame:
            case SynStream():
                return self._open(frame)
            case Data():
                return self._take(frame)
            case RstStream(stream_id=stream_id):
                self._reset.add(stream_id)
                return self._end(stream_id)
            case Ping(ping_id=number) if number % 2 == 1:
                return Reaction(frames=(frame,))
            case GoAway():
                self._is_leaving = True
        return _NOTHING

    def deliver(self, message: bytes) -> tuple[Frame, ...]:
        """Frames for a message of the kubelet; a Status ends every stream."""
        if not message or self._is_over:
            return ()
        channel, data = message[0], message[1:]
        if channel == _Channel.ERROR and data:
            return self._conclude(data)
        stream = _DOWN.get(_Channel(channel)) if channel in _DOWN else None
        number = self._ids.get(stream) if stream is not None else None
        if number is None or number in self._reset:
            return ()
        pieces = range(0, len(data), MAX_PIECE_BYTES)
        return tuple(Data(stream_id=number, data=data[start : start + MAX_PIECE_BYTES]) for start in pieces)

    def finish(self) -> tuple[Frame, ...]:
        """Frames for the end of the kubelet's messages, which no client must take for success where no Status came."""
        return () if self._is_over else self._conclude(json.dumps(_LOST.to_json()).encode())

    def _open(self, frame: SynStream) -> Reaction:
        number, name = frame.stream_id, dict(frame.headers).get("streamtype", "")
        if number % 2 == 0 or number <= self._last_id:
            return _refuse(number, ResetStatus.PROTOCOL_ERROR)
        self._last_id = number
        stream = next((one for one in self._missing if one.value == name), None)
        if stream is None or self._is_leaving or self._is_over:
            return _refuse(number, ResetStatus.REFUSED_STREAM)
        self._missing.remove(stream)
        self._streams[number] = stream
        self._ids[stream] = number
        ended = self._end(number) if frame.fin else _NOTHING
        return Reaction(frames=(SynReply(stream_id=number),), messages=ended.messages)

    def _take(self, frame: Data) -> Reaction:
        number = frame.stream_id
        stream = self._streams.get(number)
        if stream is None:
            # What was sent before our refusal arrived is no error of its own.
            return _NOTHING if number <= self._last_id else _refuse(number, ResetStatus.INVALID_STREAM)
        if number in self._ended or self._is_over:
            return _NOTHING
        messages: tuple[bytes, ...] = ()
        if stream is Stream.STDIN and frame.data:
            messages = (bytes([_Channel.STDIN]) + frame.data,)
        elif stream is Stream.RESIZE:
            self._resize += frame.data
            messages = tuple(bytes([_Channel.RESIZE]) + size for size in self._sizes())
            if len(self._resize) > MAX_RESIZE_BYTES:
                self._ended.add(number)
                self._reset.add(number)
                return Reaction(frames=_refuse(number, ResetStatus.PROTOCOL_ERROR).frames, messages=messages)
        if frame.fin:
            messages += self._end(number).messages
        return Reaction(messages=messages)

    def _end(self, number: int) -> Reaction:
        """The client will send no more on a stream."""
        if number in self._ended or number not in self._streams:
            return _NOTHING
        self._ended.add(number)
        is_stdin = self._streams[number] is Stream.STDIN and not self._is_over
        return Reaction(messages=(_STDIN_ENDS,) if is_stdin else ())

    def _sizes(self) -> Iterator[bytes]:
        """The whole sizes among what came for them, which are flat JSON objects; the rest waits for more."""
        *sizes, rest = self._resize.split(b"}")
        self._resize = rest.lstrip()
        for size in sizes:
            yield size.strip() + b"}"

    def _conclude(self, status: bytes) -> tuple[Frame, ...]:
        """The Status, and the end of every stream: of outputs first, so that they are complete when it is read."""
        self._is_over = True
        last: dict[Stream, bytes] = {Stream.STDOUT: b"", Stream.STDERR: b"", Stream.ERROR: status}
        last |= {Stream.STDIN: b"", Stream.RESIZE: b""}
        frames = []
        for stream, data in last.items():
            number = self._ids.get(stream)
            if number is not None and number not in self._reset:
                frames.append(Data(stream_id=number, data=data, fin=True))
        return tuple(frames)


def _refuse(number: int, status: ResetStatus) -> Reaction:
    return Reaction(frames=(RstStream(stream_id=number, status=status),))
