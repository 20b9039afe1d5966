"""The wires of `bench connect`: one client, one backend, and between them as many nodes as there are planes to compare.

The client is the network namespace of the caller, which is a scratch one; backend and nodes are others. Each node has
a veth pair to either, and whoever sends by one node gets the answers by it: the client has an address for each. All
forwarding and every setting is in these namespaces alone.

    client 198.19.K.0 ── 198.19.K.1 node K 198.18.K.0 ── 198.18.K.1 backend
           10.255.0.K (its address as a pod)                        the pods' addresses
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from threading import Thread

from fairway.cluster.scratch import network
from fairway.fabric.namespaces import in_network_of
from fairway.fabric.rtnl import RouteSocket, address, new_veth, route, set_link

CLIENT_LINKS = IPv4Network("198.19.0.0/16")
BACKEND_LINKS = IPv4Network("198.18.0.0/16")
"""For benchmarks of network devices (RFC 2544)."""
CLIENT_PODS = IPv4Network("10.255.0.0/24")
"""Of the pod network, beyond all pods of `objects`."""
MOST_NODES = 250

_LOOPBACK_LINK = 1
"""`lo` is the first link of every network namespace."""
_BACKLOG = 4096
"""As many as net.core.somaxconn allows since Linux 5.4."""
_NODE_SETTINGS = (
    ("net/ipv4/ip_forward", "1"),
    # Requests to a Service and their answers come by links that the routes alone would not name.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
)
_END_SETTINGS = (
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    # Every connection has a fresh port.
    ("net/ipv4/ip_local_port_range", "1024 65535"),
)


@dataclass(frozen=True, slots=True)
class NodeWire:
    """A node. number: K of the drawing, from 0. pid: of the process that holds its network namespace."""

    number: int
    pid: int

    @property
    def address(self) -> IPv4Address:
        """Where the client reaches it: its address for node ports."""
        return CLIENT_LINKS[self.number * 256 + 1]

    @property
    def client_pod(self) -> IPv4Address:
        """What the client sends from to a Service's or a pod's address through this node."""
        return CLIENT_PODS[self.number]


class Wires:
    """Client and backend, to which nodes can be added. Made by `wired`."""

    def __init__(self, backend: int) -> None:
        self._backend = backend
        self._nodes = 0

    @contextmanager
    def node(self, pods: Sequence[IPv4Address]) -> Iterator[NodeWire]:
        """One more node that forwards, to these pods; it ends with the block."""
        with network(lambda: _write_settings(_NODE_SETTINGS)) as pid:
            node = NodeWire(self._nodes, pid)
            self._nodes += 1
            self._link(node)
            number = node.number
            to_client = CLIENT_LINKS[number * 256]
            in_network_of(pid, lambda: _furnish_node(number, to_client, node.client_pod, pods))
            yield node

    def send_by(self, node: NodeWire, destination: IPv4Address) -> None:
        """Let what the client sends to this address go by this node, and come from the client as a pod."""
        to = IPv4Network(f"{destination}/32")
        with RouteSocket() as routes:
            routes.exchange([route(to, via=node.address, link=_index(f"c{node.number}"), source=node.client_pod)])

    def _link(self, node: NodeWire) -> None:
        """The ends of its two wires at client and backend; the node's are not up yet."""
        number = node.number
        near, far = CLIENT_LINKS[number * 256], BACKEND_LINKS[number * 256 + 1]
        pod = IPv4Network(f"{node.client_pod}/32")
        _attach(f"c{number}", node.pid, near)
        with RouteSocket() as routes:
            routes.exchange([address(_LOOPBACK_LINK, IPv4Interface(pod), present=True)])

        def attach_backend() -> None:
            _attach(f"b{number}", node.pid, far)
            with RouteSocket() as routes:
                routes.exchange([route(pod, via=BACKEND_LINKS[number * 256], link=_index(f"b{number}"))])

        in_network_of(self._backend, attach_backend)


@contextmanager
def wired(pods: Sequence[IPv4Address], port: int) -> Iterator[Wires]:
    """A client, here, and a backend that answers at these addresses and that port, TCP and UDP, for the block."""
    _write_settings(_END_SETTINGS)
    with network(lambda: _be_backend(pods, port)) as backend:
        yield Wires(backend)


def _attach(name: str, pid: int, own: IPv4Address) -> None:
    """A veth pair from here to the network of a process, both ends by the same name; this one gets its address."""
    with RouteSocket() as routes:
        routes.exchange([new_veth(name, peer=name, peer_pid=pid)])
        routes.exchange([address(_index(name), IPv4Interface(f"{own}/31"), present=True), set_link(name, up=True)])


def _furnish_node(number: int, client: IPv4Address, client_pod: IPv4Address, pods: Sequence[IPv4Address]) -> None:
    """In the node: its ends of the wires, and the ways to the client as a pod and to the pods."""
    to_client, to_backend = f"c{number}", f"b{number}"
    backend = BACKEND_LINKS[number * 256 + 1]
    with RouteSocket() as routes:
        for name, own in ((to_client, CLIENT_LINKS[number * 256 + 1]), (to_backend, BACKEND_LINKS[number * 256])):
            interface = IPv4Interface(f"{own}/31")
            routes.exchange([address(_index(name), interface, present=True), set_link(name, up=True)])
        routes.exchange([route(IPv4Network(f"{client_pod}/32"), via=client, link=_index(to_client))])
        routes.exchange([route(IPv4Network(f"{pod}/32"), via=backend, link=_index(to_backend)) for pod in pods])


def _be_backend(pods: Sequence[IPv4Address], port: int) -> None:
    """In the backend: own the addresses and answer at them, in threads of the process that holds the namespace."""
    _write_settings(_END_SETTINGS)
    with RouteSocket() as routes:
        routes.exchange([address(_LOOPBACK_LINK, IPv4Interface(f"{pod}/32"), present=True) for pod in pods])
    listener = socket.create_server(("", port), backlog=_BACKLOG)
    # A socket for each: what answers from a wildcard address answers from another one than was asked.
    datagrams = selectors.DefaultSelector()
    for pod in pods:
        echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        echo.bind((str(pod), port))
        datagrams.register(echo, selectors.EVENT_READ)
    Thread(target=_accept, args=(listener,), daemon=True).start()
    Thread(target=_echo, args=(datagrams,), daemon=True).start()


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        connection.close()


def _echo(datagrams: selectors.BaseSelector) -> None:
    while True:
        for key, _ in datagrams.select():
            echo = key.fileobj
            assert isinstance(echo, socket.socket)
            data, sender = echo.recvfrom(2048)
            echo.sendto(data, sender)


def _write_settings(settings: Sequence[tuple[str, str]]) -> None:
    for name, value in settings:
        Path("/proc/sys", name).write_text(value)


def _index(name: str) -> int:
    return socket.if_nametoindex(name)
