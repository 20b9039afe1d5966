"""What a lab can leave behind on a machine: processes and their namespaces, mounts, interfaces, open ports."""

from __future__ import annotations

import os
import select
from dataclasses import dataclass
from pathlib import Path

from tests.lab.command import User

PATIENCE_MS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What of the machine's own a lab must not change. Other labs may come and go beside it."""

    interfaces: frozenset[str]
    mounts: frozenset[str]


def machine() -> Machine:
    """As it is now."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return Machine(interfaces=frozenset(os.listdir("/sys/class/net")), mounts=frozenset(mounts))


def processes_of(user: User) -> list[int]:
    """Every process that a command of this user has left, and all in pid namespaces of such: a lab is one.

    A namespace lives by the processes in it (nothing on disk holds one), so no process means no namespace.
    """
    mark = f"FAIRWAY_STATE_DIR={user.state}".encode()
    own = _pid_namespace(os.getpid())
    pids = [pid for pid in _pids() if mark in _environment(pid)]
    namespaces = {_pid_namespace(pid) for pid in pids} - {own, ""}
    return sorted({*pids, *(pid for pid in _pids() if _pid_namespace(pid) in namespaces)})


def network_namespaces(pids: list[int]) -> set[str]:
    """The network namespaces of processes."""
    return {_link(pid, "net") for pid in pids} - {""}


def wait_until_gone(user: User) -> None:
    """Wait for the end of every process of this user, one after the other; fails if one does not end."""
    while pids := processes_of(user):
        try:
            handle = os.pidfd_open(pids[0])
        except ProcessLookupError:
            continue
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            assert poll.poll(PATIENCE_MS), f"process {pids[0]} goes on: {_environment(pids[0])[:200]!r}"
        finally:
            os.close(handle)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _pid_namespace(pid: int) -> str:
    return _link(pid, "pid")


def _link(pid: int, kind: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return ""


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
