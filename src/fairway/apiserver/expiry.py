"""Events are told for an hour, then they go: nobody deletes them, and they would fill the store (`--event-ttl`).

A real server gives each a lease in etcd when it is written; here its own times tell when that was. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from fairway.api.resources import EVENTS
from fairway.api.types import Object
from fairway.apiserver.registry import Registry

EVENT_TTL = timedelta(hours=1)
CHECK_S = 60.0
"""How often to look: an Event is seen up to so much longer."""


def expire_events(registry: Registry, now: datetime) -> int:
    """Remove the Events that were last told more than an hour ago; returns how many."""
    expired = [
        record
        for record in registry.revisions.latest_records(EVENTS)
        if max(_times(record.obj), default=now) + EVENT_TTL < now
    ]
    for record in expired:
        registry.revisions.remove(EVENTS, record.key)
    return len(expired)


def _times(event: Object) -> Iterator[datetime]:
    """When it was made and when it was told again; validated as times when they were stored."""
    series = event.get("series") or {}
    told = (
        event["metadata"].get("creationTimestamp"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        series.get("lastObservedTime"),
    )
    return (datetime.fromisoformat(one) for one in told if one)
