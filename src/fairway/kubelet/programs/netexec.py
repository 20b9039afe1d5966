"""netexec of the image agnhost: HTTP and UDP servers that tell who they are, who asks, and call others.

HTTP: `/`, `/clientip`, `/dial`, `/echo`, `/exit`, `/header`, `/healthz`, `/hostname`, `/hostName`, `/readyz`,
`/redirect`, `/shell` and `/shutdown`. UDP: `hostname`, `echo TEXT`, `clientip`, `serverport`. It has neither `/upload`,
TLS nor SCTP. What each takes and answers is as in kubernetes `test/images/agnhost/netexec/netexec.go`.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from fairway.kubelet.programs.echo import write_line
from fairway.kubelet.programs.threaded import Exchange, Service
from fairway.kubelet.programs.whoami import duration_s

DIAL_TIMEOUT_S = 5.0
"""For each try of `/dial`."""
MAX_TRIES = 1000
MAX_DATAGRAM = 65507
SHELLS = ("/bin/sh", "-c")


def dial(query: Mapping[str, str]) -> tuple[str, int]:
    """Call somebody so often and tell what they said, as JSON {"responses", "errors"}; with a status."""
    protocol, host, port = query.get("protocol", ""), query.get("host", ""), query.get("port", "")
    request = query.get("request") or query.get("dialCommand") or "hostName"
    tries = query.get("tries") or "1"
    if protocol not in _DIALERS:
        return f"unsupported protocol. {protocol}\n", 400
    if not tries.isdecimal() or int(tries) > MAX_TRIES:
        return f"tries parameter is invalid. want a number up to {MAX_TRIES}, not {tries!r}\n", 400
    if not host or not port.isdecimal() or int(port) > 65535:
        return f"host and/or port param are invalid. {host}:{port}\n", 400
    responses, errors = [], []
    for _ in range(int(tries)):
        try:
            responses.append(_DIALERS[protocol](host, int(port), request))
        except (OSError, http.client.HTTPException) as error:
            errors.append(str(error) or type(error).__name__)
    found = {**({"responses": responses} if responses else {}), **({"errors": errors} if errors else {})}
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False), 200


def _dial_http(host: str, port: int, request: str) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=DIAL_TIMEOUT_S)
    try:
        connection.request("GET", "/" + request.removeprefix("/").replace(" ", "%20"))
        return connection.getresponse().read(MAX_DATAGRAM).decode("utf-8", "replace")
    except ValueError as error:  # a request that cannot be said in HTTP
        raise http.client.HTTPException(str(error)) from error
    finally:
        connection.close()


def _dial_udp(host: str, port: int, request: str) -> str:
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, number) as client:
        client.settimeout(DIAL_TIMEOUT_S)
        client.connect(address)
        client.send(request.encode())
        return client.recv(MAX_DATAGRAM).decode("utf-8", "replace")


_DIALERS: dict[str, Callable[[str, int, str], str]] = {"http": _dial_http, "udp": _dial_udp}


def run_shell(command: str) -> str:
    """Run a command and tell its output and how it failed, as JSON {"output", "error"}."""
    done = subprocess.run([*SHELLS, command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode("utf-8", "replace")
    failed = {"error": f"exit status {done.returncode}"} if done.returncode else {}
    return json.dumps({**({"output": output} if output else {}), **failed}, separators=(",", ":"), ensure_ascii=False)


def handle(exchange: Exchange) -> None:
    """Answer one HTTP request."""
    path, _, text = exchange.path.partition("?")
    query = dict(reversed(parse_qsl(text, keep_blank_values=True)))  # of a repeated one the first, as in Go
    write_line(f"{exchange.command} {path}")
    match path:
        case "/clientip":
            exchange.answer(exchange.client)
        case "/header":
            exchange.answer(exchange.headers.get(query.get("key", ""), ""))
        case "/dial":
            exchange.answer(*dial(query))
        case "/echo":
            exchange.answer(query.get("msg", ""), _status(query.get("code", ""), 200))
        case "/exit":
            _exit(exchange, query)
        case "/healthz" | "/readyz":
            exchange.answer("")
        case "/hostname" | "/hostName":
            exchange.answer(socket.gethostname())
        case "/redirect":
            exchange.answer("", _status(query.get("code", ""), 302), location=_header_text(query.get("location", "")))
        case "/shell":
            command = query.get("shellCommand") or query.get("cmd") or ""
            exchange.answer(run_shell(command), content_type="application/json")
        case "/shutdown":
            os._exit(0)
        case "/":
            exchange.answer(f"NOW: {time.strftime('%Y-%m-%d %H:%M:%S %z')}")
        case _:
            exchange.answer("404 page not found\n", 404)


def _status(text: str, default: int) -> int:
    return int(text) if text.isdecimal() and 200 <= int(text) < 600 else default


def _header_text(text: str) -> str:
    return "".join(char for char in text if char.isprintable())


def _exit(exchange: Exchange, query: Mapping[str, str]) -> None:
    code = query.get("code") or "0"
    if not code.isdecimal() or int(code) > 127:
        exchange.answer(f'argument "code" must be an integer [0-127] or empty, got {code!r}\n', 400)
        return
    threading.Event().wait(duration_s(query.get("wait", "")) + duration_s(query.get("timeout", "")))
    os._exit(int(code))


def reply_to(datagram: bytes, client: str, port: int) -> bytes | None:
    """What a UDP datagram is answered with; None for one that is no command. client: "address:port"."""
    text = datagram.decode("utf-8", "replace").strip().lower()
    if text == "hostname":
        return socket.gethostname().encode()
    if text.startswith("echo "):
        return text.removeprefix("echo ").encode()
    if text == "clientip":
        return client.encode()
    return str(port).encode() if text == "serverport" else None


Replier = Callable[[bytes, str, int], bytes | None]


def serve_udp_with(reply_to: Replier, address: str, port: int) -> None:
    """Answer datagrams in a thread of its own; address "" for all. Raises OSError when the port is taken."""
    dual = not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_DGRAM)
    if dual:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind((address, port))

    def answer() -> None:
        while True:
            try:
                datagram, peer = server.recvfrom(MAX_DATAGRAM)
                host = peer[0].removeprefix("::ffff:") if "." in peer[0] else peer[0]
                client = f"[{host}]:{peer[1]}" if ":" in host else f"{host}:{peer[1]}"
                if (reply := reply_to(datagram, client, port)) is not None:
                    server.sendto(reply, peer)
            except OSError:  # an ICMP error of an earlier answer, or a client that cannot be reached
                pass

    threading.Thread(target=answer, daemon=True).start()


def begin(http_port: int, udp_port: int, udp_addresses: list[str]) -> None:
    """Start both servers. Raises OSError when a port is taken."""
    Service(http_port, handle).begin()
    write_line(f"Started HTTP server on port {http_port}")
    if udp_port >= 0:
        for address in udp_addresses or [""]:
            serve_udp_with(reply_to, address, udp_port)
        write_line(f"Started UDP server on port {udp_port}")
