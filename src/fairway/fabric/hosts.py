"""The first process's hosts: made by forking their holders, removed with all that runs in them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from fairway.base.errors import FairwayError, Refused, Retry
from fairway.fabric import protocol
from fairway.fabric.children import READY, hold_host
from fairway.fabric.loop import Loop, log

_HOLDER_PATIENCE_S = 2.0
"""How long a holder may take to delete its links before it is killed."""

_MARKS = ("net", "uts")
"""A process that has one of these namespaces of a host runs in that host."""

_MARKS_WITHIN = ("ipc",)
"""Of a host within another; its processes are the other's as well, by the marks above."""

Done = Callable[[FairwayError | None], None]
"""Called once, with what went wrong or None."""


class State(Enum):
    """Of a host."""

    MAKING = "being made"
    STANDING = "standing"
    GOING = "being removed"
    GONE = "gone"


@dataclass(slots=True, kw_only=True, eq=False)
class Host:
    """A host and its holder.

    place: the holder's pidfd, for setns. marks: its namespaces, as /proc shows them. made: who waits for it to stand.
    waiting: who waits for it to be gone. failure: why it could not be made.
    """

    spec: protocol.HostSpec
    holder: int
    place: int
    made: Done
    state: State = State.MAKING
    marks: frozenset[str] = frozenset()
    waiting: list[Done] = field(default_factory=list)
    failure: FairwayError | None = None


class Hosts:
    """All hosts of the lab, by name, in the order they were made."""

    def __init__(self, loop: Loop, *, visible: Sequence[str]) -> None:
        """`visible`: directories every host needs to see, such as the interpreter's."""
        self._loop = loop
        self._visible = tuple(visible)
        self._hosts: dict[str, Host] = {}

    def standing(self, name: str) -> Host:
        """A complete host. Raises Refused, with the names there are, for any other."""
        host = self.find(name)
        if host.state is not State.STANDING:
            raise Refused(f"host {name} is {host.state.value}")
        return host

    def all(self) -> list[Host]:
        """The complete ones."""
        return [host for host in self._hosts.values() if host.state is State.STANDING]

    def find(self, name: str) -> Host:
        """A host in any state. Raises Refused, with the names there are, when there is none."""
        host = self._hosts.get(name)
        if host is None:
            names = ", ".join(host.spec.name for host in self.all())
            raise Refused(f"no host is named {name!r}; there are: {names or 'none'}")
        return host

    def create(self, spec: protocol.HostSpec, done: Done) -> Host:
        """Begin to make a host; `done` hears how it went.

        Raises Refused at once for a bad spec or a name that is taken.
        """
        protocol.check_host(spec)
        around = self.standing(spec.within) if spec.within else None
        if spec.name in self._hosts:
            raise Refused(f"host {spec.name}: the name is taken by one that is {self._hosts[spec.name].state.value}")
        try:
            holder = self._loop.fork(
                lambda report: hold_host(spec, report, self._visible, around=around.place if around else None),
                on_report=lambda report: self._reported(host, report),
                on_exit=lambda status: self._gone(host, status),
            )
        except OSError as error:
            raise Retry(f"host {spec.name}: no process can be started: {error.strerror}", after_s=1.0) from error
        host = Host(spec=spec, holder=holder, place=os.pidfd_open(holder), made=done)
        self._hosts[spec.name] = host
        return host

    def remove(self, host: Host, done: Done) -> None:
        """Kill what runs in a host, then remove it; one being made is removed once it stands. `done` hears when."""
        if host.state is State.GONE:
            done(None)
            return
        host.waiting.append(done)
        self._go(host)

    def _go(self, host: Host) -> None:
        if host.state is State.STANDING:
            host.state = State.GOING
            self._sweep(host)

    def _reported(self, host: Host, report: bytes) -> None:
        if report != READY:
            # It ends by itself, and is told of then: its name is free again for whoever hears of it.
            host.failure = failure_in(report)
            return
        host.marks = frozenset(_marks(host.holder, _MARKS_WITHIN if host.spec.within else _MARKS))
        host.state = State.STANDING
        host.made(None)
        if host.waiting:
            self._go(host)

    def _sweep(self, host: Host) -> None:
        """Kill all but the holder; come back when they have ended, for what they may have started; then the holder."""
        gone = host.state is State.GONE
        pids = [pid for pid in _members(host) if gone or pid != host.holder]
        if not pids:
            if not gone:
                self._signal(host, signal.SIGTERM)
                self._loop.after(_HOLDER_PATIENCE_S, partial(self._signal, host, signal.SIGKILL))
            return
        pending: set[int] = set()
        for pid in pids:
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                pending.add(descriptor)
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for descriptor in tuple(pending):
            self._loop.watch(descriptor, partial(self._swept, host, pending, descriptor))
        if not pending:
            self._loop.after(0, partial(self._sweep, host))

    def _swept(self, host: Host, pending: set[int], descriptor: int) -> None:
        self._loop.forget(descriptor)
        os.close(descriptor)
        pending.discard(descriptor)
        if not pending:
            self._sweep(host)

    def _signal(self, host: Host, number: signal.Signals) -> None:
        # A host that is gone has closed its pidfd, and its number may be that of another host's holder by now.
        if host.state is not State.GONE:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(host.place, number)

    def _gone(self, host: Host, status: int) -> None:
        """The holder has ended: nobody can enter the host any more, and whoever is left in it is killed.

        Also the process that entered while the host was swept; after this its setns fails (ESRCH).
        """
        if host.state is State.STANDING:
            log(f"host {host.spec.name}: its holder ended ({status}), so the host is gone")
        del self._hosts[host.spec.name]
        never_stood, host.state = host.state is State.MAKING, State.GONE
        os.close(host.place)
        self._sweep(host)
        if never_stood:
            host.made(host.failure or Refused(f"host {host.spec.name}: its first process died while it was made"))
        for done in host.waiting:
            done(None)


def failure_in(report: bytes) -> FairwayError | None:
    """What a child said went wrong, if it said so."""
    try:
        reply = protocol.decode_reply(report)
    except Refused:
        return None
    return protocol.error_of(reply) if isinstance(reply, protocol.Failure) else None


def _marks(pid: int, names: Sequence[str] = (*_MARKS, *_MARKS_WITHIN)) -> list[str]:
    """The namespaces of a process that tell its host; none for one that has ended."""
    marks = []
    for name in names:
        with suppress(OSError):
            marks.append(os.readlink(f"/proc/{pid}/ns/{name}"))
    return marks


def _members(host: Host) -> list[int]:
    """The processes in a host, the holder among them."""
    if not host.marks:
        return []
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if not host.marks.isdisjoint(_marks(pid))]
