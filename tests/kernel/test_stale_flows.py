"""UDP clients that never stop sending, while the Service they send to changes under them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fairway.api.resources import SERVICES
from fairway.api.types import Object
from fairway.base.addresses import Family
from fairway.netlink.conntrack import IPPROTO_UDP, Flow
from fairway.netlink.flows import FlowTable
from tests.agent.test_agent import endpoint_slice, service
from tests.kernel.namespaces import in_namespaces
from tests.kernel.test_agent_kernel import eventually
from tests.kernel.test_nft_agent import Lab
from tests.watch.fake_api import FakeApi

pytestmark = pytest.mark.kernel

NODE_PORT, PORT, TARGET_PORT = 30053, 53, 5353
REFUSED, NOBODY = "refused", "nobody"


@dataclass(frozen=True)
class Side:
    """The addresses of one family. stranger: a host beyond this node, which nobody answers for."""

    family: Family
    node: str
    cluster_ip: str
    first: str
    second: str
    stranger: str

    @property
    def doors(self) -> tuple[tuple[str, int], ...]:
        return (self.cluster_ip, PORT), (self.node, NODE_PORT)

    @property
    def service(self) -> Object:
        ports = [{"port": PORT, "protocol": "UDP", "nodePort": NODE_PORT}]
        return service(type="NodePort", clusterIP=self.cluster_ip, clusterIPs=[self.cluster_ip], ports=ports)

    def slice_of(self, *addresses: str) -> Object:
        ports = [{"port": TARGET_PORT, "protocol": "UDP"}]
        return {**endpoint_slice(*addresses), "addressType": self.family.api_name, "ports": ports}


IPV4 = Side(Family.IPV4, "172.18.0.5", "10.200.1.5", "10.10.1.1", "10.10.1.2", "198.51.100.9")
IPV6 = Side(Family.IPV6, "fd00:18::5", "fd00:200::5", "fd00:10::1", "fd00:10::2", "2001:db8::9")
NFTABLES, IPTABLES = ["--proxy-mode", "nftables"], ["--proxy-mode", "iptables", "--iptables-variant", "nft"]
CASES = [
    pytest.param(mode, side, id=f"{name}-{side.family.api_name}")
    for name, mode in (("nftables", NFTABLES), ("iptables", IPTABLES))
    for side in (IPV4, IPV6)
]


def node() -> Object:
    addresses = [{"type": "InternalIP", "address": side.node} for side in (IPV4, IPV6)]
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"}, "status": {"addresses": addresses}}


class Net:
    """The endpoints, which answer as who they are, and a client for each door."""

    def __init__(self, side: Side, stack: ExitStack) -> None:
        self._side = side
        for each in (IPV4, IPV6):
            # Without nodad an IPv6 address is tentative until the kernel's worker has come to it, even here.
            at_once = ["nodad"] if each.family is Family.IPV6 else []
            for address in (each.node, each.first, each.second):
                _ip("address", "add", f"{address}/{each.family.bits}", "dev", "lo", *at_once)
        _ip("link", "add", "beyond", "type", "veth", "peer", "name", "void")
        _ip("link", "set", "void", "up")
        _ip("link", "set", "beyond", "up", "arp", "off")
        for each in (IPV4, IPV6):
            _ip(f"-{each.family}", "route", "add", "default", "dev", "beyond", "src", each.node)
        self._servers = {address: self._open(stack) for address in (side.first, side.second)}
        for address, server in self._servers.items():
            server.bind((address, TARGET_PORT))
        self._stack = stack

    def client(self, address: str, port: int) -> Callable[[], Awaitable[str]]:
        """Sends a datagram each time it is called, always from the same port; gives who received it."""
        opened = self._open(self._stack)
        opened.bind((self._side.node, 0))
        opened.connect((address, port))
        sent = 0

        async def send() -> str:
            nonlocal sent
            sent += 1
            token = f"{opened.getsockname()[1]} {sent}".encode()
            await asyncio.sleep(0)
            try:
                opened.send(token)
                opened.send(token)  # is told of what ICMP answered to the one before
            except (ConnectionRefusedError, PermissionError):
                return REFUSED
            return next((who for who, server in self._servers.items() if token in _waiting(server)), NOBODY)

        return send

    def _open(self, stack: ExitStack) -> socket.socket:
        kind = socket.AF_INET if self._side.family is Family.IPV4 else socket.AF_INET6
        opened = stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM))
        opened.setblocking(False)
        return opened


Test = Callable[[Lab, Net], Awaitable[None]]


def play(arguments: list[str], side: Side, test: Test) -> None:
    """With an agent in a fresh namespace and an API server that knows of no Service."""

    async def run() -> None:
        api = FakeApi()
        api.put(node())
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            net = Net(side, stack)
            async with api.serve(port=6443):
                lab = Lab(api, Path(directory))
                async with lab.agent(*arguments):
                    await test(lab, net)

    in_namespaces(lambda: asyncio.run(run()))


def all_of(clients: list[Callable[[], Awaitable[str]]]) -> Callable[[], Awaitable[set[str]]]:
    """Who receives what each of them sends next."""

    async def send() -> set[str]:
        return {await client() for client in clients}

    return send


@pytest.mark.parametrize(("mode", "side"), CASES)
def test_datagrams_follow_the_service_however_long_their_client_has_been_sending(mode: list[str], side: Side) -> None:
    """Before it is there, to its endpoints as they change, to none, back, deleted, and made again."""

    async def test(lab: Lab, net: Net) -> None:
        clients = [net.client(*door) for door in side.doors]
        sent = all_of(clients)
        assert await sent() == {NOBODY, REFUSED}  # the node refuses its own port; the clusterIP is out of the house
        await lab.put(side.service, side.slice_of(side.first))
        await eventually(sent, lambda who: who == {side.first})
        await lab.put(side.slice_of(side.second))
        await eventually(sent, lambda who: who == {side.second})
        await lab.put(side.slice_of())
        await eventually(sent, lambda who: who == {REFUSED})
        await lab.put(side.slice_of(side.first))
        await eventually(sent, lambda who: who == {side.first})
        lab.api.remove(SERVICES, "web", "default")
        await lab.api.announce()
        await eventually(sent, lambda who: side.first not in who)
        await lab.put(side.service, side.slice_of(side.second))
        await eventually(sent, lambda who: who == {side.second})

    play(mode, side, test)


@pytest.mark.parametrize(("mode", "side"), CASES)
def test_the_flows_of_nobody_else_are_touched(mode: list[str], side: Side) -> None:
    """To other hosts' ports of the same numbers, to other endpoints, and of TCP."""

    async def test(lab: Lab, net: Net) -> None:
        await lab.put(side.service, side.slice_of(side.first, side.second))
        clients = [net.client(*side.doors[0]) for _ in range(16)]
        await eventually(all_of(clients), lambda who: who == {side.first, side.second})
        await all_of([net.client(side.stranger, port) for port in (NODE_PORT, PORT)])()
        before = flows(side.family)
        kept = [flow for flow in before.values() if str(flow.reply.source) != side.first]
        gone = [flow for flow in before.values() if str(flow.reply.source) == side.first]
        assert {str(flow.original.destination) for flow in kept} == {side.stranger, side.cluster_ip}
        assert gone
        await lab.put(side.slice_of(side.second))

        async def left() -> dict[int, Flow]:
            await asyncio.sleep(0)
            return flows(side.family)

        left_over = await eventually(left, lambda found: not found.keys() & {flow.identifier for flow in gone})
        assert left_over.keys() == {flow.identifier for flow in kept}

    play(mode, side, test)


@pytest.mark.parametrize("side", [IPV4, IPV6], ids=lambda side: side.family.api_name)
def test_an_agent_that_starts_finds_what_became_stale_without_it(side: Side) -> None:
    async def run() -> None:
        api = FakeApi()
        api.put(node())
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            net = Net(side, stack)
            async with api.serve(port=6443):
                lab = Lab(api, Path(directory))
                await lab.put(side.service, side.slice_of(side.first))
                sent = all_of([net.client(*door) for door in side.doors])
                async with lab.agent():
                    await eventually(sent, lambda who: who == {side.first})
                api.put(side.slice_of(side.second))
                async with lab.agent():
                    await eventually(sent, lambda who: who == {side.second})

    in_namespaces(lambda: asyncio.run(run()))


def flows(family: Family) -> dict[int | None, Flow]:
    """Those of UDP there are, by their number."""
    with FlowTable() as table:
        return {flow.identifier: flow for flow in table.flows(family, IPPROTO_UDP)}


def _waiting(server: socket.socket) -> list[bytes]:
    received = []
    while True:
        try:
            received.append(server.recv(100))
        except BlockingIOError:
            return received


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
