"""A pod's status on its way to the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fairway.api.resources import PODS
from fairway.api.types import Key, Object
from fairway.kubelet.status_writer import StatusWriter
from fairway.watch.client import Client
from fairway.watch.kubeconfig import Credentials
from tests.kubelet.objects import pod_object, pod_spec
from tests.watch.fake_api import FakeApi, raw

TIMEOUT_S = 20.0


def status(phase: str, *conditions: Object) -> Object:
    return {"phase": phase, "conditions": list(conditions)}


@asynccontextmanager
async def writing(api: FakeApi, clock: Callable[[], float] = time.time) -> AsyncIterator[StatusWriter]:
    async with api.serve(), Client(Credentials(server=api.url)) as client:
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
            writer = StatusWriter(client, pod_spec(), {}, clock=clock)
            running = group.create_task(writer.run())
            yield writer
            running.cancel()


def written(api: FakeApi) -> list[str]:
    return [seen.body["status"]["phase"] for seen in api.requests if seen.method == "PATCH"]


async def test_a_status_is_written_as_a_patch_of_its_subresource() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    async with writing(api) as writer:
        writer.want(status("Running", {"type": "Ready", "status": "True"}))
        await writer.flush()

    (seen,) = api.requests
    assert (seen.method, seen.path) == ("PATCH", "/api/v1/namespaces/default/pods/web/status")
    assert seen.headers["Content-Type"] == "application/strategic-merge-patch+json"
    assert seen.body["metadata"] == {"uid": "uid-of-web"}


async def test_an_equal_status_is_not_written_again() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    async with writing(api) as writer:
        for _ in range(3):
            writer.want(status("Running"))
            await writer.flush()

    assert written(api) == ["Running"]


async def test_of_many_wishes_the_newest_is_written() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    async with writing(api) as writer:
        for phase in ("Pending", "Running", "Succeeded"):
            writer.want(status(phase))
        await writer.flush()

    assert written(api) == ["Succeeded"]


async def test_a_write_that_met_a_busy_server_is_repeated() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    busy = b'{"kind":"Status","reason":"TooManyRequests","code":429,"details":{"retryAfterSeconds":1}}'
    api.canned.append(raw(busy, status=429, content_type="application/json"))
    async with writing(api) as writer:
        writer.want(status("Running"))
        await writer.flush()

    assert written(api) == ["Running", "Running"]


async def test_a_pod_that_is_gone_is_not_written_to_any_more() -> None:
    api = FakeApi()
    async with writing(api) as writer:
        writer.want(status("Running"))
        await writer.flush()
        writer.want(status("Failed"))
        await writer.flush()

    assert written(api) == ["Running"]


async def test_a_status_that_is_refused_is_given_up_and_the_next_one_tried() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    invalid = b'{"kind":"Status","reason":"Invalid","code":422}'
    api.canned.append(raw(invalid, status=422, content_type="application/json"))
    async with writing(api) as writer:
        writer.want(status("Running"))
        await writer.flush()
        writer.want(status("Failed"))
        await writer.flush()

    assert written(api) == ["Running", "Failed"]


async def test_conditions_are_ours_as_wanted_and_others_as_observed() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    stale, gate = {"type": "Ready", "status": "False"}, {"type": "example.com/lb", "status": "True"}
    ready = {"type": "Ready", "status": "True"}
    async with writing(api) as writer:
        writer.observe(pod_object("web", status={"conditions": [stale]}))
        assert writer.conditions == [stale]
        writer.want(status("Running", ready))
        writer.observe(pod_object("web", status={"conditions": [stale, gate]}))

        assert writer.conditions == [ready, gate]


def ready(status: str, since: str) -> Object:
    return {"type": "Ready", "status": status, "lastTransitionTime": since}


def taken(api: FakeApi, since: str) -> Object:
    """The pod after somebody has taken its Ready."""
    found = api.objects[PODS][Key("default", "web")]
    return api.put({**found, "status": {**found["status"], "conditions": [ready("False", since)]}})


@pytest.mark.parametrize("since", ["2025-06-01T11:59:00Z", "2025-06-01T11:00:00Z"], ids=["later", "same second"])
async def test_ready_that_was_taken_meanwhile_is_said_again_as_of_now(since: str) -> None:
    """Controllers take it from the pods of a node they do not hear of."""
    api = FakeApi()
    api.put(pod_object("web"))
    async with writing(api, clock=lambda: 1748779200.0) as writer:
        writer.want(status("Running", ready("True", "2025-06-01T11:00:00Z")))
        await writer.flush()
        writer.observe(taken(api, since))
        await writer.flush()

    assert written(api) == ["Running", "Running"]
    [said] = api.requests[-1].body["status"]["conditions"]
    assert (said["status"], said["lastTransitionTime"]) == ("True", "2025-06-01T12:00:00Z")


async def test_ready_that_was_taken_in_the_very_second_in_which_it_was_said_is_said_again() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    async with writing(api, clock=lambda: 1748775600.0) as writer:
        writer.want(status("Running", ready("True", "2025-06-01T11:00:00Z")))
        await writer.flush()
        writer.observe(taken(api, "2025-06-01T11:00:00Z"))
        await writer.flush()

    assert written(api) == ["Running", "Running"]
    assert api.objects[PODS][Key("default", "web")]["status"]["conditions"][0]["status"] == "True"


async def test_ready_that_was_taken_and_seen_before_the_answer_to_our_write_is_said_again() -> None:
    """Watch and request are two connections: which is first is chance."""
    api = FakeApi()
    api.put(pod_object("web"))
    async with writing(api) as writer:
        writer.want(status("Running", ready("True", "2025-06-01T11:00:00Z")))
        later = pod_object("web", status={"conditions": [ready("False", "2025-06-01T11:00:00Z")]})
        writer.observe({**later, "metadata": {**later["metadata"], "resourceVersion": str(api.version + 2)}})
        await writer.flush()

    assert written(api) == ["Running", "Running"]


async def test_an_echo_of_an_older_status_of_ours_is_no_reason_to_write() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    async with writing(api) as writer:
        writer.want(status("Running", ready("False", "2025-06-01T11:00:00Z")))
        await writer.flush()
        echo = api.objects[PODS][Key("default", "web")]
        writer.want(status("Running", ready("True", "2025-06-01T11:00:00Z")))
        await writer.flush()
        writer.observe(echo)
        writer.observe(pod_object("web"))
        await writer.flush()

    assert written(api) == ["Running", "Running"]


async def test_a_pod_that_is_not_ready_may_be_called_so() -> None:
    api = FakeApi()
    api.put(pod_object("web"))
    async with writing(api) as writer:
        writer.want(status("Running", ready("False", "2025-06-01T11:00:00Z")))
        await writer.flush()
        writer.observe(taken(api, "2025-06-01T11:59:00Z"))
        await writer.flush()

    assert written(api) == ["Running"]
