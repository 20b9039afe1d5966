"""Run on a client, `python -m fairway.cluster.bench.calls ADDRESS PORT [PATH]`: call again and again, and count.

Prints "ready" after the first call, and when its standard input is closed how many calls were made and how many failed.
Without a path a call is a TCP connection that is closed at once by a reset, so that none lingers; with one it is a GET
on a connection of its own, which holds when all of an answer 200 has come, as long as the answer says it is.
"""

from __future__ import annotations

import http.client
import select
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial

CONNECT_PATIENCE_S = 0.5
"""A connection that takes longer is lost; an ordinary one takes a fraction of a millisecond."""

ANSWER_PATIENCE_S = 2.0
"""As long may an answer take: of a server that has just been started, or shares its processor with many."""


def main() -> None:
    address, port, *path = sys.argv[1:]
    call: Callable[[], bool] = partial(connects, (address, int(port)))
    if path:
        call = partial(answers, (address, int(port)), path[0])
    calls, failed = 1, int(not call())
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        calls += 1
        failed += not call()
    print(calls, failed, flush=True)


def connects(place: tuple[str, int]) -> bool:
    """Whether a connection is accepted."""
    with socket.socket() as call:
        call.settimeout(CONNECT_PATIENCE_S)
        call.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return call.connect_ex(place) == 0


def answers(place: tuple[str, int], path: str) -> bool:
    """Whether a request is answered, with status 200 and to the last byte."""
    connection = http.client.HTTPConnection(*place, timeout=ANSWER_PATIENCE_S)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        response.read()
        return response.status == 200 and "Content-Length" in response.headers
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
