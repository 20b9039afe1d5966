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
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import cycle

from fairway.base.addresses import Family, IPAddress
from fairway.cluster.verify.places import (
    Place,
    add_addresses,
    become_node,
    new_place,
    own_address,
    route_all_by,
)
from fairway.cluster.verify.seen import Seen
from fairway.cluster.verify.taps import LOOPBACK, Frame, Tap
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition

PATIENCE_S = 10
"""A bound on waiting for what must happen; nothing waits this long unless something is broken."""

ROUNDS = 4
"""Two hops each. A handshake with a host behind the node takes six hops; one round more than that."""

CLIENT_PORTS = range(10_000, 30_000)
"""Below the ports that nodes serve. So many packets can be sent before one belongs to a connection that conntrack may
still know; whoever sends more makes a new wire."""

_BACKLOG = 64
_LONGEST = 64
_DONTWAIT = socket.MSG_DONTWAIT

_SOCKET_TYPE = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}
_SOCKET_FAMILY = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}

_IP_PKTINFO, _IPV6_RECVPKTINFO = 8, 49
_IN_PKTINFO = struct.Struct("=i4s4s")
_IN6_PKTINFO = struct.Struct("=16si")
"""struct in_pktinfo and in6_pktinfo (linux/in.h, linux/in6.h, linux/ipv6.h)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A connection with both its ends; the server's is that of its own, for TCP.

    local, peer: the server's and the client's address and port, as the server sees them.
    """

    client: socket.socket
    server: socket.socket
    protocol: Protocol
    local: tuple[IPAddress, int]
    peer: tuple[str, int]

    def works(self) -> bool:
        """Whether a word goes forth and another comes back."""
        self.client.sendall(b"ask")
        asked = self.server.recv(_LONGEST)
        self.answer(b"answer")
        return (asked, self.client.recv(_LONGEST)) == (b"ask", b"answer")

    def answer(self, word: bytes) -> None:
        """From the address that was asked."""
        if self.protocol is Protocol.TCP:
            self.server.sendall(word)
        else:
            self.server.sendmsg([word], [_as_asked(self.local[0])], 0, self.peer)


