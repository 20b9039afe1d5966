"""An HTTP connection that went over to SPDY: frames in, frames out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping

from aiohttp import web

from fairway.apiserver.spdy import Decoder, Encoder, Frame, Ping

_BUFFER_BYTES = 256 * 1024
"""Twice as much is held for us at most; then the client has to wait."""
_CHUNK = 64 * 1024


class SpdyConnection:
    """The server's end of a connection after its 101."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._ping_ids = itertools.count(2, 2)

    async def frames(self) -> AsyncIterator[Frame]:
        """The client's frames until it is gone. Raises SpdyError where it sends something else."""
        while data := await self._read():
            for frame in self._decoder.feed(data):
                yield frame

    async def send(self, frames: Iterable[Frame]) -> None:
        """Send frames in their order; returns when the client may be sent more. Raises OSError when it is gone."""
        for frame in frames:
            self._writer.write(self._encoder.encode(frame))
        await self._writer.drain()

    async def ping(self) -> None:
        """Send the next PING of a server, whose numbers are even. Raises OSError when the client is gone."""
        await self.send([Ping(ping_id=next(self._ping_ids))])

    async def wait_until_left(self) -> None:
        """Return when the client has closed the connection; what it still sends is thrown away."""
        while await self._read():
            pass

    def close(self) -> None:
        """Close the connection once what was sent is on its way."""
        self._writer.close()

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_CHUNK)
        except OSError:
            return b""


async def switch_to_spdy(request: web.Request, headers: Mapping[str, str]) -> tuple[SpdyConnection, web.StreamResponse]:
    """Answer 101 with these headers and take the connection over from HTTP.

    The handler closes the connection and returns the response when it is done. A client that goes before cancels the
    handler. Raises ConnectionError where it is gone already.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    reader = asyncio.StreamReader(limit=_BUFFER_BYTES)
    protocol = _Upgraded(reader, transport.get_protocol())
    # Before the answer: its first reader may send frames at once, which are no HTTP.
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    response = web.StreamResponse(status=101, headers=headers)
    response.force_close()
    await response.prepare(request)
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    return SpdyConnection(reader, writer), response


class _Upgraded(asyncio.StreamReaderProtocol):
    """Bytes go to the reader; how the connection fares, the HTTP server is told as well, whose task serves it."""

    def __init__(self, reader: asyncio.StreamReader, http: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._http = http

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._http.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._http.resume_writing()
