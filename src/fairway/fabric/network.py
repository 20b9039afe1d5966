"""Steps carried out, pods attached to their node, and load balancer addresses moved between nodes."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha1
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from fairway.base.addresses import IPAddress, IPInterface, on_link, parse_network
from fairway.base.errors import FairwayError, Refused
from fairway.fabric import rtnl, steps
from fairway.fabric.arp import announcement, unasked_reply
from fairway.fabric.namespaces import in_network_of
from fairway.fabric.ndp import advertisement
from fairway.fabric.rtnl import RouteSocket, RtnlError
from fairway.fabric.syscalls import Namespace, setns
from fairway.fabric.topology import pod_gateway

T = TypeVar("T")

POD_LINK = "eth0"

_ANY = {4: parse_network("0.0.0.0/0"), 6: parse_network("::/0")}
_POD_SYSCTLS = {f"net.ipv6.conf.{POD_LINK}.accept_dad": "0", f"net.ipv6.conf.{POD_LINK}.accept_ra": "0"}
"""Of a pod with an IPv6 address, as its node's (steps.py): also the link-local one is there at once."""
_POD_MAC_PREFIX = b"\x0a\x58"
"""Kubernetes' own prefix for hardware addresses made from pod addresses (kubenet, pkg/util/net)."""


def run_steps(plan: Iterable[steps.NetworkStep], pids: Mapping[str, int]) -> None:
    """Carry out network steps in order. Moves the calling process between network namespaces: for a child of its own.

    pids: of each host's holder. Raises Refused with the command that failed and why; what was done before stays.
    """
    runner = _Runner(pids)
    try:
        for step in plan:
            runner.run(step)
        runner.flush()
    finally:
        runner.close()


def host_interface_name(namespace: str, pod: str) -> str:
    """The name of a pod's link on its node: "veth" and 11 hex digits, which fills IFNAMSIZ."""
    return "veth" + sha1(f"{namespace}.{pod}".encode(), usedforsecurity=False).hexdigest()[:11]


async def attach_pod(*, host_interface: str, pid: int, addresses: Sequence[IPInterface]) -> None:
    """Link a pod to the node whose network namespace the caller is in, as the CNI plugin ptp does.

    The pod gets `eth0` with its addresses and their networks' lengths, and all its routes lead to the gateways; the
    node gets the gateways' addresses on its end of the link and routes to these addresses alone
    (containernetworking/plugins, ptp.go).
    pid: of a process in the pod's network namespace. addresses: each with its node's pod network; the first, IPv4,
    gives the link its hardware address. Raises Refused when a link or address is there already.
    """
    await asyncio.to_thread(_attach_pod, host_interface, pid, tuple(addresses))


async def detach_pod(host_interface: str) -> None:
    """Delete a pod's link, from the node's end; no error if it is gone already."""
    await asyncio.to_thread(_exchange, f"link {host_interface}", [rtnl.delete_link(host_interface)], errno.ENODEV)


async def add_address(address: IPAddress, *, interface: str = steps.UPLINK) -> None:
    """Give the caller's node an address of its own (/32, /128) and tell the neighbours; no error if it has it already.

    The node calls nobody from an IPv6 one: it is deprecated from the start, since the kernel would prefer the newest.
    """
    await asyncio.to_thread(_set_address, address, interface, present=True)
    await announce(address, interface=interface)


async def remove_address(address: IPAddress, *, interface: str = steps.UPLINK) -> None:
    """Take such an address away; no error if it is gone already."""
    await asyncio.to_thread(_set_address, address, interface, present=False)


async def announce(address: IPAddress, *, interface: str = steps.UPLINK) -> None:
    """Tell the neighbours on a link, by gratuitous ARP or neighbour advertisement, that the address is here."""
    await asyncio.to_thread(_announce, address, interface)


