"""The first process's socket: what its clients ask for, and what ends when they go."""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from fairway.base.errors import FairwayError, Refused, Retry
from fairway.fabric import protocol
from fairway.fabric.children import execute
from fairway.fabric.hosts import Host, Hosts
from fairway.fabric.loop import Loop, log
from fairway.fabric.services import Services
from fairway.fabric.syscalls import Namespace, setns, unshare
from fairway.fabric.unixsocket import peer_uid, receive_with_descriptors

_CHUNK = 1 << 16
_MOST_DESCRIPTORS = 64
"""In one message of a client: many small requests may share one."""

_MOST_UNSENT = 16 << 20
"""Bytes of replies a client may leave unread before it is taken for stuck."""


@dataclass(slots=True, eq=False)
class _Connection:
    """A client. descriptors: received and not yet claimed by a request. pids: its processes, until reaped.
    tied: hosts that go with it. going: it has closed its end, and is told of the end of all by the end of ours."""

    socket: socket.socket
    lines: protocol.Lines = field(default_factory=protocol.Lines)
    unsent: bytearray = field(default_factory=bytearray)
    descriptors: deque[int] = field(default_factory=deque)
    pids: set[int] = field(default_factory=set)
    tied: set[Host] = field(default_factory=set)
    going: bool = False


@dataclass(frozen=True, slots=True)
class _Spawned:
    """A process of a client; container: it is the first of a pid namespace."""

    host: Host
    container: bool


