"""The agent as a program, in a network namespace of its own, against a small API server on its loopback."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import yaml

from fairway.api.resources import ENDPOINT_SLICES, SERVICES
from fairway.api.types import Object
from fairway.dataplane.ipt.names import PortChain, port_chain
from fairway.flow.packet import Protocol
from fairway.plan.model import PortName
from tests.agent.test_agent import balanced, endpoint_slice, node, service
from tests.kernel.namespaces import in_namespaces
from tests.watch.fake_api import FakeApi

pytestmark = pytest.mark.kernel

T = TypeVar("T")

VARIANTS = ("nft", "legacy")
SERVICE_CHAIN = port_chain(
    PortChain.CLUSTER, PortName(namespace="default", service="web", port="", protocol=Protocol.TCP)
)
NO_ENDPOINTS = (
    '-A KUBE-SERVICES -d 10.200.1.5/32 -p tcp -m comment --comment "default/web has no endpoints" '
    "-m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable"
)
LIMIT_S = 20.0
"""Only a broken agent takes as long."""


class Lab:
    """The API server, and the rules as iptables-save tells them."""

    def __init__(self, api: FakeApi, variant: str, directory: Path) -> None:
        self.api = api
        self.variant = variant
        self.kubeconfig = directory / "kubeconfig"
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": api.url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(content))

    async def rules(self) -> list[str]:
        """All rules and chains of nat and filter, without counters."""
        return [line for table in ("nat", "filter") for line in await self._save(table)]

    async def backends(self) -> list[str]:
        """Where the Service's endpoint chains lead."""
        rules = await self._save("nat")
        return sorted(rule.partition("--to-destination ")[2] for rule in rules if "--to-destination" in rule)

    async def wait_backends(self, *addresses: str) -> None:
        await eventually(self.backends, lambda found: found == [f"{address}:8080" for address in addresses])

    async def iptables(self, *arguments: str) -> None:
        await _run(f"iptables-{self.variant}", "-w", "5", *arguments)

    async def put(self, *objects: Object) -> None:
        for obj in objects:
            self.api.put(obj)
        await self.api.announce()

    @property
    def mode(self) -> list[str]:
        return ["--proxy-mode", "iptables", "--iptables-variant", self.variant]

    @asynccontextmanager
    async def agent(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """`fairway proxy` until the block ends."""
        main = "from fairway.cli.main import main; main()"
        flags = ["--kubeconfig", str(self.kubeconfig), "--hostname-override", "here", "--cluster-cidr", "10.10.0.0/16"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", main, "proxy", *flags, *self.mode, *arguments
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _save(self, table: str) -> list[str]:
        text = await _run(f"iptables-{self.variant}-save", "-t", table)
        return [line.partition(" [")[0] for line in text.splitlines() if line[:1] in (":", "-")]


async def eventually(ask: Callable[[], Awaitable[T]], condition: Callable[[T], bool]) -> T:
    """Ask again and again until the answer is right."""
    answer: T | None = None
    try:
        async with asyncio.timeout(LIMIT_S):
            while not condition(answer := await ask()):
                pass
    except TimeoutError:
        raise AssertionError(f"at last it was {answer}") from None
    return answer


async def _run(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def in_lab(test: Callable[[Lab], Awaitable[T]], variant: str = "nft") -> T:
    """Play `test` in fresh namespaces with an API server that holds a node, a Service and a slice."""

    async def play() -> T:
        api = FakeApi()
        for obj in (node(), service(), endpoint_slice("10.10.1.1")):
            api.put(obj)
        with tempfile.TemporaryDirectory() as directory:
            async with api.serve(port=6443):
                return await test(Lab(api, variant, Path(directory)))

    return in_namespaces(lambda: asyncio.run(play()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_rules_appear_and_follow_a_changed_slice(variant):
    async def play(lab: Lab) -> None:
        async with lab.agent():
            await lab.wait_backends("10.10.1.1")
            await lab.put(endpoint_slice("10.10.1.1", "10.10.1.2"))
            await lab.wait_backends("10.10.1.1", "10.10.1.2")
            lab.api.remove(ENDPOINT_SLICES, "web-1", "default")
            await lab.api.announce()
            await lab.wait_backends()
            assert [rule for rule in await lab.rules() if "has no endpoints" in rule] == [NO_ENDPOINTS]
            lab.api.remove(SERVICES, "web", "default")
            await lab.api.announce()
            await eventually(lab.rules, lambda rules: not [rule for rule in rules if "10.200.1.5" in rule])

    in_lab(play, variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_stranger_flushed_is_repaired_at_the_next_look(variant):
    async def play(lab: Lab) -> None:
        async with lab.agent("--iptables-sync-period", "200ms"):
            await lab.wait_backends("10.10.1.1")
            whole = await lab.rules()
            for table in ("nat", "filter"):
                await lab.iptables("-t", table, "-F")
            # A chain by itself may be gone too.
            await lab.iptables("-t", "nat", "-X", SERVICE_CHAIN)
            await eventually(lab.rules, lambda rules: sorted(rules) == sorted(whole))

    in_lab(play, variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_agent_leaves_its_rules_and_the_next_converges_without_a_flush(variant):
    async def play(lab: Lab) -> None:
        await lab.iptables("-t", "nat", "-A", "POSTROUTING", "-s", "192.0.2.0/24", "-j", "MASQUERADE")
        async with lab.agent() as first:
            await lab.wait_backends("10.10.1.1")
            first.send_signal(signal.SIGKILL)
            assert await first.wait() == -signal.SIGKILL
        whole = await lab.rules()
        # A counter only a rule that was never taken away keeps.
        await lab.iptables("-t", "nat", "-R", SERVICE_CHAIN, *_endpoint_jump(whole), "-c", "41", "2460")
        async with lab.agent() as second:
            await lab.api.wait_watchers(3)
            await lab.put(service(ports=[{"port": 80}, {"port": 81, "name": "more"}]), endpoint_slice("10.10.1.1"))
            await eventually(lab.rules, lambda rules: [rule for rule in rules if "web:more" in rule] != [])
            second.send_signal(signal.SIGTERM)
            assert await second.wait() == 0
        rules = await lab.rules()
        assert set(whole) <= set(rules)
        assert "-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE" in rules
        counted = await _run(f"iptables-{lab.variant}-save", "-c", "-t", "nat")
        assert [line for line in counted.splitlines() if line.startswith(f"[41:2460] -A {SERVICE_CHAIN} ")] != []

    in_lab(play, variant)


def _endpoint_jump(rules: list[str]) -> list[str]:
    """The rule that leads from the Service's chain to its one endpoint, as its number and arguments."""
    chain = [rule for rule in rules if rule.startswith(f"-A {SERVICE_CHAIN} ")]
    [(number, rule)] = [(number, rule) for number, rule in enumerate(chain, 1) if "KUBE-SEP" in rule]
    return [str(number), "-m", "comment", "--comment", rule.split('"')[1], "-j", rule.split()[-1]]


def test_an_agent_that_starts_while_the_server_is_away_leaves_the_rules_as_they_are():
    async def play(lab: Lab) -> None:
        async with lab.agent() as first:
            await lab.wait_backends("10.10.1.1")
            first.send_signal(signal.SIGTERM)
            assert await first.wait() == 0
        whole = await lab.rules()
        lab.api.held |= {SERVICES, ENDPOINT_SLICES}
        async with lab.agent():
            await eventually(_answers("http://127.0.0.1:10249/healthz"), bool)
            await lab.api.wait_watchers(1)
            assert await lab.rules() == whole
            lab.api.put(endpoint_slice("10.10.1.7"))
            for resource in (SERVICES, ENDPOINT_SLICES):
                await lab.api.release(resource)
            await lab.wait_backends("10.10.1.7")

    in_lab(play)


def test_the_health_check_port_of_a_service_follows_its_endpoints():
    async def play(lab: Lab) -> None:
        await lab.put(balanced(32000))
        async with lab.agent():
            await eventually(_status("http://127.0.0.1:32000/"), lambda status: status == 200)
            await lab.put(endpoint_slice())
            await eventually(_status("http://127.0.0.1:32000/"), lambda status: status == 503)
            lab.api.remove(SERVICES, "web", "default")
            await lab.api.announce()
            await eventually(_status("http://127.0.0.1:32000/"), lambda status: status is None)
            assert await _status("http://127.0.0.1:10256/healthz")() == 200

    in_lab(play)


def test_cleanup_removes_the_rules_and_no_others():
    async def play(lab: Lab) -> None:
        await lab.iptables("-t", "nat", "-A", "POSTROUTING", "-s", "192.0.2.0/24", "-j", "MASQUERADE")
        before = await lab.rules()
        async with lab.agent() as agent:
            await lab.wait_backends("10.10.1.1")
            agent.send_signal(signal.SIGTERM)
            assert await agent.wait() == 0
        assert len(await lab.rules()) > len(before) + 10
        async with lab.agent("--cleanup") as cleaner:
            assert await cleaner.wait() == 0
        after = await lab.rules()
        assert [rule for rule in after if "KUBE-" in rule] == []
        assert set(before) <= set(after)

    in_lab(play)


def test_localhost_reaches_node_ports_only_once_loopback_is_guarded():
    async def play(lab: Lab) -> None:
        assert await _route_localnet() == "0"
        lab.api.held.add(SERVICES)
        async with lab.agent():
            await lab.api.wait_watchers(2)
            assert await _route_localnet() == "0"
            await lab.api.release(SERVICES)
            await eventually(_route_localnet, lambda value: value == "1")
            assert [rule for rule in await lab.rules() if "block incoming localnet connections" in rule] != []

    in_lab(play)


async def _route_localnet() -> str:
    return (await _run("cat", "/proc/sys/net/ipv4/conf/all/route_localnet")).strip()


def _status(url: str) -> Callable[[], Awaitable[int | None]]:
    async def ask() -> int | None:
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return response.status
        except aiohttp.ClientConnectorError:
            return None

    return ask


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return await _status(url)() == 200

    return ask


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_service_whose_rules_are_refused_holds_up_no_other(variant):
    """Its affinity lasts longer than xt_recent can count; the rules that say so are asked for by its slice."""

    def service_with(name: str, **spec: Any) -> Object:
        made = service(**spec)
        return {**made, "metadata": {**made["metadata"], "name": name, "uid": name}}

    def slice_of(name: str, address: str) -> Object:
        made = endpoint_slice(address)
        metadata = {**made["metadata"], "name": f"{name}-1", "uid": f"{name}-1"}
        return {**made, "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}}}

    async def play(lab: Lab) -> None:
        affinity = {"clientIP": {"timeoutSeconds": 2**32}}
        bad = service_with("bad", clusterIP="10.200.1.6", sessionAffinity="ClientIP", sessionAffinityConfig=affinity)
        async with lab.agent():
            await lab.wait_backends("10.10.1.1")
            good = service_with("good", clusterIP="10.200.1.7")
            await lab.put(bad, slice_of("bad", "10.10.1.6"), good, slice_of("good", "10.10.1.7"))
            await lab.wait_backends("10.10.1.1", "10.10.1.7")
            affinity["clientIP"]["timeoutSeconds"] = 10800
            await lab.put(bad)
            await lab.wait_backends("10.10.1.1", "10.10.1.6", "10.10.1.7")

    in_lab(play, variant)