class Wire:
    """The node is the namespace it is made in; `link` adds a host beside it. Made by `wire`."""

    def __init__(self, stack: ExitStack, family: Family) -> None:
        self._stack = stack
        self._family = family
        self._places: dict[IPAddress, Place] = {}
        self._links = 0
        self._servers: dict[tuple[Place | None, Protocol, int], socket.socket] = {}
        self._by_number: dict[int, socket.socket] = {}
        self._polls = {protocol: select.epoll() for protocol in _SOCKET_TYPE}
        for poll in self._polls.values():
            stack.callback(poll.close)
        self._bells: tuple[socket.socket, socket.socket] | None = None
        self._ports = cycle(CLIENT_PORTS)
        # One processor, and not the same for all who do so.
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})
        become_node(family)
        self._tap = Tap(family)
        stack.callback(self._tap.close)

    def link(self, addresses: str | Sequence[str], gateway: str, *, interface: str = "") -> None:
        """A host of these addresses; the node has `gateway` on the link, and the host sends everything there.

        interface: the name of the node's end, made up where it does not matter.
        """
        own = [ip_address(each) for each in ([addresses] if isinstance(addresses, str) else addresses)]
        place = new_place(self._links, interface or f"to-{self._links}", own, ip_address(gateway))
        self._stack.callback(place.close)
        self._links += 1
        self._places.update(dict.fromkeys(own, place))
        if self._bells is None:
            self._bells = self._hang_bells(place)

    def add_address(self, host: str, address: str) -> None:
        """One more address for a host."""
        place = self._places[ip_address(host)]
        add_addresses(place, ip_address(host), [ip_address(address)])
        self._places[ip_address(address)] = place

    def route_all_to(self, address: str) -> None:
        """The node's default route leads to this host: without one it could not even try to call a cluster IP."""
        route_all_by(self._places[ip_address(address)], ip_address(address))

    def own(self, address: str) -> None:
        """Give the node one more address."""
        own_address(ip_address(address))

    def serve(self, address: str, port: int, protocol: Protocol) -> None:
        """Listen at all addresses of who has this one: a host, or the node."""
        place = self._places.get(ip_address(address))
        if (place, protocol, port) in self._servers:
            return
        with self._at(ip_address(address)):
            server = self._stack.enter_context(self._socket(protocol))
        if self._family is Family.IPV6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol is Protocol.UDP:
            server.setsockopt(*_TELL_ASKED[self._family])
            # The bell may have this port too, at its one address.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setblocking(False)
        server.bind(("", port))
        if protocol is Protocol.TCP:
            server.listen(_BACKLOG)
        self._servers[place, protocol, port] = server
        self._by_number[server.fileno()] = server
        self._polls[protocol].register(server, select.EPOLLIN)

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
        self._tap.frames()
        with ExitStack() as stack:
            with self._at(packet.source):
                client = stack.enter_context(self._socket(packet.protocol))
            client.setblocking(False)
            for option in options:
                client.setsockopt(*option)
            self._bind(client, packet.source)
            status = client.connect_ex((str(packet.destination), packet.port))
            if status not in (0, errno.EINPROGRESS):
                fault = f"the sender's kernel does not send it: {os.strerror(status)}"
                yield Seen(disposition=Disposition.NONE, fault=fault), None
                return
            if packet.protocol is Protocol.UDP:
                # EPERM: the node's own rules refuse or drop what it sends; which of the two shows below.
                with suppress(PermissionError):
                    client.send(b"?")
            yield self._watch(packet, client, stack)

    def _bind(self, client: socket.socket, source: IPAddress) -> None:
        """A port of its own for each, so that no packet belongs to a connection that conntrack knows."""
        for port in self._ports:
            try:
                client.bind((str(source), port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue  # a server has it
            return

    def _watch(self, packet: Packet, client: socket.socket, stack: ExitStack) -> tuple[Seen, Call | None]:
        heard: list[tuple[str, Frame]] = []
        for _ in range(ROUNDS):
            self._ring()
            call = self._met(packet.protocol, client, stack)
            if call is not None:
                untouched = call.local == (packet.destination, packet.port)
                disposition = Disposition.NONE if untouched else Disposition.DNAT
                fault = self._why_unanswered(call)
                peer = ip_address(call.peer[0])
                return Seen(disposition=disposition, server=call.local, peer=peer, fault=fault), call
            heard += self._tap.frames()
        own_end = packet.source, client.getsockname()[1]
        sent = [(link, frame) for link, frame in heard if frame.source == own_end]
        return self._without_server(packet, client, sent), None

    def _without_server(self, packet: Packet, client: socket.socket, sent: list[tuple[str, Frame]]) -> Seen:
        """What became of a packet that no server met; sent: where it was heard, from its own source."""
        aim = packet.destination, packet.port
        stray = next((frame.destination for _, frame in sent if frame.destination != aim), None)
        if stray is not None:
            return Seen(disposition=Disposition.DNAT, server=stray, fault="no server is there")
        if any(frame.refused for _, frame in sent):
            return Seen(disposition=Disposition.REJECT, fault=self._why_untold(packet, client))
        # What the node sends to itself may still be dropped where it comes in; a server tells that it was not.
        if any(link != LOOPBACK for link, _ in sent):
            return Seen(disposition=Disposition.NONE)
        error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            fault = f"it arrived where no server is: {os.strerror(error)}"
            return Seen(disposition=Disposition.NONE, fault=fault)
        return Seen(disposition=Disposition.DROP)

    def _met(self, protocol: Protocol, client: socket.socket, stack: ExitStack) -> Call | None:
        """The server that the client met, if one has heard of it by now."""
        for number, _ in self._polls[protocol].poll(0):
            server = self._by_number[number]
            if protocol is Protocol.TCP:
                accepted, peer = server.accept()
                stack.enter_context(accepted)
                address, port = accepted.getsockname()[:2]
                return Call(client, accepted, protocol, (ip_address(address), port), peer[:2])
            _, extra, _, peer = server.recvmsg(_LONGEST, socket.CMSG_SPACE(_IN6_PKTINFO.size))
            local = _asked(extra), server.getsockname()[1]
            return Call(client, server, protocol, local, peer[:2])
        return None

    def _why_unanswered(self, call: Call) -> str:
        """What the server says comes back to the client, from where the client sent to; "" if so."""
        call.answer(b"!")
        word = b""
        for _ in range(ROUNDS):
            self._ring()
            with suppress(BlockingIOError):
                word = call.client.recv(_LONGEST, _DONTWAIT)
                break
        call.client.settimeout(PATIENCE_S)
        return "" if word == b"!" else "the server's answer did not come back to the client"

    def _why_untold(self, packet: Packet, client: socket.socket) -> str:
        """The sender knows that it was refused; "" if so. Not yet where it is a TCP of the node's own: the answer comes
        while connect() holds the socket, so that only the next try will tell."""
        if packet.from_node and packet.protocol is Protocol.TCP:
            return ""
        told = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        return "" if told else "the sender was not told that it was refused"

    def _ring(self) -> None:
        """A signal goes from a host to the node and back, behind all packets that are under way."""
        assert self._bells is not None
        far, near = self._bells
        far.send(b".")
        _, caller = near.recvfrom(1)
        near.sendto(b".", caller)
        far.recv(1)

    def _hang_bells(self, place: Place) -> tuple[socket.socket, socket.socket]:
        near = self._stack.enter_context(self._socket(Protocol.UDP))
        near.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        near.bind((str(place.gateway), 0))
        with place.entered():
            far = self._stack.enter_context(self._socket(Protocol.UDP))
        far.connect(near.getsockname()[:2])
        for bell in (near, far):
            bell.settimeout(PATIENCE_S)
        return far, near

    def _socket(self, protocol: Protocol) -> socket.socket:
        return socket.socket(_SOCKET_FAMILY[self._family], _SOCKET_TYPE[protocol])

    @contextmanager
    def _at(self, address: IPAddress) -> Iterator[None]:
        place = self._places.get(address)
        if place is None:
            yield
            return
        with place.entered():
            yield


@contextmanager
def wire(family: Family = Family.IPV4) -> Iterator[Wire]:
    """A Wire for the block, in the caller's network namespace, which must be a scratch one."""
    with ExitStack() as stack:
        yield Wire(stack, family)


_TELL_ASKED = {
    Family.IPV4: (socket.IPPROTO_IP, _IP_PKTINFO, 1),
    Family.IPV6: (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1),
}
"""Socket options: tell with each datagram which address it was sent to."""


def _asked(extra: Sequence[tuple[int, int, bytes]]) -> IPAddress:
    """The address that a datagram was sent to."""
    level, _, data = extra[0]
    if level == socket.IPPROTO_IP:
        return ip_address(_IN_PKTINFO.unpack_from(data)[2])
    return ip_address(_IN6_PKTINFO.unpack_from(data)[0])


def _as_asked(address: IPAddress) -> tuple[int, int, bytes]:
    """Lets a datagram come from this address."""
    if address.version == 4:
        return socket.IPPROTO_IP, _IP_PKTINFO, _IN_PKTINFO.pack(0, address.packed, bytes(4))
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(address.packed, 0)
