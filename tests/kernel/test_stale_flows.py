"""UDP clients that never stop sending, while the Service they send to changes under them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from fairway.api.resources import SERVICES
from fairway.api.types import Object
from fairway.base.addresses import Family
from fairway.netlink.conntrack import IPPROTO_UDP, Flow
from fairway.netlink.flows import FlowTable
from tests.agent.test_agent import endpoint_slice, node, service
from tests.kernel.namespaces import in_namespaces
from tests.kernel.test_agent_kernel import eventually
from tests.kernel.test_nft_agent import Lab
from tests.watch.fake_api import FakeApi

pytestmark = pytest.mark.kernel

NODE_ADDRESS, NODE_PORT, CLUSTER_IP, PORT, TARGET_PORT = "172.18.0.5", 30053, "10.200.1.5", 53, 5353
FIRST, SECOND = "10.10.1.1", "10.10.1.2"
STRANGER = "198.51.100.9"
"""A host beyond this node, which nobody answers for."""
DOORS = ((CLUSTER_IP, PORT), (NODE_ADDRESS, NODE_PORT))
MODES = (["--proxy-mode", "nftables"], ["--proxy-mode", "iptables", "--iptables-variant", "nft"])
REFUSED, NOBODY = "refused", "nobody"

SERVICE = service(type="NodePort", ports=[{"port": PORT, "protocol": "UDP", "nodePort": NODE_PORT}])


def slice_of(*addresses: str) -> Object:
    return {**endpoint_slice(*addresses), "ports": [{"port": TARGET_PORT, "protocol": "UDP"}]}


class Net:
    """The endpoints, which answer as who they are, and a client for each door."""

    def __init__(self, stack: ExitStack) -> None:
        for address in (NODE_ADDRESS, FIRST, SECOND):
            _ip("address", "add", f"{address}/32", "dev", "lo")
        _ip("link", "add", "beyond", "type", "veth", "peer", "name", "void")
        _ip("link", "set", "void", "up")
        _ip("link", "set", "beyond", "up", "arp", "off")
        _ip("route", "add", "default", "dev", "beyond", "src", NODE_ADDRESS)
        self._servers = {address: self._open(stack) for address in (FIRST, SECOND)}
        for address, server in self._servers.items():
            server.bind((address, TARGET_PORT))
        self._stack = stack

    def client(self, address: str, port: int) -> Callable[[], Awaitable[str]]:
        """Sends a datagram each time it is called, always from the same port; gives who received it."""
        opened = self._open(self._stack)
        opened.bind((NODE_ADDRESS, 0))
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

    @staticmethod
    def _open(stack: ExitStack) -> socket.socket:
        opened = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        opened.setblocking(False)
        return opened


Test = Callable[[Lab, Net], Awaitable[None]]


def play(arguments: list[str], test: Test) -> None:
    """With an agent in a fresh namespace and an API server that knows of no Service."""

    async def run() -> None:
        api = FakeApi()
        api.put(node())
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            net = Net(stack)
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


@pytest.mark.parametrize("mode", MODES, ids=["nftables", "iptables"])
def test_datagrams_follow_the_service_however_long_their_client_has_been_sending(mode: list[str]) -> None:
    """Before it is there, to its endpoints as they change, to none, back, deleted, and made again."""

    async def test(lab: Lab, net: Net) -> None:
        clients = [net.client(*door) for door in DOORS]
        sent = all_of(clients)
        assert await sent() == {NOBODY, REFUSED}  # the node refuses its own port; the clusterIP is out of the house
        await lab.put(SERVICE, slice_of(FIRST))
        await eventually(sent, lambda who: who == {FIRST})
        await lab.put(slice_of(SECOND))
        await eventually(sent, lambda who: who == {SECOND})
        await lab.put(slice_of())
        await eventually(sent, lambda who: who == {REFUSED})
        await lab.put(slice_of(FIRST))
        await eventually(sent, lambda who: who == {FIRST})
        lab.api.remove(SERVICES, "web", "default")
        await lab.api.announce()
        await eventually(sent, lambda who: FIRST not in who)
        await lab.put(SERVICE, slice_of(SECOND))
        await eventually(sent, lambda who: who == {SECOND})

    play(mode, test)


@pytest.mark.parametrize("mode", MODES, ids=["nftables", "iptables"])
def test_the_flows_of_nobody_else_are_touched(mode: list[str]) -> None:
    """To other hosts' ports of the same numbers, to other endpoints, and of TCP."""

    async def test(lab: Lab, net: Net) -> None:
        await lab.put(SERVICE, slice_of(FIRST, SECOND))
        clients = [net.client(*DOORS[0]) for _ in range(16)]
        await eventually(all_of(clients), lambda who: who == {FIRST, SECOND})
        await all_of([net.client(STRANGER, port) for port in (NODE_PORT, PORT)])()
        before = flows()
        kept = [flow for flow in before.values() if str(flow.reply.source) != FIRST]
        gone = [flow for flow in before.values() if str(flow.reply.source) == FIRST]
        assert {str(flow.original.destination) for flow in kept} == {STRANGER, CLUSTER_IP}
        assert gone
        await lab.put(slice_of(SECOND))

        async def left() -> dict[int, Flow]:
            await asyncio.sleep(0)
            return flows()

        left_over = await eventually(left, lambda found: not found.keys() & {flow.identifier for flow in gone})
        assert left_over.keys() == {flow.identifier for flow in kept}

    play(mode, test)


def test_an_agent_that_starts_finds_what_became_stale_without_it() -> None:
    async def run() -> None:
        api = FakeApi()
        api.put(node())
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            net = Net(stack)
            async with api.serve(port=6443):
                lab = Lab(api, Path(directory))
                await lab.put(SERVICE, slice_of(FIRST))
                sent = all_of([net.client(*door) for door in DOORS])
                async with lab.agent():
                    await eventually(sent, lambda who: who == {FIRST})
                api.put(slice_of(SECOND))
                async with lab.agent():
                    await eventually(sent, lambda who: who == {SECOND})

    in_namespaces(lambda: asyncio.run(run()))


def flows() -> dict[int | None, Flow]:
    """Those of UDP there are, by their number."""
    with FlowTable() as table:
        return {flow.identifier: flow for flow in table.flows(Family.IPV4, IPPROTO_UDP)}


def _waiting(server: socket.socket) -> list[bytes]:
    received = []
    while True:
        try:
            received.append(server.recv(100))
        except BlockingIOError:
            return received


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
