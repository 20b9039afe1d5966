"""A watch as a value: where it stands in the log, and the lines it has to send next. No I/O, no clock.

It pulls: it keeps no queue of its own, only a revision up to which its client has everything. A slow client falls
behind the log's floor one day and is told so with a 410, however slow it is; memory stays bounded by the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from fairway.api.resources import Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.apiserver.revisions import CompactedError, Event, EventType, Record, Revisions, record_of
from fairway.apiserver.selectors import Selection

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""Annotation of the bookmark after the last initial event (KEP-3157)."""

_EVENTS_AT_ONCE = 500
"""So that one turn of the event loop stays short, and one client's share of memory small."""

ObjectEncoder = Callable[[Record, datetime], bytes]
"""A record as it stands in an event's `object`; Tables show ages, so it takes the time."""


@dataclass(slots=True, kw_only=True)
class WatchStream:
    """One watch.

    cursor: the revision up to which everything was sent. initial: objects still to be sent as ADDED, the state at
    `cursor`. announce_end: the bookmark that ends them is due. allow_bookmarks: others are welcome too.
    encode, encode_bookmark: objects in the form the client asked for. timeout_s: when the server ends it.
    ended: nothing follows; an ERROR was the last line.
    """

    resource: Resource
    selection: Selection
    cursor: int
    encode: ObjectEncoder
    encode_bookmark: Callable[[Object], bytes]
    initial: list[Record] = field(default_factory=list)
    announce_end: bool = False
    allow_bookmarks: bool = False
    timeout_s: float
    ended: bool = False
    _sent: int = 0

    def read(self, revisions: Revisions, now: datetime) -> bytes:
        """The next lines, some hundred at most; b"" when the client has everything published so far."""
        if self.ended:
            return b""
        if self._sent < len(self.initial):
            chunk = self.initial[self._sent : self._sent + _EVENTS_AT_ONCE]
            self._sent += len(chunk)
            return b"".join(_line(EventType.ADDED.value, self.encode(record, now)) for record in chunk)
        self.initial, self._sent = [], 0
        if self.announce_end:
            self.announce_end = False
            return self._bookmark_line({INITIAL_EVENTS_END: "true"})
        return self._read_events(revisions, now)

    def bookmark(self, revisions: Revisions) -> bytes:
        """Lines that bring the client up to date, the last a bookmark if it wants any.

        To be called when `read` has just returned b"": everything published was sent.
        """
        if self.ended or not self.allow_bookmarks:
            return b""
        self.cursor = max(self.cursor, revisions.revision)
        return self._bookmark_line({})

    def _read_events(self, revisions: Revisions, now: datetime) -> bytes:
        if self.cursor > revisions.revision:
            # Every revision given out is durable and none is given twice, so this one is of another server's history
            # (a lab made anew at the same address). Waiting for it to come would leave the client's cache stale.
            self.ended = True
            message = f"resource version {self.cursor} lies ahead of this server's newest, {revisions.revision}"
            return error_line(ApiError(410, "Expired", message))
        while True:
            try:
                events = revisions.events(self.resource, self.cursor, limit=_EVENTS_AT_ONCE)
            except CompactedError as error:
                self.ended = True
                return error_line(ApiError(410, "Expired", str(error)))
            if not events:
                return b""
            self.cursor = events[-1].revision
            lines = b"".join(self._lines(events, now))
            if lines:
                return lines

    def _lines(self, events: Iterable[Event], now: datetime) -> Iterable[bytes]:
        for event in events:
            seen = self._seen(event, now)
            if seen is not None:
                yield seen

    def _seen(self, event: Event, now: datetime) -> bytes | None:
        """An event as this watch sees it: an object that enters the selection is ADDED, one that leaves is DELETED."""
        record, previous = event.record, event.previous
        after = event.type is not EventType.DELETED and self.selection.matches(record.key, record.obj)
        before = previous is not None and self.selection.matches(previous.key, previous.obj)
        if after:
            return _line((EventType.MODIFIED if before else EventType.ADDED).value, self.encode(record, now))
        if not before or previous is None:
            return None
        if event.type is EventType.DELETED:
            return _line(EventType.DELETED.value, self.encode(record, now))
        # The state it had while it was selected, under the revision of the change that took it out.
        left = record_of(previous.resource, previous.key, event.revision, previous.obj)
        return _line(EventType.DELETED.value, self.encode(left, now))

    def _bookmark_line(self, annotations: dict[str, str]) -> bytes:
        metadata: Object = {"resourceVersion": str(self.cursor)}
        if annotations:
            metadata["annotations"] = annotations
        bookmark = {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        return _line("BOOKMARK", self.encode_bookmark(bookmark))


def error_line(error: ApiError) -> bytes:
    """The ERROR event that ends a watch."""
    return _line("ERROR", msgspec.json.encode(error.to_json()))


def _line(kind: str, encoded: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), encoded)
