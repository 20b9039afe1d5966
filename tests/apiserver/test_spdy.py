"""SPDY frames as bytes: as specified, there and back, in pieces, and junk."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.apiserver.spdy import (
    MAX_CONTROL_BYTES,
    MAX_DATA_BYTES,
    MAX_HEADER_BYTES,
    Data,
    Decoder,
    Encoder,
    Fault,
    Frame,
    GoAway,
    MoreHeaders,
    Ping,
    RstStream,
    Setting,
    Settings,
    SpdyError,
    SynReply,
    SynStream,
    WindowUpdate,
)
from fairway.apiserver.spdy_dictionary import DICTIONARY

PLAIN_ROWS = [
    (Data(stream_id=5, data=b"abc"), "00000005 00000003 616263"),
    (Data(stream_id=5, fin=True), "00000005 01000000"),
    (RstStream(stream_id=7, status=5), "80030003 00000008 00000007 00000005"),
    (Settings(), "80030004 00000004 00000000"),
    (
        Settings(settings=(Setting(setting_id=7, value=65536, flags=1),), clear=True),
        "80030004 0100000c 00000001 01000007 00010000",
    ),
    (Ping(ping_id=1), "80030006 00000004 00000001"),
    (GoAway(last_stream_id=9, status=1), "80030007 00000008 00000009 00000001"),
    (WindowUpdate(stream_id=0, delta=65536), "80030009 00000008 00000000 00010000"),
]
"""Frames without headers, and their bytes by hand from draft 3, 2.2 and 2.6."""

IDS = st.integers(1, 2**31 - 1)
NAMES = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz-:"), min_size=1, max_size=20)
VALUES = st.text(st.characters(max_codepoint=255), max_size=40)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=5).map(lambda found: tuple(found.items()))
WORDS = st.integers(0, 2**32 - 1)
SETTINGS = st.builds(Setting, setting_id=st.integers(0, 2**24 - 1), value=WORDS, flags=st.integers(0, 255))
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(
        SynStream,
        stream_id=IDS,
        headers=HEADERS,
        associated_id=st.integers(0, 2**31 - 1),
        priority=st.integers(0, 7),
        slot=st.integers(0, 255),
        fin=st.booleans(),
        unidirectional=st.booleans(),
    ),
    st.builds(SynReply, stream_id=IDS, headers=HEADERS, fin=st.booleans()),
    st.builds(MoreHeaders, stream_id=IDS, headers=HEADERS, fin=st.booleans()),
    st.builds(RstStream, stream_id=IDS, status=WORDS),
    st.builds(Settings, settings=st.lists(SETTINGS, max_size=4).map(tuple), clear=st.booleans()),
    st.builds(Ping, ping_id=WORDS),
    st.builds(GoAway, last_stream_id=st.integers(0, 2**31 - 1), status=WORDS),
    st.builds(WindowUpdate, stream_id=st.integers(0, 2**31 - 1), delta=st.integers(0, 2**31 - 1)),
    st.builds(Data, stream_id=IDS, data=st.binary(max_size=200), fin=st.booleans()),
)


def encoded(*frames: Frame) -> bytes:
    encoder = Encoder()
    return b"".join(encoder.encode(frame) for frame in frames)


def decoded(*pieces: bytes) -> tuple[list[Frame], Fault | None]:
    """The frames of a connection's bytes, and what is wrong with the byte after them."""
    decoder, found = Decoder(), []
    try:
        for piece in pieces:
            found.extend(decoder.feed(piece))
    except SpdyError as error:
        return found, error.fault
    return found, None


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def syn_stream(block: bytes, *, compressed: bool = True) -> bytes:
    """A SYN_STREAM of stream 1 with these bytes for headers."""
    compressor = zlib.compressobj(zdict=DICTIONARY)
    packed = compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH) if compressed else block
    return struct.pack(">IIIIBB", 0x80030001, 10 + len(packed), 1, 0, 0, 0) + packed


