"""The node makes itself known to the API server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fairway.api.resources import LEASES, NODES
from fairway.api.types import Key, Object
from fairway.kubelet import node as node_module
from fairway.kubelet import registration as registration_module
from fairway.kubelet.events import About, EventType
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


class Told(list[str]):
    """Events about the node: reason and message."""

    def event(self, about: About, kind: EventType, reason: str, message: str) -> None:
        assert (about, kind) == (About(kind="Node", namespace="", name=NODE.name, uid=NODE.name), EventType.NORMAL)
        self.append(f"{reason}: {message}")


@asynccontextmanager
async def registering(api: FakeApi, told: Told | None = None) -> AsyncIterator[Registration]:
    async with api.serve(), Client(Credentials(server=api.url)) as client, asyncio.TaskGroup() as group:
        registration = Registration(client, CONFIG, MACHINE, Told() if told is None else told)
        running = group.create_task(registration.run())
        async with asyncio.timeout(TIMEOUT_S):
            await registration.registered.wait()
        yield registration
        running.cancel()


def renewals(api: FakeApi) -> int:
    return sum(1 for _, of, _, _ in api.history if of == LEASES)


async def until_looked_at(api: FakeApi) -> None:
    """Until a look at the Node began after now and is over: each comes between two renewals."""
    await until_lease(api, renewals(api) + 3)


async def until_lease(api: FakeApi, count: int) -> Object:
    """The lease, once it was written so often."""
    async with asyncio.timeout(TIMEOUT_S), api._moved:
        await api._moved.wait_for(lambda: renewals(api) >= count)
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
    assert list(patch.body["metadata"]) == ["labels", "annotations"]
    assert "spec" not in api.objects[NODES][NODE]


async def test_a_lease_that_was_taken_away_is_made_again() -> None:
    api = FakeApi()
    async with registering(api):
        first = await until_lease(api, 2)
        api.remove(LEASES, "myk8s-worker", "kube-node-lease")
        again = await until_lease(api, 6)

    assert again["metadata"]["uid"] != first["metadata"]["uid"]


async def test_a_node_that_is_back_renews_its_lease_before_it_says_that_it_is_ready() -> None:
    """By the old one it would be lost again at once."""
    api = FakeApi()
    async with registering(api):
        pass
    api.requests.clear()
    conflict = b'{"kind":"Status","status":"Failure","reason":"AlreadyExists","code":409}'
    api.canned.append(raw(conflict, status=409, content_type="application/json"))
    async with registering(api):
        pass

    writes = [(seen.method, seen.path.rpartition("/")[2]) for seen in api.requests if seen.method != "GET"]
    assert writes[2:4] == [("PUT", "myk8s-worker"), ("PATCH", "status")]


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


HEALTHY = [
    f"{reason}: Node myk8s-worker status is now: {reason}"
    for reason in ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady")
]


async def test_a_node_tells_of_its_start_and_of_its_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "STATUS_CHECK_S", 0.0)
    api, told = FakeApi(), Told()
    async with registering(api, told):
        await until_lease(api, 5)
        assert told == ["Starting: Starting kubelet.", *HEALTHY]
        found = api.objects[NODES][NODE]
        unknown = [{**one, "status": "Unknown"} for one in found["status"]["conditions"]]
        api.put({**found, "status": {**found["status"], "conditions": unknown}})
        await until_looked_at(api)

    assert told == ["Starting: Starting kubelet.", *HEALTHY, *HEALTHY]


async def test_a_node_tells_that_it_was_cordoned_and_uncordoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "STATUS_CHECK_S", 0.0)
    api, told = FakeApi(), Told()
    async with registering(api, told):
        await until_lease(api, 2)
        told.clear()
        for unschedulable in (True, False):
            found = api.objects[NODES][NODE]
            api.put({**found, "spec": {**found["spec"], "unschedulable": unschedulable}})
            await until_looked_at(api)

    is_now = "Node myk8s-worker status is now: "
    assert told == [f"NodeNotSchedulable: {is_now}NodeNotSchedulable", f"NodeSchedulable: {is_now}NodeSchedulable"]


async def test_a_node_that_nobody_doubts_does_not_repeat_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "STATUS_CHECK_S", 0.0)
    api = FakeApi()
    async with registering(api):
        await until_lease(api, 5)

    assert sum(seen.method == "PATCH" for seen in api.requests) == 1


def asked(api: FakeApi) -> list[str]:
    """What the API server was asked since the node was registered: R for a renewal, L for a look at the Node."""
    words = {("PUT", "leases"): "R", ("GET", "nodes"): "L"}
    return [words.get((seen.method, seen.path.split("/")[-2]), "") for seen in api.requests]


async def test_a_node_that_was_late_renews_anew_before_it_looks_whether_it_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The late renewal was made before the silence, and would have the node lost again."""
    monkeypatch.setattr(node_module, "LATE_S", -1.0)
    api = FakeApi()
    async with registering(api):
        await until_lease(api, 7)

    assert "RRLRRLR" in "".join(asked(api))


async def test_a_node_that_was_late_once_looks_again_with_the_next_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who took it for lost may say so a moment after it has said that it is there."""
    monkeypatch.setattr(node_module, "LATE_S", -1.0)
    monkeypatch.setattr(node_module, "LATE_CHECKS", 2)
    api = FakeApi()
    async with registering(api):
        await until_lease(api, 3)
        monkeypatch.setattr(node_module, "LATE_S", 2 * TIMEOUT_S)
        await until_lease(api, 12)

    assert re.search("RLRLR{5,}$", "".join(asked(api)))


def test_this_machine_can_be_described() -> None:
    machine = read_machine()

    assert machine.cpus >= 1
    assert machine.memory_kib > 0
    assert machine.kernel_version
