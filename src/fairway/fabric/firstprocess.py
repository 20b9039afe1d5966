"""Process 1 of a lab's pid namespace: it builds the fabric, starts the services, and then serves until it is ended.

It tells the one who started it how far it is, on a channel: JSON objects, one a line.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fairway.base.errors import FairwayError, Refused
from fairway.fabric import protocol, steps
from fairway.fabric.children import Program, close_all_but, fail
from fairway.fabric.hostfiles import FRESH
from fairway.fabric.hosts import Hosts, failure_in
from fairway.fabric.loop import HANDLED, Loop, log
from fairway.fabric.namespaces import settle
from fairway.fabric.network import run_steps
from fairway.fabric.server import Server
from fairway.fabric.services import Services, ServiceSpec
from fairway.fabric.syscalls import mount_sysfs, set_loopback_up, set_process_name
from fairway.fabric.unixsocket import listen

DETACH = b"detach\n"
"""What the caller says on the channel when the lab is to outlive it."""

_SERVICES_PATIENCE_S = 3.0
"""How long services may take to end when the lab is ended in order."""

_CHUNK = 1 << 16


class Born(msgspec.Struct, frozen=True, kw_only=True, tag="born"):
    """The first process is there: its pid as the caller sees it, and a pidfd beside the message."""

    pid: int


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """A line for a person who waits."""

    text: str


class Up(msgspec.Struct, frozen=True, kw_only=True, tag="up"):
    """The fabric stands and the services are started."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """It did not come so far; nothing of it stays."""

    failure: protocol.Failure


Message = Born | Progress | Up | Failed

_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the first process is to do. Paths are absolute."""

    name: str
    steps: tuple[steps.Step, ...]
    socket_path: Path
    log_path: Path
    programs: Mapping[str, Program]
    services: tuple[ServiceSpec, ...]


def encode(message: Message) -> bytes:
    """A message as one line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """One line as a message."""
    return _decoder.decode(line)


def tell_failure(channel: socket.socket, error: FairwayError) -> None:
    """Tell the caller why there will be no lab."""
    _tell(channel, Failed(failure=protocol.failure_of(protocol.NO_REQUEST, error)))


class FirstProcess:
    """The first process, from its first step to its last."""

    def __init__(self, plan: Plan, channel: socket.socket) -> None:
        """Runs in the process itself, forked with all signals blocked."""
        self._plan = plan
        self._channel = channel
        self._up = False
        self._unmade = 0
        self._loop = Loop(on_terminate=self._stop)
        self._hosts = Hosts(self._loop, visible=_interpreter_places())
        self._services = Services(self._loop, self._hosts, plan.programs)

    def run(self) -> int:
        """Its whole life; its exit code."""
        gc.freeze()  # this process's own too, for the programs it will fork
        try:
            self._settle()
            listener = listen(self._plan.socket_path)
        except FairwayError as error:
            tell_failure(self._channel, error)
            return 1
        signal.pthread_sigmask(signal.SIG_SETMASK, HANDLED)
        Server(self._loop, listener, self._hosts, self._services)
        self._loop.watch(self._channel.fileno(), self._hear)
        self._boot(self._make_hosts)
        try:
            return self._loop.run()
        finally:
            self._plan.socket_path.unlink(missing_ok=True)

    def _settle(self) -> None:
        settle()
        mount_sysfs()
        socket.sethostname(self._plan.name)
        set_loopback_up()
        set_process_name("fairway-init")
        os.umask(0o022)
        os.chdir("/")

    def _boot(self, stage: Callable[[], None]) -> None:
        """Run a stage of the start; whatever goes wrong in it is the end."""
        try:
            stage()
        except FairwayError as error:
            self._fail(error)
        except Exception as error:
            self._fail(Refused(f"the lab's first process failed: {error!r}"))
            raise

    def _make_hosts(self) -> None:
        specs = [step.spec for step in self._plan.steps if isinstance(step, steps.CreateHost)]
        self._progress(f"making {len(specs)} hosts")
        self._unmade = len(specs)
        for spec in specs:
            self._hosts.create(spec, self._host_made)

    def _host_made(self, error: FairwayError | None) -> None:
        if error is not None:
            self._fail(error)
            return
        self._unmade -= 1
        if not self._unmade:
            self._boot(self._link_hosts)

    def _link_hosts(self) -> None:
        """In a child, since it has to enter every host's namespace, and this process must stay in its own."""
        self._progress("linking them")
        network = [step for step in self._plan.steps if not isinstance(step, steps.CreateHost | steps.RemoveHost)]
        pids = {host.spec.name: host.holder for host in self._hosts.all()}

        def build(report: int) -> int:
            close_all_but({report})
            try:
                run_steps(network, pids)
            except FairwayError as error:
                return fail(report, error)
            return 0

        failures: list[FairwayError] = []
        self._loop.fork(
            build,
            on_report=lambda report: failures.extend(filter(None, [failure_in(report)])),
            on_exit=lambda status: self._boot(lambda: self._linked(status, failures)),
        )

    def _linked(self, status: int, failures: Sequence[FairwayError]) -> None:
        if status != 0:
            raise failures[0] if failures else Refused("linking the hosts failed")
        self._progress(f"starting {len(self._plan.services)} services")
        for service in self._plan.services:
            self._services.start(service)
        self._up = True
        log(f"lab {self._plan.name} is up")
        _tell(self._channel, Up())

    def _hear(self) -> None:
        """The caller says that the lab may outlive it, or is gone without having said so."""
        try:
            data = self._channel.recv(_CHUNK)
        except OSError:
            data = b""
        self._loop.forget(self._channel.fileno())
        self._channel.close()
        if data != DETACH:
            log("the one who started this lab is gone, so it ends")
            self._stop()

    def _stop(self) -> None:
        """End the lab: in order once it is up, at once before."""
        if not self._up:
            self._loop.stop(1)
            return
        log("the lab ends")
        self._loop.after(_SERVICES_PATIENCE_S, lambda: self._loop.stop(0))
        self._services.stop(lambda: self._loop.stop(0))

    def _fail(self, error: FairwayError) -> None:
        log(f"the lab cannot be made: {error}")
        tell_failure(self._channel, error)
        self._loop.stop(1)

    def _progress(self, text: str) -> None:
        _tell(self._channel, Progress(text=text))


def _tell(channel: socket.socket, message: Message) -> None:
    # A caller that is gone is noticed at its end of the channel, not here.
    with suppress(OSError):
        channel.send(encode(message))


def _interpreter_places() -> tuple[str, ...]:
    """The directories that Python, and so every program of the lab, is loaded from; none inside another.

    Of a script started from /tmp itself, its folder is not one of them: all of the machine's /tmp would show.
    """
    wanted = [os.path.realpath(place) for place in (sys.prefix, sys.base_prefix, *sys.path) if place]
    places = {Path(place) for place in wanted if os.path.isdir(place) and place not in FRESH}
    return tuple(str(place) for place in sorted(places) if places.isdisjoint(place.parents))