def block(*texts: bytes, count: int | None = None) -> bytes:
    parts = b"".join(struct.pack(">I", len(text)) + text for text in texts)
    return struct.pack(">I", len(texts) // 2 if count is None else count) + parts


def test_the_dictionary_is_the_one_of_the_specification() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@pytest.mark.parametrize(("frame", "text"), PLAIN_ROWS)
def test_a_frame_without_headers_is_these_bytes(frame: Frame, text: str) -> None:
    assert encoded(frame) == bytes.fromhex(text)
    assert decoded(bytes.fromhex(text)) == ([frame], None)


def test_headers_are_compressed_with_the_dictionary_and_flushed() -> None:
    data = encoded(SynStream(stream_id=3, headers=(("streamtype", "stdin"),), priority=2, fin=True))
    head, fixed, packed = data[:8], data[8:18], data[18:]
    assert head == bytes.fromhex("80030001 01") + (10 + len(packed)).to_bytes(3)
    assert fixed == bytes.fromhex("00000003 00000000 40 00")
    # The header of the compressed stream names the dictionary by its checksum (RFC 1950, FDICT); an empty stored
    # block is what a flush ends with.
    assert (packed[1] & 0x20, packed[2:6], packed[-4:]) == (0x20, bytes.fromhex("e3c6a7c2"), bytes.fromhex("0000ffff"))
    assert zlib.decompressobj(zdict=DICTIONARY).decompress(packed) == block(b"streamtype", b"stdin")


def test_one_compressor_serves_all_headers_of_a_connection() -> None:
    frame = SynReply(stream_id=1, headers=(("a-name-of-its-own", "and a value"),))
    encoder = Encoder()
    first, second = encoder.encode(frame), encoder.encode(frame)
    assert len(second) < len(first)
    assert decoded(first + second) == ([frame, frame], None)
    assert decoded(second) == ([], Fault.HEADERS)


@given(st.lists(FRAMES, max_size=8))
def test_frames_come_back_whole_and_byte_by_byte(frames: list[Frame]) -> None:
    data = encoded(*frames)
    assert decoded(data) == (frames, None)
    assert decoded(*bytewise(data)) == (frames, None)


@given(st.lists(FRAMES, min_size=1, max_size=4), st.data())
def test_a_cut_connection_gives_the_frames_that_were_whole(frames: list[Frame], draw: st.DataObject) -> None:
    data = encoded(*frames)
    cut = draw.draw(st.integers(0, len(data) - 1))
    found, fault = decoded(data[:cut])
    assert (found, fault) == (frames[: len(found)], None)
    assert len(found) < len(frames)


@given(st.lists(FRAMES, max_size=3), st.binary(max_size=300))
def test_junk_is_told_alike_however_it_is_cut(frames: list[Frame], junk: bytes) -> None:
    data = encoded(*frames) + junk
    whole = decoded(data)
    assert whole == decoded(*bytewise(data))
    assert whole[0][: len(frames)] == frames


@given(st.lists(FRAMES, min_size=1, max_size=3), st.data())
def test_a_changed_byte_breaks_nothing_but_the_connection(frames: list[Frame], draw: st.DataObject) -> None:
    data = bytearray(encoded(*frames))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    assert decoded(bytes(data)) == decoded(*bytewise(bytes(data)))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"GET / HTTP/1.1\r\n", Fault.TOO_LARGE),
        (bytes.fromhex("80020006 00000004 00000001"), Fault.VERSION),
        (bytes.fromhex("00000000 00000000"), Fault.FRAME),
        (bytes.fromhex("80030003 00000008 00000000 00000001"), Fault.FRAME),
        (bytes.fromhex("80030003 00000004 00000001"), Fault.FRAME),
        (bytes.fromhex("80030006 00000005 0000000100"), Fault.FRAME),
        (bytes.fromhex("80030007 00000004 00000001"), Fault.FRAME),
        (bytes.fromhex("80030009 00000004 00000001"), Fault.FRAME),
        (bytes.fromhex("80030001 00000004 00000001"), Fault.FRAME),
        (bytes.fromhex("80030002 00000002 0000"), Fault.FRAME),
        (bytes.fromhex("80030004 00000000"), Fault.FRAME),
        (bytes.fromhex("80030004 00000004 00000001"), Fault.FRAME),
        (struct.pack(">II", 1, MAX_DATA_BYTES + 1), Fault.TOO_LARGE),
        (struct.pack(">II", 0x80030001, MAX_CONTROL_BYTES + 1), Fault.TOO_LARGE),
        (syn_stream(b"not compressed", compressed=False), Fault.HEADERS),
        (syn_stream(b""), Fault.HEADERS),
        (syn_stream(block(b"a", b"b", count=2)), Fault.HEADERS),
        (syn_stream(block(b"a", b"b", count=2**32 - 1)), Fault.HEADERS),
        (syn_stream(block(b"a", b"b", count=0)), Fault.HEADERS),
        (syn_stream(block(b"a", b"b")[:-1]), Fault.HEADERS),
        (syn_stream(struct.pack(">II", 1, 2**32 - 1)), Fault.HEADERS),
        (syn_stream(block(b"a", b"b", b"a", b"c")), Fault.HEADERS),
        (syn_stream(block(b"Upper", b"b")), Fault.HEADERS),
        (syn_stream(block(b"", b"b")), Fault.HEADERS),
        (syn_stream(block(b"a", b"b" * MAX_HEADER_BYTES)), Fault.TOO_LARGE),
    ],
)
def test_what_is_no_spdy_is_an_error_of_its_kind_after_the_frames_before_it(data: bytes, fault: Fault) -> None:
    ping = Ping(ping_id=1)
    assert decoded(encoded(ping) + data) == ([ping], fault)
    assert decoded(*bytewise(encoded(ping) + data)) == ([ping], fault)


def test_the_largest_frames_are_taken() -> None:
    data = Data(stream_id=1, data=bytes(MAX_DATA_BYTES))
    headers = SynReply(stream_id=1, headers=(("a", "b" * (MAX_HEADER_BYTES - 13)),))
    assert decoded(encoded(data, headers)) == ([data, headers], None)


def test_a_frame_of_an_unknown_type_is_passed_over() -> None:
    ping = Ping(ping_id=1)
    assert decoded(bytes.fromhex("8003000a 00000003 010203") + encoded(ping)) == ([ping], None)
