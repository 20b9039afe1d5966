"""kubectl as the walk uses it: the unmodified program where there is one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from fairway.base.errors import FairwayError

WATCH_LIMIT_S = 20.0
"""How long a watch may take to show what the walk waits for before the row fails."""


class Kubectl:
    """The kubectl at `program`, talking to one lab."""

    def __init__(self, program: str, *, kubeconfig: Path, cache: Path) -> None:
        """cache: a folder for its discovery cache, which must not be shared between labs on one port."""
        self._program = program
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(cache)}

    async def run(self, args: Sequence[str]) -> tuple[int, str]:
        """Exit status, and standard output and error as they came. Cancelled, it leaves no process."""
        process = await self._start(args)
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        return process.returncode or 0, output.decode(errors="replace")

    def watch(self, args: Sequence[str]) -> KubectlWatch:
        """A `get -w` that runs beside what follows; its selection must hold an object already."""
        return KubectlWatch(lambda: self._start(args))

    async def _start(self, args: Sequence[str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self._program,
            *args,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


class KubectlWatch:
    """Entered once kubectl has printed what was there: nothing that comes after is missed."""

    def __init__(self, start: Callable[[], Awaitable[asyncio.subprocess.Process]]) -> None:
        self.lines: list[str] = []
        self._start = start
        self._grown = asyncio.Condition()

    async def __aenter__(self) -> KubectlWatch:
        self._process = await self._start()
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._group.create_task(self._read())
        await self.until(bool)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        await self._group.__aexit__(None, None, None)
        await self._process.wait()

    async def until(self, satisfied: Callable[[list[str]], bool]) -> bool:
        """Wait until the lines satisfy; False if they did not within WATCH_LIMIT_S."""
        try:
            async with asyncio.timeout(WATCH_LIMIT_S), self._grown:
                await self._grown.wait_for(lambda: satisfied(self.lines))
        except TimeoutError:
            return False
        return True

    async def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            raise FairwayError("kubectl has no standard output")
        while line := await stream.readline():
            async with self._grown:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._grown.notify_all()
