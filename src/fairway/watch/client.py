"""Requests to a Kubernetes API server over aiohttp: single objects, lists, watches.

One Client keeps one pool of connections. Every method raises ApiError for a Status the server answers, and Retry where
no answer came: connection refused or reset, time-out, an answer that is no JSON.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from fairway.api.resources import Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import Retry
from fairway.watch.kubeconfig import Credentials
from fairway.watch.lines import LineBuffer
from fairway.watch.listing import parse_list
from fairway.watch.retransmission import new_socket

MERGE_PATCH = "application/merge-patch+json"
"""RFC 7396."""
JSON_PATCH = "application/json-patch+json"
"""RFC 6902."""
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
"""Kubernetes' own: lists of objects are merged by key."""

CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 60.0
"""As the API server's own limit for a request that is no watch (`--request-timeout`)."""
_RETRY_AFTER_S = 1.0


class WatchEventType(Enum):
    """What a watch line says (apimachinery `watch/watch.go`)."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One line of a watch.

    object: for ERROR a Status, for BOOKMARK little more than a resourceVersion.
    """

    type: WatchEventType
    object: Object


class Client:
    """An API server as seen by one identity; an async context manager."""

    def __init__(self, credentials: Credentials, *, user_agent: str = "fairway") -> None:
        self._credentials = credentials
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._credentials.ssl_context or True, socket_factory=new_socket)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._user_agent, "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        """One object, or a subresource of it."""
        return await self._request("GET", resource.path(namespace, name, subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> Object:
        """A List object; its items are ListItems, with apiVersion and kind filled in, which servers leave out.

        resource_version: "" for the newest state, "0" for any the server has at hand, else one not older than this.
        """
        query = _selectors(label_selector, field_selector)
        if resource_version:
            query["resourceVersion"] = resource_version
        async with self._open("GET", resource.path(namespace), query=query) as response:
            return parse_list(await response.read(), resource)

    async def create(
        self, resource: Resource, body: Object, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Object:
        """Create an object in `namespace`, by default the body's; name and subresource as for pods/binding."""
        return await self._request(
            "POST", resource.path(_namespace(resource, body, namespace), name, subresource), body=body
        )

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        """Replace an object by its body's name; a resourceVersion in it makes the server refuse a stale write (409)."""
        path = resource.path(_namespace(resource, body, ""), body["metadata"]["name"], subresource)
        return await self._request("PUT", path, body=body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Any,
        namespace: str = "",
        *,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Object:
        """Patch an object; returns it as it is afterwards."""
        path = resource.path(namespace, name, subresource)
        return await self._request("PATCH", path, body=body, content_type=content_type)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        grace_period_s: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
    ) -> Object:
        """Delete an object; returns it while it is terminating, else a Status.

        propagation: Foreground, Background or Orphan. uid: refuse (409) if the object is another by now.
        """
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        return await self._request("DELETE", resource.path(namespace, name), body=options)

    async def read_text(self, path: str) -> str:
        """What a path such as /readyz, /version or a pod's log answers, as text."""
        async with self._open("GET", path) as response:
            return (await response.read()).decode("utf-8", "replace")

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: int,
        idle_s: float,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version`, in the server's order, bookmarks included; ends where the server ends it.

        timeout_s: asks the server to end it after so long. idle_s: nothing at all for so long is a dead connection.
        Raises ApiError where the server refuses the watch, Retry where the stream breaks or is no watch; half a line
        before a break is not an event. Close the generator (`contextlib.aclosing`) when leaving it early.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
        }
        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S, sock_read=idle_s)
        async with self._open("GET", resource.path(namespace), query=query, timeout=limits) as response:
            buffer = LineBuffer()
            async for chunk in response.content.iter_any():
                for line in buffer.feed(chunk):
                    yield _watch_event(line)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        async with self._open(method, path, query=query, body=body, content_type=content_type) as response:
            answer = _decoded(await response.read())
        if answer is None:
            raise Retry(
                f"{method} {self._credentials.server}{path}: the answer is no JSON object", after_s=_RETRY_AFTER_S
            )
        return answer

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of status 2xx; failures of the connection, inside the with block too, become Retry."""
        if self._session is None:
            raise RuntimeError("the Client is not entered: use 'async with'")
        headers: dict[str, str] = {}
        authorization = self._credentials.authorization()
        if authorization is not None:
            headers["Authorization"] = authorization
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            async with self._session.request(
                method,
                self._credentials.server + path,
                params=query,
                data=msgspec.json.encode(body) if body is not None else None,
                headers=headers,
                server_hostname=self._credentials.server_name,
                allow_redirects=False,
                timeout=timeout or self._session.timeout,
            ) as response:
                if not 200 <= response.status < 300:
                    raise await _api_error(response)
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # aiohttp tells of chunks and lengths here; what matters is that the other end went away.
            broke_off = isinstance(error, aiohttp.ClientPayloadError)
            reason = "the answer broke off" if broke_off else str(error) or type(error).__name__
            raise Retry(f"{method} {self._credentials.server}{path}: {reason}", after_s=_RETRY_AFTER_S) from error


async def _api_error(response: aiohttp.ClientResponse) -> ApiError:
    text = await response.read()
    answer = _decoded(text)
    if answer is None:
        # A proxy's or load balancer's page; its first line says enough.
        first = text.decode("utf-8", "replace").strip().partition("\n")[0][:200]
        return ApiError(response.status, "Unknown", first or f"{response.status} {response.reason}")
    error = ApiError.from_json(response.status, answer)
    after = response.headers.get("Retry-After", "")
    if after.isdecimal() and "retryAfterSeconds" not in (error.details or {}):
        error.details = {**(error.details or {}), "retryAfterSeconds": int(after)}
    return error


def _decoded(text: bytes) -> Object | None:
    try:
        answer = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _watch_event(line: bytes) -> WatchEvent:
    answer = _decoded(line)
    if answer is None or not isinstance(answer.get("object"), dict):
        raise Retry("the watch sent a line that is no event", after_s=_RETRY_AFTER_S)
    try:
        kind = WatchEventType(answer.get("type"))
    except ValueError:
        raise Retry(f"the watch sent an event of unknown type {answer.get('type')!r}", after_s=_RETRY_AFTER_S) from None
    if kind not in (WatchEventType.BOOKMARK, WatchEventType.ERROR) and not _has_name(answer["object"]):
        raise Retry("the watch sent an object without a name", after_s=_RETRY_AFTER_S)
    return WatchEvent(type=kind, object=answer["object"])


def _has_name(obj: Any) -> bool:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def _namespace(resource: Resource, body: Object, namespace: str) -> str:
    if not resource.namespaced:
        return ""
    return namespace or body.get("metadata", {}).get("namespace") or ""


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in query.items() if value}
