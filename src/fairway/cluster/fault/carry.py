"""Carries a fault's steps out, and back: signals, links and rules of the lab, from the lab's outermost namespaces."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import if_nameindex

from fairway.api.types import Key
from fairway.base.errors import FairwayError, Refused
from fairway.cluster.fault.delay import Wire
from fairway.cluster.fault.fill import Filler
from fairway.cluster.fault.model import (
    Delay,
    End,
    Fill,
    Hold,
    LoseAtPort,
    LoseInHost,
    SkewProbe,
    Step,
    Stop,
    StopProgram,
    Unplug,
)
from fairway.cluster.fault.plan import Pod, World
from fairway.cluster.fault.rules import NFPROTO_BRIDGE, NFPROTO_INET, lossy, mended
from fairway.cluster.hosts import pod_name
from fairway.fabric.namespaces import in_network_of
from fairway.fabric.network import host_interface_name
from fairway.fabric.rtnl import RouteSocket, RtnlError, set_link
from fairway.fabric.spawner import HostKind, HostRecord, hold_service, list_hosts, list_services
from fairway.fabric.steps import UPLINK
from fairway.kubelet.pod import ProbeType
from fairway.kubelet.skew import Skew, skew_file
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.nftables import Request
from fairway.netlink.socket import NetlinkSocket

_log = logging.getLogger(__name__)

_ROUNDS = 100
"""Looks for processes that were started while others were signalled; a host that outruns so many is told of."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """socket: of the lab's first process. ports: the bridge's port to each machine. skews: the folder of
    skewed probes. wires, fillers: of faults that
    delay, or that fill a table of connections."""

    socket: Path
    ports: dict[str, str]
    skews: Path
    wires: dict[int, Wire] = field(default_factory=dict)
    fillers: dict[int, Filler] = field(default_factory=dict)

    def world(self) -> World:
        """The lab as it is now. Raises Refused or Retry where its first process does not answer."""
        hosts = list_hosts(self.socket)
        nodes = {host.name: _links(host.pid) for host in hosts if host.kind is HostKind.NODE}
        networks = {_network_of(host.pid): host.name for host in hosts if host.kind is HostKind.NODE}
        pods = {pod_name(host): host for host in hosts if host.kind is HostKind.POD}
        return World(
            nodes=tuple(nodes),
            clients=tuple(host.name for host in hosts if host.kind is HostKind.CLIENT),
            ports=self.ports,
            programs={service.name: service.host for service in list_services(self.socket)},
            pods={
                name: Pod(host=host.name, node=_node_of(name, nodes), shares=networks.get(_network_of(host.pid), ""))
                for name, host in pods.items()
            },
        )

    def do(self, steps: Sequence[Step], number: int) -> None:
        """All of them or none. Raises FairwayError, saying what could not be done."""
        done: list[Step] = []
        try:
            for step in steps:
                done.append(step)  # also half of it is to be taken back
                self._carry(step, number, back=False)
        except BaseException as error:
            self.undo(done, number)
            if isinstance(error, OSError | KernelRefused | RtnlError):
                raise Refused(f"the fault cannot be planted: {error}") from error
            raise

    def resume(self, steps: Sequence[Step], number: int) -> None:
        """Do anew what ended with an earlier keeper: all else lasts by itself."""
        for step in steps:
            if isinstance(step, Delay | Fill):
                self._carry(step, number, back=False)

    def undo(self, steps: Sequence[Step], number: int) -> None:
        """The last first. What cannot be undone, as that of a pod that is gone, is logged."""
        for step in reversed(steps):
            try:
                self._carry(step, number, back=True)
            except (OSError, FairwayError, KernelRefused, RtnlError) as error:
                _log.warning("fault %s: %s is not undone: %s", number, step, error)

    def _carry(self, step: Step, number: int, *, back: bool) -> None:
        match step:
            case Hold(program=program):
                hold_service(self.socket, program, held=not back)
            case StopProgram(program=program):
                self._signal_program(program, signal.SIGCONT if back else signal.SIGSTOP)
            case Stop(host=host):
                self._signal_host(host, signal.SIGCONT if back else signal.SIGSTOP)
            case End(host=host):
                if not back:
                    self._signal_host(host, signal.SIGKILL)
            case Unplug(port=port):
                with RouteSocket() as routes:
                    routes.exchange([set_link(port, up=back)])
            case LoseAtPort(port=port, percent=percent):
                _commit(None, NFPROTO_BRIDGE, number, port, 0 if back else percent)
            case Delay(port=port, milliseconds=milliseconds):
                wire = self.wires.setdefault(number, Wire(port, number, milliseconds / 1000))
                if back:
                    del self.wires[number]
                    wire.close()
                else:
                    wire.open()
            case Fill(host=host, percent=percent):
                filler = self.fillers.pop(number, None) or self._filler(host, number, percent)
                if back and filler:
                    filler.close()
                elif filler:
                    self.fillers[number] = filler
                    filler.open()
            case SkewProbe(pod=pod, probe=probe, skew=skew):
                self._skew(Key(*pod.split("/", 1)), ProbeType(probe.capitalize()), None if back else skew)
            case LoseInHost(host=host, percent=percent):
                if record := self._host(host):
                    _commit(record, NFPROTO_INET, number, UPLINK, 0 if back else percent)

    def _host(self, name: str) -> HostRecord | None:
        return next((host for host in list_hosts(self.socket) if host.name == name), None)

    def _skew(self, pod: Key, kind: ProbeType, skew: Skew | None) -> None:
        file = skew_file(self.skews, pod, kind)
        if skew is None:
            file.unlink(missing_ok=True)
        else:
            self.skews.mkdir(exist_ok=True)
            file.write_text(skew.value, "utf-8")

    def _filler(self, host: str, number: int, percent: int) -> Filler | None:
        """None for a host that is gone."""
        record = self._host(host)
        if record is None:
            return None
        with _network(record) as namespace:
            return Filler(namespace, number, percent)

    def _signal_program(self, name: str, number: signal.Signals) -> None:
        pid = next(service.pid for service in list_services(self.socket) if service.name == name)
        if pid:
            os.kill(pid, number)
        elif number is signal.SIGSTOP:
            raise Refused(f"program {name} does not run now: fairway status tells of it")

    def _signal_host(self, name: str, number: signal.Signals) -> None:
        """All processes of a host but its holder, also those that are started meanwhile."""
        record = self._host(name)
        if record is None:
            return
        signalled: set[int] = set()
        for _ in range(_ROUNDS):
            fresh = set(_members(record)) - signalled
            if not fresh:
                return
            for pid in fresh:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            signalled |= fresh
        raise Refused(f"{name} starts processes faster than they can be stopped")


def _commit(record: HostRecord | None, family: int, number: int, link: str, percent: int) -> None:
    """Make or, for 0 per cent, delete a fault's table; one that is gone already is no error."""
    requests: list[Request] = lossy(family, number, link, percent) if percent else [mended(family, number)]
    try:
        with nullcontext() if record is None else _network(record) as namespace:
            with NetlinkSocket(namespace=namespace) as kernel:
                kernel.commit(requests)
    except KernelRefused as error:
        if percent or error.number != errno.ENOENT:
            raise


@contextmanager
def _network(record: HostRecord) -> Iterator[int]:
    """A host's network namespace as a file descriptor."""
    namespace = os.open(f"/proc/{record.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield namespace
    finally:
        os.close(namespace)


def _members(record: HostRecord) -> Iterator[int]:
    """The processes in a host's network namespace, its holder left out."""
    place = _network_of(record.pid)
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != record.pid and _network_of(int(name)) == place:
            yield int(name)


def _network_of(pid: int) -> str:
    """The network namespace of a process, as the kernel names it; "" for a process that is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def _links(pid: int) -> frozenset[str]:
    """The links in the network namespace of a process."""
    return frozenset(name for _, name in in_network_of(pid, if_nameindex))


def _node_of(pod: str, nodes: dict[str, frozenset[str]]) -> str:
    """The node a pod's link leads to; "" for a pod that has none yet."""
    namespace, _, name = pod.partition("/")
    link = host_interface_name(namespace, name)
    return next((node for node, links in nodes.items() if link in links), "")
