"""The API server as a process: TLS and HTTP around the handlers, the store behind them.

Who shows a certificate of the cluster's authority is the user it names, who shows a token of a service account is that;
both may do everything in this release. Who shows none gets only /healthz, /livez, /readyz and /version.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import socket

from aiohttp import web

from fairway.api.resources import Resource
from fairway.api.status import ApiError
from fairway.apiserver.allocators import ServiceAllocator
from fairway.apiserver.bodies import MAX_BYTES
from fairway.apiserver.bootstrap import ensure, is_complete
from fairway.apiserver.config import ServerConfig
from fairway.apiserver.expiry import CHECK_S, expire_events
from fairway.apiserver.handlers import STREAMED, handle, resolve_target
from fairway.apiserver.http import headers_of, read_request, refuse, send
from fairway.apiserver.identity import bearer_token, user_of
from fairway.apiserver.jwt import InvalidTokenError, SigningKey
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.kubelet_proxy import KubeletProxy, kubelet_tls
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.namespaces import empty_terminating
from fairway.apiserver.pod_streams import exec_location, log_location
from fairway.apiserver.ranges import PortRange
from fairway.apiserver.registry import Registry
from fairway.apiserver.representation import error_response
from fairway.apiserver.request import Request, StreamResponse, User
from fairway.apiserver.routes import NoRouteError
from fairway.apiserver.service_accounts import TokenAuthority
from fairway.apiserver.service_cidrs import settle_service_cidrs
from fairway.apiserver.store import Store
from fairway.base.errors import Refused
from fairway.watch.retransmission import go_on_soon

HEALTH_PATHS = ("/healthz", "/livez", "/readyz")
PUBLIC_PATHS = (*HEALTH_PATHS, "/version")
"""What anybody may read."""

BOOKMARK_INTERVAL_S = 60.0
"""Between bookmarks of a quiet watch (apiserver `storage/cacher`, defaultBookmarkFrequency)."""

MIN_WATCH_S = 1800.0
"""A watch whose client sets no limit lasts this long, or up to twice as long (`--min-request-timeout`)."""

_SHUTDOWN_S = 1.0
_CLIENT_GONE = 499
"""In the log alone: the client closed its connection before the answer was complete."""
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes (apimachinery `util/rand`)."""

_log = logging.getLogger(__name__)


async def serve(config: ServerConfig, sockets: Sequence[socket], *, on_ready: Callable[[], None] | None = None) -> None:
    """Serve on listening sockets until cancelled. on_ready: called once when requests are answered.

    Raises Refused where a file of the configuration cannot be used or the store cannot be opened.
    """
    tls = _server_tls(config)
    kubelets = _load(partial(kubelet_tls, str(config.ca), str(config.kubelet_certificate), str(config.kubelet_key)))
    store = await Store.open(config.data)
    try:
        registry = _registry(config, store)
        async with KubeletProxy(kubelets) as proxy:
            server = _Server(config, store, registry, proxy)
            await server.bootstrap()
            async with _listening(server, sockets, tls):
                if on_ready is not None:
                    on_ready()
                await server.keep_house()
    finally:
        await store.close()


def _registry(config: ServerConfig, store: Store) -> Registry:
    rng = random.SystemRandom()

    def new_allocator() -> ServiceAllocator:
        return ServiceAllocator(networks=config.service_cidrs, node_ports=PortRange(*config.node_port_range), rng=rng)

    registry = Registry(
        revisions=store.revisions,
        strategy_for=strategy_for,
        new_allocator=new_allocator,
        tokens=_token_authority(config.service_account_key),
    )
    store.on_abandon = registry.rebuild
    return registry


def _token_authority(path: Path | None) -> TokenAuthority | None:
    if path is None:
        return None
    try:
        return TokenAuthority(key=SigningKey(path.read_bytes()))
    except OSError as error:
        raise Refused(f"cannot read the service account key: {error}") from error


