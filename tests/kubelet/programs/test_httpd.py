"""The programs' server: real sockets, real clients, bad ones too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fairway.kubelet.programs import httpd
from fairway.kubelet.programs.httpd import Server, http_date, listen
from fairway.kubelet.programs.messages import Request, Response

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
TIMEOUT_S = 20.0


def plain(request: Request) -> Response:
    if request.target == "/boom":
        raise ValueError("boom")
    delay = 0.05 if request.target == "/late" else 0.0
    return Response(request.target.encode() + request.body, delay_s=delay)


@contextmanager
def serving(handler: Callable[[Request], Response] = plain) -> Iterator[tuple[Server, int]]:
    listener = listen(0)
    port = listener.getsockname()[1]
    server = Server(listener, handler)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server, port
    finally:
        server.stop()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)


def read_all(client: socket.socket) -> bytes:
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


def read_answer(client: socket.socket) -> tuple[int, bytes]:
    """One answer with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next(int(line.split(": ")[1]) for line in lines if line.startswith("Content-Length"))
    while len(body) < length:
        body += client.recv(65536)
    return int(lines[0].split(" ")[1]), body


def test_a_connection_is_kept_for_many_requests() -> None:
    with serving() as (_, port), connect(port) as client:
        answers = []
        for _number in range(3):
            client.sendall(GET)
            answers.append(read_answer(client))

    assert answers == [(200, b"/x")] * 3


def test_requests_sent_at_once_are_answered_in_order() -> None:
    wires = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(50))
    last = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with serving() as (_, port), connect(port) as client:
        client.sendall(wires + last)
        bodies = [part.split(b"\r\n\r\n")[1] for part in read_all(client).split(b"HTTP/1.1 200 OK")[1:]]

    assert bodies == [b"/%d" % number for number in range(50)] + [b"/end"]


def test_a_late_answer_holds_back_those_after_it_on_its_connection_only() -> None:
    late = b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n"
    close = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with serving() as (_, port), connect(port) as slow, connect(port) as quick:
        slow.sendall(late + close)
        quick.sendall(GET)
        first = read_answer(quick)
        rest = read_all(slow)

    assert first == (200, b"/x")
    assert rest.index(b"/late") < rest.index(b"\r\n\r\n/x")


def test_a_big_body_comes_back_whole() -> None:
    body = b"x" * (4 << 20)
    with serving() as (_, port), connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))

        def send() -> None:
            client.sendall(body)

        sender = threading.Thread(target=send)
        sender.start()
        status, answer = read_answer(client)
        sender.join()

    assert (status, answer == b"/" + body) == (200, True)


def test_a_client_that_asks_before_it_sends_is_told_to_go_on() -> None:
    with serving() as (_, port), connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert read_answer(client) == (200, b"/hi")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01", b"\0\0\0\0", b"hello there\r\n\r\n"])
def test_garbage_is_a_bad_request_and_the_end_of_the_connection(garbage: bytes) -> None:
    with serving() as (_, port), connect(port) as client:
        client.sendall(garbage)
        assert read_all(client) == b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
        with connect(port) as other:
            other.sendall(GET)
            assert read_answer(other) == (200, b"/x")


def test_a_handler_that_fails_costs_one_answer() -> None:
    with serving() as (_, port), connect(port) as client:
        client.sendall(b"GET /boom HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(client) == (500, b"ValueError: boom\n")
        client.sendall(GET)
        assert read_answer(client) == (200, b"/x")


def test_a_client_that_takes_nothing_does_not_fill_the_servers_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next requests are not read while its answers wait."""
    monkeypatch.setattr(httpd, "MAX_PENDING_BYTES", 1 << 16)
    handled: list[int] = []

    def big(_request: Request) -> Response:
        handled.append(1)
        return Response(b"x" * (1 << 20))

    with serving(big) as (_, port), connect(port) as stalled:
        stalled.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stalled.sendall(GET * 1_000_000)
        with connect(port) as other:
            other.sendall(GET)
            assert read_answer(other)[0] == 200

    assert len(handled) < 20


def test_a_client_that_dawdles_is_dropped_and_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpd, "REQUEST_TIMEOUT_S", 0.2)
    with serving() as (_, port), connect(port) as dawdler:
        dawdler.sendall(b"GET / HT")
        with connect(port) as other:
            other.sendall(GET)
            assert read_answer(other) == (200, b"/x")
        assert dawdler.recv(1) == b""


def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpd, "KEEP_ALIVE_S", 0)
    with serving() as (_, port), connect(port) as client:
        client.sendall(GET)
        assert read_answer(client) == (200, b"/x")
        assert client.recv(1) == b""


def test_more_clients_than_there_is_room_for_wait_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpd, "MAX_CONNECTIONS", 2)
    with serving() as (_, port):
        clients = [connect(port) for _ in range(3)]
        for client in clients:
            client.sendall(GET)
        answers = [read_answer(client) for client in clients[:2]]
        clients[0].close()
        answers.append(read_answer(clients[2]))
        for client in clients[1:]:
            client.close()

    assert answers == [(200, b"/x")] * 3


def test_to_stop_one_that_has_ended_does_nothing() -> None:
    with serving() as (server, _):
        pass
    server.stop()


def test_when_stopped_it_finishes_what_it_began_and_refuses_others() -> None:
    with serving() as (server, port), connect(port) as client:
        client.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        server.stop()
        answer = read_all(client)

    assert b"/late" in answer
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def test_both_families_are_served_and_a_peer_is_told_by_its_own_address() -> None:
    def peer(request: Request) -> Response:
        return Response(request.peer[0].encode())

    with serving(peer) as (_, port):
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, port), timeout=TIMEOUT_S) as client:
                client.sendall(GET)
                assert read_answer(client) == (200, address.encode())


def test_a_port_that_is_taken_is_told() -> None:
    with serving() as (_, port), pytest.raises(OSError, match="Address already in use"):
        listen(port)


def test_a_date_is_the_same_in_every_locale() -> None:
    assert http_date(784111777.0) == "Sun, 06 Nov 1994 08:49:37 GMT"
