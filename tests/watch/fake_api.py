"""A small API server for tests of its clients: objects in memory, a history of changes, watches that follow it.

What a test needs of a server's bad days is here as methods: forget history, cut streams, answer the next request
with anything at all.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from fairway.api.resources import RESOURCES, Resource
from fairway.api.status import ApiError
from fairway.api.types import Key, Object, key_of

_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}

Answer = Callable[[web.Request], web.StreamResponse]


@dataclass
class Seen:
    """A request as it came, for tests to compare."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None


@dataclass
class FakeApi:
    """objects, by resource and key; history, every event ever, of which those up to `forgotten` are gone.

    canned: answers for the next requests. held: resources that are not answered until `release`.
    refused: resources that are answered with this status alone.
    """

    version: int = 100
    objects: dict[Resource, dict[Key, Object]] = field(default_factory=dict)
    history: list[tuple[int, Resource, str, Object]] = field(default_factory=list)
    forgotten: int = 0
    requests: list[Seen] = field(default_factory=list)
    canned: deque[Answer] = field(default_factory=deque)
    held: set[Resource] = field(default_factory=set)
    refused: dict[Resource, int] = field(default_factory=dict)
    url: str = ""
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)
    _streams: set[web.StreamResponse] = field(default_factory=set)
    _bookmarks: int = 0
    _closing: bool = False

    # -- the world changes

    def put(self, obj: Object) -> Object:
        """Create or change an object."""
        resource = _BY_KIND[(obj["apiVersion"], obj["kind"])]
        stored = self.objects.setdefault(resource, {})
        known = stored.get(key_of(obj))
        self.version += 1
        metadata = {"uid": known["metadata"]["uid"] if known else f"uid-{self.version}", **obj["metadata"]}
        written = {**obj, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        stored[key_of(obj)] = written
        self.history.append((self.version, resource, "MODIFIED" if known else "ADDED", written))
        return written

    def remove(self, resource: Resource, name: str, namespace: str = "") -> Object:
        gone = self.objects[resource].pop(Key(namespace, name))
        self.version += 1
        last = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
        self.history.append((self.version, resource, "DELETED", last))
        return last

    def forget_history(self) -> None:
        """A watch from any earlier version meets 410 from now on."""
        self.forgotten = self.version

    async def announce(self) -> None:
        """Let the watches look again at the history."""
        async with self._moved:
            self._moved.notify_all()

    async def release(self, resource: Resource) -> None:
        """Answer what was held."""
        self.held.discard(resource)
        await self.announce()

    async def bookmark(self) -> None:
        """Every watch sends a bookmark of the present version."""
        self._bookmarks += 1
        await self.announce()

    async def wait_watchers(self, count: int) -> None:
        """Return once so many watches are open."""
        async with self._moved:
            await self._moved.wait_for(lambda: len(self._streams) >= count)

    def cut_streams(self) -> None:
        """End every watch in the middle of its stream, as a dying connection does."""
        for stream in [*self._streams]:
            transport = stream._req.transport if stream._req is not None else None
            if transport is not None:
                transport.abort()

    # -- it answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.read()
        body = msgspec.json.decode(text) if text else None
        self.requests.append(Seen(request.method, request.path, dict(request.query), dict(request.headers), body))
        if self.canned:
            return self.canned.popleft()(request)
        if request.path == "/readyz":
            return web.Response(text="ok")
        try:
            resource, namespace, name = _target(request.path)
            async with self._moved:
                await self._moved.wait_for(lambda: resource not in self.held or self._closing)
            if resource in self.refused:
                raise ApiError(self.refused[resource], "Refused", f"no {resource.plural} here")
            return await self._answer(request, resource, namespace, name, body)
        except ApiError as error:
            return web.json_response(error.to_json(), status=error.code)

    async def _answer(
        self, request: web.Request, resource: Resource, namespace: str, name: str, body: Any
    ) -> web.StreamResponse:
        if request.method == "GET" and not name:
            if request.query.get("watch") == "true":
                return await self._watch(request, resource, namespace)
            items = [
                {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}
                for key, obj in self.objects.get(resource, {}).items()
                if namespace in ("", key.namespace)
            ]
            return web.json_response(
                {
                    "apiVersion": resource.api_version,
                    "kind": resource.list_kind,
                    "metadata": {"resourceVersion": str(self.version)},
                    "items": items,
                }
            )
        if request.method == "POST":
            metadata = {"namespace": namespace} if resource.namespaced else {}
            written = self.put({**body, "metadata": {**metadata, **body["metadata"]}})
            await self.announce()
            return web.json_response(written, status=201)
        if Key(namespace, name) not in self.objects.get(resource, {}):
            raise ApiError(404, "NotFound", f'{resource.group_resource} "{name}" not found', details={"name": name})
        if request.method == "DELETE":
            gone = self.remove(resource, name, namespace)
            await self.announce()
            return web.json_response(gone)
        if request.method in ("PUT", "PATCH"):
            known = self.objects[resource][Key(namespace, name)]
            written = self.put({**known, **body, "metadata": {**known["metadata"], **body.get("metadata", {})}})
            await self.announce()
            return web.json_response(written)
        return web.json_response(self.objects[resource][Key(namespace, name)])

    async def _watch(self, request: web.Request, resource: Resource, namespace: str) -> web.StreamResponse:
        position = int(request.query["resourceVersion"])
        if position < self.forgotten:
            raise ApiError(410, "Expired", f"too old resource version: {position} ({self.forgotten})")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self._streams.add(response)
        bookmarks = self._bookmarks
        try:
            await self.announce()
            while not self._closing:
                now = (self.version, self._bookmarks)
                for version, of, kind, obj in [*self.history]:
                    if position < version <= now[0] and of == resource and namespace in ("", key_of(obj).namespace):
                        await response.write(_line(kind, obj))
                        position = version
                if bookmarks != now[1]:
                    bookmarks = now[1]
                    bookmark = {"kind": resource.kind, "metadata": {"resourceVersion": str(now[0])}}
                    await response.write(_line("BOOKMARK", bookmark))
                async with self._moved:
                    await self._moved.wait_for(partial(self._has_news, now))
        except ConnectionError:
            pass
        finally:
            self._streams.discard(response)
        return response

    def _has_news(self, sent: tuple[int, int]) -> bool:
        return (self.version, self._bookmarks) != sent or self._closing

    @asynccontextmanager
    async def serve(
        self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[FakeApi]:
        """Listen, with the URL in `url`, until the block ends."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        bound = runner.addresses[0][1]
        self.url = f"{'https' if tls else 'http'}://{host}:{bound}"
        self._closing = False
        try:
            yield self
        finally:
            self._closing = True
            await self.announce()
            await runner.cleanup()


def raw(body: bytes, *, status: int = 200, content_type: str = "application/json", **headers: str) -> Answer:
    """A canned answer with just this body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.Response(body=body, status=status, content_type=content_type, headers=named)


def _line(kind: str, obj: Object) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"


def _target(path: str) -> tuple[Resource, str, str]:
    for resource in RESOURCES:
        prefix = resource.prefix + "/"
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        if parts[0] == resource.plural:
            return resource, namespace, parts[1] if len(parts) > 1 else ""
    raise ApiError(404, "NotFound", "the server could not find the requested resource")
