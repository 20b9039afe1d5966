"""A container while it runs: its process, its log and the wires between; and who makes processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fairway.fabric.spawner import ContainerRoot, HostRecord, HostSpec, Mount
from fairway.kubelet.cri import Stream
from fairway.kubelet.descriptors import Pump, pipe, terminal
from fairway.kubelet.images import Image
from fairway.kubelet.logs import ContainerLog

OUTPUT_ENDS_S = 0.25
"""An output of a process that has ended is given up when it is silent for so long: somebody else may hold it open."""


class Process(Protocol):
    """A running program, as fabric.spawner.Process."""

    pid: int

    async def wait(self) -> int: ...

    async def kill(self, signal: int) -> None: ...


class Spawner(Protocol):
    """What is asked of the lab's first process, as fabric.spawner.Spawner."""

    async def create_host(self, spec: HostSpec) -> HostRecord: ...

    async def remove_host(self, name: str) -> None: ...

    async def spawn(
        self,
        host: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str = "/",
        stdin: int,
        stdout: int,
        stderr: int,
        new_pid_namespace: bool = False,
        controlling_tty: bool = False,
        hold_sigterm: bool = False,
        join: int = 0,
        root: ContainerRoot | None = None,
        mounts: Sequence[Mount] = (),
    ) -> Process: ...

    async def kill(self, pid: int, signal: int, *, group: bool = False) -> None: ...


class Container:
    """One run of a container."""

    def __init__(
        self,
        container_id: str,
        process: Process,
        log: ContainerLog,
        pumps: Sequence[Pump],
        *,
        held: Sequence[int],
        image: Image,
        env: Mapping[str, str],
        cwd: str,
    ) -> None:
        """held: descriptors of ours to keep open while it runs. env, cwd: what programs started in it get as well."""
        self.id = container_id
        self.env = env
        self.cwd = cwd
        self.image = image
        self._process = process
        self._log = log
        self._pumps = pumps
        self._held = held

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Until it has ended and its log is complete: the exit code, negative for a signal. Call once."""
        try:
            code = await self._process.wait()
            try:
                async with asyncio.timeout(OUTPUT_ENDS_S):
                    for pump in self._pumps:
                        await pump.ended.wait()
            except TimeoutError:
                pass
            return code
        finally:
            self.close()

    async def signal(self, number: int) -> None:
        await self._process.kill(number)

    def close(self) -> None:
        for pump in self._pumps:
            pump.close()
        for fd in self._held:
            os.close(fd)
        self._held = ()
        self._log.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wires:
    """Of a container to be: the three descriptors it gets, our ends of its outputs, and ours to keep open."""

    given: tuple[int, int, int]
    outputs: tuple[tuple[int, Stream], ...]
    held: tuple[int, ...] = ()


def wires(*, stdin: bool, tty: bool) -> Wires:
    """Those of a container that waits for input or does not, on a terminal or not."""
    if tty:
        ours, theirs = terminal()
        return Wires(given=(theirs, theirs, theirs), outputs=((ours, Stream.STDOUT),))
    (out, out_end), (err, err_end) = pipe(), pipe()
    outputs = ((out, Stream.STDOUT), (err, Stream.STDERR))
    if not stdin:
        return Wires(given=(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), out_end, err_end), outputs=outputs)
    source, silent = pipe()  # `stdin: true` waits for input that nobody can send here
    return Wires(given=(source, out_end, err_end), outputs=outputs, held=(silent,))
