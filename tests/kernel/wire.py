"""A node with hosts around it on links of their own, and first packets sent between them for real.

Everything runs in one process and one thread: a socket belongs to the network namespace it was made in, so a call is
a non-blocking connect, then waiting for what happens at either end.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from pyroute2 import IPRoute

from fairway.base.addresses import IPAddress
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition
from tests.kernel.namespaces import in_network_of, network_namespace

PATIENCE_MS = 10_000
"""A bound on waiting for what must happen; nothing waits this long unless the test fails."""

RTNH_F_ONLINK = 4
"""linux/rtnetlink.h"""

_SOCKET_TYPE = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a packet: server and peer are the ends as the server sees them."""

    disposition: Disposition
    server: tuple[IPAddress, int] | None = None
    peer: IPAddress | None = None


class Wire:
    """The node is the namespace it is made in; `link` adds a host beside it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._hosts: dict[IPAddress, int] = {}
        self._links: dict[IPAddress, str] = {}
        self._servers: list[tuple[Protocol, socket.socket]] = []
        _sysctl("ip_forward", "1")
        # By default a host is told of six unreachable ports, then of one a second.
        _sysctl("icmp_ratelimit", "0")
        for name in ("all", "default"):
            _sysctl(f"conf/{name}/rp_filter", "0")
            _sysctl(f"conf/{name}/route_localnet", "1")

    def link(self, address: str, gateway: str) -> None:
        """A host of one address; the node has `gateway` on the link, and the host sends everything there."""
        pid = self._stack.enter_context(network_namespace())
        name = f"to-{len(self._hosts)}"
        with IPRoute() as route:
            route.link("add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_pid": pid})
            index = route.link_lookup(ifname=name)[0]
            route.link("set", index=index, state="up")
            route.addr("add", index=index, address=gateway, prefixlen=32)
            route.route("add", dst=f"{address}/32", oif=index, scope="link", prefsrc=gateway)
        with in_network_of(pid), IPRoute() as route:
            index = route.link_lookup(ifname="eth0")[0]
            route.link("set", index=index, state="up")
            route.addr("add", index=index, address=address, prefixlen=32)
            route.route("add", dst=f"{gateway}/32", oif=index, scope="link")
            route.route("add", dst="default", gateway=gateway)
        self._hosts[ip_address(address)] = pid
        self._links[ip_address(address)] = name

    def route_all_to(self, address: str) -> None:
        """The node's default route leads to this host: without one it could not even try to call a cluster IP."""
        with IPRoute() as route:
            index = route.link_lookup(ifname=self._links[ip_address(address)])[0]
            route.route("add", dst="default", gateway=address, oif=index, flags=RTNH_F_ONLINK)

    def own(self, address: str) -> None:
        """Give the node one more address."""
        with IPRoute() as route:
            route.addr("add", index=route.link_lookup(ifname="lo")[0], address=address, prefixlen=32)

    def serve(self, address: str, port: int, protocol: Protocol) -> None:
        """Listen there; the address is a host's or the node's."""
        with self._at(ip_address(address)):
            server = self._stack.enter_context(socket.socket(socket.AF_INET, _SOCKET_TYPE[protocol]))
            server.setblocking(False)
            server.bind((address, port))
            if protocol is Protocol.TCP:
                server.listen(64)
        self._servers.append((protocol, server))

    def send(self, packet: Packet, dropped: Callable[[], int]) -> Seen:
        """Send it and see what comes of it. `dropped`: how many packets rules have dropped so far."""
        before = dropped()
        with self._at(packet.source):
            client = socket.socket(socket.AF_INET, _SOCKET_TYPE[packet.protocol])
        with client:
            client.setblocking(False)
            client.bind((str(packet.source), 0))
            status = client.connect_ex((str(packet.destination), packet.port))
            assert status in (0, errno.EINPROGRESS), f"{packet}: {os.strerror(status)}"
            if packet.protocol is Protocol.UDP:
                # EPERM: the node's own rules refuse or drop what it sends; which of the two shows below.
                with suppress(PermissionError):
                    client.send(b"?")
            seen = self._wait(packet.protocol, client, lambda: dropped() > before)
        assert seen is not None, f"{packet} is gone: no server saw it, nobody refused it and no rule dropped it"
        return seen

    def _wait(self, protocol: Protocol, client: socket.socket, is_dropped: Callable[[], bool]) -> Seen | None:
        servers = {server.fileno(): server for kind, server in self._servers if kind is protocol}
        poll = select.poll()
        for number in servers:
            poll.register(number, select.POLLIN)
        poll.register(client, select.POLLERR | select.POLLHUP)
        for _ in range(PATIENCE_MS // 10):
            for number, _ in poll.poll(10):
                if number in servers:
                    return _met(protocol, servers[number])
                error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    assert error == errno.ECONNREFUSED, os.strerror(error)
                    return Seen(disposition=Disposition.REJECT)
            if is_dropped():
                return Seen(disposition=Disposition.DROP)
        return None

    @contextmanager
    def _at(self, address: IPAddress) -> Iterator[None]:
        pid = self._hosts.get(address)
        if pid is None:
            yield
            return
        with in_network_of(pid):
            yield


@contextmanager
def wire() -> Iterator[Wire]:
    """A Wire for the block; inside `in_namespaces` only."""
    with ExitStack() as stack:
        yield Wire(stack)


def _met(protocol: Protocol, server: socket.socket) -> Seen:
    if protocol is Protocol.TCP:
        accepted, (peer, _) = server.accept()
        with accepted:
            host, port = accepted.getsockname()
    else:
        _, (peer, _) = server.recvfrom(16)
        host, port = server.getsockname()
    return Seen(disposition=Disposition.DNAT, server=(ip_address(host), port), peer=ip_address(peer))


def _sysctl(name: str, value: str) -> None:
    Path("/proc/sys/net/ipv4", name).write_text(value)
