"""A node with hosts around it on links of their own, and first packets sent between them for real.

Everything runs in one process, one thread and on one processor: a socket belongs to the network namespace it was made
in. What becomes of a packet is known without waiting for time to pass: one processor takes packets off its links in
the order they were put there, so when a signal sent after the packet has gone forth and back between a host and the
node, the packet and all answers to it have made as many hops. After enough of them what has not arrived is gone.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from pathlib import Path

from pyroute2 import IPRoute

from fairway.base.addresses import IPAddress
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition
from tests.kernel.namespaces import in_network_of, network_namespace
from tests.kernel.taps import Frame, Tap

PATIENCE_S = 10
"""A bound on waiting for what must happen; nothing waits this long unless the test fails."""

ROUNDS = 8
"""Two hops each. A handshake with a host behind the node takes six hops, and each link once two more for ARP."""

RTNH_F_ONLINK = 4
"""linux/rtnetlink.h"""

_BELL_PORT = 9

_SOCKET_TYPE = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a packet.

    server, peer: the ends of the connection as the server sees them. For NONE a server where it was sent to met it, or
    it was seen untouched on its way there, and these are None.
    """

    disposition: Disposition
    server: tuple[IPAddress, int] | None = None
    peer: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A connection with both its ends; the server's is that of its own, for TCP."""

    client: socket.socket
    server: socket.socket
    protocol: Protocol
    peer: tuple[str, int]

    def works(self) -> bool:
        """Whether a word goes forth and another comes back."""
        self.client.sendall(b"ask")
        asked = self.server.recv(16)
        self.answer(b"answer")
        return (asked, self.client.recv(16)) == (b"ask", b"answer")

    def answer(self, word: bytes) -> None:
        if self.protocol is Protocol.TCP:
            self.server.sendall(word)
        else:
            self.server.sendto(word, self.peer)


