"""SPDY/3.1 on the wire: bytes to frames and frames to bytes. No I/O.

Sources: "SPDY Protocol - Draft 3" and "- Draft 3.1" (chromium.org/spdy/spdy-protocol), sections 2.2 to 2.6. Draft 3.1
adds windows of a whole connection: WINDOW_UPDATE of stream 0. Windows are not kept here: moby/spdystream, the other end
of every Kubernetes client, neither grants nor heeds them, so that only TCP holds a sender back.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from fairway.apiserver.spdy_dictionary import DICTIONARY

VERSION = 3
"""Of SPDY/3 and SPDY/3.1."""

MAX_CONTROL_BYTES = 64 * 1024
"""Of one control frame. At least 8192 must be taken (2.2.1)."""
MAX_HEADER_BYTES = 64 * 1024
"""Of one block of headers, unpacked."""
MAX_DATA_BYTES = 1024 * 1024
"""Of one data frame, of at most 2**24 - 1; what uses spdystream writes pieces of 32 KiB (Go's `io.Copy`)."""


class Fault(Enum):
    """What is wrong with bytes that are no SPDY."""

    VERSION = "unsupported version"
    TOO_LARGE = "frame too large"
    FRAME = "malformed frame"
    HEADERS = "malformed headers"


class SpdyError(Exception):
    """The other end does not speak SPDY/3: nothing after this can be understood."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault


class ResetStatus(IntEnum):
    """Of RST_STREAM (2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class GoAwayStatus(IntEnum):
    """Of GOAWAY (2.6.6)."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


Headers = tuple[tuple[str, str], ...]
"""Names, in lower case and each once, with values; several values of a name are joined with NUL (2.6.10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynStream:
    """Opens a stream. fin: its sender will send nothing on it; unidirectional: nor may the receiver."""

    stream_id: int
    headers: Headers = ()
    associated_id: int = 0
    priority: int = 0
    slot: int = 0
    fin: bool = False
    unidirectional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SynReply:
    """Accepts a stream."""

    stream_id: int
    headers: Headers = ()
    fin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RstStream:
    """Ends a stream at once, both ways. status: a ResetStatus or an unknown number."""

    stream_id: int
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    setting_id: int
    value: int
    flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    settings: tuple[Setting, ...] = ()
    clear: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Sent back as it is. Clients count in odd numbers, servers in even ones."""

    ping_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoAway:
    """The sender accepts no more streams. last_stream_id: the last one it did. status: a GoAwayStatus."""

    last_stream_id: int
    status: int = GoAwayStatus.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreHeaders:
    """HEADERS: more of them for an open stream."""

    stream_id: int
    headers: Headers = ()
    fin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowUpdate:
    """stream_id 0: of the whole connection (draft 3.1)."""

    stream_id: int
    delta: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Bytes of a stream. fin: its sender will send no more on it."""

    stream_id: int
    data: bytes = b""
    fin: bool = False


Frame = SynStream | SynReply | RstStream | Settings | Ping | GoAway | MoreHeaders | WindowUpdate | Data


class _Type(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


_FIN = 0x01
_UNIDIRECTIONAL = 0x02
_CLEAR_SETTINGS = 0x01
_CONTROL = 0x8000_0000
_STREAM_MASK = 0x7FFF_FFFF
_LENGTH_MASK = 0xFF_FFFF
_HEAD = struct.Struct(">II")
_NUMBER = struct.Struct(">I")
_SYN_STREAM = struct.Struct(">IIBB")


class Encoder:
    """Frames to bytes, for one direction of one connection: each block of headers is compressed after the last."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The bytes of a frame, which are to be sent in the order of these calls."""
        match frame:
            case Data():
                head = _HEAD.pack(frame.stream_id, _flags(_FIN, frame.fin) << 24 | len(frame.data))
                return head + frame.data
            case SynStream():
                flags = _flags(_FIN, frame.fin) | _flags(_UNIDIRECTIONAL, frame.unidirectional)
                fixed = _SYN_STREAM.pack(frame.stream_id, frame.associated_id, frame.priority << 5, frame.slot)
                return _control(_Type.SYN_STREAM, fixed + self._block(frame.headers), flags)
            case SynReply():
                body = _NUMBER.pack(frame.stream_id) + self._block(frame.headers)
                return _control(_Type.SYN_REPLY, body, _flags(_FIN, frame.fin))
            case MoreHeaders():
                body = _NUMBER.pack(frame.stream_id) + self._block(frame.headers)
                return _control(_Type.HEADERS, body, _flags(_FIN, frame.fin))
            case RstStream():
                return _control(_Type.RST_STREAM, _HEAD.pack(frame.stream_id, frame.status))
            case Settings():
                pairs = [_HEAD.pack(one.flags << 24 | one.setting_id, one.value) for one in frame.settings]
                body = _NUMBER.pack(len(pairs)) + b"".join(pairs)
                return _control(_Type.SETTINGS, body, _flags(_CLEAR_SETTINGS, frame.clear))
            case Ping():
                return _control(_Type.PING, _NUMBER.pack(frame.ping_id))
            case GoAway():
                return _control(_Type.GOAWAY, _HEAD.pack(frame.last_stream_id, frame.status))
            case WindowUpdate():
                return _control(_Type.WINDOW_UPDATE, _HEAD.pack(frame.stream_id, frame.delta))

    def _block(self, headers: Headers) -> bytes:
        parts = [_NUMBER.pack(len(headers))]
        for name, value in headers:
            for text in (name.encode("latin-1"), value.encode("latin-1")):
                parts += (_NUMBER.pack(len(text)), text)
        return self._compressor.compress(b"".join(parts)) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


class Decoder:
    """Bytes to frames, for one direction of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with these bytes; to be exhausted before the next call.

        Control frames of unknown types are passed over. Raises SpdyError at the first byte that cannot be understood,
        after the frames before it; then this decoder is of no more use.
        """
        self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        while len(self._buffer) >= _HEAD.size:
            first, second = _HEAD.unpack_from(self._buffer)
            flags, length = second >> 24, second & _LENGTH_MASK
            is_control = bool(first & _CONTROL)
            _check(first, length, is_control=is_control)
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            if not is_control:
                yield Data(stream_id=_stream_id(first), data=body, fin=bool(flags & _FIN))
            elif (frame := self._control(first & 0xFFFF, flags, body)) is not None:
                yield frame

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        fin = bool(flags & _FIN)
        match kind:
            case _Type.SYN_STREAM:
                stream_id, associated, priority, slot = _unpack(_SYN_STREAM, body)
                return SynStream(
                    stream_id=_stream_id(stream_id),
                    associated_id=associated & _STREAM_MASK,
                    priority=priority >> 5,
                    slot=slot,
                    headers=self._headers(body[_SYN_STREAM.size :]),
                    fin=fin,
                    unidirectional=bool(flags & _UNIDIRECTIONAL),
                )
            case _Type.SYN_REPLY | _Type.HEADERS:
                stream_id = _stream_id(_unpack(_NUMBER, body)[0])
                headers = self._headers(body[_NUMBER.size :])
                made = SynReply if kind == _Type.SYN_REPLY else MoreHeaders
                return made(stream_id=stream_id, headers=headers, fin=fin)
            case _Type.RST_STREAM:
                stream_id, status = _exactly(_HEAD, body)
                return RstStream(stream_id=_stream_id(stream_id), status=status)
            case _Type.SETTINGS:
                return Settings(settings=_settings(body), clear=bool(flags & _CLEAR_SETTINGS))
            case _Type.PING:
                return Ping(ping_id=_exactly(_NUMBER, body)[0])
            case _Type.GOAWAY:
                last, status = _exactly(_HEAD, body)
                return GoAway(last_stream_id=last & _STREAM_MASK, status=status)
            case _Type.WINDOW_UPDATE:
                stream_id, delta = _exactly(_HEAD, body)
                return WindowUpdate(stream_id=stream_id & _STREAM_MASK, delta=delta & _STREAM_MASK)
        return None

    def _headers(self, packed: bytes) -> Headers:
        try:
            block = self._decompressor.decompress(packed, MAX_HEADER_BYTES + 1)
        except zlib.error as error:
            raise SpdyError(Fault.HEADERS, str(error)) from None
        if len(block) > MAX_HEADER_BYTES:
            raise SpdyError(Fault.TOO_LARGE, f"headers of more than {MAX_HEADER_BYTES} bytes")
        return _parse_headers(block)


def _parse_headers(block: bytes) -> Headers:
    at = _NUMBER.size
    texts: list[str] = []
    # Each text takes four bytes at least: a count cannot make this loop longer than the block.
    for _ in range(2 * _unpack(_NUMBER, block, Fault.HEADERS)[0]):
        start = at + _NUMBER.size
        at = start + _unpack(_NUMBER, block[at:start], Fault.HEADERS)[0]
        if at > len(block):
            raise SpdyError(Fault.HEADERS, "a text is longer than its block")
        texts.append(block[start:at].decode("latin-1"))
    names, values = texts[0::2], texts[1::2]
    if at != len(block):
        raise SpdyError(Fault.HEADERS, f"{len(block) - at} bytes after the last header")
    if len(set(names)) != len(names):
        raise SpdyError(Fault.HEADERS, "a name occurs twice")
    for name in names:
        if not name or name.encode("latin-1").lower() != name.encode("latin-1"):
            raise SpdyError(Fault.HEADERS, f"the name {name[:40]!r} is empty or not in lower case")
    return tuple(zip(names, values, strict=True))


def _settings(body: bytes) -> tuple[Setting, ...]:
    count, pairs = _unpack(_NUMBER, body)[0], body[_NUMBER.size :]
    if len(pairs) != count * _HEAD.size:
        raise SpdyError(Fault.FRAME, f"{count} settings in {len(pairs)} bytes")
    return tuple(
        Setting(setting_id=head & _LENGTH_MASK, flags=head >> 24, value=value)
        for head, value in _HEAD.iter_unpack(pairs)
    )


def _check(first: int, length: int, *, is_control: bool) -> None:
    """Refuse what need not be waited for."""
    version = first >> 16 & 0x7FFF
    if is_control and version != VERSION:
        raise SpdyError(Fault.VERSION, str(version))
    limit = MAX_CONTROL_BYTES if is_control else MAX_DATA_BYTES
    if length > limit:
        raise SpdyError(Fault.TOO_LARGE, f"{length} bytes; the limit is {limit}")


def _unpack(form: struct.Struct, data: bytes, fault: Fault = Fault.FRAME) -> Sequence[int]:
    """The numbers at the beginning."""
    if len(data) < form.size:
        raise SpdyError(fault, f"{len(data)} bytes where {form.size} are needed")
    return form.unpack_from(data)


def _exactly(form: struct.Struct, data: bytes) -> Sequence[int]:
    """The numbers that are all there is."""
    if len(data) != form.size:
        raise SpdyError(Fault.FRAME, f"{len(data)} bytes where {form.size} are due")
    return form.unpack(data)


def _stream_id(number: int) -> int:
    if not number & _STREAM_MASK:
        raise SpdyError(Fault.FRAME, "stream 0")
    return number & _STREAM_MASK


def _flags(flag: int, is_set: bool) -> int:
    return flag if is_set else 0


def _control(kind: _Type, body: bytes, flags: int = 0) -> bytes:
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, flags << 24 | len(body)) + body
