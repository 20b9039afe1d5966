"""exec over SPDY, over TLS, through the API server to a kubelet that is a few lines of a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from fairway.apiserver import kubelet_proxy
from fairway.apiserver.spdy import Data, Frame, GoAway, GoAwayStatus, Ping, ResetStatus, RstStream, SynStream
from tests.apiserver.kubelet import ERROR, PODS, STDOUT, Kubelet, add_pod, kubelet_at
from tests.apiserver.serving import LIMIT_S, Served, served
from tests.apiserver.spdy_client import SpdyClient, spdy_client

EXEC = f"{PODS}/p/exec?command=sh&stdin=true&stdout=true&stderr=true"
QUERY = [("input", "1"), ("output", "1"), ("error", "1"), ("command", "sh")]
PIECE = bytes(65536)
PIECES = 1024
"""64 MiB in pieces: more than all buffers of the way together."""


@asynccontextmanager
async def pod_at(directory: Path) -> AsyncIterator[tuple[Served, Kubelet]]:
    """An API server with a running pod, whose kubelet is the other one."""
    async with asyncio.timeout(LIMIT_S), served(directory) as api, kubelet_at(directory) as (kubelet, port):
        await add_pod(api, port)
        yield api, kubelet


async def open_all(client: SpdyClient) -> tuple[int, int, int, int]:
    """Streams error, stdin, stdout and stderr, in client-go's order."""
    assert client.head[0] == "HTTP/1.1 101 Switching Protocols"
    return (
        await client.open("error"),
        await client.open("stdin"),
        await client.open("stdout"),
        await client.open("stderr"),
    )


async def frames_until(client: SpdyClient, last: Frame) -> list[Frame]:
    found: list[Frame] = []
    while not found or found[-1] != last:
        frame = await client.receive()
        assert frame is not None, found
        found.append(frame)
    return found


async def quiet(count: Callable[[], int]) -> int:
    """The count once nothing moves any more: everything runs in this loop, so that its turns tell."""
    seen, turns = -1, 0
    while turns < 2000:
        seen, turns = (seen, turns + 1) if count() == seen else (count(), 0)
        await asyncio.sleep(0)
    return seen


async def test_the_answer_names_the_protocol(tmp_path: Path) -> None:
    async with pod_at(tmp_path) as (api, kubelet), spdy_client(api, EXEC) as client:
        await open_all(client)
    wanted = {"Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io"}
    assert wanted <= set(client.head)
    assert not [line for line in client.head if line.startswith(("Content-Length", "Transfer-Encoding"))]
    assert kubelet.asked == [("/exec/default/p/c", QUERY)]


async def test_exec_passes_streams_both_ways_and_the_end(tmp_path: Path) -> None:
    async with pod_at(tmp_path) as (api, _), spdy_client(api, EXEC) as client:
        error, stdin, stdout, stderr = await open_all(client)
        assert await client.receive_data({stdout: 6, stderr: 5}) == {stdout: b"hello\n", stderr: b"oops\n"}
        large = b"x" * 300_000
        await client.send(Data(stream_id=stdin, data=large[:32768]))
        await client.send(Data(stream_id=stdin, data=large[32768:]))
        assert await client.receive_data({stdout: 300_000}) == {stdout: large.upper()}
        await client.send(Ping(ping_id=1))
        assert await client.receive() == Ping(ping_id=1)
        await client.send(Data(stream_id=stdin, fin=True))
        *before, status, last = await frames_until(client, Data(stream_id=stdin, fin=True))
        assert before == [Data(stream_id=stdout, fin=True), Data(stream_id=stderr, fin=True)]
        assert isinstance(status, Data)
        assert (status.stream_id, status.fin, last.fin) == (error, True, True)
        assert json.loads(status.data)["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
        # The server waits for the client to close, and takes what it still sends.
        await client.send(Data(stream_id=stdin, data=b"late"))
        await client.send(GoAway(last_stream_id=0))
        client.writer.write_eof() if client.writer.can_write_eof() else client.writer.close()
        assert await client.receive() is None


async def test_output_waits_until_every_stream_is_open(tmp_path: Path) -> None:
    async with pod_at(tmp_path) as (api, _), spdy_client(api, EXEC) as client:
        for name in ("error", "stdout", "stdin"):
            await client.open(name)
        await client.send(Ping(ping_id=1))
        assert await client.receive() == Ping(ping_id=1)
        stderr = await client.open("stderr")
        assert await client.receive_data({3: 6, stderr: 5}) == {3: b"hello\n", stderr: b"oops\n"}


async def test_a_client_that_opens_no_streams_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelet_proxy, "STREAMS_TIMEOUT_S", 0.0)
    async with pod_at(tmp_path) as (api, kubelet), spdy_client(api, EXEC) as client:
        assert await client.receive() == GoAway(last_stream_id=0, status=GoAwayStatus.PROTOCOL_ERROR)
        assert await client.receive() is None
        await kubelet.client_gone.wait()


