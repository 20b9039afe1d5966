"""The host ports of a node's pods, kept in the kernel of the network namespace this process is in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress
from fairway.base.errors import FairwayError, Refused
from fairway.kubelet.hostport import PROTOCOLS, Forward, HostPort, forwards, table
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.flows import FlowTable
from fairway.netlink.socket import NetlinkSocket

_UDP = "UDP"


class PortMap:
    """Which pod has which host ports. Every change makes the tables anew, in one transaction of each family."""

    def __init__(self) -> None:
        self._open: dict[Key, list[Forward]] = {}

    def reset(self) -> None:
        """Take away what another life of this kubelet left; its pods are gone. No error where there is nothing."""
        with suppress(FairwayError):
            self._write(Family)

    def open(self, pod: Key, ports: Sequence[HostPort], addresses: Sequence[IPAddress], interface: str) -> None:
        """Let a pod's host ports lead to it. interface: its link on the node.

        Raises Refused, naming the port and who has it, for one that is taken; nothing changes then.
        """
        if not ports:
            return
        self._check_free(pod, ports)
        self._open[pod] = forwards(str(pod), ports, addresses)
        families = {Family(address.version) for address in addresses}
        try:
            _let_loopback_out(interface, families)
            self._write(families)
        except BaseException:
            del self._open[pod]
            raise
        self._forget_flows(ports, families)

    def close(self, pod: Key) -> None:
        """A pod's host ports lead nowhere any more. Repeating it is no error."""
        gone = self._open.pop(pod, None)
        if not gone:
            return
        families = {one.family for one in gone}
        self._write(families)
        self._forget_flows([one.host for one in gone], families)

    def _check_free(self, pod: Key, ports: Iterable[HostPort]) -> None:
        for other, taken in self._open.items():
            for theirs in taken:
                for port in ports:
                    if other != pod and port.collides(theirs.host):
                        raise Refused(f"host port {port} is taken on this node by pod {other}")

    def _write(self, families: Iterable[Family]) -> None:
        wanted = [one for ones in self._open.values() for one in ones]
        try:
            with NetlinkSocket() as kernel:
                for family in families:
                    kernel.commit(table(family, wanted))
        except KernelRefused as error:
            raise Refused(f"host ports: nf_tables: {error}") from error

    @staticmethod
    def _forget_flows(ports: Iterable[HostPort], families: Iterable[Family]) -> None:
        """UDP flows go where they went when they began, for as long as packets come (portmap's chain of UDP ports)."""
        numbers = {port.port for port in ports if port.protocol == _UDP}
        if not numbers:
            return
        with suppress(FairwayError), FlowTable() as tracked:
            for family in families:
                for flow in list(tracked.flows(family, PROTOCOLS[_UDP], ports=numbers)):
                    tracked.delete(flow)


def _let_loopback_out(interface: str, families: Iterable[Family]) -> None:
    """A packet from 127.0.0.1 may leave by the pod's link, and its reply come back (portmap, enableLocalnetRouting)."""
    if Family.IPV4 not in families:
        return
    try:
        Path("/proc/sys/net/ipv4/conf", interface, "route_localnet").write_text("1")
    except OSError as error:
        raise Refused(f"host ports: route_localnet of {interface}: {error.strerror}") from error