class Server:
    """Answers requests. A client can do wrong to itself only: its errors are answered, or its connection is closed."""

    def __init__(self, loop: Loop, listener: socket.socket, hosts: Hosts, services: Services) -> None:
        self._loop = loop
        self._hosts = hosts
        self._services = services
        self._listener = listener
        self._user = os.geteuid()
        self._spawned: dict[int, _Spawned] = {}
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        if peer_uid(client) != self._user:
            log(f"a client of user {peer_uid(client)} is turned away: the lab is of user {self._user}")
            refusal = protocol.failure_of(protocol.NO_REQUEST, Refused("this lab is another user's"))
            with client, suppress(OSError):
                client.send(protocol.encode(refusal))
            return
        client.setblocking(False)
        connection = _Connection(client)
        self._loop.watch(client.fileno(), partial(self._readable, connection))

    def _readable(self, connection: _Connection) -> None:
        try:
            data, descriptors = receive_with_descriptors(connection.socket, _CHUNK, _MOST_DESCRIPTORS)
            connection.descriptors.extend(descriptors)
            lines = connection.lines.feed(data)
        except BlockingIOError:
            return
        except (OSError, Refused) as error:
            self._break(connection, str(error))
            return
        if not data:
            self._end(connection)
        for line in lines:
            if not connection.going:
                self._serve(connection, line)

    def _serve(self, connection: _Connection, line: bytes) -> None:
        try:
            request = protocol.decode_request(line)
        except Refused as error:
            self._reply(connection, protocol.failure_of(protocol.NO_REQUEST, error))
            self._break(connection, str(error))
            return
        try:
            answer = self._do(connection, request)
        except FairwayError as error:
            self._reply(connection, protocol.failure_of(request.id, error))
        except Exception as error:
            # A defect of ours; its text goes to the client, its traceback to the log, and the lab goes on.
            self._reply(
                connection, protocol.failure_of(request.id, Refused(f"the lab's first process failed: {error!r}"))
            )
            raise
        else:
            if answer is not None:
                self._reply(connection, answer)

    def _do(self, connection: _Connection, request: protocol.AnyRequest) -> protocol.Answer | None:
        """The answer, or None when it comes later. Raises FairwayError for a request that fails at once."""
        match request:
            case protocol.CreateHost(id=number, spec=spec):
                host = self._hosts.create(spec, lambda error: self._created(connection, number, host, error))
                if spec.tied:
                    connection.tied.add(host)
                return None
            case protocol.RemoveHost(id=number, name=name):
                host = self._hosts.find(name)
                self._hosts.remove(host, lambda _: self._removed(connection, number, host))
                return None
            case protocol.ListHosts(id=number):
                return protocol.Answer(id=number, hosts=tuple(self._record(host) for host in self._hosts.all()))
            case protocol.ListServices(id=number):
                return protocol.Answer(id=number, services=self._services.records())
            case protocol.HoldService(id=number, name=name, held=True):
                self._services.hold(name, lambda: self._reply(connection, protocol.Answer(id=number)))
                return None
            case protocol.HoldService(id=number, name=name):
                self._services.release(name)
                return protocol.Answer(id=number)
            case protocol.Spawn():
                self._spawn(connection, request)
                return None
            case protocol.Kill(id=number):
                self._kill(connection, request)
                return protocol.Answer(id=number)

    def _created(self, connection: _Connection, number: int, host: Host, error: FairwayError | None) -> None:
        if error is None:
            self._reply(connection, protocol.Answer(id=number, hosts=(self._record(host),)))
            return
        connection.tied.discard(host)
        self._reply(connection, protocol.failure_of(number, error))
        self._finish(connection)

    def _removed(self, connection: _Connection, number: int, host: Host) -> None:
        connection.tied.discard(host)
        self._reply(connection, protocol.Answer(id=number))
        self._finish(connection)

    def _record(self, host: Host) -> protocol.HostRecord:
        containers = (pid for pid, spawned in self._spawned.items() if spawned.container and spawned.host is host)
        return protocol.HostRecord(
            name=host.spec.name,
            kind=host.spec.kind,
            pid=host.holder,
            hostname=host.spec.hostname,
            owner=host.spec.owner,
            containers=tuple(containers),
        )

    def _spawn(self, connection: _Connection, request: protocol.Spawn) -> None:
        count = min(protocol.SPAWN_DESCRIPTORS, len(connection.descriptors))
        descriptors = [connection.descriptors.popleft() for _ in range(count)]
        try:
            if count < protocol.SPAWN_DESCRIPTORS:
                raise Refused("spawn: it takes three file descriptors: standard input, output and error")
            if not request.argv or not request.argv[0]:
                raise Refused("spawn: argv is empty")
            host = self._hosts.standing(request.host)
            if request.mounts and not (host.spec.store and request.new_pid_namespace):
                raise Refused(f"host {request.host}: mounts are for a container, in a host that has a store")
            failed: list[protocol.Failure] = []
            pid = self._fork_into(
                host,
                request,
                descriptors,
                on_report=lambda report: self._executed(connection, request, pid, report, failed),
                on_exit=lambda status: self._exited(connection, pid, status, silent=bool(failed)),
            )
            connection.pids.add(pid)
            self._spawned[pid] = _Spawned(host, request.new_pid_namespace)
        except OSError as error:
            if request.join:
                # Its pid namespace takes no process any more (ESRCH, or ENOMEM from fork: pid_namespaces(7)).
                raise Refused(f"host {request.host}: container {request.join} has ended") from error
            raise Retry(f"host {request.host}: no process can be started: {error.strerror}", after_s=1.0) from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _fork_into(
        self,
        host: Host,
        request: protocol.Spawn,
        descriptors: list[int],
        *,
        on_report: Callable[[bytes], None],
        on_exit: Callable[[int], None],
    ) -> int:
        """Fork into the pid namespace that is asked for: it is the parent that chooses it (pid_namespaces(7))."""
        joined = self._container(host, request.join) if request.join else None
        try:
            if joined is not None:
                setns(joined, Namespace.PID)
            elif request.new_pid_namespace:
                unshare(Namespace.PID)
            return self._loop.fork(
                lambda report: execute(request, host.place, joined, descriptors, report, store=host.spec.store),
                on_report=on_report,
                on_exit=on_exit,
            )
        finally:
            if request.join or request.new_pid_namespace:
                setns(self._own_pids, Namespace.PID)
            if joined is not None:
                os.close(joined)

    def _container(self, host: Host, pid: int) -> int:
        """A pidfd of a container's first process."""
        spawned = self._spawned.get(pid)
        if spawned is None or not spawned.container or spawned.host is not host:
            raise Refused(f"host {host.spec.name}: process {pid} is no running container of it")
        return os.pidfd_open(pid)

    def _executed(
        self,
        connection: _Connection,
        request: protocol.Spawn,
        pid: int,
        report: bytes,
        failed: list[protocol.Failure],
    ) -> None:
        if not report:
            self._reply(connection, protocol.Answer(id=request.id, pid=pid))
            return
        reply = protocol.decode_reply(report)
        assert isinstance(reply, protocol.Failure)
        failed.append(reply)
        self._reply(connection, protocol.Failure(id=request.id, reason=reply.reason, message=reply.message))

    def _exited(self, connection: _Connection, pid: int, status: int, *, silent: bool) -> None:
        del self._spawned[pid]
        connection.pids.discard(pid)
        if not silent:
            self._reply(connection, protocol.Exited(pid=pid, status=status))
        self._finish(connection)

    def _kill(self, connection: _Connection, request: protocol.Kill) -> None:
        if request.pid not in connection.pids:
            return
        if request.signal not in signal.valid_signals():
            raise Refused(f"kill: {request.signal} is no signal")
        with suppress(ProcessLookupError):
            (os.killpg if request.group else os.kill)(request.pid, request.signal)

    def _reply(self, connection: _Connection, reply: protocol.Reply) -> None:
        connection.unsent += protocol.encode(reply)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        """Send what can be sent now, and come back for the rest."""
        if connection.socket.fileno() < 0:
            return
        try:
            while connection.unsent:
                sent = connection.socket.send(connection.unsent)
                del connection.unsent[:sent]
        except BlockingIOError:
            if len(connection.unsent) > _MOST_UNSENT:
                self._break(connection, "it does not read its replies")
        except OSError:
            connection.unsent.clear()
        if connection.socket.fileno() >= 0 and not connection.going:
            writable = partial(self._send, connection) if connection.unsent else None
            self._loop.watch(connection.socket.fileno(), partial(self._readable, connection), writable)

    def _break(self, connection: _Connection, why: str) -> None:
        log(f"a client's connection is closed: {why}")
        self._end(connection)

    def _end(self, connection: _Connection) -> None:
        """The client is gone: so go its processes, with the sessions they lead, and the hosts tied to it."""
        if connection.going:
            return
        connection.going = True
        self._loop.forget(connection.socket.fileno())
        while connection.descriptors:
            os.close(connection.descriptors.popleft())
        if connection.pids:
            for pid in _sessions(connection.pids) | connection.pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for host in tuple(connection.tied):
            self._hosts.remove(host, partial(self._untied, connection, host))
        self._finish(connection)

    def _untied(self, connection: _Connection, host: Host, _: FairwayError | None) -> None:
        connection.tied.discard(host)
        self._finish(connection)

    def _finish(self, connection: _Connection) -> None:
        """Close our end once nothing of the client is left, which tells it so."""
        if connection.going and not connection.pids and not connection.tied:
            connection.socket.close()


def _sessions(leaders: set[int]) -> set[int]:
    """The processes whose session one of these leads."""
    found = set()
    for name in os.listdir("/proc"):
        with suppress(OSError, ValueError):
            pid = int(name)
            if os.getsid(pid) in leaders:
                found.add(pid)
    return found
