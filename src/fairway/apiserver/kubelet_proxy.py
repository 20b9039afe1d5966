"""Logs and exec: bytes between a client and a kubelet, each end as the real ones speak.

The kubelet is asked over TLS with the server's own client certificate; its certificate must come from the cluster's
authority and be valid for the node's address. exec is the WebSocket protocol v5.channel.k8s.io on both sides, passed
on frame by frame (KEP-4006).
"""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from fairway.api.status import ApiError
from fairway.apiserver.pod_streams import Location

EXEC_PROTOCOL = "v5.channel.k8s.io"
"""The one subprotocol with a close signal for stdin; kubectl offers nothing else."""

# kubectl asks for WebSocket first since version 1.30, and can be told to since 1.29 (KEP-4006).
_NO_SPDY = (
    "exec is served over WebSocket only, not SPDY: use kubectl 1.30 or newer, "
    "or kubectl 1.29 with KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true"
)
_CONNECT_TIMEOUT_S = 10.0
_MAX_FRAME = 32 * 1024 * 1024
_MAX_ERROR_BYTES = 10_000
_CHUNK = 64 * 1024


class KubeletProxy:
    """Connections to kubelets; an async context manager. tls: the context of a client of kubelets."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT_S)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls, limit=0), timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def log(self, request: web.Request, location: Location | None) -> web.StreamResponse:
        """Send a container's log on, as it comes. Raises ApiError where the kubelet refuses or cannot be reached."""
        if location is None:
            return web.Response(content_type="text/plain")
        try:
            async with self._client.get(location.url) as source:
                if not 200 <= source.status < 300:
                    raise _refusal(source.status, await source.content.read(_MAX_ERROR_BYTES))
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                await response.prepare(request)
                async for chunk in source.content.iter_chunked(_CHUNK):
                    await response.write(chunk)
                return response
        except aiohttp.ClientError as error:
            raise _unreachable("Get", location, error) from error

    async def exec(self, request: web.Request, location: Location) -> web.StreamResponse:
        """Join a client's WebSocket with one to the kubelet until either ends.

        Raises ApiError: the kubelet's refusal, or 400 where the client asks for no WebSocket of the protocol.
        """
        problem = _upgrade_problem(request)
        if problem:
            # kubectl tries again without a WebSocket when one was refused, and shows the second answer only.
            raise await self._refusal(location) or ApiError(400, "BadRequest", problem)
        try:
            kubelet = await self._client.ws_connect(
                location.url, protocols=(EXEC_PROTOCOL,), max_msg_size=_MAX_FRAME, autoclose=False, heartbeat=30.0
            )
        except aiohttp.WSServerHandshakeError as error:
            problem = f"the kubelet answered {error.status} to the request for a WebSocket"
            raise await self._refusal(location) or ApiError(502, "InternalError", problem) from error
        except aiohttp.ClientError as error:
            raise _unreachable("Get", location, error) from error
        async with kubelet:
            client = web.WebSocketResponse(
                protocols=(EXEC_PROTOCOL,), max_msg_size=_MAX_FRAME, compress=False, autoclose=False
            )
            await client.prepare(request)
            await _join(client, kubelet)
            return client

    async def _refusal(self, location: Location) -> ApiError | None:
        """What the kubelet holds against a command. It looks at everything else before it asks for a WebSocket.

        A WebSocket client of aiohttp drops the text of a refusal, so the kubelet is asked once more, without one.
        """
        try:
            async with self._client.get(location.url) as answer:
                text = await answer.content.read(_MAX_ERROR_BYTES)
                wants_upgrade = answer.status == 400 and b"WebSocket" in text
                return None if wants_upgrade or answer.status < 400 else _refusal(answer.status, text)
        except aiohttp.ClientError as error:
            return _unreachable("Get", location, error)

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the KubeletProxy is not entered: use 'async with'")
        return self._session


def kubelet_tls(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """The context of a client of kubelets, from PEM files."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def _upgrade_problem(request: web.Request) -> str:
    """Why a request cannot be joined to a kubelet's WebSocket; "" where it can."""
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade.startswith("spdy/"):
        return _NO_SPDY
    if upgrade != "websocket":
        return "Upgrade request required"
    offered = [one.strip() for one in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if EXEC_PROTOCOL in offered:
        return ""
    return f"unable to upgrade: the server speaks {EXEC_PROTOCOL}, the client offered {', '.join(offered)}"


def _refusal(status: int, body: bytes) -> ApiError:
    """A kubelet's error as the client sees it (apiserver `registry/generic/rest/response_checker.go`)."""
    text = body.decode("utf-8", "replace").strip()
    if status == 400:
        return ApiError(400, "BadRequest", text)
    if status == 404:
        return ApiError(404, "NotFound", text)
    return ApiError(500, "InternalError", f"Internal error occurred: {text}")


def _unreachable(method: str, location: Location, error: aiohttp.ClientError) -> ApiError:
    return ApiError(500, "InternalError", f'{method} "{location.url}": {error}')


async def _join(client: web.WebSocketResponse, kubelet: aiohttp.ClientWebSocketResponse) -> None:
    """Pass frames both ways. The first end that closes ends it, and the other is closed with its code."""
    async with asyncio.TaskGroup() as group:
        up = group.create_task(_pump(client, kubelet))
        down = group.create_task(_pump(kubelet, client))
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if down.done():
            await client.close(code=_close_code(kubelet.close_code))
            up.cancel()
        else:
            await kubelet.close(code=_close_code(client.close_code))
            down.cancel()


def _close_code(code: int | None) -> int:
    """The code to pass on: those that stand for a missing close frame may not be sent (RFC 6455 7.4.1)."""
    return code if code is not None and code not in (1005, 1006, 1015) else 1011


_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: _Socket, sink: _Socket) -> None:
    """Frames from one to the other until the source ends or the sink is gone."""
    async for message in source:
        try:
            if message.type is aiohttp.WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await sink.send_str(message.data)
        except ConnectionError:
            return
