"""agnhost netexec and serve-hostname: servers that tell who they are, who asks, and call others.

HTTP and HTTPS: `/`, `/clientip`, `/dial`, `/echo`, `/exit`, `/header`, `/healthz`, `/hostname`, `/hostName`, `/readyz`,
`/redirect`, `/shell` and `/shutdown`; UDP and SCTP: `hostname`, `echo TEXT`, `clientip`, `serverport`. It has no
`/upload`. What each takes and answers is as in kubernetes `test/images/agnhost/netexec/netexec.go`.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import parse_qsl

from fairway.kubelet.programs.echo import write_line
from fairway.kubelet.programs.flags import (
    GO_SIGNALLED,
    UsageError,
    catch_end,
    no_arguments,
    parse_flags,
    port_of,
    wait_for_end,
)
from fairway.kubelet.programs.raw import MAX_DATAGRAM, sctp_socket, serve_sctp, serve_tcp, serve_udp
from fairway.kubelet.programs.threaded import Exchange, Service, tls_context
from fairway.kubelet.programs.whoami import duration_s

DIAL_TIMEOUT_S = 5.0
"""For each try of `/dial`."""
MAX_TRIES = 1000
SHELLS = ("/bin/sh", "-c")


def dial(query: Mapping[str, str]) -> tuple[str, int]:
    """Call somebody so often and tell what they said, as JSON {"responses", "errors"}; with a status."""
    protocol, host, port = (query.get("protocol") or "http").lower(), query.get("host", ""), query.get("port", "")
    request, tries = query.get("request") or query.get("dialCommand") or "", query.get("tries") or "1"
    if not tries.isdecimal() or int(tries) > MAX_TRIES:
        return f"tries parameter is invalid. want a number up to {MAX_TRIES}, not {tries!r}\n", 400
    if not request:
        return "request parameter not specified.\n", 400
    if protocol not in _DIALERS:
        return f"unsupported protocol. {protocol}\n", 400
    if not host or not port.isdecimal() or int(port) > 65535:
        return f"host and/or port param are invalid. {host}:{port}\n", 400
    try:
        socket.getaddrinfo(host, int(port))
    except (OSError, UnicodeError) as error:
        return f"host and/or port param are invalid. {host}: {error}\n", 400
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


def _dial_sctp(host: str, port: int, request: str) -> str:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with sctp_socket(family) as client:
        client.settimeout(DIAL_TIMEOUT_S)
        client.connect(address)
        client.sendall(request.encode())
        return client.recv(MAX_DATAGRAM).decode("utf-8", "replace")


_DIALERS: dict[str, Callable[[str, int, str], str]] = {"http": _dial_http, "udp": _dial_udp, "sctp": _dial_sctp}


def run_shell(command: str) -> str:
    """Run a command and tell its output and how it failed, as JSON {"output", "error"}."""
    done = subprocess.run([*SHELLS, command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode("utf-8", "replace")
    failed = {"error": f"exit status {done.returncode}"} if done.returncode else {}
    return json.dumps({**({"output": output} if output else {}), **failed}, separators=(",", ":"), ensure_ascii=False)


def handle(exchange: Exchange, target: str, *, ends: threading.Event, ready: threading.Event) -> None:
    """Answer one HTTP request as one of `target`.

    ends: set once the program is told to end. ready: set once its UDP or SCTP server answers.
    """
    path, _, text = target.partition("?")
    query = dict(reversed(parse_qsl(text, keep_blank_values=True)))  # of a repeated one the first, as in Go
    write_line(f"{exchange.command} {path}")
    match path:
        case "/clientip":
            exchange.answer(exchange.client)
        case "/header":
            exchange.answer(_header(exchange, query.get("key", "")))
        case "/dial":
            exchange.answer(*dial(query))
        case "/echo" | "/redirect" if query.get("code") and not query["code"].isdecimal():
            exchange.answer(f"argument 'code' must be an integer or empty, got \"{query['code']}\"\n")
        case "/echo":
            exchange.answer(query.get("msg", ""), _status(query.get("code", ""), 200))
        case "/exit":
            _exit(exchange, query)
        case "/readyz" if ends.is_set():
            exchange.answer("shutting down", 503)
        case "/healthz" | "/readyz" if not ready.is_set():
            exchange.answer("", 412)
        case "/healthz":
            exchange.answer("")
        case "/readyz":
            exchange.answer("ok")
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


def _header(exchange: Exchange, key: str) -> str:
    """One header's value, or without a key all of them as JSON, a list each."""
    if key:
        return str(exchange.headers.get(key, ""))
    names = dict.fromkeys(name.title() for name in exchange.headers if name.lower() != "host")
    return json.dumps({name: exchange.headers.get_all(name) for name in sorted(names)}, separators=(",", ":"))


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


