"""A container's log file, in the format of the Container Runtime Interface.

One line of the file is `TIME STREAM TAG TEXT`: the time in RFC 3339 with nanoseconds, stdout or stderr, and F for a
whole line or P for a part of one that the stream's next entry goes on with (kubelet `pkg/kubelet/kuberuntime/logs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

MAX_TEXT_BYTES = 16 * 1024
"""A longer line is written in parts (containerd `internal/cri/io/logger.go`, defaultBufSize)."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. time: as written. text: without the line's end. partial: the line goes on."""

    time: str
    stream: str
    partial: bool
    text: bytes


def format_time(nanoseconds: int) -> str:
    """Since the epoch, as RFC 3339 with nine digits; equal lengths, so that times sort as text."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def encode(time: str, stream: Stream, text: bytes, *, partial: bool) -> bytes:
    """One line of the file."""
    return b"%s %s %s %s\n" % (time.encode(), stream.value.encode(), b"P" if partial else b"F", text)


def decode(line: bytes) -> Entry | None:
    """None for a line that is no entry, such as one cut by a full disk."""
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"P", b"F"):
        return None
    return Entry(
        time=parts[0].decode(errors="replace"),
        stream=parts[1].decode(errors="replace"),
        partial=parts[2] == b"P",
        text=parts[3],
    )


class LineSplitter:
    """Cuts what a container writes to one stream into entries."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rest = b""

    def feed(self, data: bytes, time: str) -> Iterator[bytes]:
        """Encoded entries for all whole lines in it, and for every full buffer of a line without an end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self._parts(line, time, last_partial=False)
        if len(self._rest) >= MAX_TEXT_BYTES:
            whole = len(self._rest) - len(self._rest) % MAX_TEXT_BYTES
            line, self._rest = self._rest[:whole], self._rest[whole:]
            yield from self._parts(line, time, last_partial=True)

    def end(self, time: str) -> Iterator[bytes]:
        """The stream ended: what is left is a line too."""
        if self._rest:
            rest, self._rest = self._rest, b""
            yield encode(time, self._stream, rest, partial=False)

    def _parts(self, line: bytes, time: str, *, last_partial: bool) -> Iterator[bytes]:
        start = 0
        while len(line) - start > MAX_TEXT_BYTES:
            yield encode(time, self._stream, line[start : start + MAX_TEXT_BYTES], partial=True)
            start += MAX_TEXT_BYTES
        yield encode(time, self._stream, line[start:], partial=last_partial)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """PodLogOptions: what of a log is wanted.

    tail_lines: only so many of the last entries. since: only entries at or after this time (as `format_time`).
    limit_bytes: stop after so many bytes of output.
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: str = ""
    limit_bytes: int | None = None


def render(entry: Entry, options: LogOptions) -> bytes:
    """What a reader gets for one entry: nothing when it is too old; a part of a line has no line's end."""
    if entry.time < options.since:
        return b""
    head = entry.time.encode() + b" " if options.timestamps else b""
    return head + entry.text + (b"" if entry.partial else b"\n")