class Wire:
    """The node is the namespace it is made in; `link` adds a host beside it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._hosts: dict[IPAddress, int] = {}
        self._links: dict[IPAddress, str] = {}
        self._servers: list[tuple[Protocol, socket.socket]] = []
        self._bells: tuple[socket.socket, socket.socket] | None = None
        self._ports = count(10_000)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        _sysctl("ip_forward", "1")
        # By default a host is told of six unreachable ports, then of one a second, and all hosts of a thousand.
        _sysctl("icmp_ratelimit", "0")
        _sysctl("icmp_ratemask", "0")
        for name in ("all", "default"):
            _sysctl(f"conf/{name}/rp_filter", "0")
            _sysctl(f"conf/{name}/route_localnet", "1")
            _sysctl(f"conf/{name}/send_redirects", "0")
        self._loopback = self._tap("lo")
        self._taps = [self._loopback]

    def link(self, address: str, gateway: str) -> None:
        """A host of one address; the node has `gateway` on the link, and the host sends everything there."""
        pid = self._stack.enter_context(network_namespace())
        name = f"to-{len(self._links)}"
        with IPRoute() as route:
            route.link("add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_pid": pid})
            index = route.link_lookup(ifname=name)[0]
            route.link("set", index=index, state="up")
            route.addr("add", index=index, address=gateway, prefixlen=32)
            route.route("add", dst=f"{address}/32", oif=index, scope="link", prefsrc=gateway)
        with in_network_of(pid), IPRoute() as route:
            _sysctl("ip_forward", "0")
            index = route.link_lookup(ifname="eth0")[0]
            route.link("set", index=index, state="up")
            route.addr("add", index=index, address=address, prefixlen=32)
            route.route("add", dst=f"{gateway}/32", oif=index, scope="link")
            route.route("add", dst="default", gateway=gateway)
            self._taps.append(self._tap("eth0"))
        self._hosts[ip_address(address)] = pid
        self._links[ip_address(address)] = name
        if self._bells is None:
            self._bells = self._hang_bells(pid, gateway)

    def add_address(self, host: str, address: str) -> None:
        """One more address for a host."""
        pid, name = self._hosts[ip_address(host)], self._links[ip_address(host)]
        with IPRoute() as route:
            index = route.link_lookup(ifname=name)[0]
            route.route("add", dst=f"{address}/32", oif=index, gateway=host, flags=RTNH_F_ONLINK)
        with in_network_of(pid), IPRoute() as route:
            route.addr("add", index=route.link_lookup(ifname="eth0")[0], address=address, prefixlen=32)
        self._hosts[ip_address(address)] = pid

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

    def send(self, packet: Packet) -> Seen:
        """Send it and see what comes of it.

        Where it may arrive untouched there must be a server, or a host that has not the address: a machine answers for
        a port of its own that nobody listens at just as rules refuse.
        """
        with self.call(packet) as (seen, _):
            return seen

    @contextmanager
    def call(self, packet: Packet, *options: tuple[int, int, int]) -> Iterator[tuple[Seen, Call | None]]:
        """Send it, see what comes of it, and keep the connection for the block where a server was met.

        options: of the client's socket, as setsockopt takes them.
        """
        for tap in self._taps:
            tap.frames()
        with ExitStack() as stack:
            with self._at(packet.source):
                client = stack.enter_context(socket.socket(socket.AF_INET, _SOCKET_TYPE[packet.protocol]))
            client.setblocking(False)
            for option in options:
                client.setsockopt(*option)
            # A port of its own for each, so that no packet belongs to a connection that conntrack knows.
            client.bind((str(packet.source), next(self._ports)))
            status = client.connect_ex((str(packet.destination), packet.port))
            assert status in (0, errno.EINPROGRESS), f"{packet}: {os.strerror(status)}"
            if packet.protocol is Protocol.UDP:
                # EPERM: the node's own rules refuse or drop what it sends; which of the two shows below.
                with suppress(PermissionError):
                    client.send(b"?")
            yield self._watch(packet, client, stack)

    def _watch(self, packet: Packet, client: socket.socket, stack: ExitStack) -> tuple[Seen, Call | None]:
        heard: list[tuple[Tap, Frame]] = []
        for _ in range(ROUNDS):
            self._ring()
            call = self._met(packet.protocol, client, stack)
            if call is not None:
                self._assert_answered(packet, call)
                host, port = call.server.getsockname()
                server, peer = (ip_address(host), port), ip_address(call.peer[0])
                untouched = server == (packet.destination, packet.port)
                disposition = Disposition.NONE if untouched else Disposition.DNAT
                return Seen(disposition=disposition, server=server, peer=peer), call
            heard += [(tap, frame) for tap in self._taps for frame in tap.frames()]
        sent = [frame for _, frame in heard if frame.source == (packet.source, client.getsockname()[1])]
        assert all(frame.destination == (packet.destination, packet.port) for frame in sent), f"{packet}: {sent}"
        if any(frame.refused for frame in sent):
            self._assert_told(packet, client)
            return Seen(disposition=Disposition.REJECT), None
        # What the node sends to itself may still be dropped where it comes in; a server tells that it was not.
        if any(tap is not self._loopback for tap, frame in heard if frame in sent):
            return Seen(disposition=Disposition.NONE), None
        error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert not error, f"{packet} arrived, and no server is there: {os.strerror(error)}"
        return Seen(disposition=Disposition.DROP), None

    def _met(self, protocol: Protocol, client: socket.socket, stack: ExitStack) -> Call | None:
        """The server that the client met, if one has heard of it by now."""
        servers = {server.fileno(): server for kind, server in self._servers if kind is protocol}
        poll = select.poll()
        for number in servers:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(0):
            server = servers[number]
            if protocol is Protocol.TCP:
                accepted, peer = server.accept()
                return Call(client, stack.enter_context(accepted), protocol, peer)
            _, peer = server.recvfrom(16)
            return Call(client, server, protocol, peer)
        return None

    def _assert_answered(self, packet: Packet, call: Call) -> None:
        """What the server says comes back to the client, from where the client sent to."""
        for end in (call.client, call.server):
            end.settimeout(PATIENCE_S)
        call.answer(b"!")
        assert call.client.recv(16) == b"!", packet
        if call.protocol is Protocol.UDP:
            call.server.setblocking(False)

    def _assert_told(self, packet: Packet, client: socket.socket) -> None:
        """The sender knows that it was refused. Not yet where it is a TCP of the node's own: the answer comes while
        connect() holds the socket, so that only the next try will tell."""
        if packet.from_node and packet.protocol is Protocol.TCP:
            return
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED, packet

    def _ring(self) -> None:
        """A signal goes from a host to the node and back, behind all packets that are under way."""
        assert self._bells is not None
        far, near = self._bells
        far.send(b".")
        _, caller = near.recvfrom(1)
        near.sendto(b".", caller)
        far.recv(1)

    def _hang_bells(self, pid: int, gateway: str) -> tuple[socket.socket, socket.socket]:
        near = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        near.bind((gateway, _BELL_PORT))
        with in_network_of(pid):
            far = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        far.connect((gateway, _BELL_PORT))
        for bell in (near, far):
            bell.settimeout(PATIENCE_S)
        return far, near

    def _tap(self, interface: str) -> Tap:
        tap = Tap(interface)
        self._stack.callback(tap.close)
        return tap

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


def _sysctl(name: str, value: str) -> None:
    Path("/proc/sys/net/ipv4", name).write_text(value)
