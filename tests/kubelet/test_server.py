"""Logs and exec as the API server gets them: over TLS, with its client certificate."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from fairway.kubelet import execution
from fairway.kubelet.cri import LogOptions
from fairway.kubelet.execution import ExecOptions
from fairway.kubelet.server import (
    Server,
    healthz_application,
    may_call,
    parse_exec_options,
    parse_log_options,
    serving,
    tls_context,
)
from tests.kubelet.conftest import Node, RunNode
from tests.kubelet.objects import container, pod_object
from tests.kubelet.test_worker import FOREVER, exists, shell
from tests.watch.authority import Authority

API_SERVER = "kube-apiserver-kubelet-client"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def client_context(directory: Path, authority: Authority, name: str, *, organization: str = "") -> ssl.SSLContext:
    """A client's side, with a certificate of that name."""
    pair = authority.issue(name, organization=organization)
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.load_cert_chain(certificate, key)
    return context


def server_context(directory: Path, authority: Authority) -> ssl.SSLContext:
    pair = authority.issue("system:node:myk8s-worker", addresses=("127.0.0.1",))
    for name, text in (("ca", authority.certificate), ("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (directory / name).write_bytes(text)
    return tls_context(directory / "tls.crt", directory / "tls.key", directory / "ca")


class Caller:
    """The API server's end."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def get(self, path: str) -> tuple[int, str]:
        async with self._session.get(self._base + path) as response:
            return response.status, await response.text()

    def stream(self, path: str) -> Any:
        return self._session.get(self._base + path)

    def exec(
        self, pod: str, *command: str, flags: str = "stdout=true&stderr=true", name: str = "web", autoping: bool = True
    ) -> Any:
        words = "&".join(f"command={word}" for word in command)
        return self._session.ws_connect(
            f"{self._base}/exec/default/{pod}/{name}?{words}&{flags}",
            protocols=("v5.channel.k8s.io",),
            autoping=autoping,
        )


async def write_until_it_stands(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Write input until no more is taken: kubelet and client run in one loop, whose turns tell."""
    sent = 0

    async def write() -> None:
        nonlocal sent
        while True:
            await socket.send_bytes(bytes(65536))
            sent += 1

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        seen, turns = -1, 0
        while turns < 2000:
            seen, turns = (seen, turns + 1) if sent == seen else (sent, 0)
            await asyncio.sleep(0)
        writing.cancel()


@asynccontextmanager
async def calling(
    node: Node, directory: Path, authority: Authority, *, name: str = API_SERVER, organization: str = ""
) -> AsyncIterator[Caller]:
    server = Server(node.manager, node.runtime, client_names=frozenset({API_SERVER}))
    client = client_context(directory, authority, name, organization=organization)
    async with serving(server.application(), "127.0.0.1", 0, server_context(directory, authority)) as port:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client)) as session:
            yield Caller(session, f"https://127.0.0.1:{port}")


async def everything(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    """All that comes until the other end closes, by channel."""
    channels: dict[int, bytes] = {}
    async with asyncio.timeout(20):
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            channels[message.data[0]] = channels.get(message.data[0], b"") + message.data[1:]
    return channels


# Who may call.


async def test_a_certificate_is_demanded(run_node: RunNode, tmp_path: Path, authority: Authority) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        bare = ssl.create_default_context(cadata=authority.certificate.decode())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=bare)) as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(caller._base + "/healthz")
        assert await caller.get("/healthz") == (200, "ok")


async def test_a_certificate_of_another_authority_is_refused(
    run_node: RunNode, tmp_path: Path, authority: Authority
) -> None:
    stranger = client_context(tmp_path, Authority(), API_SERVER)
    stranger.load_verify_locations(cadata=authority.certificate.decode())
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=stranger)) as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(caller._base + "/healthz")


@pytest.mark.parametrize(
    ("name", "organization", "status"),
    [("somebody", "", 403), ("system:node:other", "system:nodes", 403), ("admin", "system:masters", 200)],
)
async def test_only_the_api_server_and_masters_may_call(
    run_node: RunNode, tmp_path: Path, authority: Authority, name: str, organization: str, status: int
) -> None:
    """Every node has a certificate of the same authority; it must not open the pods of the others."""
    async with run_node() as node, calling(node, tmp_path, authority, name=name, organization=organization) as caller:
        assert (await caller.get("/pods"))[0] == status


def test_no_certificate_may_not_call() -> None:
    assert not may_call(None, frozenset({"x"}))
    assert not may_call({}, frozenset({"x"}))


