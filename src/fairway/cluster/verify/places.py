"""The hosts around a node: network namespaces on links of their own, kept by descriptors and gone with them.

Only for a process of one thread, in a scratch namespace: the calling thread itself goes from place to place, as a
socket belongs to the namespace that it is made in. Nobody is asked where anybody is: every neighbour is written down.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_interface, ip_network
from pathlib import Path

from fairway.base.addresses import Family, IPAddress, IPNetwork
from fairway.base.errors import Unsupported
from fairway.cluster.verify.taps import LOOPBACK
from fairway.fabric.rtnl import Request, RouteSocket, address, local_route, neighbour, new_veth, route, set_link
from fairway.fabric.syscalls import Namespace, set_loopback_up, setns, settle_link, unshare

HOST_LINK = "eth0"

_OWN_NETWORK = "/proc/self/ns/net"
_SYSCTLS = Path("/proc/sys")

_QUIET = {
    Family.IPV4: {
        "net/ipv4/conf/all/rp_filter": "0",
        "net/ipv4/conf/default/rp_filter": "0",
    },
    Family.IPV6: {
        # A container may have it off for all namespaces to come.
        "net/ipv6/conf/all/disable_ipv6": "0",
        "net/ipv6/conf/default/disable_ipv6": "0",
        # No link has an address that it was not given, or waits for a router.
        "net/ipv6/conf/default/addr_gen_mode": "1",
        "net/ipv6/conf/default/accept_ra": "0",
        "net/ipv6/conf/default/router_solicitations": "0",
    },
}
"""Of every place, the node too."""

_NODE = {
    Family.IPV4: {
        "net/ipv4/ip_forward": "1",
        # By default a host is told of six unreachable ports, then of one a second, and all hosts of a thousand.
        "net/ipv4/icmp_ratelimit": "0",
        "net/ipv4/icmp_ratemask": "0",
        "net/ipv4/conf/all/send_redirects": "0",
        "net/ipv4/conf/default/send_redirects": "0",
    },
    Family.IPV6: {
        "net/ipv6/conf/all/forwarding": "1",
        "net/ipv6/icmp/ratelimit": "0",
    },
}


@dataclass(frozen=True, slots=True)
class Place:
    """A host's network namespace. interface: the node's end of its link; gateway: the node's address there."""

    descriptor: int
    interface: str
    gateway: IPAddress

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The block runs there: sockets opened in it stay there."""
        own = os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(self.descriptor, Namespace.NET)
            try:
                yield
            finally:
                setns(own, Namespace.NET)
        finally:
            os.close(own)

    def close(self) -> None:
        """Let it go, with all that is in it."""
        os.close(self.descriptor)


def become_node(family: Family) -> None:
    """Make a node of the caller's network namespace. Raises Unsupported where the kernel has not the family."""
    if family is Family.IPV6 and not Path("/proc/sys/net/ipv6").exists():
        raise Unsupported("this kernel runs without IPv6 (ipv6.disable=1?), so that nothing can be sent over it")
    write_settings(_QUIET[family] | _NODE[family])


def write_settings(settings: Mapping[str, str]) -> None:
    """Kernel settings of the caller's network namespace, by path under /proc/sys."""
    for name, value in settings.items():
        (_SYSCTLS / name).write_text(value)


def new_place(number: int, interface: str, addresses: Sequence[IPAddress], gateway: IPAddress) -> Place:
    """A host that has these addresses and sends everything to the node, which has `gateway` on the link.

    number: differs from those of other places. The node knows where the addresses are.
    """
    family = Family(gateway.version)
    place = Place(_new_network(), interface, gateway)
    near_mac, far_mac = (f"02:fa:{number >> 8:02x}:{number & 0xFF:02x}:00:{end:02x}" for end in (1, 2))
    with RouteSocket() as routes:
        pair = new_veth(interface, peer=HOST_LINK, peer_namespace=place.descriptor, mac=near_mac, peer_mac=far_mac)
        routes.exchange([pair])
    with place.entered(), RouteSocket() as routes:
        write_settings(_QUIET[family])
        routes.exchange([set_link(HOST_LINK, up=True)])
    first = addresses[0]
    with RouteSocket() as routes:
        near = socket.if_nametoindex(interface)
        routes.exchange(
            [
                set_link(interface, up=True),
                *_owning(near, gateway),
                neighbour(near, first, far_mac),
                route(_only(first), link=near, source=gateway),
            ]
        )
    with place.entered(), RouteSocket() as routes:
        settle_link(HOST_LINK)
        far = socket.if_nametoindex(HOST_LINK)
        routes.exchange(
            [
                *_owning(far, first),
                neighbour(far, gateway, near_mac),
                route(_only(gateway), link=far),
                route(_everything(family), via=gateway, link=far),
            ]
        )
    add_addresses(place, first, addresses[1:])
    return place


def add_addresses(place: Place, known: IPAddress, addresses: Sequence[IPAddress]) -> None:
    """More addresses for a host, which the node reaches by one that it knows."""
    with RouteSocket() as routes:
        near = socket.if_nametoindex(place.interface)
        routes.exchange([route(_only(each), via=known, link=near) for each in addresses])
    with place.entered(), RouteSocket() as routes:
        far = socket.if_nametoindex(HOST_LINK)
        routes.exchange([request for each in addresses for request in _owning(far, each)])


def own_address(own: IPAddress) -> None:
    """Give the caller's network namespace one more address."""
    with RouteSocket() as routes:
        routes.exchange(_owning(socket.if_nametoindex(LOOPBACK), own))


def route_all_by(place: Place, known: IPAddress) -> None:
    """The caller's default route leads to a host, by an address of it."""
    with RouteSocket() as routes:
        near = socket.if_nametoindex(place.interface)
        routes.exchange([route(_everything(Family(known.version)), via=known, link=near)])


def _new_network() -> int:
    """A descriptor of a new network namespace; the caller stays where it is."""
    own = os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(Namespace.NET)
        set_loopback_up()
        descriptor = os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        setns(own, Namespace.NET)
    finally:
        os.close(own)
    return descriptor


def _owning(link: int, own: IPAddress) -> list[Request]:
    """Give a link that is up an address, which counts at once."""
    request = address(link, ip_interface(own), present=True, prefix_route=False)
    return [request, local_route(link, own)] if isinstance(own, IPv6Address) else [request]


def _only(host: IPAddress) -> IPNetwork:
    return ip_network(host)


def _everything(family: Family) -> IPNetwork:
    return ip_network("0.0.0.0/0" if family is Family.IPV4 else "::/0")
