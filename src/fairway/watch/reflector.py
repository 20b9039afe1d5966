"""List+watch as a state machine: what to ask the server next, and what each answer changes. Pure.

The server's promises this rests on (Kubernetes API concepts, "Efficient detection of changes"; client-go
`tools/cache/reflector.go`): a list is a state at its resourceVersion; a watch from a resourceVersion sends every later
change once and in order; a BOOKMARK promises that all changes up to it were sent; 410 or an ERROR event means that the
history is gone and only a new list helps.

The list is a plain one, not a streamed one (`sendInitialEvents`): servers before 1.32 have none, and replacing the
cache as a whole needs the whole list anyway.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from fairway.api.status import ApiError
from fairway.api.types import Key, Object, key_of
from fairway.base.errors import FairwayError

T = TypeVar("T")

ANY_VERSION = "0"
"""List whatever the server has at hand."""
NEWEST_VERSION = ""
"""List the newest state, read consistently."""

_STREAM_ERROR = "StreamError"
"""Our own reason, for an ERROR event other than 410."""
_SHORT_WATCH_S = 1.0
"""A watch that ends sooner without a word counts as failed, as in client-go: else a broken server makes us spin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T]):
    """An object appeared (previous None), changed, or went (current None)."""

    key: Key
    previous: T | None
    current: T | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait after consecutive failures, in seconds.

    The n-th failure waits initial_s * factor^(n-1), at most limit_s, lengthened by up to `jitter` of itself at random,
    so that the agents of a cluster do not come back in step.
    """

    initial_s: float = 0.1
    factor: float = 2.0
    limit_s: float = 30.0
    jitter: float = 1.0

    def delay_s(self, failures: int, chance: float) -> float:
        """The wait after so many failures; 0 after none. chance: a random number in [0, 1)."""
        if failures <= 0:
            return 0.0
        # 64 doublings are far beyond any limit; a larger power could overflow.
        wait = min(self.limit_s, self.initial_s * self.factor ** min(failures - 1, 64))
        return min(self.limit_s, wait * (1 + self.jitter * chance))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """List at this resourceVersion, after a wait."""

    resource_version: str
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """Watch from this resourceVersion, after a wait."""

    resource_version: str
    after_s: float


Request = ListRequest | WatchRequest


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    version: str
    uid: str
    value: T


class Reflector(Generic[T]):
    """The state of one resource at one server, and how to follow it.

    Ask `next_request`; report what came of it: `listed`, `event` (while `watching`), `ended` or `failed`.
    decode: an object's typed form; an object it refuses (ValueError, TypeError, LookupError, FairwayError) is left out
    and remembered in `unreadable`, so that one bad object does not keep the others away.
    """

    def __init__(
        self,
        decode: Callable[[Object], T],
        *,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._decode = decode
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._entries: dict[Key, _Entry[T]] = {}
        self._objects: dict[Key, T] = {}
        self._failures = 0
        self._wait_due = False
        self._progress = False
        self._list_version = ANY_VERSION
        self._empty_seen = False
        self.objects: Mapping[Key, T] = MappingProxyType(self._objects)
        self.unreadable: dict[Key, str] = {}
        self.synced = False
        self.watching = False
        self.position = ""

    def next_request(self) -> Request:
        """What to ask the server now, and how long to wait before."""
        after_s = self._backoff.delay_s(self._failures, self._chance()) if self._wait_due else 0.0
        if self.watching:
            return WatchRequest(resource_version=self.position, after_s=after_s)
        return ListRequest(resource_version=self._list_version, after_s=after_s)

    def listed(self, answer: Object) -> list[Change[T]]:
        """Replace the whole state by a List; what it does not hold is gone.

        Objects that did not change since are no Change. Deletions come first: they free names and addresses that
        new objects may have taken. An empty list after a state with objects must be said twice: a server that is
        just recovering must not make us drop everything.
        """
        items: Collection[Object] = answer.get("items") or ()
        if self._entries and not items and not self._empty_seen:
            self._empty_seen = True
            self._list_version = NEWEST_VERSION
            self._count_failure()
            return []
        self._empty_seen = False
        self._wait_due = False
        changes: list[Change[T]] = []
        if self._entries or self.unreadable:
            listed = {key_of(item) for item in items}
            changes += (change for key in [*self._entries] if key not in listed for change in self._remove(key))
            for key in self.unreadable.keys() - listed:
                del self.unreadable[key]
        for item in items:
            changes += self._put(key_of(item), item)
        self.position = answer.get("metadata", {}).get("resourceVersion") or ""
        self.synced = True
        self.watching = True
        return changes

    def event(self, kind: str, obj: Object) -> list[Change[T]]:
        """Take one event of the watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.

        Usually one Change; none for what is known already; two where an object was replaced by another of its name.
        After an ERROR `watching` is False: leave the stream.
        """
        if kind == "ERROR":
            self.failed(_stream_error(obj))
            return []
        version = _version_of(obj)
        key = key_of(obj) if kind != "BOOKMARK" else None
        if key is not None and self._is_stale(kind, key, version):
            return []
        self._failures, self._wait_due, self._progress = 0, False, True
        self._advance(version)
        if key is None:
            return []
        if kind == "DELETED":
            self.unreadable.pop(key, None)
            return self._remove(key)
        return self._put(key, obj)

    def ended(self, *, after_s: float) -> None:
        """The server ended the watch in good order, so long after it began: resume at once if it was of use."""
        if not self._progress and after_s < _SHORT_WATCH_S:
            self._count_failure()
        else:
            self._failures, self._wait_due, self._progress = 0, False, False

    def failed(self, error: FairwayError) -> None:
        """The request, or the stream, failed: resume where we are, or list anew where the history is gone."""
        self._count_failure()
        if not isinstance(error, ApiError):
            return
        if self.watching and (error.code in (400, 410) or error.reason in ("Expired", "Gone", _STREAM_ERROR)):
            self.watching = False
            # Not older than what is known: a list of an earlier state would undo changes already told.
            self._list_version = NEWEST_VERSION if error.code == 410 else self.position
        elif not self.watching and error.code in (400, 410, 504):
            # The server forgot that version, or has not come so far (and never may, after a restore).
            self._list_version = NEWEST_VERSION

    def _count_failure(self) -> None:
        self._failures += 1
        self._wait_due, self._progress = True, False

    def _is_stale(self, kind: str, key: Key, version: str) -> bool:
        """Whether the event tells what is known already: a server that resumes too early, or repeats itself."""
        entry = self._entries.get(key)
        if entry is not None:
            # A deletion may carry the version the object had.
            return _older(version, entry.version) or (kind != "DELETED" and version == entry.version)
        return kind != "DELETED" and _older(version, self.position)

    def _advance(self, version: str) -> None:
        if version and not _older(version, self.position):
            self.position = version

    def _put(self, key: Key, obj: Object) -> list[Change[T]]:
        entry = self._entries.get(key)
        version, uid = _version_of(obj), obj["metadata"].get("uid") or ""
        if entry is not None and entry.version == version and entry.uid == uid:
            return []
        try:
            value = self._decode(obj)
        except (ValueError, TypeError, LookupError, FairwayError) as error:
            self.unreadable[key] = str(error) or type(error).__name__
            return self._remove(key)
        self.unreadable.pop(key, None)
        replaced: list[Change[T]] = []
        if entry is not None and entry.uid != uid:
            replaced = self._remove(key)
            entry = None
        self._entries[key] = _Entry(version, uid, value)
        self._objects[key] = value
        return [*replaced, Change(key=key, previous=entry.value if entry else None, current=value)]

    def _remove(self, key: Key) -> list[Change[T]]:
        entry = self._entries.pop(key, None)
        if entry is None:
            return []
        del self._objects[key]
        return [Change(key=key, previous=entry.value, current=None)]


def _stream_error(status: Object) -> ApiError:
    """An ERROR event always ends the history; its Status may be of any kind."""
    error = ApiError.from_json(500, status)
    return ApiError(
        error.code, error.reason if error.code == 410 else _STREAM_ERROR, error.message, details=error.details
    )


def _version_of(obj: Object) -> str:
    return obj.get("metadata", {}).get("resourceVersion") or ""


def _older(version: str, than: str) -> bool:
    """Whether one resourceVersion is before another; versions that are no numbers have no order (KEP-5504)."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)
