"""Logs and exec: bytes between a client and a kubelet, each end as the real ones speak.

The kubelet is asked over TLS with the server's own client certificate; its certificate must come from the cluster's
authority and be valid for the node's address. With the kubelet, exec is the WebSocket protocol v5.channel.k8s.io. A
client may speak the same, which is passed on message by message, or v4.channel.k8s.io over SPDY, which is translated
(KEP-4006, whose `StreamTranslatorHandler` does it the other way round).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from fairway.api.status import ApiError
from fairway.apiserver.pod_streams import Location
from fairway.apiserver.spdy import GoAway, GoAwayStatus, SpdyError
from fairway.apiserver.spdy_connection import SpdyConnection, switch_to_spdy
from fairway.apiserver.spdy_exec import PROTOCOL_HEADER, SPDY, SPDY_EXEC_PROTOCOL, ExecStreams, expected_streams

EXEC_PROTOCOL = "v5.channel.k8s.io"
"""The one subprotocol with a close signal for stdin; over WebSocket, kubectl offers nothing else."""

STREAMS_TIMEOUT_S = 30.0
"""For a client of SPDY to open its streams (kubelet `cri/streaming`, DefaultStreamCreationTimeout)."""
HEARTBEAT_S = 5.0
"""Between pings to clients and kubelets. Answers are not waited for: who is held back by a slow program or a full
terminal does not read them, and is not dead. A ping that cannot be sent is what tells an end that is not read from
and has gone."""
CLOSE_TIMEOUT_S = 5.0
"""For a kubelet to answer a close frame; then it is disconnected."""

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
        """Join a client's WebSocket or SPDY connection with a WebSocket to the kubelet until either ends.

        Raises ApiError: the kubelet's refusal, or 400 or 403 where the client asks for no protocol that is spoken here.
        """
        problem = _upgrade_problem(request)
        if problem is not None:
            # kubectl tries again without a WebSocket when one was refused, and shows the second answer only.
            raise await self._refusal(location) or problem
        try:
            kubelet = await self._client.ws_connect(
                location.url, protocols=(EXEC_PROTOCOL,), max_msg_size=_MAX_FRAME, autoclose=False
            )
        except aiohttp.WSServerHandshakeError as error:
            message = f"the kubelet answered {error.status} to the request for a WebSocket"
            raise await self._refusal(location) or ApiError(502, "InternalError", message) from error
        except aiohttp.ClientError as error:
            raise _unreachable("Get", location, error) from error
        try:
            if _wants_spdy(request):
                return await _translate(request, kubelet, ExecStreams(expected_streams(location)))
            client = web.WebSocketResponse(
                protocols=(EXEC_PROTOCOL,), max_msg_size=_MAX_FRAME, compress=False, autoclose=False
            )
            await client.prepare(request)
            await _join(client, kubelet)
            return client
        finally:
            await _close(kubelet)

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


def _wants_spdy(request: web.Request) -> bool:
    connection = ",".join(request.headers.getall("Connection", ())).lower()
    return "upgrade" in connection and request.headers.get("Upgrade", "").lower() == SPDY.lower()


def _upgrade_problem(request: web.Request) -> ApiError | None:
    """Why a request cannot be joined to a kubelet's WebSocket; None where it can."""
    if _wants_spdy(request):
        offered = _listed(request, PROTOCOL_HEADER)
        # apimachinery `util/httpstream`, Handshake.
        return None if SPDY_EXEC_PROTOCOL in offered else _no_protocol(403, "Forbidden", SPDY_EXEC_PROTOCOL, offered)
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return ApiError(400, "BadRequest", "Upgrade request required")
    offered = _listed(request, "Sec-WebSocket-Protocol")
    return None if EXEC_PROTOCOL in offered else _no_protocol(400, "BadRequest", EXEC_PROTOCOL, offered)


def _listed(request: web.Request, header: str) -> list[str]:
    """What a client lists in one header or several."""
    return [one.strip() for one in ",".join(request.headers.getall(header, ())).split(",")]


