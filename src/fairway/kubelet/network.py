"""The kubelet's two needs of the node's network, met by the fabric: links to pods, and load balancer addresses."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

from fairway.api.types import Key
from fairway.base.addresses import IPAddress, IPInterface, address_of, on_link
from fairway.base.errors import Refused
from fairway.fabric.network import add_address, attach_pod, detach_pod, host_interface_name, remove_address
from fairway.fabric.steps import UPLINK
from fairway.kubelet.hostport import HostPort
from fairway.kubelet.portmap import PortMap

_RTM_GETADDR, _NLMSG_ERROR, _NLMSG_DONE = 22, 2, 3
_NLM_F_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER, _IFADDRMSG, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBI"), struct.Struct("=HH")
"""linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h"""


class NodeNetwork:
    """Links pods to the node whose network namespace this process is in."""

    def __init__(self) -> None:
        self._ports = PortMap()
        self._ports.reset()

    async def attach(
        self, pod: Key, pid: int, addresses: Sequence[IPInterface], ports: Sequence[HostPort] = ()
    ) -> None:
        """A link between the node and the network namespace of process `pid`, with the addresses and host ports.

        Raises Refused, with nothing left behind.
        """
        interface = host_interface_name(pod.namespace, pod.name)

        async def link() -> None:
            await attach_pod(host_interface=interface, pid=pid, addresses=addresses)

        try:
            await link()
        except Refused:
            # The link of the last pod of this name goes only when the kernel gets to its namespace.
            await detach_pod(interface)
            await link()
        try:
            self._ports.open(pod, ports, [address.ip for address in addresses], interface)
        except BaseException:
            await detach_pod(interface)
            raise

    async def detach(self, pod: Key) -> None:
        """Take the pod's host ports and its link away; no error when they are gone."""
        self._ports.close(pod)
        await detach_pod(host_interface_name(pod.namespace, pod.name))


class NodeAddresses:
    """Load balancer addresses on the node's own link: those of a single host (/32, /128), which its own are not."""

    async def held(self) -> frozenset[IPAddress]:
        """Those that are there now. Raises Refused."""
        try:
            found = link_addresses(socket.if_nametoindex(UPLINK))
        except OSError as error:
            raise Refused(f"addresses on {UPLINK}: {error}") from error
        return frozenset(address.ip for address in found if address.network.prefixlen == address.max_prefixlen)

    async def add(self, address: IPAddress) -> None:
        """Have the address, and tell the neighbours. Raises Refused."""
        await add_address(address)

    async def remove(self, address: IPAddress) -> None:
        """Have it no more; no error when it is gone. Raises Refused."""
        await remove_address(address)


def link_addresses(index: int) -> list[IPInterface]:
    """The IPv4 and IPv6 addresses of a link in this process's network namespace. Raises OSError."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    length = _HEADER.size + _IFADDRMSG.size
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as route:
        route.send(
            _HEADER.pack(length, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0)
            + _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        )
        found: list[IPInterface] = []
        while True:
            data = route.recv(1 << 16)
            at = 0
            while at < len(data):
                size, message, *_ = _HEADER.unpack_from(data, at)
                if message == _NLMSG_DONE:
                    return found
                if message == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                    raise OSError(number, os.strerror(number))
                found += _address(data[at + _HEADER.size : at + size], index)
                at += (size + 3) & ~3


def _address(body: bytes, index: int) -> list[IPInterface]:
    """The local address in an RTM_NEWADDR, if it is one of that link; IPv6 tells IFA_LOCAL of tunnels only."""
    family, prefix, _, _, link = _IFADDRMSG.unpack_from(body)
    if link != index or family not in (socket.AF_INET, socket.AF_INET6):
        return []
    found: dict[int, bytes] = {}
    at = _IFADDRMSG.size
    while at < len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, at)
        found[kind] = body[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    return [] if packed is None else [on_link(address_of(packed), prefix)]