def _server_tls(config: ServerConfig) -> ssl.SSLContext:
    def load() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(config.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Health and version are for anybody; the rest is refused above TLS, with a Status.
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(str(config.certificate), str(config.key))
        context.set_alpn_protocols(["http/1.1"])
        return context

    return _load(load)


def _load(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    try:
        return make()
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"cannot read the API server's certificates or keys: {error}") from error


@asynccontextmanager
async def _listening(server: _Server, sockets: Sequence[socket], tls: ssl.SSLContext) -> AsyncIterator[None]:
    app = web.Application(client_max_size=MAX_BYTES)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        for listening in sockets:
            go_on_soon(listening)
            await web.SockSite(runner, listening, ssl_context=tls, backlog=1024).start()
        yield
    finally:
        server.stop_watches()
        await runner.cleanup()


class _Server:
    """HTTP on one side, requests and answers as values on the other."""

    def __init__(self, config: ServerConfig, store: Store, registry: Registry, proxy: KubeletProxy) -> None:
        self._is_stopping = False
        self._config = config
        self._store = store
        self._registry = registry
        self._proxy = proxy
        self._random = random.SystemRandom()

    async def bootstrap(self) -> None:
        """Make what a cluster has from the start."""
        config = self._config
        ensure(
            self._registry,
            service_cidrs=config.service_cidrs,
            address=config.advertise_address,
            port=config.advertise_port,
            around=self._around(),
        )
        await self._store.commit()

    async def keep_house(self) -> None:
        """Empty namespaces on their way out, settle ServiceCIDRs, bring back what must be there, let old Events go.

        Ends only when cancelled.
        """
        clock = asyncio.get_running_loop().time
        seen, check_at = 0, clock()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(check_at):
                    await self._store.wait_for_change(seen)
            seen = self._store.revisions.revision
            try:
                if clock() >= check_at:
                    check_at = clock() + CHECK_S
                    expire_events(self._registry, self._around().now)
                if not is_complete(self._registry):
                    await self.bootstrap()
                empty_terminating(self._registry, self._around())
                settle_service_cidrs(self._registry, self._around())
                await self._store.commit()
            except ApiError as error:
                _log.warning("housekeeping: %s", error)

    def stop_watches(self) -> None:
        """End every watch, as at the end of its time."""
        self._is_stopping = True
        self._store.wake_all()

    async def answer(self, http: web.Request) -> web.StreamResponse:
        """Every request comes here."""
        start = asyncio.get_running_loop().time()
        user: User | None = None
        response: web.StreamResponse
        try:
            user = self._user(http)
            if http.path in HEALTH_PATHS:
                response = web.Response(text="ok")
            elif user is None and http.path not in PUBLIC_PATHS:
                raise ApiError(401, "Unauthorized", "Unauthorized")
            else:
                response = await self._dispatch(http, await read_request(http, user))
        except ApiError as error:
            response = refuse(error_response(error))
        except NoRouteError:
            response = web.Response(status=404, text="404 page not found\n")
        except ConnectionError:
            response = web.Response(status=_CLIENT_GONE)  # it reaches nobody
        except Exception as error:
            _log.exception("%s %s", http.method, http.path_qs)
            failure = ApiError(500, "InternalError", f"Internal error occurred: {type(error).__name__}: {error}")
            response = refuse(error_response(failure))
        elapsed_ms = (asyncio.get_running_loop().time() - start) * 1000
        name = user.name if user is not None else "-"
        _log.debug("%s %s %s %d %.1fms", name, http.method, http.path_qs, response.status, elapsed_ms)
        return response

    def _user(self, http: web.Request) -> User | None:
        """Who asks, by certificate or else by token. Raises ApiError 401 for a token that proves nobody."""
        user = user_of(http.transport.get_extra_info("peercert") if http.transport is not None else None)
        token = bearer_token(http.headers.get("Authorization", ""))
        if user is not None or not token:
            return user
        try:
            if self._registry.tokens is None:
                raise InvalidTokenError("no token is accepted here")
            return self._registry.tokens.user_of(self._store.revisions, token, datetime.now(UTC))
        except InvalidTokenError as error:
            _log.debug("token refused: %s", error)
            raise ApiError(401, "Unauthorized", "Unauthorized") from error

    async def _dispatch(self, http: web.Request, request: Request) -> web.StreamResponse:
        location = await self._stream(http, request)
        if location is not None:
            return location
        try:
            answer = handle(self._registry, request, self._around(), watch_timeout_s=self._watch_timeout_s())
        finally:
            # Also a refusal waits: it may rest on a write that is not on disk yet.
            if request.method != "GET":
                await self._store.commit()
        if isinstance(answer, StreamResponse):
            return await self._watch(http, answer)
        return await send(http, answer)

    async def _stream(self, http: web.Request, request: Request) -> web.StreamResponse | None:
        """Logs and exec, which a kubelet answers; None for everything else."""
        if not request.path.endswith(STREAMED):
            return None
        target = resolve_target(request)
        revisions = self._store.revisions
        if target.subresource == "log":
            return await self._proxy.log(http, log_location(revisions, target, request))
        if target.subresource == "exec":
            return await self._proxy.exec(http, exec_location(revisions, target, request))
        return None

    async def _watch(self, http: web.Request, answer: StreamResponse) -> web.StreamResponse:
        """Send a watch's lines as they come, until its time is up, its client gone or the server stopped."""
        loop = asyncio.get_running_loop()
        stream, revisions = answer.stream, self._store.revisions
        response = web.StreamResponse(headers=headers_of(answer.content_type, answer.warnings))
        await response.prepare(http)
        end = loop.time() + stream.timeout_s
        next_bookmark = loop.time() + BOOKMARK_INTERVAL_S
        while not stream.ended and not self._is_stopping:
            lines = stream.read(revisions, datetime.now(UTC))
            if not lines and loop.time() >= end:
                break
            if not lines and loop.time() >= next_bookmark:
                lines = stream.bookmark(revisions)
                next_bookmark = loop.time() + BOOKMARK_INTERVAL_S
            if lines:
                await response.write(lines)
                continue
            await self._wait_for_events(stream.resource, stream.cursor, until=min(end, next_bookmark))
        if not stream.ended:
            await response.write(stream.bookmark(revisions))
        return response

    async def _wait_for_events(self, resource: Resource, after: int, *, until: float) -> None:
        """Return when there is an event, at a time of the loop's clock, or when the server stops."""
        try:
            async with asyncio.timeout_at(until):
                await self._store.wait_for_events(resource, after)
        except TimeoutError:
            pass

    def _around(self) -> Surroundings:
        return Surroundings(now=datetime.now(UTC), new_uid=_new_uid, new_suffix=self._new_suffix)

    def _new_suffix(self) -> str:
        return "".join(self._random.choices(_SUFFIX_LETTERS, k=5))

    def _watch_timeout_s(self) -> float:
        return MIN_WATCH_S * (1 + self._random.random())


def _new_uid() -> str:
    return str(uuid.uuid4())
