"""The served API: TLS on loopback, a store in a directory, identities of an authority made for the test."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from fairway.apiserver.config import ServerConfig
from fairway.apiserver.server import serve
from fairway.cluster.pki import Authority, KeyPair, kubeconfig

LIMIT_S = 30.0
"""Only a broken program takes as long."""


@cache
def authority(name: str = "test-ca") -> Authority:
    return Authority.create(name, now=datetime.now(UTC))


@cache
def identity(user: str, *groups: str) -> KeyPair:
    return authority().issue_client(user, *groups)


@cache
def server_pair() -> KeyPair:
    return authority().issue_server("kube-apiserver", hosts=["127.0.0.1", "localhost"])


def write(directory: Path, name: str, data: bytes) -> Path:
    path = directory / name
    path.write_bytes(data)
    return path


def write_pair(directory: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    return write(directory, f"{name}.crt", pair.certificate), write(directory, f"{name}.key", pair.key)


def config_in(directory: Path) -> ServerConfig:
    certificate, key = write_pair(directory, "server", server_pair())
    kubelet_certificate, kubelet_key = write_pair(
        directory, "kubelet-client", identity("kube-apiserver", "system:masters")
    )
    return ServerConfig(
        data=directory / "data.db",
        ca=write(directory, "ca.crt", authority().certificate),
        certificate=certificate,
        key=key,
        kubelet_certificate=kubelet_certificate,
        kubelet_key=kubelet_key,
        advertise_address=IPv4Address("172.18.0.3"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running API server."""

    url: str
    directory: Path
    admin: aiohttp.ClientSession
    nobody: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded body, as the administrator."""
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.admin.request(method, self.url + path, data=data, headers=sent) as response:
            return response.status, msgspec.json.decode(await response.read())

    @property
    def kubeconfig(self) -> Path:
        text = kubeconfig(
            cluster="lab",
            server=self.url,
            user="admin",
            authority=authority().certificate,
            identity=identity("admin", "system:masters"),
        )
        return write(self.directory, "kubeconfig", text.encode())

    async def kubectl(self, *arguments: str, stdin: str = "", ok: bool = True) -> str:
        """Output of kubectl, both streams; fails the test where it fails, or where it does not and should."""
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *arguments,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate(stdin.encode())
        text = out.decode()
        assert (process.returncode == 0) is ok, f"kubectl {' '.join(arguments)}: {process.returncode}\n{text}"
        return text

    async def kubectl_minor(self) -> int:
        """Of the kubectl on PATH: 20 for 1.20, Debian 12's. Old ones say and check some things otherwise."""
        told = json.loads(await self.kubectl("version", "--client", "-o", "json"))
        return int(told["clientVersion"]["minor"].rstrip("+"))

    @property
    def environment(self) -> dict[str, str]:
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "HOME": str(home)}


def client_tls(pair: KeyPair | None, directory: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority().certificate.decode())
    if pair is not None:
        context.load_cert_chain(*(str(path) for path in write_pair(directory, "client", pair)))
    return context


@asynccontextmanager
async def session(pair: KeyPair | None, directory: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=client_tls(pair, directory), limit=0)
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as made:
        yield made


@asynccontextmanager
async def served(directory: Path, **changes: Any) -> AsyncIterator[Served]:
    """An API server over a directory; opening the same directory again finds what was stored.

    changes: of its configuration.
    """
    ready = asyncio.Event()
    config = replace(config_in(directory), **changes)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(serve(config, [listening], on_ready=ready.set))
            await ready.wait()
            url = f"https://127.0.0.1:{listening.getsockname()[1]}"
            try:
                async with (
                    session(identity("admin", "system:masters"), directory) as admin,
                    session(None, directory) as nobody,
                ):
                    yield Served(url=url, directory=directory, admin=admin, nobody=nobody)
            finally:
                task.cancel()
