"""Blocking calls to the first process, for the command line: run a program in a host, with or without a terminal."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fairway.base.errors import Retry
from fairway.fabric import protocol
from fairway.fabric.protocol import CannotExecute, HostRecord, ServiceRecord
from fairway.fabric.terminal import Terminal
from fairway.fabric.unixsocket import connect, send_with_descriptors

_CHUNK = 1 << 16
_SIGNAL_BASE = 128
"""A shell's exit code for a program that a signal ended is this much more than its number (POSIX.1-2017, XCU 2.8.2)."""

_ANSWER_LIMIT_S = 10.0
"""The first process answers within milliseconds; one that is stopped never does."""

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def exec_in_host(path: Path, host: str, argv: Sequence[str], *, env: Mapping[str, str], tty: bool | None = None) -> int:
    """Run a program in a host with this process's standard streams, and return what a shell would.

    That is its exit code, 128 + the signal that ended it, 127 when there is no such program, 126 when it cannot be
    executed (the last two with one line on standard error).

    path: the lab's socket. host: a node, a client or a pod's sandbox; in a pod the program joins its first container.
    tty: give it a terminal of its own, linked to this one; None: where standard input and output are both terminals.
    SIGINT, SIGTERM, SIGHUP and SIGQUIT go to its process group. Raises Refused for an unknown host or no lab there.
    Only the main thread may call it: it handles signals while the program runs.
    """
    if tty is None:
        tty = os.isatty(0) and os.isatty(1)
    with _Connection(path) as connection:
        records = connection.ask(protocol.ListHosts(id=1)).hosts
        container = next((pid for record in records if record.name == host for pid in record.containers), 0)
        try:
            return _run(connection, host, argv, env, container, tty=tty)
        except CannotExecute as error:
            print(f"fairway: {error}", file=sys.stderr, flush=True)
            return error.exit_code


def list_hosts(path: Path) -> list[HostRecord]:
    """All hosts of the lab whose socket is at `path`. Raises Refused when no lab answers there."""
    with _Connection(path) as connection:
        return list(connection.ask(protocol.ListHosts(id=1)).hosts)


def list_services(path: Path) -> list[ServiceRecord]:
    """The programs its first process keeps running. Raises Refused when no lab answers there."""
    with _Connection(path) as connection:
        return list(connection.ask(protocol.ListServices(id=1)).services)


def hold_service(path: Path, name: str, *, held: bool) -> None:
    """Kill a program that the first process keeps running, and keep it from starting; or let it start again.

    Returns when it has ended, or has started; no error if it is so already. Raises Refused for a name that is none.
    """
    with _Connection(path) as connection:
        connection.ask(protocol.HoldService(id=1, name=name, held=held))


class _Connection:
    """A blocking client: one request at a time."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._socket.settimeout(_ANSWER_LIMIT_S)
        self._lines = protocol.Lines()
        self._received: list[protocol.Reply] = []

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, request: protocol.Request, descriptors: Sequence[int] = ()) -> protocol.Answer:
        """Send a request and wait for its answer; an Exited that comes first is kept. Raises what it failed with."""
        data = protocol.encode(request)
        try:
            while data:
                data = data[send_with_descriptors(self._socket, data, descriptors) :]
                descriptors = ()
        except ConnectionError:
            # It is closed at the other end; why, if that was said, is still to be read.
            pass
        while True:
            for reply in self._received:
                if isinstance(reply, protocol.Exited) or reply.id not in (request.id, protocol.NO_REQUEST):
                    continue
                self._received.remove(reply)
                if isinstance(reply, protocol.Failure):
                    raise protocol.error_of(reply)
                return reply
            self.receive()

    def exit_status(self, pid: int) -> int | None:
        """How a process ended, if that has been received."""
        for reply in self._received:
            if isinstance(reply, protocol.Exited) and reply.pid == pid:
                return reply.status
        return None

    def receive(self) -> None:
        """Wait for more replies. Raises Retry when the lab has ended or does not answer."""
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            raise Retry(
                f"the lab's first process does not answer for {_ANSWER_LIMIT_S:.0f} s: take the lab down", after_s=1.0
            ) from None
        except ConnectionError:
            data = b""
        if not data:
            raise Retry("the lab has ended", after_s=1.0)
        self._received += [protocol.decode_reply(line) for line in self._lines.feed(data)]


def _run(
    connection: _Connection, host: str, argv: Sequence[str], env: Mapping[str, str], container: int, *, tty: bool
) -> int:
    request = protocol.Spawn(id=2, host=host, argv=tuple(argv), env=dict(env), controlling_tty=tty, join=container)
    if not tty:
        with _caught(_FORWARDED) as signals:
            pid = connection.ask(request, (0, 1, 2)).pid
            return _exit_code(_wait(connection, pid, signals, {}))
    with Terminal() as terminal, _caught((*_FORWARDED, signal.SIGWINCH)) as signals:
        pid = connection.ask(request, (terminal.far,) * protocol.SPAWN_DESCRIPTORS).pid
        terminal.begin()
        status = _wait(connection, pid, signals, terminal.handlers(), on_resize=terminal.resize)
        terminal.drain()
        return _exit_code(status)


def _wait(
    connection: _Connection,
    pid: int,
    signals: socket.socket,
    handlers: dict[int, Callable[[], bool]],
    on_resize: Callable[[], None] | None = None,
) -> int:
    """Until the process has ended, forward signals, and call the handlers of readable descriptors until they say False.

    Returns its status as in Exited.
    """
    while (status := connection.exit_status(pid)) is None:
        readable, _, _ = select.select([connection.fileno(), signals.fileno(), *handlers], [], [])
        for ready in readable:
            if ready == connection.fileno():
                connection.receive()
            elif ready == signals.fileno():
                for number in signals.recv(_CHUNK):
                    if number == signal.SIGWINCH and on_resize is not None:
                        on_resize()
                    elif number in _FORWARDED:
                        connection.ask(protocol.Kill(id=3, pid=pid, signal=number, group=True))
            elif not handlers[ready]():
                del handlers[ready]
    return status


@contextmanager
def _caught(numbers: Sequence[signal.Signals]) -> Iterator[socket.socket]:
    """A socket from which the numbers of these signals are read, one byte each; then their handlers are restored."""
    reading, writing = socket.socketpair()
    for end in (reading, writing):
        end.setblocking(False)
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    # A signal that was ignored, as under nohup, stays ignored.
    former = {
        number: signal.signal(number, lambda *_: None)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield reading
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        reading.close()
        writing.close()


def _exit_code(status: int) -> int:
    return status if status >= 0 else _SIGNAL_BASE - status