async def test_health_is_told_on_loopback_without_one() -> None:
    async with serving(healthz_application(), "127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as response:
            assert (response.status, await response.text()) == (200, "ok")


async def test_the_nodes_pods_are_told(run_node: RunNode, tmp_path: Path, authority: Authority) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web"))
        await node.until(lambda: node.ready("web"))
        _, text = await caller.get("/pods")

        assert [pod["metadata"]["name"] for pod in json.loads(text)["items"]] == ["web"]


# Logs.


async def test_a_containers_log_is_told(run_node: RunNode, tmp_path: Path, authority: Authority) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("job", shell("echo one; echo two >&2; echo three"), restartPolicy="Never"))
        await node.until(lambda: node.status("job").get("phase") == "Succeeded")

        status, text = await caller.get("/containerLogs/default/job/web")
        assert (status, sorted(text.split())) == (200, ["one", "three", "two"])
        assert len((await caller.get("/containerLogs/default/job/web?tailLines=1"))[1].split()) == 1


async def test_a_log_whose_reader_has_gone_before_its_first_byte_is_no_error(
    run_node: RunNode,
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = asyncio.Event()

    async def prepare(response: web.StreamResponse, request: web.BaseRequest) -> None:
        if not isinstance(response, web.Response):
            gone.set()
            raise ConnectionResetError("Cannot write to closing transport")
        await real(response, request)

    real = web.StreamResponse.prepare
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("job", shell("echo one"), restartPolicy="Never"))
        await node.until(lambda: node.status("job").get("phase") == "Succeeded")
        monkeypatch.setattr(web.StreamResponse, "prepare", prepare)
        await caller.get("/containerLogs/default/job/web")
    assert gone.is_set()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_log_is_followed_while_it_grows(run_node: RunNode, tmp_path: Path, authority: Authority) -> None:
    go = tmp_path / "go"
    script = f"echo ready; while [ ! -e {go} ]; do sleep 0.01; done; echo gone"
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("job", shell(script), restartPolicy="Never"))
        await node.until(lambda: "running" in node.state("job"))
        async with asyncio.timeout(20), caller.stream("/containerLogs/default/job/web?follow=true") as response:
            first = await response.content.readline()
            go.touch()
            rest = await response.content.read()

    assert (first, rest) == (b"ready\n", b"gone\n")


async def test_the_log_of_the_run_before_is_kept(run_node: RunNode, tmp_path: Path, authority: Authority) -> None:
    mark = tmp_path / "mark"
    script = f"if [ -e {mark} ]; then echo second; exec sleep infinity; fi; touch {mark}; echo first; exit 1"
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", shell(script)))
        await node.until(lambda: node.ready("web") and node.status("web")["containerStatuses"][0]["restartCount"] == 1)

        assert (await caller.get("/containerLogs/default/web/web?previous=true"))[1] == "first\n"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("default/none/web", 404, 'pod "none" not found'),
        ("default/web/other", 404, 'container "other" in pod "web" is not available'),
        ("default/web/web?previous=true", 400, 'previous terminated container "web" in pod "web" not found'),
        (
            "default/web/web",
            400,
            'container "web" in pod "web" is waiting to start: trying and failing to pull image',
        ),
        ("default/web/web?tailLines=x", 400, "tailLines: Invalid value: 'x': must be a number that is not negative"),
        (
            "default/web/web?sinceTime=soon",
            400,
            "sinceTime: Invalid value: 'soon': must be a time as 2006-01-02T15:04:05Z",
        ),
    ],
)
async def test_a_log_that_is_not_there_says_why(
    run_node: RunNode, tmp_path: Path, authority: Authority, path: str, status: int, text: str
) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(image="redis")))
        await node.until(lambda: node.state("web").get("waiting", {}).get("reason") == "ErrImagePull")

        assert await caller.get(f"/containerLogs/{path}") == (status, text)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({}, LogOptions()),
        (
            {"follow": "true", "previous": "1", "timestamps": "true", "tailLines": "5", "limitBytes": "9"},
            LogOptions(follow=True, previous=True, timestamps=True, tail_lines=5, limit_bytes=9),
        ),
        ({"sinceSeconds": "10"}, LogOptions(since="1970-01-01T00:00:50.000000000Z")),
        ({"sinceTime": "2026-01-02T03:04:05+01:00"}, LogOptions(since="2026-01-02T02:04:05.000000000Z")),
    ],
)
def test_log_options_are_read_from_the_query(query: dict[str, str], options: LogOptions) -> None:
    assert parse_log_options(query, 60 * 1_000_000_000) == options


# Exec.


async def run_one(caller: Caller, *command: str, **more: Any) -> dict[int, bytes]:
    async with caller.exec("web", *command, **more) as socket:
        return await everything(socket)


async def test_a_program_runs_and_its_outputs_and_success_come_back(
    run_node: RunNode, tmp_path: Path, authority: Authority
) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        channels = await run_one(caller, "sh", "-c", "echo out; echo err >%262; hostname >/dev/null")

        status = json.loads(channels.pop(3))
        assert (channels, status) == ({1: b"out\n", 2: b"err\n"}, {"metadata": {}, "status": "Success"})
        spawned = node.spawner.processes[-1].spawned
        assert (spawned["host"], spawned["join"]) == ("web", node.spawner.processes[0].pid)


