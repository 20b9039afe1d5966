"""HTTP requests, whole, in pieces, and wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.kubelet.programs.messages import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MessageError,
    Request,
    RequestReader,
    Response,
)

PEER = ("10.10.1.9", 40000)

GET = b"GET /a?b=c HTTP/1.1\r\nHost: web\r\nAccept: */*\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
)


def read(*pieces: bytes) -> list[tuple[str, str, bytes]]:
    """Method, target and body of every request in it."""
    reader, found = RequestReader(PEER), []
    for piece in pieces:
        reader.feed(piece)
        while request := reader.next():
            found.append((request.method, request.target, request.body))
    return found


@pytest.mark.parametrize(
    ("wire", "requests"),
    [
        (GET, [("GET", "/a?b=c", b"")]),
        (POST, [("POST", "/p", b"hello")]),
        (CHUNKED, [("PUT", "/c", b"hello world")]),
        (
            GET + POST + CHUNKED + GET,
            [("GET", "/a?b=c", b""), ("POST", "/p", b"hello"), ("PUT", "/c", b"hello world"), ("GET", "/a?b=c", b"")],
        ),
        (b"\r\n\r\n" + GET, [("GET", "/a?b=c", b"")]),
        (b"GET / HTTP/1.0\r\n\r\n", [("GET", "/", b"")]),
        (GET[:-1], []),
        (POST[:-1], []),
        (CHUNKED[:-1], []),
    ],
)
def test_requests_are_the_same_whole_and_byte_by_byte(wire: bytes, requests: list[tuple[str, str, bytes]]) -> None:
    assert read(wire) == requests
    assert read(*(wire[index : index + 1] for index in range(len(wire)))) == requests


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),  # a TLS client
        (b"what is this\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 1024, 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused(wire: bytes, status: int) -> None:
    with pytest.raises(MessageError) as caught:
        read(wire)

    assert caught.value.status == status


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_garbage_is_refused_or_waited_for_and_nothing_else(pieces: list[bytes]) -> None:
    statuses = []
    try:
        read(*pieces)
    except MessageError as error:
        statuses.append(error.status)
    assert set(statuses) <= {400, 413, 431}


@given(st.lists(st.sampled_from([GET, POST, CHUNKED]), max_size=4), st.data())
def test_any_cut_gives_the_same_requests(wires: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(wires)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    assert read(*pieces) == read(wire)


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "Keep-Alive, Close", False),
        ("1.0", "", False),
        ("1.0", "keep-alive", True),
    ],
)
def test_a_connection_is_kept_as_http_says(version: str, connection: str, kept: bool) -> None:
    headers = [("Connection", connection)] if connection else []

    assert Request("GET", "/", version, headers, PEER).keep_alive is kept


def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    reader = RequestReader(PEER)
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")

    assert reader.next() is None
    assert reader.expects_continue


TYPE_AND_LENGTH = b"Content-Type: text/plain\r\nContent-Length: 2\r\n"
THE_REST = b"Date: now\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "status", "wire"),
    [
        ("GET", 200, b"HTTP/1.1 200 OK\r\n" + TYPE_AND_LENGTH + THE_REST + b"hi"),
        ("HEAD", 200, b"HTTP/1.1 200 OK\r\n" + TYPE_AND_LENGTH + THE_REST),
        ("GET", 204, b"HTTP/1.1 204 No Content\r\n" + THE_REST),
        ("GET", 304, b"HTTP/1.1 304 Not Modified\r\n" + THE_REST),
        ("GET", 599, b"HTTP/1.1 599 Unknown\r\n" + TYPE_AND_LENGTH + THE_REST + b"hi"),
    ],
)
def test_an_answer_on_the_wire(method: str, status: int, wire: bytes) -> None:
    request = Request(method, "/", "1.1", [], PEER)
    response = Response(b"hi", status=status, content_type="text/plain")

    assert response.encode(request, "now", keep_alive=True, idle_s=5) == wire
