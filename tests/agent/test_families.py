"""Both address families at once, and what of a node and its cluster the agent waits for, follows and ends by."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from fairway.agent.agent import Agent, NodeChanged
from fairway.agent.dataplane import Applied
from fairway.agent.options import AgentConfig
from fairway.api.resources import ENDPOINT_SLICES, NODES, SERVICE_CIDRS
from fairway.api.types import Key, Object
from fairway.base.addresses import Family
from fairway.base.errors import Unsupported
from fairway.plan.assembly import Assembly
from fairway.plan.options import Mode, parse_options
from fairway.watch.client import Client
from fairway.watch.kubeconfig import Credentials
from tests.agent.test_agent import NO_SYSCTLS, Bench, Memory, cluster, endpoint_slice, node, running, service
from tests.agent.test_listeners import free_port
from tests.waiting import until
from tests.watch.fake_api import FakeApi

BOTH = (Family.IPV4, Family.IPV6)
V4, V6 = BOTH


def dual_node(*addresses: str) -> Object:
    listed = [{"type": "InternalIP", "address": address} for address in addresses or ("172.18.0.5", "fd00:18::5")]
    return {**node(), "status": {"addresses": listed}}


def dual_service(**spec: Any) -> Object:
    return service(clusterIPs=["10.200.1.5", "fd00:200::5"], ipFamilies=["IPv4", "IPv6"], **spec)


def slice_v6(*addresses: str) -> Object:
    metadata = {"name": "web-6", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}
    return {**endpoint_slice(*addresses), "metadata": metadata, "addressType": "IPv6"}


def dual_cluster() -> FakeApi:
    api = FakeApi()
    for obj in (dual_node(), dual_service(), endpoint_slice("10.10.1.1"), slice_v6("fd00:10::1")):
        api.put(obj)
    return api


def backends(bench: Bench) -> list[list[str]]:
    return [bench.memories[family].backends for family in BOTH]


async def test_each_family_has_its_own_rules_of_the_same_objects() -> None:
    async with running(dual_cluster(), families=BOTH) as bench:
        await until(lambda: backends(bench) == [["10.10.1.1:8080"], ["[fd00:10::1]:8080"]])
        addresses = [[str(each) for each in bench.memories[family].plans[-1].node_addresses] for family in BOTH]
        assert addresses == [["172.18.0.5"], ["fd00:18::5"]]
        await bench.put(slice_v6("fd00:10::1", "fd00:10::2"))
        await until(lambda: backends(bench)[1] == ["[fd00:10::1]:8080", "[fd00:10::2]:8080"])
        # What changed is nothing to IPv4.
        assert len(bench.memories[V4].plans) == 1
        assert [memory.alone for memory in bench.memories.values()] == [True, True]


async def test_objects_are_listed_and_watched_once_for_both() -> None:
    async with running(dual_cluster(), families=BOTH) as bench:
        await until(lambda: all(memory.plans for memory in bench.memories.values()))
        await bench.api.wait_watchers(3)
        asked = [(seen.path, "watch" in seen.query) for seen in bench.api.requests if seen.method == "GET"]
        assert len(asked) == len(set(asked)) == 2 * 3


async def test_health_and_metrics_tell_of_each_family() -> None:
    async with running(dual_cluster(), families=BOTH) as bench:
        await until(lambda: all(memory.plans for memory in bench.memories.values()))
        status, body = await bench.fetch("/healthz")
        assert (status, [*json.loads(body)["status"]]) == (200, ["IPv4", "IPv6"])
        assert bench.config.metrics is not None
        lines = (await bench.fetch("/metrics", port=bench.config.metrics.port))[1].decode().splitlines()
        for family in BOTH:
            assert f'kubeproxy_sync_proxy_rules_duration_seconds_count{{ip_family="{family.api_name}"}} 1.0' in lines
        # A change is one change, however many families it is for.
        assert "kubeproxy_sync_proxy_rules_service_changes_total 1.0" in lines
        assert "kubeproxy_sync_proxy_rules_service_changes_pending 0.0" in lines
        assert "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0.0" in lines


async def test_a_health_check_port_counts_the_endpoints_of_the_family_it_is_asked_over() -> None:
    port = free_port()
    api = dual_cluster()
    api.put(
        dual_service(
            type="LoadBalancer",
            externalTrafficPolicy="Local",
            healthCheckNodePort=port,
            ports=[{"port": 80, "nodePort": 30080}],
        )
    )
    api.put(slice_v6("fd00:10::1", "fd00:10::2"))
    counted = {}
    async with running(api, families=BOTH), aiohttp.ClientSession() as session:
        for host in ("127.0.0.1", "[::1]"):
            counted[host] = await _local_endpoints(session, f"http://{host}:{port}/")
    assert counted == {"127.0.0.1": 1, "[::1]": 2}


async def _local_endpoints(session: aiohttp.ClientSession, url: str) -> int:
    async def asked() -> int | None:
        try:
            async with session.get(url) as response:
                return int(json.loads(await response.read())["localEndpoints"])
        except aiohttp.ClientConnectorError:
            return None

    while (answer := await asked()) is None:
        pass
    return answer


class Powerless(Memory):
    """A family that this machine cannot serve."""

    def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Applied:
        raise Unsupported("no such table")


async def run_agent(api: FakeApi, dataplanes: dict[Family, Memory], **more: Any) -> None:
    config = AgentConfig(
        **{"node_name": "here", "healthz": None, "metrics": None, "conntrack": NO_SYSCTLS, "families": BOTH, **more}
    )
    async with api.serve(), Client(Credentials(server=api.url)) as client:
        await Agent(config, client=client, dataplanes=dataplanes).run()


@pytest.mark.parametrize(
    ("addresses", "broken"),
    [(["172.18.0.5", "fd00:18::5"], V4), (["fd00:18::5", "172.18.0.5"], V6), (["fd00:18::5"], V6)],
)
async def test_the_family_of_the_nodes_first_address_has_to_work(addresses: list[str], broken: Family) -> None:
    api = dual_cluster()
    api.put(dual_node(*addresses))
    dataplanes = {family: Powerless() if family is broken else Memory() for family in BOTH}
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_agent(api, dataplanes)
    assert caught.group_contains(Unsupported, match="no such table")


async def test_the_other_family_may_not_work(caplog: pytest.LogCaptureFixture) -> None:
    memory, broken = Memory(), Powerless()
    api = dual_cluster()

    async def play() -> None:
        await until(lambda: bool(memory.plans))
        api.put(endpoint_slice("10.10.1.2"))
        await api.announce()
        await until(lambda: memory.backends == ["10.10.1.2:8080"])
        raise EndOfTestError

    await _beside(run_agent(api, {V4: memory, V6: broken}), play())
    lines = [record.getMessage() for record in caplog.records if "not served" in record.getMessage()]
    assert lines == ["IPv6 is not served: no such table"]


async def test_a_node_of_a_family_that_the_machine_has_not_ends_the_agent() -> None:
    api = dual_cluster()
    api.put(dual_node("fd00:18::5"))
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_agent(api, {V4: Memory()}, families=(V4,))
    assert caught.group_contains(Unsupported, match="the first address of Node here is of IPv6, which this machine")


async def test_that_a_node_has_no_address_of_the_other_family_is_nothing_to_warn_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = cluster()
    async with running(api, families=BOTH) as bench:
        await until(lambda: all(memory.plans for memory in bench.memories.values()))
    assert [record.getMessage() for record in caplog.records if "InternalIP" in record.getMessage()] == []


# -- ServiceCIDRs


def service_cidr(name: str, *cidrs: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": name},
        "spec": {"cidrs": [*cidrs]},
    }


def guarded(bench: Bench, family: Family = V4) -> list[str]:
    plans = bench.memories[family].plans
    return [str(network) for network in plans[-1].service_cidrs] if plans else []


NFT = parse_options(mode=Mode.NFTABLES, service_cidrs=["10.64.0.0/16"])


async def test_the_networks_of_clusterips_are_the_clusters_and_those_it_was_told() -> None:
    api = dual_cluster()
    api.put(service_cidr("kubernetes", "10.200.0.0/16", "fd00:200::/112"))
    async with running(api, families=BOTH, options=NFT) as bench:
        await until(lambda: guarded(bench) == ["10.64.0.0/16", "10.200.0.0/16"])
        await until(lambda: guarded(bench, V6) == ["fd00:200::/112"])
        await bench.put(service_cidr("more", "10.65.0.0/16"))
        await until(lambda: guarded(bench) == ["10.64.0.0/16", "10.65.0.0/16", "10.200.0.0/16"])
        api.remove(SERVICE_CIDRS, "kubernetes", "")
        await api.announce()
        await until(lambda: guarded(bench) == ["10.64.0.0/16", "10.65.0.0/16"])


async def test_nothing_is_written_before_the_networks_of_clusterips_are_known() -> None:
    api = dual_cluster()
    api.put(service_cidr("kubernetes", "10.200.0.0/16"))
    api.held.add(SERVICE_CIDRS)
    async with running(api, options=NFT) as bench:
        await api.wait_watchers(3)
        assert bench.memory.plans == []
        await api.release(SERVICE_CIDRS)
        await until(lambda: guarded(bench) == ["10.64.0.0/16", "10.200.0.0/16"])
        assert len(bench.memory.plans) == 1


@pytest.mark.parametrize("code", [403, 404])
async def test_an_api_server_without_servicecidrs_will_do(code: int) -> None:
    api = dual_cluster()
    api.refused[SERVICE_CIDRS] = code
    async with running(api, options=NFT) as bench:
        await until(lambda: guarded(bench) == ["10.64.0.0/16"])


async def test_mode_iptables_has_no_rule_that_depends_on_servicecidrs() -> None:
    api = dual_cluster()
    async with running(api) as bench:
        await until(lambda: bool(bench.memory.plans))
        assert not [seen for seen in api.requests if "servicecidrs" in seen.path]


# -- pods told by the Node's networks

NODE_CIDR = parse_options(detect_local_mode="NodeCIDR")


def node_with(*pod_cidrs: str) -> Object:
    return {**node(), "spec": {"podCIDRs": [*pod_cidrs]}}


async def test_the_nodes_pod_networks_are_waited_for() -> None:
    api = cluster()
    async with running(api, options=NODE_CIDR) as bench:
        await api.wait_watchers(3)
        assert bench.memory.plans == []
        await bench.put(node_with("10.10.1.0/24"))
        await until(lambda: bool(bench.memory.plans))
        assert [str(network) for network in bench.memory.plans[0].cluster_cidrs] == ["10.10.1.0/24"]


async def test_a_node_that_never_gets_pod_networks_ends_the_agent() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_agent(cluster(), {V4: Memory()}, families=(V4,), options=NODE_CIDR, pod_cidr_wait_s=0.0)
    assert caught.group_contains(NodeChanged, match=r"^Node here has no spec\.podCIDRs after 0 s, by which ")


@pytest.mark.parametrize(("after", "told"), [(["10.10.2.0/24"], "10.10.2.0/24"), ([], "none")])
async def test_pod_networks_that_change_end_the_agent(after: list[str], told: str) -> None:
    api = cluster()
    api.put(node_with("10.10.1.0/24"))
    memory = Memory()

    async def play() -> None:
        await until(lambda: bool(memory.plans))
        api.put(node_with(*after))
        await api.announce()

    with pytest.raises(BaseExceptionGroup) as caught:
        await _beside(run_agent(api, {V4: memory}, families=(V4,), options=NODE_CIDR), play())
    expected = rf"^spec\.podCIDRs of Node here changed from 10\.10\.1\.0/24 to {told}, and detectLocalMode NodeCIDR"
    assert caught.group_contains(NodeChanged, match=expected)


async def test_a_node_that_is_deleted_keeps_the_pod_networks_it_had() -> None:
    api = cluster()
    api.put(node_with("10.10.1.0/24"))
    async with running(api, options=NODE_CIDR) as bench:
        await until(lambda: bool(bench.memory.plans))
        api.remove(NODES, "here", "")
        await bench.put(endpoint_slice("10.10.1.2"))
        await until(lambda: bench.memory.backends == ["10.10.1.2:8080"])


# -- events


async def test_a_service_whose_door_is_an_older_ones_gets_one_event_from_both_families() -> None:
    def named(name: str, created: str, number: int) -> Object:
        doors = {"clusterIPs": [f"10.200.1.{number}", f"fd00:200::{number}"], "type": "NodePort"}
        made = service(clusterIP=f"10.200.1.{number}", ports=[{"port": 80, "nodePort": 30080}], **doors)
        return {**made, "metadata": {"name": name, "namespace": "default", "creationTimestamp": created}}

    api = dual_cluster()
    api.put(named("older", "2026-01-01T00:00:00Z", 7))
    async with running(api, families=BOTH) as bench:
        await until(lambda: all(memory.plans for memory in bench.memories.values()))
        await bench.put(named("newer", "2026-01-02T00:00:00Z", 8))
        await until(lambda: all(len(memory.plans) >= 2 for memory in bench.memories.values()))
        await until(lambda: bool(bench.events("AddressTaken")))
        api.remove(ENDPOINT_SLICES, "web-1", "default")
        await api.announce()
        await until(lambda: len(bench.memory.plans) == 3)
        [event] = bench.events("AddressTaken")
        assert (event["type"], event["action"], event["involvedObject"]["name"]) == ("Warning", "Sync", "newer")
        assert event["message"].startswith(
            'node here leaves out a part of Service "default/newer": node port 30080/tcp'
        )
        assert "default/older" in event["message"]


class EndOfTestError(Exception):
    """The agent has done what it had to."""


async def _beside(agent: Any, play: Any) -> None:
    """Both at once, until the agent ends or `play` raises EndOfTestError."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(agent)
            group.create_task(play)
    except* EndOfTestError:
        pass