async def vanish(client: SpdyClient) -> None:
    client.writer.transport.abort()


async def close(client: SpdyClient) -> None:
    """As client-go closes."""
    for number in (1, 3, 5, 7):
        await client.send(RstStream(stream_id=number, status=ResetStatus.CANCEL))
    await client.send(GoAway(last_stream_id=0))
    client.writer.close()


async def talk_nonsense(client: SpdyClient) -> None:
    client.writer.write(b"\x80\x03\x00\x01" + bytes(4))
    goaway = GoAway(last_stream_id=7, status=GoAwayStatus.PROTOCOL_ERROR)
    assert (await frames_until(client, goaway))[-1] == goaway
    assert await client.receive() is None


@pytest.mark.parametrize("leave", [vanish, close, talk_nonsense])
async def test_a_client_that_leaves_ends_the_kubelets_side(
    tmp_path: Path, leave: Callable[[SpdyClient], Awaitable[None]]
) -> None:
    gone = asyncio.Event()

    async def program(channel: web.WebSocketResponse) -> None:
        async for _ in channel:
            pass
        gone.set()

    async with pod_at(tmp_path) as (api, kubelet):
        kubelet.program = program
        async with spdy_client(api, EXEC) as client:
            await open_all(client)
            assert not gone.is_set()
            await leave(client)
            await gone.wait()


async def test_a_client_that_leaves_before_its_streams_ends_the_kubelets_side(tmp_path: Path) -> None:
    async with pod_at(tmp_path) as (api, kubelet):
        async with spdy_client(api, EXEC) as client:
            await client.open("error")
        await kubelet.client_gone.wait()


async def test_a_stream_nobody_expects_is_reset_and_the_others_go_on(tmp_path: Path) -> None:
    async with pod_at(tmp_path) as (api, _), spdy_client(api, EXEC) as client:
        await client.send(SynStream(stream_id=1, headers=(("streamtype", "resize"),)))
        assert await client.receive() == RstStream(stream_id=1, status=ResetStatus.REFUSED_STREAM)
        await client.send(SynStream(stream_id=3, headers=(("streamtype", "stdout"),)))
        assert await client.receive() is not None


async def test_a_kubelet_that_is_lost_is_no_success(tmp_path: Path) -> None:
    async def crash(channel: web.WebSocketResponse) -> None:
        await channel.send_bytes(bytes([STDOUT]) + b"half")
        await channel.close(code=1011)

    async with pod_at(tmp_path) as (api, kubelet):
        kubelet.program = crash
        async with spdy_client(api, EXEC) as client:
            error, stdin, stdout, _ = await open_all(client)
            assert await client.receive_data({stdout: 4}) == {stdout: b"half"}
            *_, status, _ = await frames_until(client, Data(stream_id=stdin, fin=True))
            assert isinstance(status, Data)
            assert status.stream_id == error
            assert "the kubelet ended the connection" in json.loads(status.data)["message"]


# Held back


async def test_output_that_is_not_read_holds_the_program_back(tmp_path: Path) -> None:
    sent = 0

    async def write(channel: web.WebSocketResponse) -> None:
        nonlocal sent
        for _ in range(PIECES):
            await channel.send_bytes(bytes([STDOUT]) + PIECE)
            sent += 1
        await channel.send_bytes(bytes([ERROR]) + b'{"status":"Success"}')
        await channel.close()

    async with pod_at(tmp_path) as (api, kubelet):
        kubelet.program = write
        async with spdy_client(api, EXEC) as client:
            _, stdin, stdout, _ = await open_all(client)
            assert await quiet(lambda: sent) < PIECES
            frames = await frames_until(client, Data(stream_id=stdin, fin=True))
            sizes = [len(frame.data) for frame in frames if isinstance(frame, Data) and frame.stream_id == stdout]
            assert sum(sizes) == PIECES * len(PIECE)


