"""The echo server: answers every request with what it was, as the image mendhak/http-https-echo does.

HTTP on port 8080 (HTTP_PORT, or PORT), on IPv4 alone, so that `ip` is a plain address as from the image on a machine
without IPv6, and not ::ffff:172.18.0.5. Of the image it has: the JSON with all its fields, the parsed body of
an application/json request, `x-set-response-status-code`, `x-set-response-delay-ms` and `x-set-response-content-type`
(each a header or a query parameter), `response_body_only=true`, ECHO_BACK_TO_CLIENT, ECHO_INCLUDE_ENV_VARS,
LOG_IGNORE_PATH, LOG_WITHOUT_NEWLINE and DISABLE_REQUEST_LOGS. It has no HTTPS on 8443, so no client certificates, and
neither JWT_HEADER, CORS nor Prometheus metrics.

What Express (on which the image is built) makes of a request is told where it is done below.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from fairway.kubelet.programs.httpd import Server, http_date, listen, serve_until_signalled
from fairway.kubelet.programs.messages import Request, Response

DEFAULT_PORT = 8080

# Node.js `_http_incoming.js` matchKnownFields: of these a second one is dropped, all others are joined.
_SINGLE = {
    *("age", "authorization", "content-length", "content-type", "etag", "expires", "from", "host", "if-modified-since"),
    *("if-unmodified-since", "last-modified", "location", "max-forwards", "proxy-authorization", "referer"),
    *("retry-after", "server", "user-agent"),
}


def merged_headers(headers: list[tuple[str, str]]) -> dict[str, Any]:
    """Lower-case names; of repeated ones the values as Node.js merges them."""
    merged: dict[str, Any] = {}
    for name, value in headers:
        key = name.lower()
        if key == "set-cookie":
            merged.setdefault(key, []).append(value)
        elif key not in merged:
            merged[key] = value
        elif key not in _SINGLE:
            merged[key] += ("; " if key == "cookie" else ", ") + value
    return merged


def parse_query(text: str) -> dict[str, Any]:
    """A query string's parameters; one given twice becomes a list. Brackets in names stay as they are."""
    query: dict[str, Any] = {}
    for pair in text.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        key, decoded = _unquote(name), _unquote(value)
        if key not in query:
            query[key] = decoded
        elif isinstance(query[key], list):
            query[key].append(decoded)
        else:
            query[key] = [query[key], decoded]
    return query


