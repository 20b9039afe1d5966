"""Makes calls where it runs, as it is asked on standard input: a JSON object a line, answered by JSON, a line each.

It is started by its text (`python3 -c`), so that it can be in a pod that has a file system of its own: nothing but the
standard library.

A call is told by `over` (http, tcp, udp), `to` [host, port], `request` (a path without its slash, or a datagram),
`timeout` in seconds, `source` [address, port] or null, and `via` [host, port] of an agnhost that shall make it in our
place, or null. Its answer is what was said, or one of the words below.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

REFUSED = "REFUSED"
"""An RST, or an ICMP error that the port cannot be reached."""
TIMEOUT = "TIMEOUT"

LIMIT_S = 60.0
"""Only what never becomes true takes as long."""
PACE_S = 0.02
"""Before a call is made again that was not answered as wanted."""

Address = tuple[str, int]


def over_http(to: Address, request: str, timeout: float, source: Address | None) -> str:
    connection = http.client.HTTPConnection(*to, timeout, source_address=source)
    try:
        connection.request("GET", "/" + request)
        answer = connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == 200 else f"{answer.status} {answer.reason}"
    finally:
        connection.close()


def over_tcp(to: Address, _request: str, timeout: float, source: Address | None) -> str:
    with socket.create_connection(to, timeout, source) as connection, connection.makefile() as stream:
        return stream.read()


def over_udp(to: Address, request: str, timeout: float, source: Address | None) -> str:
    family, kind, number, _, address = socket.getaddrinfo(*to, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, number) as client:
        client.settimeout(timeout)
        if source is not None:
            client.bind(source)
        client.connect(address)
        client.send(request.encode())
        return client.recv(65507).decode()


_OVER = {"http": over_http, "tcp": over_tcp, "udp": over_udp}


def over_dial(via: Address, over: str, to: Address, request: str) -> str:
    host, port = to
    query = {"protocol": over, "host": host, "port": port, "request": request, "tries": 1}
    said = json.loads(over_http(via, "dial?" + urllib.parse.urlencode(query), LIMIT_S, None))
    for text in said.get("errors", ()):
        raise ConnectionRefusedError if "refused" in text else TimeoutError if "timed out" in text else OSError(text)
    return str(said["responses"][0])


def pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - that a node's rules are written is told by calls alone; affinity ends by time


def call(
    over: str, to: list[Any], request: str, timeout: float, source: list[Any] | None, via: list[Any] | None
) -> str:
    target = (str(to[0]), int(to[1]))
    try:
        if via is not None:
            return over_dial((via[0], via[1]), over, target, request)
        return _OVER[over](target, request, timeout, None if source is None else (source[0], source[1]))
    except ConnectionRefusedError:
        return REFUSED
    except TimeoutError:
        return TIMEOUT
    except (OSError, http.client.HTTPException) as error:
        return f"ERROR {error or type(error).__name__}"


def many(tries: int, **how: Any) -> list[str]:
    return [call(**how) for _ in range(tries)]


def steady(wanted: list[str], run: int, **how: Any) -> list[str] | None:
    """Call until `run` answers one after another were all among the wanted ones, and each of these was among them.

    What other answers there were before; None where it never came to that.
    """
    others: list[str] = []
    seen: list[str] = []
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        answer = call(**how)
        if answer in wanted:
            seen.append(answer)
            if len(seen) >= run and set(seen) == set(wanted):
                return others
        else:
            others.append(answer)
            seen.clear()
            pause(PACE_S)
    print(f"wanted {wanted}, last {seen[-run:]}, others {others[-run:]}", file=sys.stderr, flush=True)
    return None


def reach(**how: Any) -> str | None:
    """Call until somebody answers; None where nobody does."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        answer = call(**how)
        if answer not in (REFUSED, TIMEOUT) and not answer.startswith("ERROR "):
            return answer
        pause(PACE_S)
    return None


def settled(run: int, **how: Any) -> str | None:
    """Call until `run` answers one after another were the same, and this is it; None where it never came to that."""
    answers: list[str] = []
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        answers = [*answers, answer] if (answer := call(**how)) in answers[-1:] else [answer]
        if len(answers) >= run:
            return answer
    return None


def other(than: str, after: float, **how: Any) -> str | None:
    """Call with `after` seconds between the calls until somebody else answers; None where nobody does."""
    for _ in range(20):
        pause(after)
        if (answer := call(**how)) != than:
            return answer
    return None


def resolve(name: str) -> list[Any]:
    """The canonical name and the IPv4 addresses of a name."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
    except socket.gaierror as error:
        return ["", [str(error)]]
    return [found[0][3], sorted({str(address[0]) for *_, address in found})]


_DO: dict[str, Callable[..., Any]] = {
    "many": many,
    "steady": steady,
    "reach": reach,
    "settled": settled,
    "other": other,
    "resolve": resolve,
}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_DO[asked.pop("do")](**asked)), flush=True)


if __name__ == "__main__":
    main()