async def test_input_that_is_not_read_holds_the_client_back(tmp_path: Path) -> None:
    sent, received = 0, 0
    may_read = asyncio.Event()

    async def read(channel: web.WebSocketResponse) -> None:
        nonlocal received
        await may_read.wait()
        async for message in channel:
            if message.data == b"\xff\x00":
                break
            received += len(message.data) - 1
        await channel.send_bytes(bytes([ERROR]) + b'{"status":"Success"}')
        await channel.close()

    async def write(client: SpdyClient, stdin: int) -> None:
        nonlocal sent
        for _ in range(PIECES):
            await client.send(Data(stream_id=stdin, data=PIECE))
            sent += 1
        await client.send(Data(stream_id=stdin, fin=True))

    async with pod_at(tmp_path) as (api, kubelet), asyncio.TaskGroup() as group:
        kubelet.program = read
        async with spdy_client(api, EXEC) as client:
            _, stdin, _, _ = await open_all(client)
            group.create_task(write(client, stdin))
            assert await quiet(lambda: sent) < PIECES
            may_read.set()
            await frames_until(client, Data(stream_id=stdin, fin=True))
    assert (sent, received) == (PIECES, PIECES * len(PIECE))


async def test_the_end_comes_to_a_client_whose_input_nobody_read(tmp_path: Path) -> None:
    """It is still writing then, and has to get rid of that before it can close."""
    may_end = asyncio.Event()
    sent = 0

    async def read_nothing(channel: web.WebSocketResponse) -> None:
        await may_end.wait()
        await channel.send_bytes(bytes([ERROR]) + b'{"status":"Success"}')
        await channel.close()

    async def write(client: SpdyClient, stdin: int) -> None:
        nonlocal sent
        for _ in range(PIECES):
            await client.send(Data(stream_id=stdin, data=PIECE))
            sent += 1

    async with pod_at(tmp_path) as (api, kubelet), asyncio.TaskGroup() as group:
        kubelet.program = read_nothing
        async with spdy_client(api, EXEC) as client:
            error, stdin, _, _ = await open_all(client)
            writing = group.create_task(write(client, stdin))
            await quiet(lambda: sent)
            may_end.set()
            frames = await frames_until(client, Data(stream_id=stdin, fin=True))
            assert Data(stream_id=error, data=b'{"status":"Success"}', fin=True) in frames
            await writing
    assert sent == PIECES


async def test_a_client_that_vanishes_while_its_input_waits_is_missed_by_the_pings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads from either end then, so that only sending tells."""
    monkeypatch.setattr(kubelet_proxy, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(kubelet_proxy, "CLOSE_TIMEOUT_S", 0.0)
    sent = 0
    gone = asyncio.Event()

    async def read_nothing(channel: web.WebSocketResponse) -> None:
        try:
            while True:
                await channel.ping()
                await asyncio.sleep(0)
        finally:
            gone.set()

    async def write(client: SpdyClient, stdin: int) -> None:
        nonlocal sent
        try:
            while True:
                await client.send(Data(stream_id=stdin, data=PIECE))
                sent += 1
        except OSError:
            pass

    async with pod_at(tmp_path) as (api, kubelet), asyncio.TaskGroup() as group:
        kubelet.program = read_nothing
        async with spdy_client(api, EXEC) as client:
            _, stdin, _, _ = await open_all(client)
            group.create_task(write(client, stdin))
            await quiet(lambda: sent)
            assert isinstance(await client.receive(), Ping)
            client.writer.transport.abort()
            await gone.wait()


# Refused


@pytest.mark.parametrize(
    ("refusal", "path", "status", "message"),
    [
        ((404, "pod does not exist"), EXEC, "404 Not Found", "pod does not exist"),
        ((500, "disk on fire"), EXEC, "500 Internal Server Error", "Internal error occurred: disk on fire"),
        (None, EXEC.replace("/p/", "/q/"), "404 Not Found", 'pods "q" not found'),
        (None, f"{EXEC}&container=x", "400 Bad Request", "container x is not valid for pod p"),
    ],
)
async def test_what_cannot_start_is_refused_before_the_upgrade(
    tmp_path: Path, refusal: tuple[int, str] | None, path: str, status: str, message: str
) -> None:
    async with pod_at(tmp_path) as (api, kubelet):
        kubelet.refuses = refusal
        async with spdy_client(api, path) as client:
            assert await client.refusal() == (f"HTTP/1.1 {status}", message)


@pytest.mark.parametrize("offered", [["v3.channel.k8s.io, channel.k8s.io"], ["v3.channel.k8s.io", "channel.k8s.io"]])
async def test_a_client_without_the_protocol_is_told_which_is_spoken(tmp_path: Path, offered: list[str]) -> None:
    async with pod_at(tmp_path) as (api, _), spdy_client(api, EXEC, offered) as client:
        message = "the server speaks v4.channel.k8s.io, the client offered v3.channel.k8s.io, channel.k8s.io"
        assert await client.refusal() == ("HTTP/1.1 403 Forbidden", f"unable to upgrade: {message}")
