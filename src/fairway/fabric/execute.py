"""Blocking calls to the first process, for the command line: run a program in a host, with or without a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fairway.fabric.protocol import HostRecord, ServiceRecord


def exec_in_host(path: Path, host: str, argv: Sequence[str], *, env: Mapping[str, str], tty: bool | None = None) -> int:
    """Run a program in a host with this process's standard streams, and return what a shell would.

    That is its exit code, 128 + the signal that ended it, 127 when there is no such program, 126 when it cannot be
    executed (the last two with one line on standard error).

    path: the lab's socket. host: a node, a client or a pod's sandbox; in a pod the program joins its first container.
    tty: give it a terminal of its own, linked to this one; None: where standard input and output are both terminals.
    SIGINT, SIGTERM, SIGHUP and SIGQUIT go to its process group. Raises Refused for an unknown host or no lab there.
    """
    raise NotImplementedError


def list_hosts(path: Path) -> list[HostRecord]:
    """All hosts of the lab whose socket is at `path`. Raises Refused when no lab answers there."""
    raise NotImplementedError


def list_services(path: Path) -> list[ServiceRecord]:
    """The programs its first process keeps running. Raises Refused when no lab answers there."""
    raise NotImplementedError
