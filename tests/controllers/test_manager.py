"""The shell: real informers, queues and workers on an API in memory. Every wait is for a condition."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairway.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, EVENTS, NODES, PODS, SERVICES
from fairway.api.status import ApiError
from fairway.api.types import Key, key_of
from fairway.controllers import ManagerConfig, run
from fairway.controllers import manager as manager_module
from fairway.controllers.controller import Controller
from fairway.controllers.manager import Manager
from fairway.controllers.wiring import all_controllers
from tests.controllers.objects import deployment, node, service
from tests.controllers.simulation import POOL, ROOT_CA, Clock, LiveApi, is_running

GIVE_UP_S = 20.0
"""No assertion: a hang must end a test."""


async def until(api: LiveApi, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not holds():
            await api.changed()


async def kubelet(api: LiveApi) -> None:
    """Pods with a node become ready; terminating ones go."""
    addresses = iter(range(2, 250))
    while True:
        for pod in list(api[PODS].values()):
            if pod["spec"].get("nodeName") and pod["metadata"].get("deletionTimestamp"):
                api.remove(PODS, key_of(pod))
            elif pod["spec"].get("nodeName") and not pod["status"].get("podIP"):
                ready = copy.deepcopy(pod)
                conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-06-01T12:00:00Z"}]
                ip = f"10.10.1.{next(addresses)}"
                ready["status"] = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
                api.put(PODS, ready)
        await api.changed()


@asynccontextmanager
async def running(
    api: LiveApi, controllers: tuple[Controller, ...] | None = None, clock: Clock | None = None
) -> AsyncIterator[None]:
    clock = clock or Clock()
    manager = Manager(api, controllers or all_controllers(POOL, root_ca=ROOT_CA), seed=1, now=clock.now)
    async with asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(manager.run()), tasks.create_task(kubelet(api))]
        yield
        for one in work:
            one.cancel()


@pytest.fixture
def api() -> LiveApi:
    made = LiveApi(Clock())
    for name in ("worker", "worker2", "worker3"):
        made.put(NODES, node(name))
    return made


def ready_addresses(api: LiveApi) -> set[str]:
    return {
        endpoint["addresses"][0]
        for one in api[ENDPOINT_SLICES].values()
        for endpoint in one["endpoints"]
        if endpoint["conditions"]["ready"]
    }


def available(api: LiveApi) -> int:
    return int(api[DEPLOYMENTS][Key("default", "web")]["status"].get("availableReplicas") or 0)


async def test_a_deployment_and_its_service_come_up_and_go(api: LiveApi) -> None:
    async with running(api):
        api.put(SERVICES, service())
        api.put(DEPLOYMENTS, deployment())
        await until(api, lambda: len(ready_addresses(api)) == 3 and available(api) == 3)
        assert {pod["spec"]["nodeName"] for pod in api[PODS].values()} == {"worker", "worker2", "worker3"}
        reasons = {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled"}
        await until(api, lambda: reasons <= {event["reason"] for event in api[EVENTS].values()})
        await api.delete(DEPLOYMENTS, "web", "default")
        await until(api, lambda: not api[PODS] and not ready_addresses(api))
    assert api.requests["create", "replicasets"] == 1
    assert api.requests["create", "endpointslices"] == 1


async def test_what_was_there_before_the_start_is_taken_up(api: LiveApi) -> None:
    api.put(SERVICES, service())
    api.put(DEPLOYMENTS, deployment())
    async with running(api):
        await until(api, lambda: len(ready_addresses(api)) == 3)
    assert all(is_running(pod) for pod in api[PODS].values())


async def test_a_write_that_fails_is_tried_again_and_told(api: LiveApi) -> None:
    refusals = iter([ApiError(403, "Forbidden", "exceeded quota")] * 2)

    def refuse(verb: str, resource: Any, body: Any) -> ApiError | None:
        return next(refusals, None) if resource == PODS and verb == "create" and body["kind"] == "Pod" else None

    api.refuse = refuse
    async with running(api):
        api.put(DEPLOYMENTS, deployment())
        await until(api, lambda: available(api) == 3)
        told = "Error creating: exceeded quota"
        await until(api, lambda: told in {event["message"] for event in api[EVENTS].values()})


async def test_an_event_that_repeats_is_counted(api: LiveApi) -> None:
    refusals = iter([ApiError(403, "Forbidden", "exceeded quota")] * 3)
    api.refuse = lambda verb, resource, body: next(refusals, None) if (verb, resource) == ("create", PODS) else None
    async with running(api):
        api.put(DEPLOYMENTS, deployment(replicas=1))
        await until(
            api, lambda: any(event["count"] == 3 for event in api[EVENTS].values() if event["type"] == "Warning")
        )


async def test_an_event_that_has_expired_is_told_anew(api: LiveApi) -> None:
    refusals = iter([ApiError(403, "Forbidden", "exceeded quota")] * 2)

    def refuse(verb: str, resource: Any, body: Any) -> ApiError | None:
        if (verb, resource) != ("create", PODS):
            return None
        error = next(refusals, None)
        for key in [key for key, event in api[EVENTS].items() if event["type"] == "Warning"]:
            api.remove(EVENTS, key)
            expired.append(key)
        return error

    expired: list[Key] = []
    api.refuse = refuse
    async with running(api):
        api.put(DEPLOYMENTS, deployment(replicas=1))
        await until(api, lambda: available(api) == 1)
        await until(api, lambda: any(event["reason"] == "SuccessfulCreate" for event in api[EVENTS].values()))
    assert expired
    told = [current for previous, current in api.events[EVENTS] if previous is None and current is not None]
    assert [one["count"] for one in told if one["type"] == "Warning"] == [1, 1]


async def test_events_that_cannot_be_written_hold_nothing_up(api: LiveApi) -> None:
    broken = ApiError(500, "InternalError", "no events today")
    api.refuse = lambda verb, resource, body: broken if resource == EVENTS else None
    async with running(api):
        api.put(DEPLOYMENTS, deployment())
        await until(api, lambda: available(api) == 3)


async def test_a_pod_becomes_available_in_time_without_any_change_of_an_object(api: LiveApi) -> None:
    clock = Clock()
    async with running(api, clock=clock):
        api.put(DEPLOYMENTS, deployment(minReadySeconds=1))
        await until(api, lambda: api[DEPLOYMENTS][Key("default", "web")]["status"].get("readyReplicas") == 3)
        assert available(api) == 0
        clock.seconds += 2
        await until(api, lambda: available(api) == 3)


async def test_an_object_that_a_controller_cannot_digest_keeps_nobody_else_waiting(
    api: LiveApi, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(change: Any, caches: Any) -> list[Any]:
        if change.key.name == "bad":
            raise KeyError("spec")
        return [change.key]

    digested = asyncio.Event()

    def digests(key: Key, caches: Any, attempt: Any) -> list[Any]:
        if key.name == "worse":
            raise KeyError("status")
        digested.set()
        return []

    controller = Controller(name="c", watches=(SERVICES,), keys=fails, reconcile=digests)
    async with running(api, (controller,)):
        for name in ("bad", "worse", "good"):
            api.put(SERVICES, service(name))
        async with asyncio.timeout(GIVE_UP_S):
            await digested.wait()
    told = [record.getMessage() for record in caplog.records]
    assert "c: change of service default/bad" in told
    assert "c: default/worse cannot be reconciled" in told


async def test_a_key_whose_reconcile_is_dear_rests_and_then_takes_all_changes_at_once(api: LiveApi) -> None:
    seconds = 0.0
    spent = itertools.count()
    done: list[str] = []
    changed = asyncio.Event()

    def reconciled(key: Key, caches: Any, attempt: Any) -> list[Any]:
        done.append(key.name)
        changed.set()
        return []

    async def until_done(*names: str) -> None:
        async with asyncio.timeout(GIVE_UP_S):
            while done != list(names):
                changed.clear()
                await changed.wait()

    controller = Controller(name="c", watches=(SERVICES,), keys=lambda one, _: [one.key], reconcile=reconciled)
    manager = Manager(
        api, (controller,), clock=lambda: seconds, processor_time=lambda: next(spent) * 2 * manager_module.DEAR_S
    )
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(manager.run())
        api.put(SERVICES, service("first"))
        await until_done("first")
        for replicas in ("1", "2", "3"):
            api.put(SERVICES, {**service("first"), "status": {"conditions": [{"type": replicas}]}})
        api.put(SERVICES, service("second"))
        await until_done("first", "second")
        seconds = 1.0
        await until_done("first", "second", "first")
        api.put(SERVICES, service("third"))
        await until_done("first", "second", "first", "third")
        work.cancel()


def test_a_kubeconfig_that_is_not_there_is_one_line_and_status_1(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(ManagerConfig(kubeconfig=tmp_path / "none")) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(tmp_path / "none") in caplog.text