class _Runner:
    """Runs steps, gathering requests for one namespace into one message until an answer is needed."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._root = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._host = steps.ROOT
        self._routes = RouteSocket()
        self._waiting: list[tuple[steps.NetworkStep, rtnl.Request]] = []

    def close(self) -> None:
        self._routes.close()
        setns(self._root, Namespace.NET)
        os.close(self._root)

    def run(self, step: steps.NetworkStep) -> None:
        self._enter(step.host)
        if isinstance(step, steps.Sysctl):
            self.flush()
            _set_sysctl(step)
            return
        # First the request, which may flush what waits for an index, then the place in the queue.
        request = self._request(step)
        self._waiting.append((step, request))

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self._routes.exchange([request for _, request in waiting])
        except RtnlError as error:
            raise _failed(waiting[error.position][0], str(error)) from error

    def _enter(self, host: str) -> None:
        if host == self._host:
            return
        self.flush()
        self._routes.close()
        if host == steps.ROOT:
            setns(self._root, Namespace.NET)
        else:
            place = os.pidfd_open(self._pids[host])
            try:
                setns(place, Namespace.NET)
            finally:
                os.close(place)
        self._host = host
        self._routes = RouteSocket()

    def _request(self, step: steps.NetworkStep) -> rtnl.Request:
        match step:
            case steps.AddBridge():
                return rtnl.new_bridge(step.name, mac=step.mac)
            case steps.AddVeth():
                return rtnl.new_veth(
                    step.name,
                    peer=step.peer,
                    peer_pid=self._pids[step.peer_host],
                    peer_mac=step.peer_mac,
                    master=self._index(step, step.bridge),
                    up=True,
                )
            case steps.DeleteLink():
                return rtnl.delete_link(step.name)
            case steps.SetLink():
                return rtnl.set_link(step.name, up=step.up)
            case steps.Address():
                return rtnl.address(self._index(step, step.link), step.address, present=step.present)
            case steps.Route():
                return rtnl.route(step.destination, via=step.via, present=step.present)
        raise AssertionError(step)

    def _index(self, step: steps.NetworkStep, link: str) -> int:
        """The index of a link, which an earlier step may have yet to make."""
        try:
            return socket.if_nametoindex(link)
        except OSError:
            self.flush()
        try:
            return socket.if_nametoindex(link)
        except OSError as error:
            raise _failed(step, f"{link}: {_text(error)}") from error


def _set_sysctl(step: steps.Sysctl) -> None:
    path = _sysctl_path(step.key)
    try:
        if not step.optional or path.exists():
            path.write_text(step.value)
    except OSError as error:
        raise _failed(step, str(error.strerror)) from error


def _sysctl_path(key: str) -> Path:
    """Of a kernel parameter of the calling thread's network namespace."""
    return Path("/proc/sys", *key.split("."))


def _failed(step: steps.NetworkStep, why: str) -> FairwayError:
    return Refused(f"{step.command}: {why}")


def _attach_pod(host_interface: str, pid: int, addresses: Sequence[IPInterface]) -> None:
    mac = (_POD_MAC_PREFIX + addresses[0].packed[-4:]).hex(":")
    name = f"pod {addresses[0].ip} on {host_interface}"
    pair = rtnl.new_veth(host_interface, peer=POD_LINK, peer_pid=pid, peer_mac=mac, up=True)
    _exchange(name, [pair])
    try:
        link = socket.if_nametoindex(host_interface)
        requests = [request for address in addresses for request in _to_pod(link, address)]
        _exchange(name, requests)
        in_network_of(pid, lambda: _route_pod(name, addresses))
    except BaseException:
        _exchange(name, [rtnl.delete_link(host_interface)], errno.ENODEV)
        raise


def _to_pod(link: int, address: IPInterface) -> list[rtnl.Request]:
    """On the node's end of a pod's link."""
    return [
        rtnl.address(link, on_link(pod_gateway(address.network)), present=True),
        rtnl.route(on_link(address.ip).network, link=link),
    ]


def _route_pod(name: str, addresses: Sequence[IPInterface]) -> None:
    link = socket.if_nametoindex(POD_LINK)
    if any(address.version == 6 for address in addresses):
        _call(name, lambda: [_sysctl_path(key).write_text(value) for key, value in _POD_SYSCTLS.items()])
    requests = [rtnl.set_link(POD_LINK, up=True)]
    for address in addresses:
        gateway = pod_gateway(address.network)
        requests += [
            rtnl.address(link, address, present=True, prefix_route=False),
            rtnl.route(on_link(gateway).network, link=link, source=address.ip),
            rtnl.route(address.network, via=gateway, link=link, source=address.ip),
            rtnl.route(_ANY[address.version], via=gateway, link=link),
        ]
    _exchange(name, requests)


def _set_address(address: IPAddress, interface: str, *, present: bool) -> None:
    name = f"address {address} on {interface}"
    link = _call(name, lambda: socket.if_nametoindex(interface))
    request = rtnl.address(link, on_link(address), present=present, preferred=False)
    _exchange(name, [request], errno.EEXIST if present else errno.EADDRNOTAVAIL)


def _announce(address: IPAddress, interface: str) -> None:
    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as link:
            link.bind((interface, 0))
            mac = link.getsockname()[4]
            for frame in _announcements(mac, address):
                link.send(frame)

    _call(f"address {address} on {interface}", send)


def _announcements(mac: bytes, address: IPAddress) -> tuple[bytes, ...]:
    if isinstance(address, IPv4Address):
        return announcement(mac, address), unasked_reply(mac, address)
    return (advertisement(mac, address),)


def _exchange(name: str, requests: list[rtnl.Request], *ignore: int) -> None:
    def exchange() -> None:
        with RouteSocket() as routes:
            routes.exchange(requests, ignore=ignore)

    _call(name, exchange)


def _call(name: str, function: Callable[[], T]) -> T:
    try:
        return function()
    except RtnlError as error:
        raise Refused(f"{name}: {error}") from error
    except OSError as error:
        raise Refused(f"{name}: {_text(error)}") from error


def _text(error: OSError) -> str:
    """What the kernel or, for a link's name, Python says."""
    return error.strerror or str(error)
