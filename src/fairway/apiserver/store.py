"""The store on disk: one SQLite file, one writer thread, many writes to a flush.

Every accepted event is a row of `revisions`, written in the order of its revision; a transaction holds all that
waited while the one before it was flushed (group commit). `Store.commit` returns when everything accepted is on disk
(WAL, synchronous=FULL), and only then is it published to readers. Compaction deletes rows nobody can ask for in the
same transactions. At the start the file is checked, read once, and served from memory.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from fairway.api.resources import RESOURCES, Resource
from fairway.api.status import ApiError
from fairway.api.types import Key
from fairway.apiserver.revisions import Compaction, Event, EventType, Record, Revisions
from fairway.base.errors import Refused

APPLICATION_ID = 0x66776179
"""SQLite's application_id of our files: "fway"."""
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE revisions (
    revision INTEGER PRIMARY KEY,
    resource TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    json BLOB NOT NULL
) STRICT;
CREATE TABLE log (floor INTEGER NOT NULL) STRICT;
INSERT INTO log VALUES (0);
"""

_BY_NAME: dict[str, Resource] = {resource.group_resource: resource for resource in RESOURCES}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Work for the writer thread. generation: batches of a generation die with the first of it that fails."""

    generation: int
    upto: int
    events: tuple[Event, ...]
    compaction: Compaction | None


class Store:
    """Durable `Revisions`. Use from one event loop; `open` and `close` it there."""

    def __init__(self, revisions: Revisions, connection: sqlite3.Connection, path: Path) -> None:
        self.revisions = revisions
        self.on_abandon: Callable[[], None] = _nothing
        """Called after accepted writes were lost, to rebuild whatever was derived from them."""
        self._connection = connection
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._generation = 0
        self._sent = revisions.accepted
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._changed: dict[str, asyncio.Event] = {}
        self._any_changed = asyncio.Event()
        self._broken: str | None = None
        self._thread = threading.Thread(target=self._write_batches, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path, *, revisions: Revisions | None = None) -> Store:
        """Open or create the file and read it into memory.

        Raises Refused where the file is damaged, is no store, or is open elsewhere.
        """
        state = revisions or Revisions()
        return cls(state, await asyncio.to_thread(_open, path, state), path)

    async def close(self) -> None:
        """Write what was accepted, then close the file."""
        self._submit()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def commit(self) -> None:
        """Return when everything accepted so far is durable and published.

        Raises ApiError 500 where the disk did not take it; then nothing accepted since the last success remains.
        """
        if self._broken is not None and self.revisions.accepted != self.revisions.revision:
            self._abandon()
            raise _failure(self._broken)
        upto = self.revisions.accepted
        if upto == self.revisions.revision:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((upto, waiter))
        self._submit()
        await waiter

    async def wait_for_events(self, resource: Resource, after: int) -> None:
        """Return when an event of the resource above a revision is published, at once if there is one.

        Also returns, with no event, when `wake_all` is called.
        """
        if self.revisions.last_event(resource) <= after:
            await self._changed.setdefault(resource.group_resource, asyncio.Event()).wait()

    def wake_all(self) -> None:
        """Wake everyone who waits for events, to look whether there is a reason to go on."""
        for event in self._changed.values():
            _pulse(event)

    async def wait_for_change(self, after: int) -> None:
        """Return when any event above a revision is published, at once if there is one."""
        while self.revisions.revision <= after:
            await self._any_changed.wait()

    def _submit(self) -> None:
        events = self.revisions.pending(self._sent)
        compaction = self.revisions.compact()
        if not events and compaction is None:
            return
        if events:
            self._sent = events[-1].revision
        self._queue.put(
            _Batch(generation=self._generation, upto=self._sent, events=tuple(events), compaction=compaction)
        )

    # In the event loop, on behalf of the writer thread

    def _published(self, upto: int) -> None:
        for name in {event.record.resource.group_resource for event in self.revisions.publish(upto)}:
            _pulse(self._changed.get(name))
        _pulse(self._any_changed)
        while self._waiters and self._waiters[0][0] <= upto:
            _, waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)

    def _failed(self, reason: str, *, fatal: bool) -> None:
        self._abandon()
        if fatal:
            self._broken = reason
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            if not waiter.done():
                waiter.set_exception(_failure(reason))

    def _abandon(self) -> None:
        self._generation += 1
        self.revisions.abandon()
        self._sent = self.revisions.accepted
        self.on_abandon()

    # The writer thread

    def _write_batches(self) -> None:
        dead = -1
        running = True
        while running:
            batches, running = _drain(self._queue)
            live = [batch for batch in batches if batch.generation > dead]
            if not live:
                continue
            try:
                self._write(live)
            except sqlite3.Error as error:
                dead = live[-1].generation
                # A full disk may have room later. After a failed flush nobody knows what the kernel still holds of
                # the file, so no further write is trusted until it is opened anew (PostgreSQL's fsync lesson, 2018).
                fatal = getattr(error, "sqlite_errorcode", None) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG)
                self._in_loop(partial(self._failed, f"{self._path}: {error}", fatal=fatal))
            else:
                self._in_loop(partial(self._published, live[-1].upto))
        self._connection.close()

    def _in_loop(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # The loop is closed: nobody is left to tell.

    def _write(self, batches: list[_Batch]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)",
                (_row(event) for batch in batches for event in batch.events),
            )
            for batch in batches:
                if batch.compaction is not None:
                    _forget(self._connection, batch.compaction)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _drain(source: queue.SimpleQueue[_Batch | None]) -> tuple[list[_Batch], bool]:
    """Everything that waits, at least one; false where the end was asked for."""
    batches: list[_Batch] = []
    item = source.get()
    while item is not None:
        batches.append(item)
        try:
            item = source.get_nowait()
        except queue.Empty:
            return batches, True
    return batches, False


