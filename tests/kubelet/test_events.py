"""Events: one for many, few for each, never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fairway.api.resources import EVENTS, Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import Retry
from fairway.kubelet import events
from fairway.kubelet.events import About, Allowance, EventType, Recorder, event_object, pod_reference
from tests.kubelet.objects import pod_object

WEB = About(kind="Pod", namespace="default", name="web", uid="u", field_path="spec.containers{web}")
T0, AT_T0 = 1_700_000_000.0, "2023-11-14T22:13:20Z"


def test_an_event_tells_what_happened_to_what() -> None:
    event = event_object(WEB, EventType.WARNING, "BackOff", "again", node="myk8s-worker", now=T0, serial=255)

    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.ff", "namespace": "default"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "web",
            "uid": "u",
            "namespace": "default",
            "fieldPath": "spec.containers{web}",
        },
        "type": "Warning",
        "reason": "BackOff",
        "message": "again",
        "source": {"component": "kubelet", "host": "myk8s-worker"},
        "reportingComponent": "kubelet",
        "reportingInstance": "myk8s-worker",
        "firstTimestamp": AT_T0,
        "lastTimestamp": AT_T0,
        "count": 1,
    }


def test_a_long_message_is_cut() -> None:
    event = event_object(WEB, EventType.NORMAL, "R", "x" * 2000, node="n", now=T0, serial=1)

    assert (len(event["message"]), event["message"][-4:]) == (1024, "x...")


def test_a_pod_is_referred_to_with_its_uid() -> None:
    assert pod_reference(pod_object("web", uid="u"), "spec.containers{web}") == WEB


def test_an_object_may_have_a_burst_and_then_one_in_five_minutes() -> None:
    allowance = Allowance()

    assert [allowance.take("u", T0) for _ in range(27)] == [True] * 25 + [False] * 2
    assert [allowance.take("u", T0 + 300.0) for _ in range(2)] == [True, False]
    assert allowance.take("another", T0)


def test_the_longest_unheard_of_object_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_REMEMBERED", 2)
    allowance = Allowance()
    for uid in ("a", "b", "c"):
        allowance.take(uid, T0)

    assert list(allowance._buckets) == ["b", "c"]


class EventApi:
    """Takes events; fails with what is in `errors` first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.written: list[tuple[str, Any]] = []
        self.moved = asyncio.Condition()

    async def create(self, resource: Resource, body: Object, namespace: str = "") -> Object:
        assert resource is EVENTS
        return await self._write("create", body)

    async def patch(self, resource: Resource, name: str, body: Any, namespace: str = "") -> Object:
        assert (resource, namespace) == (EVENTS, "default")
        return await self._write(f"patch {name}", body)

    async def _write(self, what: str, body: Any) -> Any:
        async with self.moved:
            self.moved.notify_all()
            if self.errors:
                raise self.errors.pop(0)
            self.written.append((what, body))
            return body

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10), self.moved:
            await self.moved.wait_for(lambda: len(self.written) >= count)


@asynccontextmanager
async def recording(api: EventApi) -> AsyncIterator[Recorder]:
    recorder = Recorder(api, "myk8s-worker", clock=lambda: T0)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(recorder.run())
        yield recorder
        running.cancel()


async def test_equal_events_become_one_with_a_count() -> None:
    api = EventApi()
    async with recording(api) as recorder:
        for message in ("again", "again", "other", "again"):
            recorder.event(WEB, EventType.WARNING, "BackOff", message)
        await api.until(4)

    name = api.written[0][1]["metadata"]["name"]
    assert [what for what, _ in api.written] == ["create", f"patch {name}", "create", f"patch {name}"]
    assert [body.get("count") for _, body in api.written] == [1, 2, 1, 3]


async def test_events_of_one_moment_have_names_of_their_own() -> None:
    api = EventApi()
    async with recording(api) as recorder:
        for reason in ("Pulled", "Created", "Started"):
            recorder.event(WEB, EventType.NORMAL, reason, "m")
        await api.until(3)

    assert len({body["metadata"]["name"] for _, body in api.written}) == 3


async def test_an_event_that_has_expired_is_written_anew() -> None:
    api = EventApi()
    async with recording(api) as recorder:
        recorder.event(WEB, EventType.WARNING, "BackOff", "again")
        await api.until(1)
        api.errors.append(ApiError(404, "NotFound", "gone"))
        recorder.event(WEB, EventType.WARNING, "BackOff", "again")
        await api.until(2)

    assert [what for what, _ in api.written] == ["create", "create"]


async def test_an_event_is_tried_again_when_the_api_server_is_away_and_dropped_when_it_refuses() -> None:
    away = Retry("no answer", after_s=0.0)
    api = EventApi(away, away, ApiError(403, "Forbidden", "no"))
    async with recording(api) as recorder:
        recorder.event(WEB, EventType.NORMAL, "First", "m")
        recorder.event(WEB, EventType.NORMAL, "Second", "m")
        await api.until(1)

    assert [body["reason"] for _, body in api.written] == ["Second"]


async def test_more_events_than_can_wait_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_QUEUED", 2)
    recorder = Recorder(EventApi(), "n", clock=lambda: T0)
    for number in range(5):
        recorder.event(WEB, EventType.NORMAL, f"R{number}", "m")

    assert recorder._queue.qsize() == 2
