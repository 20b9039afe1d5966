"""A kubelet's parts put together on this machine's loopback, with a small API server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from fairway.api.resources import EVENTS, PODS
from fairway.api.types import Key, Object
from fairway.kubelet.dns import ClusterDns
from fairway.kubelet.events import Recorder
from fairway.kubelet.images import lab_catalogue
from fairway.kubelet.ipam import PodNetworks
from fairway.kubelet.kubelet import PodManager
from fairway.kubelet.logs import PodLogs
from fairway.kubelet.pod_volumes import Library
from fairway.kubelet.prober import Prober
from fairway.kubelet.runtime import Runtime
from fairway.kubelet.tools import Tools
from fairway.watch.client import Client
from fairway.watch.informer import Informer
from fairway.watch.kubeconfig import Credentials
from tests.kubelet.objects import NODE, NODE_IP
from tests.kubelet.processes import LocalSpawner, LoopbackNetwork
from tests.watch.fake_api import FakeApi

TIMEOUT_S = 20.0
"""Of a condition that never comes; nothing waits for so long otherwise."""


@dataclass
class Node:
    """A node that runs pods; `api` is what it is told and what it wrote, `stores` where pods' volumes are, by name."""

    api: FakeApi
    spawner: LocalSpawner
    network: LoopbackNetwork
    runtime: Runtime
    manager: PodManager
    services: list[Object]
    stores: Path

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a change in the API makes true."""
        async with asyncio.timeout(TIMEOUT_S), self.api._moved:
            await self.api._moved.wait_for(condition)

    async def until_events(self, reason: str, messages: list[str]) -> None:
        """Wait for the events of a reason; they are written after what they tell of."""
        await self.until(lambda: len(self.events(reason)) >= len(messages))
        assert self.events(reason) == messages

    async def apply(self, obj: Object) -> None:
        self.api.put(obj)
        await self.api.announce()

    async def remove(self, name: str, namespace: str = "default") -> None:
        """Take a pod out of the API at once, as a deletion without grace does."""
        self.api.remove(PODS, name, namespace)
        await self.api.announce()

    def pod(self, name: str, namespace: str = "default") -> Object | None:
        return self.api.objects.get(PODS, {}).get(Key(namespace, name))

    def status(self, name: str) -> Object:
        pod = self.pod(name)
        return pod["status"] if pod else {}

    def state(self, name: str, container: int = 0) -> Object:
        """The state of a container; {} before it has one."""
        statuses = self.status(name).get("containerStatuses") or []
        return statuses[container]["state"] if statuses else {}

    def condition(self, name: str, kind: str) -> str:
        return next((c["status"] for c in self.status(name).get("conditions", ()) if c["type"] == kind), "")

    def writes(self, name: str) -> list[Object]:
        """Every status written for a pod, oldest first."""
        path = f"/api/v1/namespaces/default/pods/{name}/status"
        return [seen.body["status"] for seen in self.api.requests if seen.path == path]

    def ready(self, name: str) -> bool:
        return self.condition(name, "Ready") == "True"

    def events(self, reason: str) -> list[str]:
        return [e["message"] for e in self.api.objects.get(EVENTS, {}).values() if e["reason"] == reason]


RunNode = Callable[[], AbstractAsyncContextManager[Node]]


@pytest.fixture
def run_node(tmp_path: Path) -> RunNode:
    """`async with run_node() as node`: a node that runs inside the block; its pods' addresses begin at 127.9.1.2."""
    return lambda: _running_node(tmp_path)


@asynccontextmanager
async def _running_node(directory: Path) -> AsyncIterator[Node]:
    api, spawner, network = FakeApi(), LocalSpawner(), LoopbackNetwork()
    services: list[Object] = []
    async with api.serve(), Client(Credentials(server=api.url)) as client, Prober() as prober:
        logs = PodLogs(directory / "logs")
        runtime = Runtime(
            spawner,
            network,
            PodNetworks.of([IPv4Network("127.9.1.0/24")]),
            logs,
            node_addresses=[IPv4Address(NODE_IP)],
            dns=ClusterDns(),
            hidden=("/secret",),
            services=lambda: services,
            store=lambda host: directory / "stores" / host.name,
        )
        recorder = Recorder(client, NODE)
        tools = Tools(
            client=client,
            runtime=runtime,
            prober=prober,
            recorder=recorder,
            catalogue=lab_catalogue(),
            library=Library(client),
            node_addresses=[NODE_IP],
        )
        try:
            async with asyncio.TaskGroup() as group:
                manager = PodManager(tools, logs, group)
                pods: Informer[Object] = Informer(client, PODS, on_change=manager.on_change)
                endless = [group.create_task(part) for part in (recorder.run(), pods.run())]
                yield Node(api, spawner, network, runtime, manager, services, directory / "stores")
                await manager.stop()
                for task in endless:
                    task.cancel()
        finally:
            await spawner.close()
