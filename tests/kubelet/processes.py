"""The lab's first process and its network for tests without namespaces: real processes on this machine's loopback.

As strict as the real ones where the kubelet depends on it: names are taken once, a program that is not there is a
CannotExecute, removing a host ends what runs in it, every descriptor passed is the process's own. Not here: namespaces,
so that every pod sees this machine's files, and a program is not the first of a pid namespace.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal as signals
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fairway.api.types import Key
from fairway.base.addresses import IPInterface
from fairway.base.errors import Refused
from fairway.fabric.spawner import CannotExecute, ContainerRoot, HostRecord, HostSpec, Mount
from fairway.kubelet.hostport import HostPort


@dataclass
class LocalProcess:
    """One process; `spawned` is how it was asked for."""

    child: asyncio.subprocess.Process
    spawned: dict[str, object]

    @property
    def pid(self) -> int:
        return self.child.pid

    async def wait(self) -> int:
        """Until it ends; what it started in its pid namespace (here: its process group) ends with it."""
        code = await self.child.wait()
        if self.spawned["new_pid_namespace"]:
            try:
                os.killpg(self.pid, signals.SIGKILL)
            except ProcessLookupError:
                pass
        return code

    async def kill(self, signal: int) -> None:
        if self.child.returncode is None:
            self.child.send_signal(signal)


@dataclass
class LocalSpawner:
    """Hosts by name, and every process ever spawned, in order."""

    specs: dict[str, HostSpec] = field(default_factory=dict)
    processes: list[LocalProcess] = field(default_factory=list)
    refuse: str = ""

    async def create_host(self, spec: HostSpec) -> HostRecord:
        if self.refuse:
            raise Refused(self.refuse)
        if spec.name in self.specs:
            raise Refused(f"host {spec.name}: exists already")
        self.specs[spec.name] = spec
        return HostRecord(name=spec.name, kind=spec.kind, pid=os.getpid(), hostname=spec.hostname, owner=spec.owner)

    async def remove_host(self, name: str) -> None:
        if name not in self.specs:
            raise Refused(f"host {name}: there is none")
        del self.specs[name]
        for process in self.processes:
            if process.spawned["host"] == name:
                await self.kill(process.pid, signals.SIGKILL, group=True)

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
    ) -> LocalProcess:
        if host not in self.specs:
            raise Refused(f"host {host}: there is none")
        _check(argv[0], env.get("PATH", ""), cwd)
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_take_terminal if controlling_tty else None,
        )
        spawned: dict[str, object] = {
            "host": host,
            "argv": tuple(argv),
            "env": dict(env),
            "cwd": cwd,
            "new_pid_namespace": new_pid_namespace,
            "hold_sigterm": hold_sigterm,
            "join": join,
            "root": root,
            "mounts": tuple(mounts),
        }
        process = LocalProcess(child, spawned)
        self.processes.append(process)
        return process

    async def kill(self, pid: int, signal: int, *, group: bool = False) -> None:
        process = next(process for process in self.processes if process.pid == pid)
        if not group:
            await process.kill(signal)
            return
        try:
            os.killpg(pid, signal)
        except ProcessLookupError:
            pass

    async def close(self) -> None:
        """End everything and reap it."""
        for process in self.processes:
            await self.kill(process.pid, signals.SIGKILL, group=True)
            await process.wait()


def _check(program: str, path: str, cwd: str) -> None:
    if not os.path.isdir(cwd):
        raise Refused(f"{cwd}: no such directory")
    if shutil.which(program, path=path) is None:
        raise CannotExecute(f"{program}: not found in $PATH", exit_code=127)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@dataclass
class LoopbackNetwork:
    """Pods whose addresses lie in 127.0.0.0/8: every one is there already, all share their ports."""

    attached: dict[Key, tuple[IPInterface, ...]] = field(default_factory=dict)
    ports: dict[Key, tuple[HostPort, ...]] = field(default_factory=dict)
    refuse: str = ""

    async def attach(
        self, pod: Key, pid: int, addresses: Sequence[IPInterface], ports: Sequence[HostPort] = ()
    ) -> None:
        if self.refuse:
            raise Refused(self.refuse)
        assert pod not in self.attached
        self.attached[pod] = tuple(addresses)
        self.ports[pod] = tuple(ports)

    async def detach(self, pod: Key) -> None:
        self.attached.pop(pod, None)
