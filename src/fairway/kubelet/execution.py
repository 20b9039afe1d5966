"""One exec: a program in a container, its streams carried over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from fairway.api.types import Object
from fairway.base.errors import FairwayError
from fairway.fabric.protocol import NOT_FOUND_CODE, CannotExecute
from fairway.kubelet.container import OUTPUT_ENDS_S, Container, Process
from fairway.kubelet.descriptors import Reader, Writer, closing, pipe, resize, terminal
from fairway.kubelet.runtime import Runtime, Sandbox
from fairway.kubelet.streams import Channel, Input, Resize, exited, failed, frame, parse, success

END_OF_TRANSMISSION = b"\x04"
"""What a terminal takes for the end of its input (termios VEOF)."""

HEARTBEAT_S = 5.0
"""Between pings. Answers are not waited for: they stay behind input that the program does not read yet. A ping that
cannot be sent tells of a client that went meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """PodExecOptions: what to run and which streams to carry."""

    command: tuple[str, ...]
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


@dataclass(slots=True, kw_only=True)
class _Streams:
    """Our ends of a program's streams; given: its own, until it has them."""

    given: tuple[int, int, int]
    stdin: Writer | None = None
    outputs: tuple[tuple[Channel, Reader], ...] = ()
    terminal: int = -1


class Execution:
    """Runs one program for one client."""

    def __init__(
        self,
        runtime: Runtime,
        sandbox: Sandbox,
        container: Container,
        options: ExecOptions,
        socket: web.WebSocketResponse,
    ) -> None:
        self._runtime = runtime
        self._sandbox = sandbox
        self._container = container
        self._options = options
        self._socket = socket

    async def run(self) -> None:
        """From start to the Status that tells how it ended; the program does not outlive its client."""
        with ExitStack() as cleanup:
            streams = _open(self._options, cleanup.callback)
            try:
                with closing(*streams.given):
                    process = await self._runtime.execute(
                        self._sandbox,
                        self._container,
                        self._options.command,
                        stdin=streams.given[0],
                        stdout=streams.given[1],
                        stderr=streams.given[2],
                        tty=self._options.tty,
                    )
            except FairwayError as error:
                why = not_started(self._options.command[0], error)
                await self._finish(failed(f"Internal error occurred: error executing command in container: {why}"))
                return
            # An empty frame on the first output tells the client that the program runs.
            await self._socket.send_bytes(frame(streams.outputs[0][0] if streams.outputs else Channel.ERROR))
            status = await self._carry(process, streams)
            if status is not None:
                await self._finish(status)

    async def _carry(self, process: Process, streams: _Streams) -> Object | None:
        """Carry the streams until the program ends: its Status; None when the client went away before."""
        code: int | None = None
        try:
            async with asyncio.TaskGroup() as group:
                outputs = {
                    group.create_task(self._output(channel, reader)): reader for channel, reader in streams.outputs
                }
                inputs = group.create_task(self._input(streams))
                ended = group.create_task(process.wait())
                pings = group.create_task(self._ping())
                await asyncio.wait({inputs, ended}, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    code = ended.result()
                    await wait_until_told(outputs)
                for task in (ended, inputs, pings, *outputs):
                    task.cancel()
        finally:
            if code is None:
                await self._runtime.kill_session(process, signal.SIGHUP if self._options.tty else signal.SIGKILL)
        if code is None:
            return None
        return success() if code == 0 else exited(128 - code if code < 0 else code)

    async def _input(self, streams: _Streams) -> None:
        """The client's messages; returns when it is gone."""
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                continue
            match parse(message.data):
                case Input(data=data) if data and streams.stdin is not None:
                    await streams.stdin.write(data)
                case Input(end=True) if streams.stdin is not None:
                    if self._options.tty:
                        await streams.stdin.write(END_OF_TRANSMISSION)
                    else:
                        streams.stdin.close()
                case Resize(rows=rows, columns=columns) if streams.terminal >= 0:
                    resize(streams.terminal, rows=rows, columns=columns)

    async def _output(self, channel: Channel, reader: Reader) -> None:
        try:
            while data := await reader.read():
                await self._socket.send_bytes(frame(channel, data))
        except ConnectionError:  # the client is gone; `_input` sees it too
            pass

    async def _ping(self) -> None:
        """Ping the client until that fails, which ends the connection and with it this exec."""
        try:
            while True:
                await asyncio.sleep(HEARTBEAT_S)
                await self._socket.ping()
        except ConnectionError:
            pass

    async def _finish(self, status: Object) -> None:
        try:
            await self._socket.send_bytes(frame(Channel.ERROR, json.dumps(status).encode()))
        except ConnectionError:
            return
        await self._socket.close(code=1000)


async def wait_until_told(outputs: Mapping[asyncio.Task[None], Reader]) -> None:
    """Return when all that a program has written before it ended is with the client, however slow that one is.

    outputs: the tasks that carry them. One that somebody else holds open never ends, and is over when it is silent.
    """
    left = set(outputs)
    while left:
        _, left = await asyncio.wait(left, timeout=OUTPUT_ENDS_S)
        if all(outputs[task].is_silent() for task in left):
            return


def not_started(program: str, error: FairwayError) -> str:
    """Why a program does not run, as Go's os/exec says it in the answers of a real container runtime."""
    if isinstance(error, CannotExecute) and error.exit_code == NOT_FOUND_CODE:
        found = f"stat {program}: no such file or directory" if "/" in program else "executable file not found in $PATH"
        return f'exec: "{program}": {found}'
    return str(error)


def _open(options: ExecOptions, on_exit: Callable[[Callable[[], object]], object]) -> _Streams:
    """The streams that are wanted; /dev/null for the others."""
    if options.tty:
        ours, theirs = terminal()
        on_exit(lambda: os.close(ours))
        writer, reader = Writer(ours, own=False), Reader(ours, own=False)
        on_exit(writer.close)
        return _Streams(
            given=(theirs, theirs, theirs),
            stdin=writer if options.stdin else None,
            outputs=((Channel.STDOUT, reader),),
            terminal=ours,
        )
    outputs: list[tuple[Channel, Reader]] = []
    given: list[int] = []
    stdin: Writer | None = None
    if options.stdin:
        source, sink = pipe()
        stdin = Writer(sink)
        on_exit(stdin.close)
        given.append(source)
    else:
        given.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    for channel, wanted in ((Channel.STDOUT, options.stdout), (Channel.STDERR, options.stderr)):
        if wanted:
            ours, theirs = pipe()
            reader = Reader(ours)
            on_exit(reader.close)
            outputs.append((channel, reader))
            given.append(theirs)
        else:
            given.append(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    return _Streams(given=(given[0], given[1], given[2]), stdin=stdin, outputs=tuple(outputs))
