"""A small client of SPDY/3.1, as kubectl is one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fairway.apiserver.spdy import Data, Decoder, Encoder, Frame, Ping, SynReply, SynStream
from tests.apiserver.serving import Served, client_tls, identity

PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
"""What kubectl 1.20 offers."""


class SpdyClient:
    """One connection. head: the status line and the headers of the answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: list[str]) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self._next_id = 1

    async def open(self, name: str) -> int:
        """A stream of this name, once the server has accepted it."""
        number, self._next_id = self._next_id, self._next_id + 2
        await self.send(SynStream(stream_id=number, headers=(("streamtype", name),)))
        while isinstance(frame := await self.receive(), Ping):
            pass  # a server asks at any time
        assert frame == SynReply(stream_id=number)
        return number

    async def refusal(self) -> tuple[str, str]:
        """Status line and message of an answer that is no upgrade."""
        length = next(line for line in self.head if line.startswith("Content-Length: "))
        body = await self.reader.readexactly(int(length.split()[1]))
        return self.head[0], json.loads(body)["message"]

    async def send(self, frame: Frame) -> None:
        self.writer.write(self._encoder.encode(frame))
        await self.writer.drain()

    async def receive(self) -> Frame | None:
        """The next frame; None when the server has closed."""
        while not self._frames:
            data = await self.reader.read(65536)
            if not data:
                return None
            self._frames.extend(self._decoder.feed(data))
        return self._frames.pop(0)

    async def receive_data(self, wanted: dict[int, int]) -> dict[int, bytes]:
        """As many bytes as are wanted of each stream, and nothing else."""
        found = dict.fromkeys(wanted, b"")
        while {number: len(data) for number, data in found.items()} != wanted:
            frame = await self.receive()
            assert isinstance(frame, Data), frame
            assert not frame.fin
            found[frame.stream_id] += frame.data
        return found


@asynccontextmanager
async def spdy_client(api: Served, path: str, protocols: Sequence[str] = PROTOCOLS) -> AsyncIterator[SpdyClient]:
    """Ask for SPDY as the administrator; what the server answers is in `head`."""
    url = urlsplit(api.url)
    tls = client_tls(identity("admin", "system:masters"), api.directory)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=tls)
    try:
        lines = [f"POST {path} HTTP/1.1", f"Host: {url.netloc}", "Content-Length: 0"]
        lines += ["Connection: Upgrade", "Upgrade: SPDY/3.1"]
        lines += [f"X-Stream-Protocol-Version: {protocol}" for protocol in protocols]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        yield SpdyClient(reader, writer, head)
    finally:
        writer.transport.abort()
