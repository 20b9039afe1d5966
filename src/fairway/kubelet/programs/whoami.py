"""whoami: tells who answers and what was asked, as the image traefik/whoami does.

HTTP on port 80 (`--port N` or WHOAMI_PORT_NUMBER), on IPv4: `/` as text (`?wait=200ms` holds the answer back), `/api`
as JSON, `/health` with the status code that was last POSTed to it, `/bench` as "1". `--name NAME` or WHOAMI_NAME is
told as well. It has neither TLS, `/data`, `/echo` nor gRPC.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import sys
import time

from fairway.kubelet.programs.echo import access_line, parse_query, write_line
from fairway.kubelet.programs.httpd import Server, listen, serve_until_signalled
from fairway.kubelet.programs.messages import Request, Response

DEFAULT_PORT = "80"

_SIOCGIFADDR = 0x8915
"""include/uapi/linux/sockios.h"""
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def own_addresses() -> list[str]:
    """Of every interface its IPv4 address, then its IPv6 ones."""
    addresses: list[str] = []
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            v6 = [line.split() for line in file]
    except OSError:
        v6 = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("16s24x", name.encode()))
                addresses.append(socket.inet_ntoa(answer[20:24]))
            except OSError:  # no IPv4 address
                pass
            addresses += [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0])) for row in v6 if row[5] == name]
    return addresses


def duration_s(text: str) -> float:
    """A Go duration of one or more parts, such as 200ms or 1m30s; 0 for what is none."""
    total, number, unit = 0.0, "", ""
    for char in text + "0":
        if char.isdigit() or char == ".":
            if unit:
                if unit not in _UNITS_S or not _is_number(number):
                    return 0.0
                total, number, unit = total + float(number) * _UNITS_S[unit], "", ""
            number += char
        else:
            unit += char
    return total


def _host(address: str) -> str:
    """As an "address:port" has it."""
    return f"[{address}]" if ":" in address else address


def _is_number(text: str) -> bool:
    return text.count(".") <= 1 and text.replace(".", "").isdigit()


def canonical(name: str) -> str:
    """A header's name as Go writes it."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def go_headers(request: Request) -> dict[str, list[str]]:
    """By canonical name, sorted; Host is not among them, as in Go."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        if name.lower() != "host":
            headers.setdefault(canonical(name), []).append(value)
    return dict(sorted(headers.items()))


class Whoami:
    """Answers requests."""

    def __init__(self, os_hostname: str, name: str) -> None:
        self._os_hostname = os_hostname
        self._name = name
        self._health = 200

    def handle(self, request: Request) -> Response:
        path, _, query = request.target.partition("?")
        match path:
            case "/api":
                return self._api(request)
            case "/health":
                return self._check(request)
            case "/bench":
                return Response(b"1", content_type="text/plain")
            case _:
                wait = parse_query(query).get("wait", "")
                return Response(self.text(request).encode("utf-8", "replace"), delay_s=duration_s(str(wait)))

    def text(self, request: Request) -> str:
        lines = [f"Name: {self._name}"] if self._name else []
        lines.append(f"Hostname: {self._os_hostname}")
        lines += [f"IP: {address}" for address in own_addresses()]
        lines.append(f"RemoteAddr: {_host(request.peer[0])}:{request.peer[1]}")
        headers = go_headers(request)
        wire = [f"{request.method} {request.target} HTTP/1.1", f"Host: {request.header('host')}"]
        wire += [f"User-Agent: {value}" for value in headers.pop("User-Agent", [])]
        wire += [f"{name}: {value}" for name, values in headers.items() for value in values]
        return "\n".join(lines) + "\n" + "\r\n".join([*wire, "", ""]) + request.body.decode("utf-8", "replace")

    def _api(self, request: Request) -> Response:
        answer = {
            "hostname": self._os_hostname,
            "ip": own_addresses(),
            "headers": go_headers(request),
            "url": request.target,
            "host": request.header("host"),
            "method": request.method,
            **({"name": self._name} if self._name else {}),
            "remoteAddr": f"{_host(request.peer[0])}:{request.peer[1]}",
        }
        body = json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        return Response(body, content_type="application/json")

    def _check(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(b"", status=self._health)
        try:
            code = int(request.body)
        except ValueError:
            code = 0
        if not 200 <= code < 600:
            return Response(b"want a status code from 200 to 599\n", status=400)
        self._health = code
        write_line(f"Update health check status code [{code}]")
        return Response(b"")


def _option(arguments: list[str], name: str, default: str) -> str:
    """`--name value`, `--name=value`, with one dash or two."""
    for index, argument in enumerate(arguments):
        key, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and key == name:
            return value if equals else "".join(arguments[index + 1 : index + 2])
    return default


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM. Exit code 1 when the port is taken or no port."""
    given = _option(arguments, "port", os.environ.get("WHOAMI_PORT_NUMBER") or DEFAULT_PORT)
    try:
        listener = listen(int(given))
    except (OSError, OverflowError, ValueError) as error:
        print(f"cannot listen on port {given}: {error}", file=sys.stderr)
        return 1
    whoami = Whoami(socket.gethostname(), _option(arguments, "name", os.environ.get("WHOAMI_NAME", "")))
    server = Server(
        listener,
        whoami.handle,
        access_log=lambda request, response: write_line(access_line(request, response, time.time())),
    )
    write_line(f"Starting up on port {given}")
    serve_until_signalled(server)
    return 0
