"""The clients of the lab's first process: asyncio for the lab's own programs, blocking calls for the command line."""

from __future__ import annotations

import asyncio
import os
import signal as signals
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from fairway.base.errors import FairwayError, Refused, Retry
from fairway.fabric import protocol
from fairway.fabric.execute import exec_in_host, hold_service, list_hosts, list_services
from fairway.fabric.protocol import CannotExecute, ContainerRoot, HostKind, HostRecord, HostSpec, Mount, ServiceRecord
from fairway.fabric.unixsocket import connect, send_with_descriptors

__all__ = [
    "CannotExecute",
    "ContainerRoot",
    "HostKind",
    "HostRecord",
    "HostSpec",
    "Mount",
    "Process",
    "ServiceRecord",
    "Spawner",
    "exec_in_host",
    "hold_service",
    "list_hosts",
    "list_services",
]

_CHUNK = 1 << 16


@dataclass(slots=True)
class _Parcel:
    """A line on its way out; its descriptors are ours to close and go with its first byte."""

    data: bytes
    descriptors: list[int]

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())


@dataclass(frozen=True, slots=True)
class _Reply:
    """An Answer; `exited` is resolved at the end of the process it tells of, if it tells of one."""

    answer: protocol.Answer
    exited: asyncio.Future[int]


