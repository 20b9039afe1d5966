"""The programs the first process keeps running: started in their hosts, started again when they end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairway.base.errors import Refused
from fairway.fabric import protocol
from fairway.fabric.children import Program, run_service
from fairway.fabric.hosts import Hosts
from fairway.fabric.loop import Loop, log
from fairway.fabric.supervise import failures_after, restart_delay_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A program of the lab to keep running.

    host: where, or "" for the lab's own outermost namespaces (where the hosts' links meet).
    program: its name in the `programs` given to `start`; it is called with `config`.
    fds: descriptors of the caller of `start` that it gets, by name: they are in its configuration under "fds".
    log: its standard output and error are appended here.
    """

    name: str
    host: str
    program: str
    config: Mapping[str, Any]
    log: Path
    fds: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Service:
    spec: ServiceSpec
    pid: int = 0
    starts: int = 0
    started_at: float = 0.0
    failures: int = 0
    last_exit: int | None = None
    held: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)


class Services:
    """All services of the lab."""

    def __init__(self, loop: Loop, hosts: Hosts, programs: Mapping[str, Program]) -> None:
        self._loop = loop
        self._hosts = hosts
        self._programs = programs
        self._services: list[_Service] = []
        self._stopped: Callable[[], None] | None = None

    def start(self, spec: ServiceSpec) -> None:
        """Start a service and keep it running as long as its host stands. Raises Refused for an unknown host."""
        service = _Service(spec=spec)
        self._run(service)
        self._services.append(service)

    def hold(self, name: str, ended: Callable[[], None]) -> None:
        """Kill a service and start it no more until it is released; `ended` is called when it runs no more.

        Raises Refused for a name that is none.
        """
        service = self._find(name)
        service.held = True
        if not service.pid:
            ended()
            return
        service.waiting.append(ended)
        with suppress(ProcessLookupError):
            os.kill(service.pid, signal.SIGKILL)

    def release(self, name: str) -> None:
        """Start a service that was held, at once; no error if it was not. Raises Refused for a name that is none."""
        service = self._find(name)
        if service.held:
            service.held = False
            service.failures = 0
            if not service.pid:
                self._restart(service)

    def _find(self, name: str) -> _Service:
        found = next((service for service in self._services if service.spec.name == name), None)
        if found is None:
            names = ", ".join(service.spec.name for service in self._services)
            raise Refused(f"no program of the lab is named {name!r}; there are: {names}")
        return found

    def stop(self, stopped: Callable[[], None]) -> None:
        """Ask all to end and start none again; `stopped` is called when the last has ended."""
        self._stopped = stopped
        for service in self._services:
            if service.pid:
                with suppress(ProcessLookupError):
                    os.kill(service.pid, signal.SIGTERM)
                    os.kill(service.pid, signal.SIGCONT)  # one that is stopped would not hear of it
        self._check_stopped()

    def records(self) -> tuple[protocol.ServiceRecord, ...]:
        """What a client may know of them."""
        return tuple(
            protocol.ServiceRecord(
                name=service.spec.name,
                host=service.spec.host,
                pid=service.pid,
                starts=service.starts,
                last_exit=service.last_exit,
                held=service.held,
            )
            for service in self._services
        )

    def _run(self, service: _Service) -> None:
        spec = service.spec
        place = self._hosts.standing(spec.host).place if spec.host else None
        program = self._programs[spec.program]
        service.pid = self._loop.fork(
            lambda _: run_service(
                program, spec.config, name=spec.program, place=place, descriptors=spec.fds, log=spec.log
            ),
            on_report=lambda _: None,
            on_exit=lambda status: self._ended(service, status),
        )
        service.starts += 1
        service.started_at = time.monotonic()

    def _ended(self, service: _Service, status: int) -> None:
        service.pid = 0
        service.last_exit = status
        while service.waiting:
            service.waiting.pop()()
        if self._stopped is not None:
            self._check_stopped()
            return
        if service.held:
            log(f"service {service.spec.name} ended ({status}); it is held")
            return
        service.failures = failures_after(service.failures, time.monotonic() - service.started_at)
        delay_s = restart_delay_s(service.failures)
        log(f"service {service.spec.name} ended ({status}); it starts again in {delay_s:g} s; see {service.spec.log}")
        self._loop.after(delay_s, lambda: self._restart(service))

    def _restart(self, service: _Service) -> None:
        if self._stopped is not None or service.held or service.pid:
            return
        try:
            self._run(service)
        except Refused as error:
            log(f"service {service.spec.name} is given up: {error}")
        except OSError as error:
            log(f"service {service.spec.name} cannot be started now: {error.strerror}")
            self._loop.after(restart_delay_s(service.failures), lambda: self._restart(service))

    def _check_stopped(self) -> None:
        if self._stopped is not None and not any(service.pid for service in self._services):
            self._stopped()
