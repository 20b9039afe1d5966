"""Sandboxes and containers: a pod is a host of the lab, a container a process in a pid namespace of its own in it."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from fairway.api.types import Key, Object
from fairway.base.addresses import IPAddress, IPInterface
from fairway.base.errors import Refused, Retry
from fairway.fabric.spawner import HostKind, HostRecord, HostSpec, Mount
from fairway.kubelet.container import OUTPUT_ENDS_S, Container, Process, Spawner, wires
from fairway.kubelet.descriptors import Pump, closing, pipe
from fairway.kubelet.dns import ClusterDns, hosts_file, node_hosts_file, resolv_conf
from fairway.kubelet.environment import Sources, container_environment, expanded_argv
from fairway.kubelet.hostport import HostPort
from fairway.kubelet.images import Image
from fairway.kubelet.ipam import PodNetworks
from fairway.kubelet.logs import ContainerLog, PodLogs
from fairway.kubelet.pod import ContainerSpec, PodSpec
from fairway.kubelet.volume_files import places

START_RETRY_S = 5.0
"""When the kubelet itself lacks something to start a container with, such as room for its log."""


class PodNetwork(Protocol):
    """Links pods to the node."""

    async def attach(
        self, pod: Key, pid: int, addresses: Sequence[IPInterface], ports: Sequence[HostPort] = ()
    ) -> None:
        """Give the network namespace of process `pid` a link to this node, the addresses, and host ports that lead
        there. All or nothing."""

    async def detach(self, pod: Key) -> None:
        """Take the host ports and the node's end of the link away; no error when they have gone with the pod's."""


class StartError(Refused):
    """A container's program could not be executed; the text is the message of its StartError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A pod's namespaces.

    host: its name among the lab's hosts. addresses: the primary one first; on the node's network the node's. store:
    where its volumes are written.
    """

    host: str
    pid: int
    addresses: tuple[IPAddress, ...]
    uid: str
    store: Path


STORE = "/run/fairway/volumes"
"""Of a pod's host: a folder for each of its volumes, by name."""


def store_of(host: HostRecord) -> Path:
    """Where a host's store is, seen from its node."""
    return Path(f"/proc/{host.pid}/root{STORE}")


