"""Run on a client, `python -m fairway.cluster.bench.calls ADDRESS PORT`: connect again and again, and count.

Prints "ready" after the first call, and when its standard input is closed how many calls were made and how many failed.
Each call is a TCP connection that is closed at once by a reset, so that none lingers.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

PATIENCE_S = 0.5
"""A call that takes longer is lost; an ordinary one takes a fraction of a millisecond."""


def main() -> None:
    place = sys.argv[1], int(sys.argv[2])
    calls, failed = 1, int(not answers(place))
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        calls += 1
        failed += not answers(place)
    print(calls, failed, flush=True)


def answers(place: tuple[str, int]) -> bool:
    """Whether a connection is accepted."""
    with socket.socket() as call:
        call.settimeout(PATIENCE_S)
        call.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return call.connect_ex(place) == 0


if __name__ == "__main__":
    main()
