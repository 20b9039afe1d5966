"""A kubelet that is a few lines of a test, on loopback, and a pod in the API that is on its node."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from fairway.cluster.pki import KeyPair
from tests.apiserver.harness import pod
from tests.apiserver.serving import Served, authority, server_pair, write, write_pair

PODS = "/api/v1/namespaces/default/pods"
PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)

Program = Callable[[web.WebSocketResponse], Awaitable[None]]
"""What runs in the pod, at the kubelet's end of the channels."""


class Kubelet:
    """What it was asked, and how it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[tuple[str, str]]]] = []
        self.peers: list[str] = []
        self.more = asyncio.Event()
        self.refuses: tuple[int, str] | None = None
        self.client_gone = asyncio.Event()
        self.program: Program = self.shout

    def note(self, request: web.Request) -> None:
        self.asked.append((request.path, list(request.query.items())))
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        self.peers.append(next(value for part in subject for name, value in part if name == "commonName"))

    async def logs(self, request: web.Request) -> web.StreamResponse:
        self.note(request)
        if self.refuses is not None:
            return web.Response(status=self.refuses[0], text=self.refuses[1])
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        if "follow" in request.query:
            await self.more.wait()
            await response.write(b"two\n")
        return response

    async def exec(self, request: web.Request) -> web.StreamResponse:
        self.note(request)
        if self.refuses is not None:
            return web.Response(status=self.refuses[0], text=self.refuses[1])
        channel = web.WebSocketResponse(protocols=(PROTOCOL,))
        if not channel.can_prepare(request).ok:
            return web.Response(status=400, text="exec needs a WebSocket")
        await channel.prepare(request)
        try:
            await self.program(channel)
        except asyncio.CancelledError:
            self.client_gone.set()
            raise
        return channel

    async def shout(self, channel: web.WebSocketResponse) -> None:
        """Say something on both outputs, then the input in capital letters; exit with 3."""
        await channel.send_bytes(bytes([STDOUT]) + b"hello\n")
        await channel.send_bytes(bytes([STDERR]) + b"oops\n")
        async for message in channel:
            if message.data == b"\xff\x00":
                break
            await channel.send_bytes(bytes([STDOUT]) + message.data[1:].upper())
        else:
            self.client_gone.set()
            return
        causes = [{"reason": "ExitCode", "message": "3"}]
        status = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
        await channel.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
        await channel.close()


@asynccontextmanager
async def kubelet_at(directory: Path, pair: KeyPair | None = None) -> AsyncIterator[tuple[Kubelet, int]]:
    """A kubelet on loopback that asks for a client certificate."""
    kubelet = Kubelet()
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", kubelet.logs)
    app.router.add_get("/exec/{namespace}/{pod}/{container}", kubelet.exec)
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=str(write(directory, "kubelet-ca.crt", authority().certificate))
    )
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*(str(path) for path in write_pair(directory, "kubelet", pair or server_pair())))
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await web.SockSite(runner, listening, ssl_context=context).start()
        try:
            yield kubelet, listening.getsockname()[1]
        finally:
            await runner.cleanup()


async def add_pod(api: Served, port: int, **spec: Any) -> None:
    """A node with a kubelet at a port, and a running pod on it."""
    addresses = [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "127.0.0.1"}]
    status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
    node = {"metadata": {"name": "n1"}}
    await api.call("POST", "/api/v1/nodes", node)
    patch = {"Content_Type": "application/merge-patch+json"}
    assert (await api.call("PATCH", "/api/v1/nodes/n1/status", {"status": status}, **patch))[0] == 200
    assert (await api.call("POST", PODS, pod("p", **({"nodeName": "n1"} | spec))))[0] == 201
    running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert (await api.call("PATCH", f"{PODS}/p/status", {"status": running}, **patch))[0] == 200