def _no_protocol(code: int, reason: str, spoken: str, offered: list[str]) -> ApiError:
    message = f"unable to upgrade: the server speaks {spoken}, the client offered {', '.join(offered)}"
    return ApiError(code, reason, message)


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
        pings = [group.create_task(_keep_sending(socket.ping)) for socket in (client, kubelet)]
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if down.done():
            await client.close(code=_close_code(kubelet.close_code))
            up.cancel()
        else:
            await _close(kubelet, _close_code(client.close_code))
            down.cancel()
        for task in pings:
            task.cancel()


async def _close(kubelet: aiohttp.ClientWebSocketResponse, code: int = aiohttp.WSCloseCode.OK) -> None:
    """Close a kubelet's end, also one that reads nothing and so would keep us for ever."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await kubelet.close(code=code)
    except TimeoutError:
        pass  # Cancelling a close disconnects.


async def _keep_sending(ping: Callable[[], Awaitable[None]]) -> None:
    """Send pings until that fails; whoever else uses the connection then learns of it too."""
    try:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await ping()
    except OSError:
        pass


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


async def _translate(
    request: web.Request, kubelet: aiohttp.ClientWebSocketResponse, streams: ExecStreams
) -> web.StreamResponse:
    """Serve a client of SPDY until it leaves; one that leaves before the program ends takes it along."""
    headers = {"Connection": "Upgrade", "Upgrade": SPDY, PROTOCOL_HEADER: SPDY_EXEC_PROTOCOL}
    client, response = await switch_to_spdy(request, headers)
    try:
        await _translate_streams(client, kubelet, streams)
    finally:
        client.close()
    return response


async def _translate_streams(
    client: SpdyConnection, kubelet: aiohttp.ClientWebSocketResponse, streams: ExecStreams
) -> None:
    is_ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        up = group.create_task(_to_kubelet(client, kubelet, streams, is_ready))
        down = group.create_task(_to_client(client, kubelet, streams, is_ready))
        pings = [group.create_task(_keep_sending(ping)) for ping in (client.ping, kubelet.ping)]
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        await asyncio.wait((up,))  # A stream has one reader at a time.
        if streams.is_over and down.done():
            # The client's to close: it may still have much to read, and spdystream drops what it has not handled yet
            # when the connection ends.
            await _close(kubelet)
            await client.wait_until_left()
        for task in (down, *pings):
            task.cancel()


async def _to_kubelet(
    client: SpdyConnection, kubelet: aiohttp.ClientWebSocketResponse, streams: ExecStreams, is_ready: asyncio.Event
) -> None:
    """The client's frames until it is gone. One that sends anything else is told so and heard no more."""
    try:
        async for frame in client.frames():
            reaction = streams.receive(frame)
            if reaction.frames:
                await client.send(reaction.frames)
            if streams.is_ready:
                is_ready.set()
            for message in reaction.messages:
                await _offer(kubelet, message)
    except SpdyError:
        await _dismiss(client, streams)
    except OSError:
        pass  # The client is gone.


async def _offer(kubelet: aiohttp.ClientWebSocketResponse, message: bytes) -> None:
    """Send a message, if the kubelet is still there; that it is not, `_to_client` tells the client."""
    try:
        await kubelet.send_bytes(message)
    except OSError:
        pass


async def _to_client(
    client: SpdyConnection, kubelet: aiohttp.ClientWebSocketResponse, streams: ExecStreams, is_ready: asyncio.Event
) -> None:
    """The kubelet's messages until it closes, from when the client can take them."""
    try:
        async with asyncio.timeout(STREAMS_TIMEOUT_S):
            await is_ready.wait()
    except TimeoutError:
        await _dismiss(client, streams)
        return
    try:
        async for message in kubelet:
            if message.type is aiohttp.WSMsgType.BINARY:
                await client.send(streams.deliver(message.data))
        await client.send(streams.finish())
    except OSError:
        pass  # The client is gone; the other task ends as well.


async def _dismiss(client: SpdyConnection, streams: ExecStreams) -> None:
    try:
        await client.send([GoAway(last_stream_id=streams.last_id, status=GoAwayStatus.PROTOCOL_ERROR)])
    except OSError:
        pass
