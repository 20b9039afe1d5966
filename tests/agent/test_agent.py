"""The whole agent over a real client and server on loopback, with a data plane that only remembers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from fairway.agent.agent import Agent
from fairway.agent.dataplane import Applied
from fairway.agent.listeners import BindAddress
from fairway.agent.options import AgentConfig
from fairway.agent.program import run
from fairway.agent.sysctls import ConntrackSettings
from fairway.api.resources import ENDPOINT_SLICES, EVENTS, NODES, SERVICES
from fairway.api.types import Key, Object
from fairway.base.addresses import Family
from fairway.base.errors import Unsupported
from fairway.plan.assembly import Assembly
from fairway.plan.model import Plan
from fairway.plan.options import NodeView, parse_options
from fairway.watch.client import Client
from fairway.watch.kubeconfig import Credentials
from tests.agent.test_listeners import free_port, taken_port
from tests.waiting import until
from tests.watch.fake_api import FakeApi

NO_SYSCTLS = ConntrackSettings(max_per_core=0, tcp_established_timeout_s=0, tcp_close_wait_timeout_s=0)
"""Of these tests none may touch the machine's settings."""


def node(*, deleted: bool = False) -> Object:
    metadata = {"name": "here", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})}
    addresses = [{"type": "InternalIP", "address": "172.18.0.5"}]
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"addresses": addresses}}


def service(**spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "10.200.1.5", "ports": [{"port": 80}], **spec},
    }


def endpoint_slice(*addresses: str) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "web-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": "here"} for address in addresses],
        "ports": [{"port": 8080}],
    }


@dataclass
class Memory:
    """A data plane that keeps the Plans it was given."""

    quick: bool = True
    told: bool = True
    plans: list[Plan] = field(default_factory=list)
    refused: dict[Key, str] = field(default_factory=dict)
    alone: bool = False

    def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Applied:
        self.plans.append(assembly.plan())
        refused = {key: reason for key, reason in self.refused.items() if key in assembly.parts}
        return Applied(changed=True, refused=refused)

    def fileno(self) -> int | None:
        return None

    def tampering(self) -> list[str]:
        return []

    def sysctls(self, view: NodeView) -> Mapping[str, str]:
        return {}

    def remove_others(self) -> None:
        self.alone = True

    def close(self) -> None:
        """Nothing is held."""

    @property
    def backends(self) -> list[str]:
        return [str(backend) for port in self.plans[-1].ports for backend in port.cluster] if self.plans else []


@dataclass
class Bench:
    api: FakeApi
    memory: Memory
    config: AgentConfig
    memories: Mapping[Family, Memory]

    async def put(self, *objects: Object) -> None:
        for obj in objects:
            self.api.put(obj)
        await self.api.announce()

    async def fetch(self, path: str, *, port: int | None = None) -> tuple[int, bytes]:
        assert self.config.healthz is not None
        url = f"http://127.0.0.1:{port or self.config.healthz.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.read()

    def events(self, reason: str) -> list[Object]:
        return [event for event in self.api.objects.get(EVENTS, {}).values() if event["reason"] == reason]


@asynccontextmanager
async def running(api: FakeApi, **more: object) -> AsyncIterator[Bench]:
    config = AgentConfig(
        **{
            "node_name": "here",
            "options": parse_options(cluster_cidrs=["10.10.0.0/16"]),
            "healthz": BindAddress(host="127.0.0.1", port=free_port()),
            "metrics": BindAddress(host="127.0.0.1", port=free_port()),
            "conntrack": NO_SYSCTLS,
            **more,
        }
    )
    memory = Memory()
    memories = {family: memory if family is config.families[0] else Memory() for family in config.families}
    async with api.serve(), Client(Credentials(server=api.url)) as client, asyncio.TaskGroup() as group:
        agent = Agent(config, client=client, dataplanes=memories)
        task = group.create_task(agent.run())
        try:
            yield Bench(api, memory, config, memories)
        finally:
            task.cancel()


def cluster() -> FakeApi:
    api = FakeApi()
    for obj in (node(), service(), endpoint_slice("10.10.1.1")):
        api.put(obj)
    return api


async def test_a_changed_slice_is_in_the_next_plan():
    async with running(cluster()) as bench:
        await until(lambda: bench.memory.backends == ["10.10.1.1:8080"])
        await bench.put(endpoint_slice("10.10.1.1", "10.10.1.2"))
        await until(lambda: bench.memory.backends == ["10.10.1.1:8080", "10.10.1.2:8080"])
        bench.api.remove(ENDPOINT_SLICES, "web-1", "default")
        await bench.api.announce()
        await until(lambda: bench.memory.backends == [])
        assert len(bench.memory.plans) == 3


@pytest.mark.parametrize("missing", [SERVICES, ENDPOINT_SLICES, NODES], ids=lambda resource: resource.plural)
async def test_nothing_is_written_before_all_is_known(missing):
    api = cluster()
    api.held.add(missing)
    async with running(api) as bench:
        await api.wait_watchers(2)
        assert bench.memory.plans == []
        await api.release(missing)
        await until(lambda: bench.memory.backends == ["10.10.1.1:8080"])
        assert len(bench.memory.plans) == 1


async def test_a_node_that_never_appears_is_waited_for_only_so_long():
    api = cluster()
    api.remove(NODES, "here")
    async with running(api, node_wait_s=0.0) as bench:
        await until(lambda: bench.memory.backends == ["10.10.1.1:8080"])
        assert bench.memory.plans[0].node_addresses == ()
        await bench.put(node())
        await until(lambda: bench.memory.plans[-1].node_addresses != ())
        assert [str(address) for address in bench.memory.plans[-1].node_addresses] == ["172.18.0.5"]


