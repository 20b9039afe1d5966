"""The agent in mode nftables as a program: what it writes, repairs, and leaves as it is when it is killed."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

from fairway.api.codec import decode_cluster
from fairway.api.resources import ENDPOINT_SLICES, EVENTS, NODES, SERVICES
from fairway.api.types import Object
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.backend import NftBackend
from fairway.dataplane.nft.diff import diff
from fairway.dataplane.nft.lower import lower
from fairway.netlink.elements import delete_elements
from fairway.netlink.nftables import NFPROTO_IPV4, Request, delete_table
from fairway.netlink.socket import NetlinkSocket
from fairway.plan.compile import compile_plan
from fairway.plan.options import Mode, parse_options
from tests.agent.test_agent import endpoint_slice, node, service
from tests.kernel.namespaces import in_namespaces
from tests.kernel.test_agent_kernel import eventually
from tests.watch.fake_api import FakeApi

pytestmark = pytest.mark.kernel

T = TypeVar("T")

CLUSTER_CIDR, SERVICE_CIDR = "10.10.0.0/16", "10.200.0.0/16"
SERVER, PORT = "10.10.1.1", 8080
"""An endpoint that is there: an address of the namespace itself."""
NODE_ADDRESS = "172.18.0.5"
KILLS = 100


class Lab:
    """An API server, and the table as the kernel tells it."""

    def __init__(self, api: FakeApi, directory: Path) -> None:
        self.api = api
        self.log = directory / "log"
        self.kubeconfig = directory / "kubeconfig"
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": api.url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(content))

    async def put(self, *objects: Object) -> None:
        for obj in objects:
            self.api.put(obj)
        await self.api.announce()

    @asynccontextmanager
    async def agent(self, *arguments: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """`fairway proxy` until the block ends."""
        main = "from fairway.cli.main import main; main()"
        flags = ["--kubeconfig", str(self.kubeconfig), "--hostname-override", "here"]
        flags += ["--cluster-cidr", CLUSTER_CIDR, "--service-cidr", SERVICE_CIDR]
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", main, "proxy", *flags, *arguments, stderr=log, env=env or None
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def settled(self) -> None:
        """Return once the kernel holds what the objects say."""
        await eventually(self._is_settled, bool)

    async def log_lines(self, words: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if words in line]

    async def _is_settled(self) -> bool:
        await asyncio.sleep(0)  # others run meanwhile
        objects = [obj for kind in (SERVICES, ENDPOINT_SLICES, NODES) for obj in self.api.objects[kind].values()]
        cluster = decode_cluster(objects)
        options = parse_options(mode=Mode.NFTABLES, cluster_cidrs=[CLUSTER_CIDR], service_cidrs=[SERVICE_CIDR])
        plan = compile_plan(cluster.services, cluster.slices, cluster.node("here"), options=options)
        backend = NftBackend()
        try:
            seen = backend.look()
        finally:
            backend.close()
        return seen is not None and not diff(seen, lower(plan))


def in_lab(test: Callable[[Lab], Awaitable[T]], *objects: Object) -> T:
    """Play `test` in a fresh network namespace with an API server that holds a node and `objects`."""

    async def play() -> T:
        api = FakeApi()
        for obj in (node(), *(objects or (service(), endpoint_slice(SERVER)))):
            api.put(obj)
        with tempfile.TemporaryDirectory() as directory:
            async with api.serve(port=6443):
                return await test(Lab(api, Path(directory)))

    return in_namespaces(lambda: asyncio.run(play()))


def test_rules_follow_objects_without_any_program_on_path():
    async def play(lab: Lab) -> None:
        async with lab.agent(PATH="/nonexistent"):
            await lab.settled()
            await lab.put(endpoint_slice(SERVER, "10.10.1.2"))
            await lab.settled()
            lab.api.remove(ENDPOINT_SLICES, "web-1", "default")
            await lab.api.announce()
            await lab.settled()
            lab.api.remove(SERVICES, "web", "default")
            await lab.api.announce()
            await lab.settled()

    in_lab(play)


def test_a_deleted_table_is_made_again_at_once_and_the_log_says_who_did_it():
    async def play(lab: Lab) -> None:
        async with lab.agent():
            await lab.settled()
            _commit(delete_table(NFPROTO_IPV4, "fairway"))
            await lab.settled()
            [line] = await eventually(lambda: lab.log_lines("somebody else changed our rules"), bool)
            assert "the table was deleted" in line
            assert "by python" in line

    in_lab(play)


def test_a_deleted_element_is_put_back_at_once():
    async def play(lab: Lab) -> None:
        key = bytes((10, 200, 1, 5, 6, 0, 0, 0, 0, 80, 0, 0))
        shape = layout.fixed_sets(layout.Family.IPV4)[layout.SERVICES].shape
        async with lab.agent():
            await lab.settled()
            removal = delete_elements(NFPROTO_IPV4, "fairway", layout.SERVICES, shape, {key: None})
            _commit(*removal)
            await lab.settled()
            [line] = await eventually(lambda: lab.log_lines("somebody else changed our rules"), bool)
            assert "an element was deleted from services" in line

    in_lab(play)


def test_an_agent_that_starts_where_nothing_changed_commits_nothing():
    async def play(lab: Lab) -> None:
        async with lab.agent() as first:
            await lab.settled()
            first.send_signal(signal.SIGTERM)
            assert await first.wait() == 0
        before = _generation()
        async with lab.agent():
            await lab.api.wait_watchers(3)
            await eventually(lambda: _events(lab, "Starting"), lambda found: len(found) == 2)
            assert _generation() == before
            await lab.put(endpoint_slice("10.10.1.2"))
            await lab.settled()
            assert _generation() == before + 1

    in_lab(play)


def test_each_mode_leaves_nothing_of_the_other():
    async def play(lab: Lab) -> None:
        async with lab.agent("--proxy-mode", "iptables", "--iptables-variant", "nft"):
            await eventually(_kube_rules, bool)
        async with lab.agent():
            await lab.settled()
            await eventually(_kube_rules, lambda rules: not rules)
        async with lab.agent("--proxy-mode", "iptables", "--iptables-variant", "nft"):
            await eventually(_kube_rules, bool)
            await eventually(_tables, lambda tables: "table ip fairway" not in tables)
        async with lab.agent("--cleanup") as cleaner:
            assert await cleaner.wait() == 0
        assert await _kube_rules() == []

    in_lab(play)


def test_a_service_the_rules_cannot_hold_is_alone_refused_with_an_event():
    async def play(lab: Lab) -> None:
        many = [str(IPv4Address("10.10.0.1") + number) for number in range(65_536)]
        slices = [
            {**endpoint_slice(*many[start : start + 1000]), "metadata": _metadata("big", f"big-{start}")}
            for start in range(0, len(many), 1000)
        ]
        big = {**service(clusterIP="10.200.1.6"), "metadata": {"name": "big", "namespace": "default"}}
        async with lab.agent():
            await lab.settled()
            await lab.put(big, *slices)
            [event] = await eventually(lambda: _events(lab, "FailedToProgramService"), bool)
            assert event["involvedObject"]["name"] == "big"
            assert "65535" in event["message"]
            await lab.put(endpoint_slice(SERVER, "10.10.1.2"))
            await lab.settled()

    in_lab(play)


def test_no_connection_is_lost_however_often_the_agent_is_killed():
    """Of a thousand Services some change all the time; the agent is killed at random moments and started again."""
    names = [f"web-{number}" for number in range(1000)]
    rng = random.Random(20)

    def slice_of(name: str, addresses: list[str]) -> Object:
        return {**endpoint_slice(*addresses), "metadata": _metadata(name, f"{name}-1")}

    def service_of(number: int) -> Object:
        address = f"10.200.{2 + number // 200}.{1 + number % 200}"
        return {**service(clusterIP=address), "metadata": {"name": names[number], "namespace": "default"}}

    def churn() -> Object:
        addresses = [f"10.10.2.{number}" for number in rng.sample(range(1, 200), rng.randrange(0, 6))]
        return slice_of(rng.choice(names[1:]), addresses)

    objects = [service_of(number) for number in range(len(names))]
    objects += [slice_of(names[0], [SERVER]), *(slice_of(name, ["10.10.2.1"]) for name in names[1:])]

    async def play(lab: Lab) -> None:
        for address in (NODE_ADDRESS, SERVER):
            await _output("ip", "address", "add", f"{address}/32", "dev", "lo")
        await _output("ip", "route", "add", SERVICE_CIDR, "dev", "lo", "src", NODE_ADDRESS)
        async with lab.agent():
            await lab.settled()
        with socket.create_server((SERVER, PORT), backlog=64) as server:
            server.setblocking(True)
            pairs = [_call(server) for _ in range(8)]
            for _ in range(KILLS):
                async with lab.agent() as agent:
                    if rng.random() < 0.5:
                        await lab.settled()
                    for _ in range(rng.randrange(0, 30)):
                        await lab.put(churn())
                    agent.send_signal(signal.SIGKILL)
                    await agent.wait()
                for client, served in [*pairs, _call(server)]:
                    _echo(client, served)
            async with lab.agent():
                await lab.settled()
            for client, served in pairs:
                _echo(client, served)

    in_lab(play, *objects)


def _call(server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A connection through the clusterIP of the first Service."""
    client = socket.create_connection(("10.200.2.1", 80), timeout=5)
    # No connection is to linger in TIME_WAIT.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    served, _ = server.accept()
    served.settimeout(5)
    return client, served


def _echo(client: socket.socket, served: socket.socket) -> None:
    client.sendall(b"?")
    assert served.recv(1) == b"?"
    served.sendall(b"!")
    assert client.recv(1) == b"!"


def _metadata(name: str, slice_name: str) -> Object:
    return {"name": slice_name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}}


def _commit(*requests: Request) -> None:
    """What a stranger would do to the table."""
    with NetlinkSocket() as stranger:
        stranger.commit(requests)


def _generation() -> int:
    with NetlinkSocket() as asking:
        return asking.generation().number


async def _events(lab: Lab, reason: str) -> list[Object]:
    await asyncio.sleep(0)
    return [event for event in lab.api.objects.get(EVENTS, {}).values() if event["reason"] == reason]


async def _kube_rules() -> list[str]:
    saved = await _output("iptables-nft-save")
    return [line for line in saved.splitlines() if "KUBE-SERVICES" in line]


async def _tables() -> str:
    return await _output("nft", "list", "tables")


async def _output(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()
