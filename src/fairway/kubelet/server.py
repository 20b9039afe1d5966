"""The kubelet's HTTPS on :10250, which the API server calls for `pods/log` and `pods/exec`, and /healthz on loopback.

Paths and parameters of the kubelet's `pkg/kubelet/server/server.go`. Who calls needs a client certificate of the lab's
CA, and to be one of the names given or of the group system:masters.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from fairway.api.types import Object
from fairway.kubelet.container import Container
from fairway.kubelet.cri import EPOCH, LogOptions, format_time
from fairway.kubelet.execution import ExecOptions, Execution
from fairway.kubelet.logs import ContainerLog, options_since
from fairway.kubelet.runtime import Runtime, Sandbox
from fairway.kubelet.streams import SUBPROTOCOL

MASTERS = "system:masters"
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""Of one WebSocket message; kubectl sends stdin in pieces of 32 KiB."""

Handler = Callable[[web.Request], Any]


class NotFoundError(Exception):
    """What was asked for is not here; status and text of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningContainer:
    sandbox: Sandbox
    container: Container


class Pods(Protocol):
    """The node's pods, as the server asks for them; both raise NotFoundError."""

    def running_container(self, namespace: str, pod: str, container: str) -> RunningContainer: ...

    def container_log(self, namespace: str, pod: str, container: str, *, previous: bool) -> ContainerLog: ...

    def objects(self) -> list[Object]: ...


def tls_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """Serve with a certificate, and ask the client for one of the CA's."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    return context


def may_call(certificate: Mapping[str, Any] | None, names: frozenset[str]) -> bool:
    """Whether this client certificate (as `SSLSocket.getpeercert` tells it) may use the kubelet."""
    if not certificate:
        return False
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    return any(
        (kind == "commonName" and value in names) or (kind == "organizationName" and value == MASTERS)
        for kind, value in subject
    )


def parse_log_options(query: Mapping[str, str], now_ns: int) -> LogOptions:
    """PodLogOptions from a query. Raises ValueError, naming the field."""

    def number(name: str) -> int | None:
        text = query.get(name, "")
        if not text:
            return None
        if not text.isdecimal():
            raise ValueError(f"{name}: Invalid value: {text!r}: must be a number that is not negative")
        return int(text)

    options = LogOptions(
        follow=_flag(query, "follow"),
        previous=_flag(query, "previous"),
        timestamps=_flag(query, "timestamps"),
        tail_lines=number("tailLines"),
        limit_bytes=number("limitBytes"),
        since=_since(query.get("sinceTime", "")),
    )
    return options_since(options, number("sinceSeconds"), now_ns)


def _since(text: str) -> str:
    """sinceTime in the form of a log's own times, so that they compare."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"sinceTime: Invalid value: {text!r}: must be a time as 2006-01-02T15:04:05Z") from None
    return format_time((moment - EPOCH) // timedelta(microseconds=1) * 1000)


def parse_exec_options(query: Mapping[str, str], command: list[str]) -> ExecOptions:
    """PodExecOptions from a query, in the API server's words (stdin) or the kubelet's (input). Raises ValueError."""
    if not command:
        raise ValueError("command: Required value")
    options = ExecOptions(
        command=tuple(command),
        stdin=_flag(query, "stdin") or _flag(query, "input"),
        stdout=_flag(query, "stdout") or _flag(query, "output"),
        stderr=_flag(query, "stderr") or _flag(query, "error"),
        tty=_flag(query, "tty"),
    )
    if not (options.stdin or options.stdout or options.stderr):
        raise ValueError("you must specify at least 1 of stdin, stdout, stderr")
    return options


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("true", "1")


class Server:
    """Answers for one node's pods."""

    def __init__(
        self, pods: Pods, runtime: Runtime, *, client_names: frozenset[str], now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._pods = pods
        self._runtime = runtime
        self._client_names = client_names
        self._now_ns = now_ns

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._authorize])
        application.router.add_get("/healthz", _healthz)
        application.router.add_get("/pods", self._list)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        application.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        return application

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        if not may_call(certificate, self._client_names):
            return web.Response(status=403, text="Forbidden: this client certificate may not use the kubelet\n")
        try:
            response: web.StreamResponse = await handler(request)
        except NotFoundError as error:
            return web.Response(status=error.status, text=str(error))
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        except ConnectionError:  # whoever asked has gone, before or amid the answer
            return web.Response()
        return response

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self._pods.objects()})

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        options = parse_log_options(request.query, self._now_ns())
        path = request.match_info
        log = self._pods.container_log(path["namespace"], path["pod"], path["container"], previous=options.previous)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for piece in log.read(options):
            await response.write(piece)
        await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        options = parse_exec_options(request.query, request.query.getall("command", []))
        path = request.match_info
        found = self._pods.running_container(path["namespace"], path["pod"], path["container"])
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        if not socket.can_prepare(request).ok:
            raise ValueError(f"exec needs a WebSocket with the subprotocol {SUBPROTOCOL}")
        await socket.prepare(request)
        if socket.ws_protocol != SUBPROTOCOL:
            await socket.close(code=1002, message=b"subprotocol")
            return socket
        await Execution(self._runtime, found.sandbox, found.container, options, socket).run()
        return socket


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


@asynccontextmanager
async def serving(
    application: web.Application, address: IPv4Address | str, port: int, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve inside the with block; gives the port, for 0 one the kernel chose. Raises OSError when it is taken."""
    # A handler ends with its client: one that follows a silent log would never notice otherwise.
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, str(address), port, ssl_context=context, backlog=128)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def healthz_application() -> web.Application:
    """/healthz alone, for 127.0.0.1:10248."""
    application = web.Application()
    application.router.add_get("/healthz", _healthz)
    return application
