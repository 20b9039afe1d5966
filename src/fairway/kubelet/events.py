"""Events about pods and their node: what the kubelet did and why, written beside its real work and never in its way.

Equal events become one with a count, and an object that has many gets few (client-go `tools/record/events_cache.go`:
burst 25 for each object, then one in five minutes).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from fairway.api.resources import EVENTS, Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import Retry
from fairway.kubelet.times import timestamp

BURST = 25
REFILL_S = 300.0
MAX_REMEMBERED = 4096
MAX_QUEUED = 1000
MAX_MESSAGE = 1024
"""The API's limit for `message` of events.k8s.io/v1 (`pkg/apis/core/validation/events.go`, NoteLengthLimit)."""
_RETRIES = 3

_log = logging.getLogger(__name__)


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an event is about; field_path: "spec.containers{NAME}" for one container of a pod."""

    kind: str
    namespace: str
    name: str
    uid: str
    field_path: str = ""


def pod_reference(pod: Object, field_path: str = "") -> About:
    metadata = pod["metadata"]
    return About(
        kind="Pod",
        namespace=metadata.get("namespace") or "",
        name=metadata["name"],
        uid=metadata.get("uid") or "",
        field_path=field_path,
    )


def event_object(
    about: About, kind: EventType, reason: str, message: str, *, node: str, now: float, serial: int
) -> Object:
    """A core/v1 Event, seen once, now. serial: makes its name, the time in nanoseconds or what is unique like it."""
    reference: Object = {"apiVersion": "v1", "kind": about.kind, "name": about.name, "uid": about.uid}
    if about.namespace:
        reference["namespace"] = about.namespace
    if about.field_path:
        reference["fieldPath"] = about.field_path
    text = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 3] + "..."
    moment = timestamp(now)
    namespace = about.namespace or "default"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about.name}.{serial:x}", "namespace": namespace},
        "involvedObject": reference,
        "type": kind.value,
        "reason": reason,
        "message": text,
        "source": {"component": "kubelet", "host": node},
        "reportingComponent": "kubelet",
        "reportingInstance": node,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


class Allowance:
    """How many events an object may still have: a token bucket for each."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, uid: str, now: float) -> bool:
        """Whether one more about this object is allowed at `now`."""
        tokens, since = self._buckets.pop(uid, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - since) / REFILL_S)
        allowed = tokens >= 1
        self._buckets[uid] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > MAX_REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed


class EventClient(Protocol):
    async def create(self, resource: Resource, body: Object, namespace: str = "") -> Object: ...

    async def patch(self, resource: Resource, name: str, body: Any, namespace: str = "") -> Object: ...


@dataclass(slots=True)
class _Known:
    name: str
    namespace: str
    count: int


class Recorder:
    """Takes events at once and writes them one after another; `run` it in a task group."""

    def __init__(self, client: EventClient, node: str, *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._node = node
        self._clock = clock
        self._queue: asyncio.Queue[Object] = asyncio.Queue(MAX_QUEUED)
        self._allowance = Allowance()
        self._known: OrderedDict[tuple[str, ...], _Known] = OrderedDict()
        self._serial = 0

    def event(self, about: About, kind: EventType, reason: str, message: str) -> None:
        """Note an event; dropped when the object has had too many or too many wait."""
        now = self._clock()
        if not self._allowance.take(about.uid, now):
            return
        self._serial = max(self._serial + 1, int(now * 1e9))
        event = event_object(about, kind, reason, message, node=self._node, now=now, serial=self._serial)
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            _log.warning("event dropped, too many wait: %s %s/%s: %s", reason, about.namespace, about.name, message)

    async def run(self) -> None:
        """Write for ever; an event the API server does not take is given up after a few tries."""
        while True:
            event = await self._queue.get()
            for attempt in range(1, _RETRIES + 1):
                try:
                    await self._write(event)
                    break
                except ApiError as error:
                    _log.info("event %s: %s", event["reason"], error)
                    break
                except Retry as error:
                    if attempt < _RETRIES:
                        await asyncio.sleep(error.after_s)

    async def _write(self, event: Object) -> None:
        involved = event["involvedObject"]
        key = (involved["uid"], involved.get("fieldPath", ""), event["type"], event["reason"], event["message"])
        known = self._known.get(key)
        if known is not None:
            known.count += 1
            body = {"count": known.count, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._client.patch(EVENTS, known.name, body, known.namespace)
                return
            except ApiError as error:
                if error.code != 404:
                    raise
        created = await self._client.create(EVENTS, event)
        metadata = created["metadata"]
        self._known[key] = _Known(metadata["name"], metadata["namespace"], 1)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
