"""The agent with both address families in one namespace: real connections over each, and nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from fairway.api.types import Object
from fairway.base.addresses import Family
from fairway.dataplane.nft.monitor import Monitor
from fairway.netlink.nftables import NFPROTO_IPV4, NFPROTO_IPV6, ChainInfo, delete_table, new_chain, new_table
from fairway.netlink.socket import NetlinkSocket
from tests.agent.test_agent import endpoint_slice, service
from tests.agent.test_families import slice_v6
from tests.kernel.namespaces import in_namespaces
from tests.kernel.test_agent_kernel import eventually
from tests.kernel.test_nft_agent import Lab, _output
from tests.kernel.test_stale_flows import IPTABLES, IPV4, IPV6, NFTABLES, Side, node
from tests.watch.fake_api import FakeApi

pytestmark = pytest.mark.kernel

PORT, NODE_PORT, TARGET_PORT = 80, 30080, 8080
SIDES = (IPV4, IPV6)
NOTHING: set[str] = set()

SERVICE: Object = service(
    type="NodePort",
    clusterIPs=[IPV4.cluster_ip, IPV6.cluster_ip],
    ipFamilies=["IPv4", "IPv6"],
    ports=[{"port": PORT, "nodePort": NODE_PORT}],
)


def in_lab(test: Callable[[Lab], Awaitable[None]]) -> None:
    """With a Service of both families whose endpoints are this namespace's own addresses."""

    async def play() -> None:
        api = FakeApi()
        for obj in (node(), SERVICE, endpoint_slice(IPV4.first), slice_v6(IPV6.first)):
            api.put(obj)
        for side in SIDES:
            for address in (side.node, side.first, side.second):
                at_once = ["nodad"] if side.family is Family.IPV6 else []
                await _output("ip", "address", "add", f"{address}/{side.family.bits}", "dev", "lo", *at_once)
            await _output("ip", f"-{side.family}", "route", "add", "default", "dev", "lo", "src", side.node)
        with tempfile.TemporaryDirectory() as directory:
            async with api.serve(port=6443):
                await test(Lab(api, Path(directory)))

    in_namespaces(lambda: asyncio.run(play()))


class Servers:
    """At every endpoint of both families."""

    def __init__(self, stack: ExitStack) -> None:
        self._sockets = {
            address: stack.enter_context(
                socket.create_server(
                    (address, TARGET_PORT), family=socket.AF_INET6 if ":" in address else socket.AF_INET
                )
            )
            for side in SIDES
            for address in (side.first, side.second)
        }
        for each in self._sockets.values():
            each.setblocking(False)

    def who_answers(self, side: Side) -> set[str]:
        """Who accepts a connection through each of the Service's doors; "nobody" where it is refused."""
        return {self._call(*door) for door in ((side.cluster_ip, PORT), (side.node, NODE_PORT))}

    def _call(self, address: str, port: int) -> str:
        try:
            with socket.create_connection((address, port), timeout=1):
                return next(who for who, server in self._sockets.items() if _accepts(server))
        except OSError:
            return "nobody"


def _accepts(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


async def _tables() -> set[str]:
    """The tables of ours, and of iptables those with kube-proxy's chains."""
    await asyncio.sleep(0)
    found = {line for line in (await _output("nft", "list", "tables")).splitlines() if line.endswith(" fairway")}
    for program in ("iptables", "ip6tables"):
        if "KUBE-SERVICES" in await _output(f"{program}-nft-save"):
            found.add(program)
    return found


@pytest.mark.parametrize("mode", [NFTABLES, IPTABLES], ids=["nftables", "iptables"])
def test_a_service_of_both_families_is_reached_over_each_and_follows_its_own_endpoints(mode: list[str]) -> None:
    async def play(lab: Lab) -> None:
        with ExitStack() as stack:
            servers = Servers(stack)

            async def answers() -> list[set[str]]:
                await asyncio.sleep(0)
                return [servers.who_answers(side) for side in SIDES]

            async with lab.agent(*mode):
                await eventually(answers, lambda who: who == [{IPV4.first}, {IPV6.first}])
                await lab.put(slice_v6(IPV6.second))
                await eventually(answers, lambda who: who == [{IPV4.first}, {IPV6.second}])
                await lab.put(endpoint_slice(IPV4.second), slice_v6())
                await eventually(answers, lambda who: who == [{IPV4.second}, {"nobody"}])

    in_lab(play)


def test_each_mode_leaves_nothing_of_the_other_in_either_family() -> None:
    async def play(lab: Lab) -> None:
        async with lab.agent(*IPTABLES):
            await eventually(_tables, lambda found: found == {"iptables", "ip6tables"})
        async with lab.agent(*NFTABLES):
            await eventually(_tables, lambda found: found == {"table ip fairway", "table ip6 fairway"})
        async with lab.agent(*IPTABLES):
            await eventually(_tables, lambda found: found == {"iptables", "ip6tables"})
        async with lab.agent("--cleanup") as cleaner:
            assert await cleaner.wait() == 0
        assert await _tables() == NOTHING
        async with lab.agent(*NFTABLES):
            await eventually(_tables, lambda found: found == {"table ip fairway", "table ip6 fairway"})
        async with lab.agent("--cleanup") as cleaner:
            assert await cleaner.wait() == 0
        assert await _tables() == NOTHING

    in_lab(play)


@pytest.mark.parametrize(("family", "protocol"), [(Family.IPV4, NFPROTO_IPV4), (Family.IPV6, NFPROTO_IPV6)])
def test_a_table_that_is_deleted_is_repaired_by_its_own_family_alone(family: Family, protocol: int) -> None:
    async def play(lab: Lab) -> None:
        both = {"table ip fairway", "table ip6 fairway"}
        async with lab.agent(*NFTABLES, "--metrics-bind-address", "127.0.0.1:10249"):
            await eventually(_tables, lambda found: found == both)
            await eventually(_repairs, lambda found: found == {})
            with NetlinkSocket() as stranger:
                stranger.commit([delete_table(protocol, "fairway")])
            await eventually(_tables, lambda found: found == both)
            await eventually(_repairs, lambda found: found == {family.api_name: 1.0})

    in_lab(play)


def test_a_monitor_is_deaf_to_the_sockets_it_was_told_and_hears_all_others() -> None:
    def play() -> None:
        with NetlinkSocket() as ours, NetlinkSocket() as also_ours, NetlinkSocket() as stranger:
            monitor = Monitor(NFPROTO_IPV6, deaf_to=[ours.port, also_ours.port])
            for number, each in enumerate((ours, also_ours)):
                each.commit([new_table(NFPROTO_IPV6, "fairway")])
                each.commit([new_chain(NFPROTO_IPV6, ChainInfo("fairway", f"c{number}"))])
            assert monitor.tampering(own_port=0) == []
            stranger.commit([delete_table(NFPROTO_IPV6, "fairway")])
            [told] = monitor.tampering(own_port=0)
            assert told.what == "the table was deleted"
            monitor.close()

    in_namespaces(play)


async def _repairs() -> dict[str, float] | None:
    """How often each family was mended; None while the metrics are not served."""
    try:
        async with aiohttp.ClientSession() as session, session.get("http://127.0.0.1:10249/metrics") as response:
            lines = (await response.text()).splitlines()
    except aiohttp.ClientConnectorError:
        return None
    samples = [line.split() for line in lines if line.startswith("fairway_repairs_total{")]
    return {name.partition('ip_family="')[2].rstrip('"}'): float(value) for name, value in samples}
