"""The store on disk: what is acknowledged is there, whatever happens after."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.api.resources import CONFIG_MAPS, LEASES
from fairway.api.status import ApiError
from fairway.api.types import Key, Object
from fairway.apiserver.revisions import CompactedError, EventType, Revisions
from fairway.apiserver.store import Store
from fairway.base.errors import Refused


def config_map(name: str, **labels: str) -> Object:
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
    }


def key(name: str) -> Key:
    return Key("default", name)


async def put(store: Store, name: str, **labels: str) -> int:
    record = store.revisions.put(CONFIG_MAPS, key(name), config_map(name, **labels))
    await store.commit()
    return record.revision


def state(store: Store) -> dict[str, int]:
    return {record.key.name: record.revision for record in store.revisions.records(CONFIG_MAPS)}


async def test_what_was_committed_is_there_after_reopening_with_its_revisions(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db")
    await put(store, "a", x="1")
    await put(store, "b")
    await put(store, "a", x="2")
    store.revisions.remove(CONFIG_MAPS, key("b"))
    await store.commit()
    await store.close()
    again = await Store.open(tmp_path / "data.db")
    assert state(again) == {"a": 3}
    assert (again.revisions.revision, again.revisions.accepted, again.revisions.floor) == (4, 4, 0)
    found = again.revisions.get(CONFIG_MAPS, key("a"))
    assert found is not None
    assert found.obj == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "a", "namespace": "default", "labels": {"x": "2"}, "resourceVersion": "3"},
    }
    assert await put(again, "c") == 5
    await again.close()


async def test_a_watch_from_before_a_restart_goes_on_after_it(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db")
    await put(store, "a", x="1")
    await put(store, "a", x="2")
    store.revisions.remove(CONFIG_MAPS, key("a"))
    await store.commit()
    before = [(event.type, event.revision, event.record.obj) for event in store.revisions.events(CONFIG_MAPS, 1)]
    await store.close()
    again = await Store.open(tmp_path / "data.db")
    events = again.revisions.events(CONFIG_MAPS, 1)
    assert [(event.type, event.revision, event.record.obj) for event in events] == before
    assert [event.type for event in events] == [EventType.MODIFIED, EventType.DELETED]
    assert events[0].previous is not None
    assert events[0].previous.obj["metadata"]["labels"] == {"x": "1"}
    await again.close()


async def test_the_log_survives_compaction_and_restart_together(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db", revisions=Revisions(max_events=10))
    await put(store, "kept", x="old")
    await put(store, "gone")
    store.revisions.remove(CONFIG_MAPS, key("gone"))
    await store.commit()
    for turn in range(30):
        await put(store, "busy", turn=str(turn))
    await store.close()
    floor = store.revisions.floor
    assert floor > 3
    again = await Store.open(tmp_path / "data.db", revisions=Revisions(max_events=10))
    assert state(again) == {"kept": 1, "busy": 33}
    assert again.revisions.floor == floor
    with pytest.raises(CompactedError):
        again.revisions.events(CONFIG_MAPS, floor - 1)
    assert [event.revision for event in again.revisions.events(CONFIG_MAPS, floor)] == list(range(floor + 1, 34))
    await again.close()
    rows = sqlite3.connect(tmp_path / "data.db").execute("SELECT count(*) FROM revisions").fetchone()[0]
    # The log, the state at its floor, and nothing else.
    assert rows == (33 - floor) + 2


async def test_many_writers_share_a_transaction_and_all_are_acknowledged_in_order(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db")
    revisions: list[int] = []

    async def write(number: int) -> None:
        revisions.append(await put(store, f"n{number}"))

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(write(number))
    assert revisions == list(range(1, 201))
    assert len(state(store)) == 200
    await store.close()


async def test_commit_returns_at_once_where_nothing_waits(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db")
    await store.commit()
    assert store.revisions.revision == 0
    await store.close()


async def test_closing_writes_what_was_accepted(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db")
    store.revisions.put(CONFIG_MAPS, key("a"), config_map("a"))
    await store.close()
    again = await Store.open(tmp_path / "data.db")
    assert state(again) == {"a": 1}
    await again.close()


async def test_waiting_for_events_ends_with_an_event_of_that_resource(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(store.wait_for_events(CONFIG_MAPS, 0))
        anything = group.create_task(store.wait_for_change(0))
        store.revisions.put(LEASES, key("l"), {"metadata": {"name": "l", "namespace": "default"}})
        await store.commit()
        await anything
        assert not waiting.done()
        await put(store, "a")
        await waiting
    await store.wait_for_events(CONFIG_MAPS, 1)
    await store.close()


async def test_a_write_the_disk_does_not_take_is_refused_and_forgotten(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db")
    await put(store, "a")
    rebuilt: list[str] = []
    store.on_abandon = lambda: rebuilt.append("rebuilt")
    connection = store._connection
    connection.execute("PRAGMA max_page_count = 1")
    pages = connection.execute("PRAGMA max_page_count").fetchone()[0]
    store.revisions.put(CONFIG_MAPS, key("big"), config_map("big", filler="x" * 4096 * (pages + 8)))
    with pytest.raises(ApiError) as caught:
        await store.commit()
    assert caught.value.code == 500
    assert caught.value.message.startswith("Internal error occurred: the store did not take the write: ")
    assert "full" in caught.value.message
    assert rebuilt == ["rebuilt"]
    assert state(store) == {"a": 1}
    # A full disk may have room again: the next write is tried, under the revision that was never used.
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await put(store, "b") == 2
    await store.close()


class BrokenConnection:
    """A connection whose flush fails, as with a dying disk."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real = real
        self.in_transaction = False

    def execute(self, statement: str, *arguments: object) -> object:
        if statement == "COMMIT":
            self.real.execute("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return self.real.execute(statement, *arguments)

    def executemany(self, statement: str, rows: object) -> object:
        return self.real.executemany(statement, rows)

    def close(self) -> None:
        self.real.close()


async def test_after_a_failed_flush_no_write_is_trusted_until_the_file_is_opened_anew(tmp_path: Path):
    store = await Store.open(tmp_path / "data.db")
    await put(store, "a")
    real = store._connection
    store._connection = BrokenConnection(real)
    with pytest.raises(ApiError):
        await put(store, "b")
    store._connection = real
    with pytest.raises(ApiError, match="disk I/O error"):
        await put(store, "c")
    assert state(store) == {"a": 1}
    assert store.revisions.latest(CONFIG_MAPS, key("c")) is None
    await store.close()
    again = await Store.open(tmp_path / "data.db")
    assert state(again) == {"a": 1}
    await again.close()


# Files that are not ours, or not whole


async def test_a_damaged_file_is_refused_with_the_way_out(tmp_path: Path):
    path = tmp_path / "data.db"
    store = await Store.open(path)
    for number in range(200):
        await put(store, f"n{number}", filler="x" * 500)
    await store.close()
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 6] = os.urandom(4096 * 3)
    path.write_bytes(data)
    with pytest.raises(Refused, match="is damaged") as caught:
        await Store.open(path)
    assert str(path) in str(caught.value)
    assert "put a good copy in its place, or remove it to start empty" in str(caught.value)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    path = tmp_path / "data.db"
    path.write_text("hello " * 1000)
    with pytest.raises(Refused, match="is damaged"):
        await Store.open(path)
    assert path.read_text() == "hello " * 1000


