"""A lab's first process, started apart from its caller, and ended.

It is process 1 of the lab's pid namespace: when it ends, however it ends, the kernel kills every process of the lab,
and all its namespaces, links, rules and mounts go with the last one (pid_namespaces(7)).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fairway.base.errors import FairwayError, Refused
from fairway.fabric import protocol, steps
from fairway.fabric.children import Program, close_all_but, fork, redirect_output, reset_handlers
from fairway.fabric.firstprocess import (
    DETACH,
    Born,
    Failed,
    FirstProcess,
    Message,
    Plan,
    Progress,
    Up,
    decode,
    encode,
    tell_failure,
)
from fairway.fabric.namespaces import leave_machine
from fairway.fabric.services import ServiceSpec
from fairway.fabric.topology import Topology
from fairway.fabric.unixsocket import receive_with_descriptors, send_with_descriptors

__all__ = ["Program", "ServiceSpec", "Started", "end", "start"]

_ABORT_PATIENCE_S = 2.0
_CHUNK = 1 << 16


class Started:
    """A lab that is up.

    pid, start_time: its first process, for `end`; start_time is in clock ticks since boot, so that the pair names one
    process and no later one of the same pid.
    """

    def __init__(self, *, pid: int, start_time: int, channel: socket.socket) -> None:
        """For `start` only."""
        self.pid = pid
        self.start_time = start_time
        self._channel = channel

    def detach(self) -> None:
        """Let the lab outlive this process. Until then it ends when this process does, also by SIGKILL."""
        with suppress(OSError):
            self._channel.send(DETACH)
        self._channel.close()


def start(
    topology: Topology,
    *,
    socket_path: Path,
    log_path: Path,
    programs: Mapping[str, Program],
    services: Sequence[ServiceSpec] = (),
    report: Callable[[str], None] | None = None,
    attached: bool = False,
) -> Started:
    """Make a lab; returns when its hosts are linked and its services started.

    The first process is forked from the caller, so `programs` are the caller's own functions and share its memory: call
    this with everything they need imported, outside of any event loop and with no other thread running. The services'
    descriptors stay open in the caller.
    socket_path: where the first process answers; the nodes can see its folder, wherever it is. log_path: its output.
    report: called with a line for each stage. attached: the lab ends with the caller unless `detach` is called.

    Raises Refused or Unsupported in one line, and whatever interrupts it (KeyboardInterrupt): in each case nothing of
    the lab is left when it has raised.
    """
    for service in services:
        if service.program not in programs:
            raise Refused(f"service {service.name}: there is no program {service.program!r}")
    folder = socket_path.parent.resolve()
    plan = Plan(
        name=topology.name,
        steps=steps.resolve(topology, node_visible=(str(folder),)),
        socket_path=folder / socket_path.name,
        log_path=log_path.absolute(),
        programs=programs,
        services=tuple(services),
    )
    started = _Start(plan).run(report or (lambda _: None))
    if not attached:
        started.detach()
    return started


def end(pid: int, start_time: int, *, patience_s: float) -> bool:
    """End a lab by its first process and wait until nothing of it runs; whether there was one.

    It is asked to end in order; after `patience_s` seconds the kernel ends it. A pid that is another process's by now
    is left alone.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if process_start_time(pid) != start_time or _wait_gone(handle, 0):
            return False
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _wait_gone(handle, patience_s):
            _kill(handle)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def process_start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc(5), stat's 22nd field). Raises ProcessLookupError."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError as error:
        raise ProcessLookupError(f"no process {pid}") from error
    # The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    fields = text.rpartition(")")[2].split()
    # A zombie is no longer there, however long its parent takes to reap it.
    if fields[0] in ("Z", "X"):
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])


class _Start:
    """The caller's side of a start: one fork, then messages until the lab is up or has failed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._channel, self._far = socket.socketpair()
        self._lines = protocol.Lines()
        self._launcher = 0
        self._pid = 0
        self._pidfd = -1

    def run(self, report: Callable[[str], None]) -> Started:
        try:
            self._fork()
            self._follow(report)
            self._reap_launcher()
            return Started(pid=self._pid, start_time=process_start_time(self._pid), channel=self._channel)
        except BaseException:
            self._abort()
            raise
        finally:
            if self._pidfd >= 0:
                os.close(self._pidfd)

    def _fork(self) -> None:
        # The child must meet no signal before it has left the caller's terminal and handlers; nor may the caller
        # between the fork and knowing of it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._launcher = fork(lambda: _launch(self._plan, self._far))
            self._far.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _follow(self, report: Callable[[str], None]) -> None:
        """Until the lab is up. Raises what kept it from it."""
        up = False
        while not (up and self._pid):
            messages = self._receive()
            if not messages:
                raise Refused("the lab's first process ended before the lab was up")
            for message in messages:
                match message:
                    case Progress(text=text):
                        report(text)
                    case Failed(failure=failure):
                        raise protocol.error_of(failure)
                    case Up():
                        up = True
                    case Born():
                        pass

    def _receive(self) -> list[Message]:
        """The next messages; none once the other end is closed."""
        while True:
            data, descriptors = receive_with_descriptors(self._channel, _CHUNK, 1)
            if descriptors:
                self._pidfd = descriptors[0]
            if not data:
                return []
            messages = [decode(line) for line in self._lines.feed(data)]
            for message in messages:
                if isinstance(message, Born):
                    self._pid = message.pid
            if messages:
                return messages

    def _abort(self) -> None:
        """Leave nothing, and return when that is so; another interrupt must not stop this."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._far.close()
            self._reap_launcher()
            with suppress(OSError, Refused):
                while self._pidfd < 0 and self._receive():
                    pass
            # Without its caller it ends by itself, and takes its socket's file along.
            self._channel.close()
            if self._pidfd >= 0 and not _wait_gone(self._pidfd, _ABORT_PATIENCE_S):
                _kill(self._pidfd)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _reap_launcher(self) -> None:
        if self._launcher:
            with suppress(ChildProcessError):
                os.waitpid(self._launcher, 0)
            self._launcher = 0


def _launch(plan: Plan, channel: socket.socket) -> int:
    """In the child: leave the machine's namespaces, fork the first process, and go: nobody here is to be its parent."""
    # What the caller left in memory is never collected, by no program of the lab: finalisers of its objects would close
    # descriptors that are others' by then, and every page they touch is a page no longer shared.
    gc.freeze()
    os.setsid()
    reset_handlers()
    descriptors = {descriptor for service in plan.services for descriptor in service.fds.values()}
    close_all_but({channel.fileno(), *descriptors})
    for descriptor in descriptors:
        # For forked programs only: what is executed in a host gets its three standard streams and no more.
        os.set_inheritable(descriptor, False)
    try:
        redirect_output(plan.log_path)
        leave_machine()
    except OSError as error:
        tell_failure(channel, Refused(f"{error.filename}: {error.strerror}"))
        return 1
    except FairwayError as error:
        tell_failure(channel, error)
        return 1
    pid = fork(lambda: _be_first(plan, channel))
    send_with_descriptors(channel, encode(Born(pid=pid)), [os.pidfd_open(pid)])
    return 0


def _be_first(plan: Plan, channel: socket.socket) -> int:
    try:
        return FirstProcess(plan, channel).run()
    except Exception as error:
        # A defect, or a kernel that refuses what no other does: the traceback is for the log.
        tell_failure(channel, Refused(f"the lab's first process failed: {error!r}"))
        raise


def _kill(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    _wait_gone(pidfd, None)


def _wait_gone(pidfd: int, timeout_s: float | None) -> bool:
    """Wait for the end of a first process, which comes after that of all others in its namespace."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