async def test_another_nodes_object_is_not_taken_for_its_own():
    """A server that knows no field selectors sends all nodes."""
    api = cluster()
    other = node()
    other["metadata"]["name"] = "there"
    other["status"]["addresses"][0]["address"] = "172.18.0.2"
    api.put(other)
    async with running(api) as bench:
        await until(lambda: bool(bench.memory.plans))
        assert [str(address) for address in bench.memory.plans[0].node_addresses] == ["172.18.0.5"]


async def test_health_tells_of_the_node_and_liveness_does_not():
    async with running(cluster()) as bench:
        await until(lambda: bool(bench.memory.plans))
        status, body = await bench.fetch("/healthz")
        assert (status, json.loads(body)["nodeEligible"], [*json.loads(body)["status"]]) == (200, True, ["IPv4"])
        await bench.put(node(deleted=True))
        async with asyncio.timeout(10):
            while (await bench.fetch("/healthz"))[0] == 200:
                pass
        assert (await bench.fetch("/healthz"))[0] == 503
        status, body = await bench.fetch("/livez")
        assert (status, "nodeEligible" in json.loads(body)) == (200, False)


async def test_the_metrics_server_tells_mode_health_and_metrics():
    async with running(cluster()) as bench:
        await until(lambda: bool(bench.memory.plans))
        assert bench.config.metrics is not None
        port = bench.config.metrics.port
        assert await bench.fetch("/proxyMode", port=port) == (200, b"iptables")
        assert await bench.fetch("/healthz", port=port) == (200, b"ok")
        await bench.fetch("/livez")
        status, text = await bench.fetch("/metrics", port=port)
        assert status == 200
        lines = text.decode().splitlines()
        assert 'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1.0' in lines
        assert 'kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="0.25"}' not in lines
        assert 'kubeproxy_proxy_livez_total{code="200"} 1.0' in lines
        assert "kubeproxy_sync_proxy_rules_service_changes_total 1.0" in lines
        assert "kubeproxy_sync_proxy_rules_service_changes_pending 0.0" in lines
        assert not [line for line in lines if "_created" in line]


def balanced(health_port: int) -> Object:
    return service(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=health_port,
        ports=[{"port": 80, "nodePort": 30080}],
    )


async def test_a_health_check_port_opens_and_closes_with_its_service():
    port = free_port()
    async with running(cluster()) as bench:
        await until(lambda: bool(bench.memory.plans))
        await bench.put(balanced(port))
        await until(lambda: len(bench.memory.plans) == 2)
        async with asyncio.timeout(10):
            while True:
                try:
                    status, body = await bench.fetch("/", port=port)
                    break
                except aiohttp.ClientConnectorError:
                    continue
        assert (status, json.loads(body)) == (
            200,
            {"service": {"namespace": "default", "name": "web"}, "localEndpoints": 1, "serviceProxyHealthy": True},
        )


async def test_a_health_check_port_that_is_taken_becomes_an_event_on_the_service():
    with taken_port() as port:
        api = cluster()
        api.put(balanced(port))
        async with running(api) as bench:
            await until(lambda: bool(bench.events("FailedToStartServiceHealthcheck")))
            [event] = bench.events("FailedToStartServiceHealthcheck")
            uid = bench.api.objects[SERVICES]["default", "web"]["metadata"]["uid"]
            assert event["involvedObject"] == {
                "apiVersion": "v1",
                "kind": "Service",
                "namespace": "default",
                "name": "web",
                "uid": uid,
            }
            assert event["message"].startswith(f'node here failed to start healthcheck "default/web" on port {port}: ')
            assert event["type"] == "Warning"


async def test_a_service_the_kernel_refuses_becomes_one_event_on_the_service():
    async with running(cluster()) as bench:
        await until(lambda: bool(bench.memory.plans))
        bench.memory.refused[Key("default", "web")] = "a chain is too long"
        await bench.put(endpoint_slice("10.10.1.2"))
        await until(lambda: bool(bench.events("FailedToProgramService")))
        await until(lambda: len(bench.memory.plans) >= 4 and not bench.memory.plans[-1].ports)
        [event] = bench.events("FailedToProgramService")
        assert (event["type"], event["action"]) == ("Warning", "Sync")
        assert event["message"] == 'node here failed to program Service "default/web": a chain is too long'
        assert event["involvedObject"]["uid"] == bench.api.objects[SERVICES]["default", "web"]["metadata"]["uid"]


async def test_it_says_that_it_started():
    async with running(cluster()) as bench:
        await until(lambda: bool(bench.events("Starting")))
        assert bench.events("Starting")[0]["involvedObject"]["name"] == "here"


async def test_a_machine_that_cannot_hold_the_rules_ends_the_agent():
    class Powerless(Memory):
        def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Applied:
            raise Unsupported("run as root")

    api = cluster()
    config = AgentConfig(node_name="here", healthz=None, metrics=None, conntrack=NO_SYSCTLS)
    async with api.serve(), Client(Credentials(server=api.url)) as client:
        with pytest.raises(BaseExceptionGroup) as caught:
            await Agent(config, client=client, dataplanes={Family.IPV4: Powerless()}).run()
    assert caught.group_contains(Unsupported, match="run as root")


def test_a_kubeconfig_that_is_missing_ends_the_program_with_one_line(tmp_path, caplog):
    assert run(AgentConfig(node_name="here", kubeconfig=tmp_path / "nowhere")) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot read kubeconfig {tmp_path}/nowhere: No such file or directory"
    ]
