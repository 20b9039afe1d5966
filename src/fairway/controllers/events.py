"""Events for people: one object for what repeats, with a count. Pure.

As client-go's `tools/record/events_cache.go`: the same words about the same object from the same component are one
Event whose count grows. Names are the object's with the time of the first in hexadecimal nanoseconds.

What has an action is written as events.k8s.io/v1 has it and core/v1 shows it (client-go `tools/events`, which
kube-scheduler uses): one time to the microsecond, and a series where it repeats. kubectl sorts events by their last
time, which such a one has not: `Scheduled` comes first, whatever else happened in the same second.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fairway.api.resources import EVENTS
from fairway.api.types import Key, Object
from fairway.controllers.objects import format_micro_time, format_time, meta, name, namespace, uid
from fairway.controllers.writes import Create, Patch, Record

MAX_REMEMBERED = 4096
"""Events that may still be repeated (`maxLruCacheEntries`)."""
MAX_MESSAGE = 1024
"""Characters of a message (`pkg/apis/core/validation/events.go`)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    key: Key
    count: int


class EventRecorder:
    """Makes Events of what one component records; remembers the last few thousand."""

    def __init__(self, component: str) -> None:
        self._component = component
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()

    def write(self, record: Record, now: datetime) -> Create | Patch:
        """The write that tells it: a new Event, or one more of a known one."""
        message = record.message[:MAX_MESSAGE]
        about = (uid(record.regarding) or name(record.regarding), record.type, record.reason, message)
        series = self._series.get(about)
        if series is None:
            body = self._event(record, message, now)
            self._series[about] = _Series(key=Key(body["metadata"]["namespace"], body["metadata"]["name"]), count=1)
            if len(self._series) > MAX_REMEMBERED:
                self._series.popitem(last=False)
            return Create(resource=EVENTS, body=body)
        series = replace(series, count=series.count + 1)
        self._series[about] = series
        self._series.move_to_end(about)
        more: Object = {"count": series.count, "lastTimestamp": format_time(now)}
        if record.action:
            more = {"series": {"count": series.count, "lastObservedTime": format_micro_time(now)}}
        return Patch(resource=EVENTS, key=series.key, body=more)

    def forget(self, write: Create | Patch) -> None:
        """The write failed, as when an Event has expired: what it told is new when it comes again."""
        key = write.key if isinstance(write, Patch) else Key(namespace(write.body), name(write.body))
        for about in [about for about, series in self._series.items() if series.key == key]:
            del self._series[about]

    def _event(self, record: Record, message: str, now: datetime) -> Object:
        regarding = record.regarding
        where = namespace(regarding) or "default"
        nanoseconds = (now - _EPOCH) // timedelta(microseconds=1) * 1000 + len(self._series) % 1000
        event: Object = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{name(regarding)}.{nanoseconds:x}", "namespace": where},
            "involvedObject": _reference(regarding),
            "reason": record.reason,
            "message": message,
            "source": {"component": self._component},
            "firstTimestamp": format_time(now),
            "lastTimestamp": format_time(now),
            "count": 1,
            "type": str(record.type),
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
        if not record.action:
            return event
        del event["count"]
        return event | {
            "source": {},
            "firstTimestamp": None,
            "lastTimestamp": None,
            "eventTime": format_micro_time(now),
            "action": record.action,
            "reportingInstance": self._component,
        }


def _reference(obj: Object) -> Object:
    told = {
        "kind": obj.get("kind"),
        "namespace": namespace(obj),
        "name": name(obj),
        "uid": uid(obj),
        "apiVersion": obj.get("apiVersion"),
        "resourceVersion": meta(obj).get("resourceVersion"),
    }
    return {key: value for key, value in told.items() if value}
