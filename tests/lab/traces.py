"""What a lab can leave behind on a machine, counted: processes, namespaces, mounts, interfaces, rules."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Seen from the machine's own namespaces."""

    namespaces: frozenset[str]
    interfaces: frozenset[str]
    mounts: frozenset[str]
    rules: str


def look() -> Traces:
    """Everything that is there now. Namespaces are those of any process; a lab's are among them as long as it lives."""
    return Traces(
        namespaces=frozenset(_namespaces()),
        interfaces=frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        rules="".join(_read(Path("/proc/net") / name) for name in ("ip_tables_names", "nf_conntrack_expect")),
    )


def processes_below(namespace: str) -> list[int]:
    """The processes that are in a pid namespace, as /proc/PID/ns/pid names it."""
    return [pid for pid in _pids() if _link(pid, "pid") == namespace]


def pid_namespace(pid: int) -> str:
    """Of the process itself."""
    return os.readlink(f"/proc/{pid}/ns/pid")


def network_namespaces(namespace: str) -> set[str]:
    """The network namespaces of all processes of a pid namespace."""
    return {_link(pid, "net") for pid in processes_below(namespace)} - {""}


def _namespaces() -> set[str]:
    return {_link(pid, kind) for pid in _pids() for kind in ("net", "pid", "mnt", "uts", "ipc", "user")} - {""}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _link(pid: int, kind: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