def _pulse(event: asyncio.Event | None) -> None:
    """Wake everyone who waits now, and nobody later."""
    if event is not None:
        event.set()
        event.clear()


def _nothing() -> None:
    return None


def _failure(reason: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: the store did not take the write: {reason}")


def _row(event: Event) -> tuple[int, str, str, str, int, bytes]:
    record = event.record
    deleted = int(event.type is EventType.DELETED)
    return (record.revision, record.resource.group_resource, *record.key, deleted, record.json)


def _forget(connection: sqlite3.Connection, compaction: Compaction) -> None:
    connection.executemany("DELETE FROM revisions WHERE revision = ?", ((one,) for one in compaction.revisions))
    connection.execute("UPDATE log SET floor = ?", (compaction.floor,))


def _open(path: Path, revisions: Revisions) -> sqlite3.Connection:
    is_new = not path.exists() or path.stat().st_size == 0
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise Refused(f"cannot open the store {path}: {error}") from error
    try:
        _configure(connection)
        if is_new:
            _create(connection, path)
        else:
            _check(connection, path)
        (floor,) = connection.execute("SELECT floor FROM log").fetchone()
        revisions.restore(_rows(connection, path), floor=floor)
    except sqlite3.Error as error:
        connection.close()
        raise _refusal(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _refusal(path: Path, error: sqlite3.Error) -> Refused:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Refused(f"the store {path} is in use by another API server: stop that one first")
    return _damaged(path, str(error))


def _damaged(path: Path, detail: str) -> Refused:
    return Refused(f"the store {path} is damaged ({detail}): put a good copy in its place, or remove it to start empty")


def _configure(connection: sqlite3.Connection) -> None:
    # Exclusive before the first access of the WAL: one process only, and no shared-memory file (sqlite.org/wal.html).
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _create(connection: sqlite3.Connection, path: Path) -> None:
    connection.executescript(
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {_SCHEMA} COMMIT;"
    )
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise Refused(f"{path} is an SQLite file but no store of an API server: give another --data path")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise Refused(f"the store {path} is of version {version}, this program reads {SCHEMA_VERSION}")
    (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if result != "ok":
        raise _damaged(path, " ".join(str(result).split()))


def _rows(connection: sqlite3.Connection, path: Path) -> Iterator[tuple[Record, bool]]:
    rows = connection.execute("SELECT revision, resource, namespace, name, deleted, json FROM revisions ORDER BY 1")
    for revision, name, namespace, object_name, deleted, encoded in rows:
        resource = _BY_NAME.get(name)
        if resource is None:
            raise Refused(f"the store {path} holds {name}, a resource this program does not know: use a newer one")
        try:
            obj = msgspec.json.decode(encoded)
        except msgspec.DecodeError as error:
            raise _damaged(path, f"revision {revision} of {name} {object_name}: {error}") from error
        whole = {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
        key = Key(namespace, object_name)
        yield Record(resource=resource, key=key, revision=revision, obj=whole, json=encoded), bool(deleted)