class Process:
    """A process spawned on a connection; it dies with that connection.

    pid: in the lab's pid namespace.
    """

    def __init__(self, spawner: Spawner, pid: int, exited: asyncio.Future[int]) -> None:
        self.pid = pid
        self._spawner = spawner
        self._exited = exited

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal that ended it, or None while it runs."""
        if not self._exited.done() or self._exited.exception() is not None:
            return None
        return self._exited.result()

    async def wait(self) -> int:
        """Wait for its end: the exit code, or minus the signal. Raises Retry when the connection is lost before."""
        return await asyncio.shield(self._exited)

    async def kill(self, signal: int) -> None:
        """Send a signal to this one process; no error if it has ended."""
        await self._spawner.kill(self.pid, signal)


class Spawner:
    """One connection to the first process. Safe for many tasks at once; use it in one event loop."""

    def __init__(self, connection: socket.socket) -> None:
        """For `connect` only: takes over a connected, non-blocking socket inside a running event loop."""
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._ids = count(1)
        self._pending: dict[int, asyncio.Future[_Reply]] = {}
        self._outbox: deque[_Parcel] = deque()
        self._abandoned: dict[int, protocol.Request] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._lines = protocol.Lines()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._error: FairwayError = Retry("the connection to the lab's first process is lost", after_s=1.0)
        self._loop.add_reader(connection.fileno(), self._readable)

    @classmethod
    async def connect(cls, path: Path) -> Spawner:
        """Connect to the lab's socket. Raises Refused when no lab answers there."""
        connection = connect(path)
        connection.setblocking(False)
        return cls(connection)

    async def create_host(self, spec: HostSpec) -> HostRecord:
        """Make a host; on return its namespaces, files and mounts are complete, and it has only its loopback link.

        Raises Refused for a name that is taken or not valid, or a file that cannot be put in its place.
        """
        reply = await self._ask(protocol.CreateHost(id=next(self._ids), spec=spec))
        return reply.answer.hosts[0]

    async def remove_host(self, name: str) -> None:
        """Kill everything that runs in the host, then remove it with its links. Raises Refused for an unknown name."""
        await self._ask(protocol.RemoveHost(id=next(self._ids), name=name))

    async def hosts(self) -> list[HostRecord]:
        """All hosts, in the order they were made."""
        return list((await self._ask(protocol.ListHosts(id=next(self._ids)))).answer.hosts)

    async def services(self) -> list[ServiceRecord]:
        """The programs the first process keeps running."""
        return list((await self._ask(protocol.ListServices(id=next(self._ids)))).answer.services)

    async def spawn(
        self,
        host: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str = "/",
        stdin: int,
        stdout: int,
        stderr: int,
        new_pid_namespace: bool = False,
        controlling_tty: bool = False,
        hold_sigterm: bool = False,
        join: int = 0,
        root: ContainerRoot | None = None,
        mounts: Sequence[Mount] = (),
    ) -> Process:
        """Run a program of the machine in a host, as the leader of a session of its own.

        argv[0] is looked up in the PATH of `env`, as the host sees the file system. The three descriptors are passed
        on; the caller may close its own once this returns.
        new_pid_namespace: it is process 1 of a pid namespace, with a /proc that shows just that; all in it end with it.
        controlling_tty: `stdin` becomes its terminal.
        hold_sigterm: SIGTERM is blocked, and waits, until the program unblocks it.
        join: pid of a running process spawned with `new_pid_namespace`: run in its pid and mount namespaces.
        root: what it has at /, beside `new_pid_namespace`; the program is looked up there.
        mounts: parts of the host's store, with `new_pid_namespace`.

        Raises CannotExecute when there is no such program or it cannot be executed, Refused for an unknown host, a
        directory or a part of its root that is not there. Cancelled, it leaves no process.
        """
        request = protocol.Spawn(
            id=next(self._ids),
            host=host,
            argv=tuple(argv),
            env=dict(env),
            cwd=cwd,
            new_pid_namespace=new_pid_namespace,
            controlling_tty=controlling_tty,
            hold_sigterm=hold_sigterm,
            join=join,
            root=root,
            mounts=tuple(mounts),
        )
        reply = await self._ask(request, (stdin, stdout, stderr))
        return Process(self, reply.answer.pid, reply.exited)

    async def kill(self, pid: int, signal: int, *, group: bool = False) -> None:
        """Signal a process spawned on this connection, or its process group; no error if it has ended."""
        await self._ask(protocol.Kill(id=next(self._ids), pid=pid, signal=int(signal), group=group))

    async def close(self) -> None:
        """End the connection; on return everything spawned on it, and every tied host made on it, is gone."""
        if not self._ended.done():
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._end()
            await asyncio.shield(self._ended)
        self._socket.close()

    async def __aenter__(self) -> Spawner:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _ask(self, request: protocol.Request, descriptors: Sequence[int] = ()) -> _Reply:
        line = protocol.encode(request)
        if self._ended.done():
            raise self._error
        future: asyncio.Future[_Reply] = self._loop.create_future()
        self._pending[request.id] = future
        # Duplicates, because a cancelled caller may close its own before they have left.
        self._post(line, [os.dup(descriptor) for descriptor in descriptors])
        try:
            return await future
        except asyncio.CancelledError:
            if self._pending.pop(request.id, None) is not None:
                self._abandoned[request.id] = request
            elif not future.cancelled() and future.exception() is None:
                self._undo(request, future.result().answer)
            raise

    def _post(self, line: bytes, descriptors: list[int]) -> None:
        """Queue one whole line: nothing that happens to its caller can leave half of it on the wire."""
        parcel = _Parcel(data=line, descriptors=descriptors)
        if self._ended.done():
            parcel.close()
            return
        self._outbox.append(parcel)
        if len(self._outbox) == 1 and not self._flush():
            self._loop.add_writer(self._socket.fileno(), self._flush)

    def _flush(self) -> bool:
        """Send what the socket takes; whether nothing is left."""
        while self._outbox:
            parcel = self._outbox[0]
            try:
                sent = send_with_descriptors(self._socket, parcel.data, parcel.descriptors)
            except BlockingIOError:
                return False
            except OSError:
                # The other end is closed; what it has said before, or the end of it, comes to `_readable`.
                self._discard()
                break
            parcel.close()
            parcel.data = parcel.data[sent:]
            if not parcel.data:
                self._outbox.popleft()
        self._loop.remove_writer(self._socket.fileno())
        return True

    def _discard(self) -> None:
        for parcel in self._outbox:
            parcel.close()
        self._outbox.clear()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        try:
            for line in self._lines.feed(data):
                self._receive(protocol.decode_reply(line))
        except Refused as error:
            self._end(error)

    def _receive(self, reply: protocol.Reply) -> None:
        match reply:
            case protocol.Exited(pid=pid, status=status):
                exited = self._exits.pop(pid, None)
                if exited is not None and not exited.done():
                    exited.set_result(status)
            case protocol.Answer(id=request_id):
                # Made here and not where it is awaited: the process may have ended before its caller runs again.
                exited = self._loop.create_future()
                if reply.pid:
                    self._exits[reply.pid] = exited
                future = self._pending.pop(request_id, None)
                if future is not None and not future.done():
                    future.set_result(_Reply(answer=reply, exited=exited))
                elif (request := self._abandoned.pop(request_id, None)) is not None:
                    self._undo(request, reply)
            case protocol.Failure(id=protocol.NO_REQUEST):
                self._end(protocol.error_of(reply))
            case protocol.Failure(id=request_id):
                self._abandoned.pop(request_id, None)
                future = self._pending.pop(request_id, None)
                if future is not None and not future.done():
                    future.set_exception(protocol.error_of(reply))

    def _undo(self, request: protocol.Request, answer: protocol.Answer) -> None:
        """Take back what a cancelled caller will never hear of."""
        undo: protocol.Request
        match request:
            case protocol.Spawn():
                undo = protocol.Kill(id=next(self._ids), pid=answer.pid, signal=signals.SIGKILL, group=True)
            case protocol.CreateHost(spec=spec):
                undo = protocol.RemoveHost(id=next(self._ids), name=spec.name)
            case _:
                return
        self._post(protocol.encode(undo), [])

    def _end(self, error: FairwayError | None = None) -> None:
        """The connection is over: everybody who waits for an answer or an exit gets the error."""
        if self._ended.done():
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._discard()
        self._error = error or self._error
        self._ended.set_result(None)
        waiting: list[asyncio.Future[Any]] = [*self._pending.values(), *self._exits.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(self._error)
                future.exception()  # marks it as seen: not everybody waits for a process's end
        self._pending.clear()
        self._exits.clear()