async def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "data.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(Refused, match="no store of an API server"):
        await Store.open(path)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


async def test_a_store_that_is_open_elsewhere_is_refused(tmp_path: Path):
    path = tmp_path / "data.db"
    store = await Store.open(path)
    await put(store, "a")
    with pytest.raises(Refused, match="in use by another API server"):
        await Store.open(path)
    await store.close()


async def test_a_store_of_a_newer_version_is_refused(tmp_path: Path):
    path = tmp_path / "data.db"
    store = await Store.open(path)
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Refused, match="is of version 99"):
        await Store.open(path)


async def test_a_store_in_a_directory_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(Refused, match="cannot open the store"):
        await Store.open(tmp_path / "none" / "data.db")


# Crashes

WRITER = """
import asyncio, sys
from pathlib import Path
from fairway.api.resources import CONFIG_MAPS
from fairway.api.types import Key
from fairway.apiserver.revisions import Revisions
from fairway.apiserver.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]), revisions=Revisions(max_events=50))
    async def write(lane):
        number = 0
        while True:
            name = f"l{lane}-n{number % 7}"
            body = {"metadata": {"name": name, "namespace": "default", "labels": {"value": str(number)}}}
            record = store.revisions.put(CONFIG_MAPS, Key("default", name), body)
            await store.commit()
            print(name, number, record.revision, flush=True)
            number += 1
    async with asyncio.TaskGroup() as group:
        for lane in range(4):
            group.create_task(write(lane))

asyncio.run(main())
"""


def run_writer(path: Path, lines_wanted: int) -> list[str]:
    """The whole lines a writer printed before and until it was killed, each an acknowledged write."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(lines_wanted)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    return [line for line in lines if line.endswith("\n")]


async def test_every_acknowledged_write_survives_kill_9_and_revisions_never_go_back(tmp_path: Path):
    path = tmp_path / "data.db"
    highest = 0
    for lines_wanted in (1, 40, 333):
        acknowledged: dict[str, tuple[str, int]] = {}
        for line in await asyncio.to_thread(run_writer, path, lines_wanted):
            name, number, revision = line.split()
            acknowledged[name] = (number, int(revision))
            highest = max(highest, int(revision))
        store = await Store.open(path, revisions=Revisions(max_events=50))
        assert len(acknowledged) >= min(lines_wanted, 4)
        assert store.revisions.revision >= highest
        for name, (number, revision) in acknowledged.items():
            record = store.revisions.get(CONFIG_MAPS, key(name))
            assert record is not None, f"{name} was acknowledged at {revision} and is lost"
            assert record.revision >= revision
            if record.revision == revision:
                assert record.obj["metadata"]["labels"] == {"value": number}
        highest = store.revisions.revision
        await store.close()