def _reply_to_stream(connection: socket.socket, client: str) -> bytes | None:
    """The same over a connection, which is closed after the answer."""
    return reply_to(connection.recv(MAX_DATAGRAM), client, connection.getsockname()[1])


def run_netexec(arguments: Sequence[str]) -> int:
    """Until SIGTERM, and as long after it as it is told."""
    known = {
        "http-port": "8080",
        "udp-port": "8081",
        "sctp-port": "-1",
        "udp-listen-addresses": "",
        "delay-shutdown": "0",
        "tls-cert-file": "",
        "tls-private-key-file": "",
        "http-override": "",
    }
    flags, rest = parse_flags(arguments, known)
    no_arguments(rest)
    if not flags["delay-shutdown"].isdecimal():
        raise UsageError(f'invalid argument "{flags["delay-shutdown"]}" for "--delay-shutdown" flag: want seconds')
    http_port, udp_port, sctp_port = (port_of(flags, f"{name}-port", least=-1) for name in ("http", "udp", "sctp"))
    addresses = _addresses(flags["udp-listen-addresses"])
    certificate = flags["tls-cert-file"]
    tls = tls_context(certificate, flags["tls-private-key-file"]) if certificate else None
    ends, ready = catch_end(), threading.Event()
    override = flags["http-override"]
    Service(
        http_port, lambda exchange: handle(exchange, override or exchange.path, ends=ends, ready=ready), tls=tls
    ).begin()
    write_line(f"Started HTTP{'S' if tls else ''} server on port {http_port}")
    if sctp_port >= 0:
        serve_sctp(sctp_port, _reply_to_stream)
        ready.set()
        write_line(f"Started SCTP server on port {sctp_port}")
    if udp_port >= 0:
        for address in addresses:
            serve_udp(address, udp_port, reply_to)
        ready.set()
        write_line(f"Started UDP server on port {udp_port}")
    return wait_for_end(ends, float(flags["delay-shutdown"]), 0)


def _addresses(text: str) -> list[str]:
    """Of a list with commas, each once; "" for all. Raises UsageError for what is none."""
    try:
        return sorted({str(ip_address(address.strip())) for address in text.split(",")}) if text else [""]
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--udp-listen-addresses" flag: {error}') from None


def run_serve_hostname(arguments: Sequence[str]) -> int:
    """Until SIGTERM, with the name of this host over one or more protocols."""
    known = {"port": "9376", "http": "true", "tcp": "false", "udp": "false", "close": "false"}
    flags, rest = parse_flags(arguments, known)
    no_arguments(rest)
    http, tcp, udp = (flags[name] == "true" for name in ("http", "tcp", "udp"))
    if http and (tcp or udp):
        raise UsageError("cannot serve TCP or UDP and HTTP at the same time: add --http=false")
    port, ends, name = port_of(flags, "port"), catch_end(), socket.gethostname()
    if udp:
        serve_udp("", port, lambda *_: name.encode())
    if tcp:
        serve_tcp(port, lambda *_: name.encode())
    if http:
        Service(port, lambda exchange: _say_name(exchange, name, close=flags["close"] == "true")).begin()
    write_line(f"Serving on port {port}.")
    return wait_for_end(ends, 0, GO_SIGNALLED)


def _say_name(exchange: Exchange, name: str, *, close: bool) -> None:
    exchange.close_connection = close or exchange.close_connection
    exchange.answer(name)
