"""The state every client agrees on: objects under one global revision, and the log that watches replay.

A write is *accepted* first: it gets the next revision, and later decisions see it. It is *published* when the store
says it is durable; lists, gets and watches only ever see what is published. So nobody reads what a crash could take
back, and many writers share one disk flush.

The log keeps the newest events of all resources. What leaves it moves `floor` up: a watch or an exact list from below
the floor is refused (`CompactedError`), never answered with a gap. Shape and promises: etcd's KV and watch guarantees
(etcd.io `learning/api_guarantees`), Kubernetes' resourceVersion semantics (API concepts).
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from fairway.api.resources import Resource
from fairway.api.types import Key, Object

DEFAULT_MAX_EVENTS = 10_000
"""Events kept for watches to resume from; kube-apiserver's watch cache holds 100 to 102,400 a resource."""

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
"""Bytes of JSON those events may hold, so that a few large objects cannot fill the memory."""


class EventType(enum.Enum):
    """What a watch says happened (apimachinery `watch/watch.go`)."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class CompactedError(Exception):
    """The revision asked for lies below the floor of the log.

    requested, floor: both revisions; the answer to a client is 410 Expired.
    """

    def __init__(self, requested: int, floor: int) -> None:
        super().__init__(f"too old resource version: {requested} ({floor})")
        self.requested = requested
        self.floor = floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One object at one revision.

    obj: complete, with apiVersion, kind and metadata.resourceVersion; nobody may change it.
    json: its JSON without apiVersion and kind, as an element of a List; `typed_json` adds them.
    """

    resource: Resource
    key: Key
    revision: int
    obj: Object
    json: bytes

    @property
    def typed_json(self) -> bytes:
        """The whole object as JSON, kind and apiVersion first."""
        return type_prefix(self.resource) + self.json[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change. record: the state after it; for DELETED the last state, under the revision of the deletion.

    previous: the state before, None for ADDED.
    """

    type: EventType
    record: Record
    previous: Record | None

    @property
    def revision(self) -> int:
        return self.record.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """What the disk may forget: everything in `revisions`; nothing above `floor` is among it or depends on it."""

    floor: int
    revisions: tuple[int, ...]


_METADATA_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
)
"""As ObjectMeta's fields stand in Go, and so in every answer of a real server."""


def type_prefix(resource: Resource) -> bytes:
    """The start of a typed object's JSON, up to its first own field."""
    return f'{{"kind":"{resource.kind}","apiVersion":"{resource.api_version}",'.encode()


def record_of(resource: Resource, key: Key, revision: int, obj: Object) -> Record:
    """`obj` under `revision`, with kind, apiVersion and metadata.resourceVersion set; obj is not changed."""
    return _record(resource, key, revision, obj, {**obj["metadata"], "resourceVersion": str(revision)})


def transient(resource: Resource, key: Key, obj: Object) -> Record:
    """An object as it would be stored, for a dry run; its metadata stay as they are."""
    return _record(resource, key, 0, obj, obj["metadata"])


def _record(resource: Resource, key: Key, revision: int, obj: Object, metadata: Object) -> Record:
    ordered = {name: metadata[name] for name in _METADATA_ORDER if name in metadata}
    if len(ordered) < len(metadata):
        ordered.update(metadata)
    others = {name: value for name, value in obj.items() if name not in ("kind", "apiVersion", "metadata")}
    rest = {"metadata": ordered, **others}
    whole = {"kind": resource.kind, "apiVersion": resource.api_version, **rest}
    return Record(resource=resource, key=key, revision=revision, obj=whole, json=msgspec.json.encode(rest))


class _Collection:
    """The published objects of one resource, in the order of namespace and name, and its part of the log.

    floor: the newest event of this resource that was dropped. A quiet resource keeps an old one, so that its watches
    are not refused because another resource is busy.
    """

    __slots__ = ("events", "floor", "keys", "records")

    def __init__(self, floor: int) -> None:
        self.floor = floor
        self.records: dict[Key, Record] = {}
        self.keys: list[Key] = []
        self.events: list[Event] = []

    def apply(self, event: Event) -> None:
        key = event.record.key
        if event.type is EventType.DELETED:
            if self.records.pop(key, None) is not None:
                del self.keys[bisect_left(self.keys, key)]
            return
        if key not in self.records:
            insort(self.keys, key)
        self.records[key] = event.record

    def within(self, namespace: str) -> Sequence[Key]:
        """Keys of one namespace; of all where it is ""."""
        if not namespace:
            return self.keys
        start = bisect_left(self.keys, Key(namespace, ""))
        # No namespace name holds a NUL, so this is the first key after all of the namespace's.
        return self.keys[start : bisect_left(self.keys, Key(namespace + "\0", ""))]


def _revision(event: Event) -> int:
    return event.record.revision


class Revisions:
    """All objects and the log of their changes. No I/O; not for use by several threads."""

    def __init__(self, *, max_events: int = DEFAULT_MAX_EVENTS, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.revision = 0
        """The newest published revision: what lists and bookmarks carry."""
        self.accepted = 0
        """The newest accepted revision; equal to `revision` when nothing waits for the disk."""
        self.floor = 0
        """The newest revision that left the log."""
        self._first_floor = 0
        self._collections: dict[str, _Collection] = {}
        self._log: deque[Event] = deque()
        self._log_bytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._pending: deque[Event] = deque()
        self._overlay: dict[tuple[str, Key], Event] = {}

    # Published state

    def get(self, resource: Resource, key: Key) -> Record | None:
        """The published object."""
        return self._collection(resource).records.get(key)

    def records(self, resource: Resource, namespace: str = "") -> list[Record]:
        """The published objects of a namespace, of all where it is "", by namespace and name."""
        collection = self._collection(resource)
        records = collection.records
        return [records[key] for key in collection.within(namespace)]

    def records_at(self, resource: Resource, namespace: str, revision: int) -> list[Record]:
        """The objects as they were at a published revision. Raises CompactedError where the log does not reach back."""
        if revision >= self.revision:
            return self.records(resource, namespace)
        undone: dict[Key, Record | None] = {}
        for event in self.events(resource, revision):
            undone.setdefault(event.record.key, event.previous)
        if not undone:
            return self.records(resource, namespace)
        now = {record.key: record for record in self.records(resource, namespace)}
        for key, record in undone.items():
            if record is None:
                now.pop(key, None)
            elif not namespace or key.namespace == namespace:
                now[key] = record
        return [now[key] for key in sorted(now)]

    def events(self, resource: Resource, after: int, *, limit: int | None = None) -> Sequence[Event]:
        """Published events of a resource with a revision above `after`, oldest first, at most `limit`.

        Raises CompactedError where events after it are no longer kept.
        """
        collection = self._collection(resource)
        if after < collection.floor:
            raise CompactedError(after, collection.floor)
        events = collection.events
        start = bisect_right(events, after, key=_revision)
        return events[start : None if limit is None else start + limit]

    def last_event(self, resource: Resource) -> int:
        """The revision of the newest published event of a resource that is still kept, 0 without one."""
        events = self._collection(resource).events
        return events[-1].revision if events else 0

    # Accepted state: what decisions are taken upon

    def latest(self, resource: Resource, key: Key) -> Record | None:
        """The accepted object, published or not."""
        event = self._overlay.get((resource.group_resource, key))
        if event is not None:
            return None if event.type is EventType.DELETED else event.record
        return self.get(resource, key)

    def latest_records(self, resource: Resource, namespace: str = "") -> list[Record]:
        """The accepted objects, by namespace and name."""
        changed = {
            key: event
            for (name, key), event in self._overlay.items()
            if name == resource.group_resource and (not namespace or key.namespace == namespace)
        }
        if not changed:
            return self.records(resource, namespace)
        records = {record.key: record for record in self.records(resource, namespace)}
        for key, event in changed.items():
            if event.type is EventType.DELETED:
                records.pop(key, None)
            else:
                records[key] = event.record
        return [records[key] for key in sorted(records)]

    def put(self, resource: Resource, key: Key, obj: Object) -> Record:
        """Accept a new or changed object; it gets the next revision."""
        previous = self.latest(resource, key)
        record = record_of(resource, key, self.accepted + 1, obj)
        self._accept(Event(type=EventType.MODIFIED if previous else EventType.ADDED, record=record, previous=previous))
        return record

    def remove(self, resource: Resource, key: Key, obj: Object | None = None) -> Record:
        """Accept the removal of an object that exists; watchers see `obj` as its last state, else the stored one."""
        previous = self.latest(resource, key)
        if previous is None:
            raise KeyError(f"{resource.group_resource} {key}")
        record = record_of(resource, key, self.accepted + 1, previous.obj if obj is None else obj)
        self._accept(Event(type=EventType.DELETED, record=record, previous=previous))
        return record

    def _accept(self, event: Event) -> None:
        self.accepted = event.revision
        self._pending.append(event)
        self._overlay[(event.record.resource.group_resource, event.record.key)] = event

    # Durability

    def pending(self, after: int) -> list[Event]:
        """Accepted events above `after` that are not published, oldest first."""
        return [event for event in self._pending if event.revision > after]

    def publish(self, upto: int) -> list[Event]:
        """Make accepted events up to a revision visible, now that they are durable; returns them, oldest first."""
        published: list[Event] = []
        while self._pending and self._pending[0].revision <= upto:
            event = self._pending.popleft()
            record = event.record
            name = (record.resource.group_resource, record.key)
            if self._overlay[name] is event:
                del self._overlay[name]
            self._append(event)
            published.append(event)
            self.revision = event.revision
        return published

    def abandon(self) -> None:
        """Forget everything accepted and not published: the disk did not take it."""
        self._pending.clear()
        self._overlay.clear()
        self.accepted = self.revision

    def compact(self) -> Compaction | None:
        """Drop the oldest events where there are too many (by count or by bytes); None where nothing is due."""
        if len(self._log) <= self._max_events and self._log_bytes <= self._max_bytes:
            return None
        # Down to nine tenths, so that this is not due again at the next write.
        keep, keep_bytes = self._max_events * 9 // 10, self._max_bytes * 9 // 10
        dropped: list[Event] = []
        while len(self._log) > max(keep, 1) or (self._log_bytes > keep_bytes and len(self._log) > 1):
            event = self._log.popleft()
            self._log_bytes -= len(event.record.json)
            dropped.append(event)
        if not dropped:
            return None
        self.floor = dropped[-1].revision
        for name in {event.record.resource.group_resource for event in dropped}:
            collection = self._collections[name]
            count = bisect_right(collection.events, self.floor, key=_revision)
            collection.floor = collection.events[count - 1].revision
            del collection.events[:count]
        return Compaction(floor=self.floor, revisions=tuple(_superseded(dropped)))

    def restore(self, records: Iterable[tuple[Record, bool]], *, floor: int) -> None:
        """Fill an empty state from what the disk holds: (record, is a deletion), by revision.

        Records up to `floor` are the state watches may start from; those above it are events.
        """
        # Which resources the dropped events were of is not kept on disk, so after a restart the floor is everyone's.
        self.floor = self.revision = self._first_floor = floor
        for record, deleted in records:
            collection = self._collection(record.resource)
            previous = collection.records.get(record.key)
            kind = EventType.DELETED if deleted else EventType.MODIFIED if previous else EventType.ADDED
            event = Event(type=kind, record=record, previous=previous)
            if record.revision > floor:
                self._append(event)
                self.revision = record.revision
            else:
                collection.apply(event)
        self.accepted = self.revision

    def _append(self, event: Event) -> None:
        collection = self._collection(event.record.resource)
        collection.apply(event)
        collection.events.append(event)
        self._log.append(event)
        self._log_bytes += len(event.record.json)

    def _collection(self, resource: Resource) -> _Collection:
        name = resource.group_resource
        collection = self._collections.get(name)
        if collection is None:
            collection = self._collections[name] = _Collection(self._first_floor)
        return collection


def _superseded(dropped: Iterable[Event]) -> Iterator[int]:
    """Revisions that neither the state at the floor nor any event above it needs."""
    for event in dropped:
        if event.previous is not None:
            yield event.previous.revision
        if event.type is EventType.DELETED:
            yield event.revision
