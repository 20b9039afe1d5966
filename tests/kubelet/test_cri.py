"""The format of log files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.kubelet.cri import (
    MAX_TEXT_BYTES,
    Entry,
    LineSplitter,
    LogOptions,
    Stream,
    decode,
    encode,
    format_time,
    render,
)

T1 = "2016-10-06T00:17:09.669794202Z"


def test_a_time_has_nine_digits() -> None:
    assert format_time(1475713029669794202) == T1
    assert format_time(5) == "1970-01-01T00:00:00.000000005Z"


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (Entry(time=T1, stream="stdout", partial=False, text=b"hello world"), f"{T1} stdout F hello world\n"),
        (Entry(time=T1, stream="stderr", partial=True, text=b"a"), f"{T1} stderr P a\n"),
        (Entry(time=T1, stream="stdout", partial=False, text=b""), f"{T1} stdout F \n"),
    ],
)
def test_an_entry_is_written_and_read_back(entry: Entry, line: str) -> None:
    assert encode(entry.time, Stream(entry.stream), entry.text, partial=entry.partial) == line.encode()
    assert decode(line.encode()) == entry


@pytest.mark.parametrize("line", [b"", b"x", b"a b c", b"a b X d", b"\xff\xfe"])
def test_a_broken_line_is_no_entry(line: bytes) -> None:
    assert decode(line) is None


def test_a_line_without_an_end_is_written_when_the_stream_ends() -> None:
    splitter = LineSplitter(Stream.STDOUT)

    assert list(splitter.feed(b"one\ntw", T1)) == [f"{T1} stdout F one\n".encode()]
    assert list(splitter.feed(b"o", T1)) == []
    assert list(splitter.end(T1)) == [f"{T1} stdout F two\n".encode()]
    assert list(splitter.end(T1)) == []


def test_a_long_line_is_written_in_parts_and_held_no_longer_than_one() -> None:
    splitter = LineSplitter(Stream.STDOUT)
    long = b"x" * (2 * MAX_TEXT_BYTES)

    first = [decode(line) for line in splitter.feed(long, T1)]
    rest = [decode(line) for line in splitter.feed(b"end\n", T1)]

    assert [(entry.partial, len(entry.text)) for entry in first if entry] == [(True, MAX_TEXT_BYTES)] * 2
    assert rest == [Entry(time=T1, stream="stdout", partial=False, text=b"end")]


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_whatever_is_written_is_read_back(pieces: list[bytes]) -> None:
    splitter = LineSplitter(Stream.STDOUT)
    lines = [line for piece in pieces for line in splitter.feed(piece, T1)] + list(splitter.end(T1))

    back = b"".join(render(entry, LogOptions()) for line in lines if (entry := decode(line)))

    written = b"".join(pieces)
    assert back == written + (b"\n" if written and not written.endswith(b"\n") else b"")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (LogOptions(), b"hi\n"),
        (LogOptions(timestamps=True), T1.encode() + b" hi\n"),
        (LogOptions(since=T1), b"hi\n"),
        (LogOptions(since="2016-10-06T00:17:09.669794203Z"), b""),
        (LogOptions(since="2017"), b""),
    ],
)
def test_an_entry_is_shown_as_asked(options: LogOptions, text: bytes) -> None:
    assert render(Entry(time=T1, stream="stdout", partial=False, text=b"hi"), options) == text
