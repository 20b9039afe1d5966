"""Real labs for tests: two nodes and a client, in each a "remote" that does there what a test asks."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - this and the next are loaded late, in a test by one who may not
import encodings.idna  # noqa: F401 - read the folder of root's own Python
import json
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from fairway.fabric import network
from fairway.fabric.children import fork
from fairway.fabric.init import Program, ServiceSpec, Started, end, start
from fairway.fabric.namespaces import in_network_of, leave_machine
from fairway.fabric.spawner import Spawner
from fairway.fabric.steps import CreateHost, RemoveHost, resolve, undo
from fairway.fabric.syscalls import Namespace, setns
from fairway.fabric.topology import Topology
from tests.fabric.topologies import dual_stack_topology, topology

PORT = 7000
PATIENCE_S = 10.0
"""For what must happen: a test that waits so long has failed."""

ENVIRONMENT = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": "/", "LC_ALL": "C"}


def remote(config: Mapping[str, Any]) -> int:
    """Do what is asked, one JSON line at a time: {"do": name, ...}, answered {"result": ...} or {"error": ...}."""
    with socket.socket(fileno=config["fds"]["requests"]) as connection, connection.makefile("rw") as lines:
        for line in lines:
            arguments = json.loads(line)
            try:
                answer = {"result": ACTIONS[arguments.pop("do")](**arguments)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()
    return 0


def _inside(pid: int, function: Callable[[], Any]) -> Any:
    return in_network_of(pid, function) if pid else function()


def _serve(name: str, pid: int = 0, port: int = PORT) -> None:
    """Answer every connection with a name and the address it comes from."""
    listener = _inside(pid, lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))

    def answer() -> None:
        while True:
            connection, (peer, *_) = listener.accept()
            with connection:
                connection.sendall(f"{name} {peer.removeprefix('::ffff:')}".encode())

    threading.Thread(target=answer, daemon=True).start()


def _call(address: str, pid: int = 0, port: int = PORT) -> str:
    with closing(_inside(pid, lambda: socket.create_connection((address, port), PATIENCE_S))) as connection:
        return connection.makefile().read()


def _attach(host_interface: str, pid: int, addresses: Sequence[str]) -> None:
    asyncio.run(
        network.attach_pod(
            host_interface=host_interface, pid=pid, addresses=[ip_interface(address) for address in addresses]
        )
    )


def _undo(pids: dict[str, int], root: int, *, dual: bool = False) -> None:
    """Take back all network steps of a topology of ours, in a process that may move between namespaces."""
    made = resolve(dual_stack_topology() if dual else topology())
    plan = [step for step in undo(made) if not isinstance(step, CreateHost | RemoveHost)]

    def run() -> int:
        place = os.pidfd_open(root)
        setns(place, Namespace.NET)
        network.run_steps(plan, pids)
        return 0

    _, status = os.waitpid(fork(run), 0)
    assert status == 0


ACTIONS: dict[str, Callable[..., Any]] = {
    "attach": _attach,
    "detach": lambda host_interface: asyncio.run(network.detach_pod(host_interface)),
    "add_address": lambda address: asyncio.run(network.add_address(ip_address(address))),
    "remove_address": lambda address: asyncio.run(network.remove_address(ip_address(address))),
    "serve": _serve,
    "call": _call,
    "undo": _undo,
    "links": lambda pid=0: _inside(pid, lambda: sorted(name for _, name in socket.if_nameindex())),
    "read": lambda path: Path(path).read_text(),
    "pid": os.getpid,
}


@dataclass(slots=True, kw_only=True)
class Lab:
    """A lab that is up. handle: a pidfd of its first process."""

    folder: Path
    started: Started
    remotes: dict[str, socket.socket]
    handle: int

    @property
    def socket(self) -> Path:
        return self.folder / "init.sock"

    def do(self, host: str, action: str, **arguments: Any) -> Any:
        """Let the remote of a host do something. Raises AssertionError with its error."""
        connection = self.remotes[host]
        connection.sendall(json.dumps({"do": action, **arguments}).encode() + b"\n")
        with connection.makefile() as lines:
            answer = json.loads(lines.readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def run(self, host: str, *argv: str, **options: Any) -> tuple[int, str]:
        """Run a program of the machine in a host: its exit code, and what it wrote to standard output and error."""
        return asyncio.run(self._run(host, argv, options))

    async def _run(self, host: str, argv: Sequence[str], options: Mapping[str, Any]) -> tuple[int, str]:
        async with await Spawner.connect(self.socket) as spawner:
            return await output_of(spawner, host, argv, **options)

    def ended(self) -> bool:
        """Wait for the end of the first process, which comes after that of all others."""
        return bool(select.select([self.handle], [], [], PATIENCE_S)[0])


async def output_of(spawner: Spawner, host: str, argv: Sequence[str], **options: Any) -> tuple[int, str]:
    """Run a program on this connection until it has ended and its output is complete."""
    reading, writing = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        process = await spawner.spawn(
            host, argv, env=ENVIRONMENT, stdin=nothing, stdout=writing, stderr=writing, **options
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
        os.close(nothing)
    text = await asyncio.to_thread(_read_all, reading)
    return await process.wait(), text


def _read_all(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as stream:
        return stream.read()


def services(
    folder: Path, topology_: Topology, programs: Mapping[str, Program]
) -> tuple[list[ServiceSpec], dict[str, socket.socket], list[socket.socket]]:
    """A remote in each host, and each further program in the first node; our ends of the remotes, and theirs."""
    ours, theirs = {}, []
    specs = []
    for machine in topology_.machines:
        near, far = socket.socketpair()
        ours[machine.name] = near
        theirs.append(far)
        specs.append(
            ServiceSpec(
                name=f"remote-{machine.name}",
                host=machine.name,
                program="remote",
                config={},
                log=folder / f"{machine.name}.log",
                fds={"requests": far.fileno()},
            )
        )
    first = topology_.nodes[0].name
    specs += [
        ServiceSpec(name=name, host=first, program=name, config={}, log=folder / f"{name}.log") for name in programs
    ]
    return specs, ours, theirs


@contextmanager
def lab(
    folder: Path,
    topology_: Topology | None = None,
    *,
    programs: Mapping[str, Program] | None = None,
    report: Callable[[str], None] | None = None,
    attached: bool = True,
) -> Iterator[Lab]:
    """A lab for the time of a `with`; whatever is left of it is killed after it. `programs` run in its first node."""
    topology_ = topology_ or topology()
    more = dict(programs or {})
    specs, ours, theirs = services(folder, topology_, more)
    try:
        started = start(
            topology_,
            socket_path=folder / "init.sock",
            log_path=folder / "init.log",
            programs={"remote": remote, **more},
            services=specs,
            report=report,
            attached=attached,
        )
        for end_ in theirs:
            end_.close()
        handle = os.pidfd_open(started.pid)
        try:
            yield Lab(folder=folder, started=started, remotes=ours, handle=handle)
        finally:
            os.close(handle)
            end(started.pid, started.start_time, patience_s=PATIENCE_S)
            started.detach()
    finally:
        for end_ in (*ours.values(), *theirs):
            end_.close()


def descendants(pid: int) -> set[int]:
    """A process and all that descend from it, as this pid namespace knows them; those that have ended left out."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        try:
            state, parent, *_ = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if name.isdigit() and state != "Z":
            parents[int(name)] = int(parent)
    found = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def namespaces_of(pids: set[int]) -> set[str]:
    """All namespaces these processes are in."""
    found = set()
    for pid in pids:
        try:
            found |= {os.readlink(f"/proc/{pid}/ns/{name}") for name in os.listdir(f"/proc/{pid}/ns")}
        except OSError:
            continue
    return found


