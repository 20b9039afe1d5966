"""HTTP servers of the agent: health of the proxy, metrics, and a health check port for each Service that has one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from fairway.agent.health import Answer, answer_service
from fairway.api.types import Key
from fairway.base.errors import Refused
from fairway.plan.model import HealthCheck

_log = logging.getLogger(__name__)

BIND_RETRY_S = 5.0
"""As kube-proxy tries again for its health and metrics ports."""
SHUTDOWN_S = 1.0

Route = Callable[[], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class BindAddress:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def serve(
    address: BindAddress,
    routes: Mapping[str, Route],
    *,
    hard_fail: bool = False,
    on_bind_failure: Callable[[str], Awaitable[None]] | None = None,
) -> None:
    """Answer GET and HEAD of `routes` for ever.

    Where the address is taken: tries again every BIND_RETRY_S, or raises Refused if `hard_fail`; `on_bind_failure` is
    told the first time.
    """
    app = web.Application()
    for path, route in routes.items():
        app.router.add_get(path, _handler(route))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        while (failure := await _bind(runner, address)) is not None:
            if hard_fail:
                raise Refused(f"cannot listen on {address}: {failure}")
            _log.error("cannot listen on %s: %s; trying again", address, failure)
            if on_bind_failure is not None:
                await on_bind_failure(f"cannot listen on {address}: {failure}")
                on_bind_failure = None
            await asyncio.sleep(BIND_RETRY_S)
        _log.info("listening on %s", address)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _bind(runner: web.BaseRunner, address: BindAddress) -> str | None:
    """Listen; the reason where that fails."""
    site = web.TCPSite(runner, address.host, address.port)
    try:
        await site.start()
    except OSError as error:
        await _forget(runner, site)
        return error.strerror or str(error)
    return None


async def _forget(runner: web.BaseRunner, site: web.BaseSite) -> None:
    """Take a site that never started off its runner's list."""
    if site in runner.sites:
        await site.stop()


def _handler(route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        return _response(route())

    return handle


def _response(answer: Answer) -> web.Response:
    # Named, lest aiohttp tells its own version and Python's to everyone who asks.
    return web.Response(status=answer.status, headers={**answer.headers, "Server": "fairway"}, body=answer.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """The server of one Service and the sockets it listens on."""

    port: int
    hosts: tuple[str, ...]
    sockets: tuple[socket.socket, ...]
    runner: web.ServerRunner


class ServiceHealthListeners:
    """One HTTP server for each health check node port, on each of the addresses that take node ports.

    proxy_healthy: asked for each answer. on_bind_failure: told the Service, port and reason, once until it works.
    """

    def __init__(
        self, *, proxy_healthy: Callable[[], bool], on_bind_failure: Callable[[Key, int, str], Awaitable[None]]
    ) -> None:
        self._proxy_healthy = proxy_healthy
        self._on_bind_failure = on_bind_failure
        self._open: dict[Key, _Open] = {}
        self._counts: dict[Key, int] = {}
        self._failed: dict[Key, tuple[int, str]] = {}

    @property
    def ports(self) -> Mapping[Key, int]:
        """The ports that are open."""
        return {key: opened.port for key, opened in self._open.items()}

    async def sync(self, checks: Iterable[HealthCheck], hosts: Sequence[str]) -> None:
        """Open what is new, close what went, and answer with these numbers from now on.

        A port that cannot be bound is tried again at the next call only; the others go on.
        """
        wanted = {Key(check.namespace, check.service): check for check in checks}
        where = tuple(hosts)
        self._counts = {key: check.local_endpoints for key, check in wanted.items()}
        for key, opened in [*self._open.items()]:
            check = wanted.get(key)
            if check is None or (opened.port, opened.hosts) != (check.port, where):
                del self._open[key]
                await _close(opened)
        for key in self._failed.keys() - wanted.keys():
            del self._failed[key]
        for key, check in wanted.items():
            if key not in self._open:
                await self._listen(key, check.port, where)

    async def close(self) -> None:
        """Close all."""
        await self.sync((), ())

    async def _listen(self, key: Key, port: int, hosts: tuple[str, ...]) -> None:
        try:
            sockets = _bind_all(hosts, port)
        except OSError as error:
            reason = error.strerror or str(error)
            if self._failed.get(key) != (port, reason):
                self._failed[key] = (port, reason)
                await self._on_bind_failure(key, port, reason)
            return

        async def handle(_: web.BaseRequest) -> web.Response:
            count = self._counts.get(key, 0)
            return _response(answer_service(*key, count, proxy_healthy=self._proxy_healthy()))

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        for listener in sockets:
            await web.SockSite(runner, listener).start()
        self._failed.pop(key, None)
        self._open[key] = _Open(port=port, hosts=hosts, sockets=sockets, runner=runner)


def _bind_all(hosts: Iterable[str], port: int) -> tuple[socket.socket, ...]:
    """A listening socket on each of the addresses, or OSError and none."""
    with contextlib.ExitStack() as opened:
        sockets = tuple(opened.enter_context(_bind_one(host, port)) for host in hosts)
        opened.pop_all()
    return sockets


def _bind_one(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:  # "::" is not to take the port of IPv4, which has a listener of its own
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


async def _close(opened: _Open) -> None:
    loop = asyncio.get_running_loop()
    for listener in opened.sockets:
        loop.remove_reader(listener)
    # asyncio takes a connection in three turns (accept, transport, connection_made). One caught in between by the
    # closing of its server is neither served nor closed, and its client would wait for ever (CPython 3.11).
    for _ in range(3):
        await asyncio.sleep(0)
    await opened.runner.cleanup()
