"""Run programs in the lab's nodes, clients and pods, found by the names people use for them."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing

from fairway.base.errors import Refused
from fairway.cluster.state import LabState
from fairway.cluster.tools import HOST_PATH
from fairway.fabric.spawner import (
    CannotExecute,
    HostKind,
    HostRecord,
    Process,
    Spawner,
    exec_in_host,
    list_hosts,
)


def environment() -> dict[str, str]:
    """What a login on a host would have; of the caller's own only what concerns his terminal and language."""
    passed = {name: os.environ[name] for name in ("TERM", "LANG", "LC_ALL", "COLUMNS", "LINES") if name in os.environ}
    return {"PATH": HOST_PATH, "HOME": "/root", "USER": "root", **passed}


_LOGIN = """cd 2>/dev/null
for shell in "$@"; do command -v "$shell" >/dev/null && exec "$shell" -l; done
exec sh -l"""
"""A login begins at home, where there is one."""


def login_shell(own: str) -> tuple[str, ...]:
    """The command that becomes a login shell: `own`, a caller's $SHELL, where the host has it, else bash, else sh.

    A pod may have another file system than the machine: the host looks, not the caller. own: "" for none.
    """
    return ("sh", "-c", _LOGIN, "sh", *([own] if own else []), "bash")


def find_host(records: Sequence[HostRecord], target: str) -> HostRecord:
    """The host a person means: a node, a client, or a pod by NAMESPACE/NAME or its name alone.

    Of a pod that is being replaced by one of the same name, the newer. Raises Refused for a name that is none (naming
    what is near) or that pods of several namespaces have.
    """
    fixed = {record.name: record for record in records if record.kind is not HostKind.POD}
    pods = {pod_name(record): record for record in records if record.kind is HostKind.POD}
    if found := fixed.get(target) or pods.get(target):
        return found
    match [name for name in pods if name.endswith(f"/{target}")]:
        case [name]:
            return pods[name]
        case []:
            short = [name.rpartition("/")[2] for name in pods]
            near = difflib.get_close_matches(target, [*fixed, *short, *pods], n=1, cutoff=0.6)
            names = ", ".join(fixed)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {names}, and the pods of `kubectl get pods -A`"
            raise Refused(f"{target!r} is no node, client or pod of this lab; {hint}")
        case several:
            raise Refused(f"{target!r} is the name of several pods ({', '.join(several)}): say NAMESPACE/NAME")


def pod_name(record: HostRecord) -> str:
    """NAMESPACE/NAME of a pod's sandbox; its kubelet notes NAMESPACE/NAME/UID as the owner."""
    return record.owner.rpartition("/")[0]


def exec_in(state: LabState, target: str, argv: Sequence[str]) -> int:
    """Run a program with this process's standard streams; its exit status as a shell would have it."""
    record = find_host(list_hosts(state.socket), target)
    return exec_in_host(state.socket, record.name, argv, env=environment())


def run_captured(
    state: LabState, target: str, argv: Sequence[str], *, extra: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a program; its exit status and what it wrote to standard output and error. extra: of its environment."""

    async def run() -> tuple[int, str]:
        async with LabHosts.connect(state) as hosts:
            return await hosts.run(target, argv, extra=extra)

    return asyncio.run(run())


class LabHosts:
    """One connection to a lab, for many programs."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner

    @classmethod
    @asynccontextmanager
    async def connect(cls, state: LabState) -> AsyncIterator[LabHosts]:
        """Raises Refused where the lab's first process does not answer."""
        spawner = await Spawner.connect(state.socket)
        try:
            yield cls(spawner)
        finally:
            await spawner.close()

    async def run(self, host: str, argv: Sequence[str], *, extra: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Exit status (as a shell's) and output, standard error mixed in; standard input is empty.

        extra: environment variables beside those a login has.
        """
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            process, reader, pipe = await self._spawn(host, argv, stdin=null, extra=extra)
        except CannotExecute as error:
            return error.exit_code, f"{error}\n"
        finally:
            os.close(null)
        with closing(pipe):
            output = await reader.read()
            code = await process.wait()
        return (code if code >= 0 else 128 - code), output.decode(errors="replace")

    async def stream(
        self, host: str, argv: Sequence[str], *, extra: Mapping[str, str] | None = None
    ) -> tuple[AsyncIterator[str], Callable[[], None]]:
        """The output of a program line by line as it comes, and a call that closes its standard input."""
        read_end, write_end = os.pipe()
        try:
            _, reader, pipe = await self._spawn(host, argv, stdin=read_end, extra=extra)
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)

        async def lines() -> AsyncIterator[str]:
            with closing(pipe):
                while line := await reader.readline():
                    yield line.decode(errors="replace").rstrip("\n")

        return lines(), lambda: os.close(write_end)

    async def _spawn(
        self, host: str, argv: Sequence[str], *, stdin: int, extra: Mapping[str, str] | None
    ) -> tuple[Process, asyncio.StreamReader, asyncio.ReadTransport]:
        """Start a program with its output on a pipe; the caller closes the transport that is returned."""
        record = find_host(await self._spawner.hosts(), host)
        join = record.containers[0] if record.containers else 0
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        try:
            process = await self._spawner.spawn(
                record.name,
                argv,
                env={**environment(), **(extra or {})},
                stdin=stdin,
                stdout=write_end,
                stderr=write_end,
                join=join,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read_end, "rb"))
        return process, reader, transport