@contextmanager
def held_open(pids: set[int]) -> Iterator[None]:
    """Keep the numbers of these processes' namespaces from being given to new ones meanwhile."""
    with ExitStack() as stack:
        for pid in pids:
            for name in os.listdir(f"/proc/{pid}/ns"):
                stack.callback(os.close, os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY))
        yield


def all_namespaces() -> set[str]:
    """Every namespace of this machine that holds a process."""
    return namespaces_of({int(name) for name in os.listdir("/proc") if name.isdigit()})


def machine() -> tuple[list[tuple[int, str]], str]:
    """What no lab may change: the links of this network namespace, and the mounts of this mount namespace."""
    return socket.if_nameindex(), Path("/proc/self/mountinfo").read_text()


def forked(function: Callable[[], object]) -> tuple[int, int]:
    """Fork a child that calls a function and writes what that returns to a pipe; its pid and our end of the pipe."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 1
    try:
        os.close(reading)
        os.write(writing, json.dumps({"result": function()}).encode())
        code = 0
    except BaseException as error:
        os.write(writing, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
    finally:
        os._exit(code)


def result_of(child: tuple[int, int]) -> Any:
    """Wait for such a child; what it returned. Raises AssertionError with its error, or when it said nothing."""
    pid, reading = child
    text = _read_all(reading)
    os.waitpid(pid, 0)
    assert text, "the child was ended before it could say anything"
    answer = json.loads(text)
    assert "error" not in answer, answer["error"]
    return answer["result"]


def in_scratch_network(function: Callable[[], object]) -> object:
    """What a function returns that runs in a network namespace of its own."""

    def inside() -> object:
        leave_machine()
        reading, writing = os.pipe()

        def report() -> int:
            os.write(writing, repr(function()).encode())
            return 0

        os.waitpid(fork(report), 0)
        os.close(writing)
        return os.read(reading, 1 << 16).decode()

    return result_of(forked(inside))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