@pytest.mark.parametrize(("script", "code"), [("exit 3", "3"), ("kill -9 $$", "137")])
async def test_the_exit_code_comes_back(
    run_node: RunNode, tmp_path: Path, authority: Authority, script: str, code: str
) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        channels = await run_one(caller, "sh", "-c", script)

        status = json.loads(channels[3])
        assert (status["reason"], status["details"]["causes"][0]["message"]) == ("NonZeroExitCode", code)


async def test_what_is_typed_reaches_the_program_and_its_end_too(
    run_node: RunNode, tmp_path: Path, authority: Authority
) -> None:
    data = b"0123456789abcdef" * 65536
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        async with caller.exec("web", "cat", flags="stdin=true&stdout=true") as socket:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(everything(socket))
                for start in range(0, len(data), 32768):
                    await socket.send_bytes(b"\x00" + data[start : start + 32768])
                await socket.send_bytes(b"\xff\x00")

        assert reading.result()[1] == data


async def test_a_terminal_echoes_and_has_the_size_that_was_told(
    run_node: RunNode, tmp_path: Path, authority: Authority
) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        async with caller.exec("web", "sh", flags="stdin=true&stdout=true&tty=true") as socket:
            await socket.send_bytes(b'\x04{"Width":132,"Height":43}')
            await socket.send_bytes(b"\x00stty size; exit 5\n")
            channels = await everything(socket)

        assert b"43 132\r\n" in channels[1]
        assert json.loads(channels[3])["details"]["causes"][0]["message"] == "5"


async def test_a_program_that_is_not_there_is_told(run_node: RunNode, tmp_path: Path, authority: Authority) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        channels = await run_one(caller, "no-such-program")

        status = json.loads(channels[3])
        assert (status["status"], status["reason"]) == ("Failure", "InternalError")
        assert 'exec: "no-such-program": executable file not found in $PATH' in status["message"]


async def test_a_program_ends_with_its_client(run_node: RunNode, tmp_path: Path, authority: Authority) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        async with caller.exec("web", "sleep", "1000") as socket:
            await socket.receive()
        async with asyncio.timeout(20):
            assert await node.spawner.processes[-1].wait() == -9


async def test_a_program_that_reads_nothing_ends_with_its_client(
    run_node: RunNode, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Input stands on the whole way then, and nobody reads that the client has gone: only a ping finds out."""
    monkeypatch.setattr(execution, "HEARTBEAT_S", 0.01)
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        async with caller.exec("web", "sleep", "1000", flags="stdin=true&stdout=true", autoping=False) as socket:
            await socket.receive()
            await write_until_it_stands(socket)
            assert (await socket.receive()).type is WSMsgType.PING
            socket._response.connection.transport.abort()
        async with asyncio.timeout(20):
            assert await node.spawner.processes[-1].wait() == -9


async def test_what_a_program_leaves_behind_does_not_hold_it_up(
    run_node: RunNode, tmp_path: Path, authority: Authority
) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        channels = await run_one(caller, "sh", "-c", "sleep 1000 %26 echo started")

        assert (channels[1], json.loads(channels[3])["status"]) == (b"started\n", "Success")


@pytest.mark.parametrize(
    ("path", "status"),
    [("default/none/web?command=true&stdout=true", 404), ("default/web/none?command=true&stdout=true", 404)],
)
async def test_exec_where_nothing_runs_is_not_found(
    run_node: RunNode, tmp_path: Path, authority: Authority, path: str, status: int
) -> None:
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER), readinessGates=[]))
        await node.until(lambda: node.ready("web"))

        assert (await caller.get(f"/exec/{path}"))[0] == status


async def test_exec_needs_a_websocket_of_its_protocol(run_node: RunNode, tmp_path: Path, authority: Authority) -> None:
    ready = tmp_path / "ready"
    ready.touch()
    async with run_node() as node, calling(node, tmp_path, authority) as caller:
        await node.apply(pod_object("web", container(command=FOREVER, readinessProbe=exists(ready))))
        await node.until(lambda: node.ready("web"))

        assert await caller.get("/exec/default/web/web?command=true&stdout=true") == (
            400,
            "exec needs a WebSocket with the subprotocol v5.channel.k8s.io",
        )


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({"stdout": "true"}, ExecOptions(command=("ls",), stdout=True, stderr=False)),
        ({"output": "1", "error": "1"}, ExecOptions(command=("ls",))),
        ({"input": "1", "tty": "1"}, ExecOptions(command=("ls",), stdin=True, stdout=False, stderr=False, tty=True)),
    ],
)
def test_exec_options_are_read_in_both_tongues(query: dict[str, str], options: ExecOptions) -> None:
    """The API server says stdin, the kubelet's own clients say input."""
    assert parse_exec_options(query, ["ls"]) == options


@pytest.mark.parametrize(
    ("query", "command", "text"),
    [
        ({"stdout": "true"}, [], "command: Required value"),
        ({}, ["ls"], "you must specify at least 1 of stdin, stdout, stderr"),
    ],
)
def test_exec_options_that_make_no_sense_are_refused(query: dict[str, str], command: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_exec_options(query, command)
