"""The node makes itself known to the API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fairway.api.resources import LEASES, NODES
from fairway.api.types import Key, Object
from fairway.kubelet import node as node_module
from fairway.kubelet import registration as registration_module
from fairway.kubelet.registration import Registration, read_machine
from fairway.watch.client import Client
from fairway.watch.kubeconfig import Credentials
from tests.kubelet.test_node import CONFIG, MACHINE
from tests.watch.fake_api import FakeApi, raw

NODE = Key("", "myk8s-worker")
LEASE = Key("kube-node-lease", "myk8s-worker")
TIMEOUT_S = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration_module, "RETRY_S", 0.0)
    monkeypatch.setattr(node_module, "LEASE_RENEW_S", 0.0)


@asynccontextmanager
async def registering(api: FakeApi) -> AsyncIterator[Registration]:
    async with api.serve(), Client(Credentials(server=api.url)) as client, asyncio.TaskGroup() as group:
        registration = Registration(client, CONFIG, MACHINE)
        running = group.create_task(registration.run())
        async with asyncio.timeout(TIMEOUT_S):
            await registration.registered.wait()
        yield registration
        running.cancel()


async def until_lease(api: FakeApi, renewals: int) -> Object:
    """The lease, once it was written so often."""
    async with asyncio.timeout(TIMEOUT_S), api._moved:
        await api._moved.wait_for(lambda: sum(1 for _, of, _, _ in api.history if of == LEASES) >= renewals)
    return api.objects[LEASES][LEASE]


async def test_a_node_registers_and_renews_its_lease() -> None:
    api = FakeApi()
    async with registering(api):
        lease = await until_lease(api, 3)

    registered = api.objects[NODES][NODE]
    assert registered["spec"]["podCIDR"] == "10.10.1.0/24"
    assert lease["metadata"]["ownerReferences"][0]["uid"] == registered["metadata"]["uid"]
    assert lease["spec"]["holderIdentity"] == "myk8s-worker"
    writes = [seen.method for seen in api.requests if seen.path.endswith("/leases/myk8s-worker")]
    assert writes[:2] == ["GET", "PUT"]


async def test_registration_waits_for_the_api_server() -> None:
    api = FakeApi()
    api.canned += [raw(b"starting", status=503), raw(b"starting", status=503)]
    async with registering(api):
        pass

    assert NODE in api.objects[NODES]


async def test_a_node_that_is_there_keeps_what_a_person_gave_it() -> None:
    api = FakeApi()
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "myk8s-worker", "labels": {"rack": "7"}}})
    conflict = b'{"kind":"Status","status":"Failure","reason":"AlreadyExists","code":409}'
    api.canned.append(raw(conflict, status=409, content_type="application/json"))
    async with registering(api):
        pass

    patch = next(seen for seen in api.requests if seen.method == "PATCH" and seen.path.endswith("/nodes/myk8s-worker"))
    assert list(patch.body) == ["metadata"]
    assert list(patch.body["metadata"]) == ["labels"]
    assert "spec" not in api.objects[NODES][NODE]


async def test_a_lease_that_was_taken_away_is_made_again() -> None:
    api = FakeApi()
    async with registering(api):
        first = await until_lease(api, 2)
        api.remove(LEASES, "myk8s-worker", "kube-node-lease")
        again = await until_lease(api, 6)

    assert again["metadata"]["uid"] != first["metadata"]["uid"]


def conditions(api: FakeApi) -> dict[str, str]:
    return {one["type"]: one["status"] for one in api.objects[NODES][NODE]["status"]["conditions"]}


async def test_a_node_that_is_held_to_be_lost_says_that_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "STATUS_CHECK_S", 0.0)
    api = FakeApi()
    async with registering(api):
        await until_lease(api, 1)
        found = api.objects[NODES][NODE]
        unknown = [{**one, "status": "Unknown"} for one in found["status"]["conditions"]]
        api.put({**found, "status": {**found["status"], "conditions": unknown}})
        async with asyncio.timeout(TIMEOUT_S), api._moved:
            await api._moved.wait_for(lambda: conditions(api)["Ready"] == "True")

    assert set(conditions(api).values()) == {"True", "False"}


async def test_a_node_that_nobody_doubts_does_not_repeat_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "STATUS_CHECK_S", 0.0)
    api = FakeApi()
    async with registering(api):
        await until_lease(api, 5)

    assert sum(seen.method == "PATCH" for seen in api.requests) == 1


def test_this_machine_can_be_described() -> None:
    machine = read_machine()

    assert machine.cpus >= 1
    assert machine.memory_kib > 0
    assert machine.kernel_version