class Runtime:
    """Makes and removes sandboxes, starts containers and programs in them."""

    def __init__(
        self,
        spawner: Spawner,
        network: PodNetwork,
        addresses: PodNetworks,
        logs: PodLogs,
        *,
        node_addresses: Sequence[IPAddress],
        dns: ClusterDns,
        hidden: tuple[str, ...],
        services: Callable[[], Iterable[Object]],
        allocatable: Mapping[str, str] = MappingProxyType({}),
        store: Callable[[HostRecord], Path] = store_of,
    ) -> None:
        """services: those that containers are told of in their environment. allocatable: the node's resources.
        store: where a host's store is seen.
        """
        self._spawner = spawner
        self._network = network
        self._addresses = addresses
        self._logs = logs
        self._node_addresses = tuple(node_addresses)
        self._dns = dns
        self._hidden = hidden
        self._services = services
        self._allocatable = allocatable
        self._store = store

    async def create_sandbox(self, pod: PodSpec) -> Sandbox:
        """Namespaces, files and link; on the node's network, files alone. Raises FairwayError, nothing left behind."""
        owner = f"{pod.key}/{pod.uid}"
        if pod.host_network:
            host = await self._create_host(pod, self._node_addresses, owner)
            return self._sandbox(pod, host, self._node_addresses)
        links = self._addresses.allocate(owner)
        addresses = tuple(link.ip for link in links)
        try:
            host = await self._create_host(pod, addresses, owner)
            try:
                await self._network.attach(pod.key, host.pid, links, pod.host_ports)
            except BaseException:
                await self._spawner.remove_host(host.name)
                raise
        except BaseException:
            self._addresses.release(addresses, owner)
            raise
        return self._sandbox(pod, host, addresses)

    def _sandbox(self, pod: PodSpec, host: HostRecord, addresses: tuple[IPAddress, ...]) -> Sandbox:
        return Sandbox(host=host.name, pid=host.pid, addresses=addresses, uid=pod.uid, store=self._store(host))

    async def _create_host(self, pod: PodSpec, addresses: Sequence[IPAddress], owner: str) -> HostRecord:
        """Under the pod's own name, so that a person can say it; with a part of the uid when another has that name."""
        node_resolv_conf = _read_or_empty(Path("/etc/resolv.conf"))
        hosts = hosts_file(pod, map(str, addresses), domain=self._dns.domain)
        if pod.host_network:
            hosts = node_hosts_file(pod, _read_or_empty(Path("/etc/hosts")))
        files = {
            "/etc/hosts": hosts,
            "/etc/resolv.conf": resolv_conf(pod, self._dns, node_resolv_conf),
        }

        def spec(name: str) -> HostSpec:
            return HostSpec(
                name=name,
                kind=HostKind.POD,
                hostname=pod.hostname,
                files=files,
                hidden=self._hidden,
                read_only=True,
                store=STORE if pod.volumes else "",
                owner=owner,
                tied=True,
                within=pod.node_name if pod.host_network else "",
            )

        try:
            return await self._spawner.create_host(spec(pod.key.name))
        except Refused:
            return await self._spawner.create_host(spec(f"{pod.key.name}-{pod.uid[:5]}"))

    async def remove_sandbox(self, pod: PodSpec, sandbox: Sandbox) -> None:
        """Everything in it ends. Repeating it is no error."""
        if not pod.host_network:
            await self._network.detach(pod.key)
        try:
            await self._spawner.remove_host(sandbox.host)
        except Refused:  # it is gone already
            pass
        if not pod.host_network:
            self._addresses.release(sandbox.addresses, f"{pod.key}/{pod.uid}")

    async def start(
        self,
        pod: PodSpec,
        obj: Object,
        sandbox: Sandbox,
        container: ContainerSpec,
        image: Image,
        *,
        run: int,
        sources: Sources,
    ) -> Container:
        """Start a container.

        run: 0 for its first, then counted up. sources: those of its environment that are there.

        Raises StartError; ConfigError for a source that is not there, MountError for a part of a volume that cannot
        be, or Retry, to be tried again.
        """
        env = container_environment(
            container,
            pod,
            obj,
            services=self._services(),
            image_env=image.env,
            pod_ips=[str(address) for address in sandbox.addresses],
            host_ips=[str(address) for address in self._node_addresses],
            sources=sources,
            allocatable=self._allocatable,
        )
        argv = expanded_argv(image.argv(container.command, container.args), container, env)
        if not argv:
            raise StartError(f"failed to start container {container.name!r}: no command specified by image or pod")
        cwd = container.working_dir or image.workdir
        hold_sigterm = image.holds_sigterm(argv)
        mounts = [
            Mount(source=place.source, target=place.target, read_only=place.read_only, make=True)
            for place in places(container, pod, env)
        ]
        try:
            log = self._logs.open(log_directory(pod), pod.uid, container.name, run)
            try:
                return await self._spawn(
                    sandbox,
                    image,
                    argv,
                    env,
                    cwd,
                    log,
                    mounts,
                    stdin=container.stdin,
                    tty=container.tty,
                    hold_sigterm=hold_sigterm,
                )
            except BaseException:
                log.close()
                raise
        except Refused as error:  # CannotExecute is one
            raise StartError(f"failed to start container {container.name!r}: {error}") from error
        except OSError as error:
            message = f"cannot start container {container.name!r} now: {error}"
            raise Retry(message, after_s=START_RETRY_S) from error

    async def _spawn(
        self,
        sandbox: Sandbox,
        image: Image,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        log: ContainerLog,
        mounts: Sequence[Mount],
        *,
        stdin: bool,
        tty: bool,
        hold_sigterm: bool,
    ) -> Container:
        ends = wires(stdin=stdin, tty=tty)
        sinks = [(fd, log.splitter(stream)) for fd, stream in ends.outputs]
        pumps = [Pump(fd, sink.feed, sink.end) for fd, sink in sinks]
        try:
            with closing(*ends.given):
                process = await self._spawner.spawn(
                    sandbox.host,
                    argv,
                    env=env,
                    cwd=cwd,
                    stdin=ends.given[0],
                    stdout=ends.given[1],
                    stderr=ends.given[2],
                    new_pid_namespace=True,
                    controlling_tty=tty,
                    hold_sigterm=hold_sigterm,
                    root=image.root,
                    mounts=mounts,
                )
        except BaseException:
            for pump in pumps:
                pump.close()
            for fd in ends.held:
                os.close(fd)
            raise
        return Container(
            f"fairway://{secrets.token_hex(32)}", process, log, pumps, held=ends.held, image=image, env=env, cwd=cwd
        )

    async def execute(
        self,
        sandbox: Sandbox,
        container: Container,
        argv: Sequence[str],
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        tty: bool,
    ) -> Process:
        """Start another program in a running container. Raises CannotExecute or Refused."""
        env = dict(container.env)
        if tty:
            env.setdefault("TERM", "xterm")
        return await self._spawner.spawn(
            sandbox.host,
            argv,
            env=env,
            cwd=container.cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            controlling_tty=tty,
            join=container.pid,
        )

    async def run_command(
        self, sandbox: Sandbox, container: Container, argv: Sequence[str], timeout_s: float
    ) -> tuple[int, str]:
        """Run a short program in a container: exit code and what it printed. Raises TimeoutError after killing it."""
        output = bytearray()
        ours, theirs = pipe()
        pump = Pump(ours, lambda data: output.extend(data[: MAX_COMMAND_OUTPUT - len(output)]))
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with closing(theirs, null):
                process = await self.execute(
                    sandbox, container, argv, stdin=null, stdout=theirs, stderr=theirs, tty=False
                )
            try:
                async with asyncio.timeout(timeout_s):
                    code = await process.wait()
            except BaseException:
                await self._spawner.kill(process.pid, signal.SIGKILL, group=True)
                raise
            try:
                async with asyncio.timeout(OUTPUT_ENDS_S):
                    await pump.ended.wait()
            except TimeoutError:
                pass
        finally:
            pump.close()
        return code, output.decode("utf-8", "replace")

    async def kill_session(self, process: Process, number: int) -> None:
        """Signal a program started by `execute` and what it started."""
        await self._spawner.kill(process.pid, number, group=True)

    def remove_logs(self, pod: PodSpec) -> None:
        self._logs.remove(log_directory(pod), pod.uid)


MAX_COMMAND_OUTPUT = 10 * 1024
"""Of an exec probe (`pkg/kubelet/prober/prober.go`, maxRespBodyLength)."""


def log_directory(pod: PodSpec) -> str:
    """As the kubelet's under /var/log/pods."""
    return f"{pod.key.namespace}_{pod.key.name}_{pod.uid}"


def _read_or_empty(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