def _unquote(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    parts = text.replace("+", " ").split("%")
    out = bytearray(parts[0].encode("latin-1"))
    for part in parts[1:]:
        try:
            out += bytes.fromhex(part[:2])
            out += part[2:].encode("latin-1")
        except ValueError:
            out += b"%" + part.encode("latin-1")
    return out.decode("utf-8", "replace")


def is_private(address: str) -> bool:
    """Whether Express trusts this peer's X-Forwarded headers: loopback, link-local, unique local.

    Those of IPv4 (RFC 1918) and of IPv6: ::1, fe80::/10, fc00::/7 (RFC 4291, RFC 4193).
    """
    if ":" in address:
        return address == "::1" or address.lower().startswith(("fc", "fd", "fe8", "fe9", "fea", "feb"))
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
        return False
    a, b = int(parts[0]), int(parts[1])
    return a in (10, 127) or (a, b) in ((169, 254), (192, 168)) or (a == 172 and 16 <= b < 32)


def client_addresses(peer: str, forwarded_for: str) -> tuple[str, list[str]]:
    """`ip` and `ips`: from the peer back along X-Forwarded-For up to the first address that is not trusted."""
    chain = [peer, *reversed([part.strip() for part in forwarded_for.split(",") if part.strip()])]
    trusted = next((index for index, address in enumerate(chain) if not is_private(address)), len(chain) - 1)
    chain = chain[: trusted + 1]
    return chain[-1], list(reversed(chain[1:]))


def describe(request: Request, os_hostname: str) -> dict[str, Any]:
    """The image's JSON for a request, without the parts that only some requests have."""
    headers = merged_headers(request.headers)
    target = request.target
    if "://" in target.split("?", 1)[0]:  # absolute form, as to a proxy
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    peer_trusted = is_private(request.peer[0])

    def forwarded(name: str) -> str:
        return headers.get(name, "").split(",")[0].strip() if peer_trusted else ""

    ip, ips = client_addresses(request.peer[0], headers.get("x-forwarded-for", ""))
    host = forwarded("x-forwarded-host") or headers.get("host", "")
    hostname = _without_port(host)
    return {
        "path": path.partition("#")[0],
        "headers": headers,
        "method": request.method,
        "body": request.body.decode("utf-8", "replace"),
        "fresh": request.method in ("GET", "HEAD") and _fresh(headers),
        **({"hostname": hostname} if hostname else {}),
        "ip": ip,
        "ips": ips,
        "protocol": forwarded("x-forwarded-proto") or "http",
        "query": parse_query(query),
        "subdomains": _subdomains(hostname),
        "xhr": headers.get("x-requested-with", "").lower() == "xmlhttprequest",
        "os": {"hostname": os_hostname},
        "connection": {},
    }


def _without_port(host: str) -> str:
    start = host.find("]") + 1 if host.startswith("[") else 0
    colon = host.find(":", start)
    return host if colon < 0 else host[:colon]


def _subdomains(hostname: str) -> list[str]:
    """All labels but the last two, the nearest first; none for an address."""
    if not hostname or hostname.replace(".", "").isdigit() or ":" in hostname:
        return []
    return hostname.split(".")[::-1][2:]


def _fresh(headers: Mapping[str, Any]) -> bool:
    """The `fresh` module for an answer that has neither ETag nor Last-Modified yet."""
    if "no-cache" in headers.get("cache-control", "").lower():
        return False
    return headers.get("if-none-match") == "*" and "if-modified-since" not in headers


def _number(value: Any) -> int | None:
    """parseInt: the digits at the start, or None."""
    text = str(value[0] if isinstance(value, list) else value).strip()
    digits = text[: next((i for i, c in enumerate(text) if c not in "0123456789"), len(text))]
    return int(digits) if digits else None


class EchoServer:
    """Answers requests; environment: the options, as the image takes them."""

    def __init__(self, os_hostname: str, environment: Mapping[str, str]) -> None:
        self._os_hostname = os_hostname
        self._environment = environment

    def handle(self, request: Request) -> Response:
        echo = describe(request, self._os_hostname)
        if self._environment.get("ECHO_INCLUDE_ENV_VARS"):
            echo["env"] = dict(self._environment)
        headers, query = echo["headers"], echo["query"]
        if _is_json(headers):
            try:
                echo["json"] = json.loads(request.body)
            except ValueError as error:
                return Response(f"SyntaxError: {error}\n".encode(), status=400)
        status = _number(headers.get("x-set-response-status-code") or query.get("x-set-response-status-code") or "")
        delay = _number(headers.get("x-set-response-delay-ms") or query.get("x-set-response-delay-ms") or "")
        kind = headers.get("x-set-response-content-type") or query.get("x-set-response-content-type")
        self._log(echo)
        return Response(
            self._body(echo, request),
            status=status if status is not None and 200 <= status < 600 else 200,
            content_type=str(kind or "application/json; charset=utf-8").replace("\r", "").replace("\n", ""),
            delay_s=(delay or 0) / 1000,
        )

    def _body(self, echo: dict[str, Any], request: Request) -> bytes:
        if self._environment.get("ECHO_BACK_TO_CLIENT") == "false":
            return b""
        if echo["query"].get("response_body_only") == "true":
            return request.body
        return json.dumps(echo, indent=2, ensure_ascii=False).encode("utf-8", "replace")

    def _log(self, echo: dict[str, Any]) -> None:
        if self._environment.get("LOG_IGNORE_PATH") != echo["path"]:
            indent = None if self._environment.get("LOG_WITHOUT_NEWLINE") else 4
            write_line(json.dumps(echo, indent=indent, ensure_ascii=False))


def _is_json(headers: Mapping[str, Any]) -> bool:
    has_body = "transfer-encoding" in headers or "content-length" in headers
    return has_body and headers.get("content-type", "").split(";")[0].strip().lower() == "application/json"


def access_line(request: Request, response: Response, seconds: float) -> str:
    """One line of the Apache combined log format."""
    date = http_date(seconds)  # "Sun, 06 Nov 1994 08:49:37 GMT"
    _, day, month, year, clock, _ = date.split(" ")
    agent, referrer = request.header("user-agent") or "-", request.header("referer") or "-"
    line = f'"{request.method} {request.target} HTTP/{request.version}" {response.status} {len(response.body)}'
    return f'{request.peer[0]} - - [{day}/{month}/{year}:{clock} +0000] {line} "{referrer}" "{agent}"'


def write_line(text: str) -> None:
    """To standard output, at once; a log that nobody takes any more must not end the server."""
    try:
        os.write(1, text.encode("utf-8", "replace") + b"\n")
    except OSError:
        pass


def main(_arguments: list[str]) -> int:
    """Serve until SIGTERM. Exit code 1 when the port is taken or no port."""
    given = os.environ.get("HTTP_PORT") or os.environ.get("PORT") or str(DEFAULT_PORT)
    try:
        listener = listen(int(given))
    except (OSError, OverflowError, ValueError) as error:
        print(f"cannot listen on port {given}: {error}", file=sys.stderr)
        return 1
    echo = EchoServer(socket.gethostname(), os.environ)
    logged = os.environ.get("DISABLE_REQUEST_LOGS") != "true"
    server = Server(
        listener,
        echo.handle,
        access_log=(lambda request, response: write_line(access_line(request, response, time.time())))
        if logged
        else None,
    )
    write_line(f"Listening on port {given} for http.")
    serve_until_signalled(server)
    return 0
