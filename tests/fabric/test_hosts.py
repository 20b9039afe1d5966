"""What the first process does to hosts beyond what its clients see."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from fairway.fabric.hosts import Host, Hosts, State
from fairway.fabric.protocol import HostKind, HostSpec


class NoLoop:
    """A loop in which nothing happens by itself."""

    def after(self, delay_s: float, callback: Callable[[], None]) -> None:
        raise AssertionError("nothing is to be waited for")


def host_at(process: subprocess.Popen[bytes], state: State) -> Host:
    spec = HostSpec(name="a", kind=HostKind.POD, hostname="a")
    return Host(spec=spec, holder=process.pid, place=os.pidfd_open(process.pid), made=lambda _: None, state=state)


def signalled(state: State) -> int | None:
    """How a process ends whose pidfd has the number a host in that state once had; None if it goes on."""
    loop: Any = NoLoop()
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            host = host_at(process, state)
            Hosts(loop, visible=())._signal(host, signal.SIGTERM)
            os.close(host.place)
            return process.wait(10) if state is not State.GONE else process.poll()
        finally:
            process.kill()


def test_a_host_that_is_going_hears_its_signal() -> None:
    assert signalled(State.GOING) == -signal.SIGTERM


def test_a_late_signal_for_a_host_that_is_gone_meets_nobody() -> None:
    """Its pidfd is closed, and the number is soon that of another host's holder."""
    assert signalled(State.GONE) is None
