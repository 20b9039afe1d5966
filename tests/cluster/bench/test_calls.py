"""Which calls of the bench's client hold."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fairway.cluster.bench.calls import answers, connects

Place = tuple[str, int]


@contextmanager
def answering(answer: bytes) -> Iterator[Place]:
    """A server on the loopback that answers one request with these bytes and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", False),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200", False),
        (b"", False),
    ],
)
def test_a_call_holds_when_all_of_an_answer_200_has_come(answer: bytes, holds: bool) -> None:
    with answering(answer) as place:
        assert answers(place, "/") is holds


def test_where_nobody_listens_no_call_holds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = listener.getsockname()
        assert connects(place)
    assert not connects(place)
    assert not answers(place, "/")
