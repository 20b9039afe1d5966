"""Log files: written, read, followed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from fairway.kubelet import logs
from fairway.kubelet.cri import LogOptions, Stream
from fairway.kubelet.logs import ContainerLog, PodLogs, options_since

SECOND = 1_000_000_000


def ticks() -> Iterator[int]:
    """A clock that stands at 0, then goes on a second at each look."""
    return (second * SECOND for second in count())


@pytest.fixture
async def log(tmp_path: Path) -> ContainerLog:
    clock = ticks()
    return ContainerLog(tmp_path / "web" / "0.log", now_ns=lambda: next(clock))


async def read(log: ContainerLog, options: LogOptions) -> bytes:
    return b"".join([piece async for piece in log.read(options)])


async def test_what_was_written_is_read(log: ContainerLog) -> None:
    out, err = log.splitter(Stream.STDOUT), log.splitter(Stream.STDERR)
    out.feed(b"one\ntwo\nthr")
    err.feed(b"oops\n")
    out.feed(b"ee\n")

    assert await read(log, LogOptions()) == b"one\ntwo\noops\nthree\n"
    assert (log.path.stat().st_mode & 0o777, log.path.read_text().count("stderr F oops")) == (0o600, 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (LogOptions(tail_lines=0), b""),
        (LogOptions(tail_lines=2), b"l8\nl9\n"),
        (LogOptions(tail_lines=99), b"".join(b"l%d\n" % n for n in range(10))),
        (LogOptions(limit_bytes=4), b"l0\nl"),
        (LogOptions(limit_bytes=0), b""),
        (LogOptions(tail_lines=2, limit_bytes=5), b"l8\nl9"),
        (LogOptions(since="1970-01-01T00:00:08.000000000Z"), b"l8\nl9\n"),
        (LogOptions(tail_lines=1, timestamps=True), b"1970-01-01T00:00:09.000000000Z l9\n"),
    ],
)
async def test_a_log_is_read_as_asked(log: ContainerLog, options: LogOptions, expected: bytes) -> None:
    out = log.splitter(Stream.STDOUT)
    for number in range(10):
        out.feed(b"l%d\n" % number)

    assert await read(log, options) == expected


async def test_the_tail_of_a_log_of_many_blocks_is_found(log: ContainerLog) -> None:
    out = log.splitter(Stream.STDOUT)
    out.feed(b"".join(b"%06d %s\n" % (number, b"x" * 100) for number in range(3000)))

    found = (await read(log, LogOptions(tail_lines=1500))).splitlines()

    assert (len(found), found[0][:6], found[-1][:6]) == (1500, b"001500", b"002999")


async def test_since_seconds_count_back_from_now() -> None:
    assert options_since(LogOptions(), 5, 65 * SECOND).since == "1970-01-01T00:01:00.000000000Z"
    assert options_since(LogOptions(), None, 0) == LogOptions()


async def test_a_follower_gets_what_comes_later_until_the_run_is_over(log: ContainerLog) -> None:
    out = log.splitter(Stream.STDOUT)
    out.feed(b"before\n")
    pieces: list[bytes] = []
    got = asyncio.Event()

    async def follow() -> None:
        async for piece in log.read(LogOptions(follow=True)):
            pieces.append(piece)
            got.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(follow())
        await got.wait()
        got.clear()
        out.feed(b"after\n")
        await got.wait()
        out.feed(b"last words")
        out.end()
        log.close()

    assert pieces == [b"before\n", b"after\n", b"last words\n"]


async def test_a_log_that_has_grown_starts_anew_and_followers_go_on(
    log: ContainerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 200)
    out = log.splitter(Stream.STDOUT)
    out.feed(b"first\n")
    pieces: list[bytes] = []
    got = asyncio.Event()

    async def follow() -> None:
        async for piece in log.read(LogOptions(follow=True)):
            pieces.append(piece)
            got.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(follow())
        await got.wait()
        out.feed(b"x" * 100 + b"\n")
        out.feed(b"y" * 100 + b"\n")
        log.close()

    assert b"".join(pieces) == b"first\n" + b"x" * 100 + b"\n" + b"y" * 100 + b"\n"
    assert log.path.stat().st_size < 200


async def test_the_current_and_the_previous_run_are_kept(tmp_path: Path) -> None:
    kept = PodLogs(tmp_path)
    for run in range(4):
        log = kept.open("default_web_u", "u", "web", run)
        log.splitter(Stream.STDOUT).feed(b"run %d\n" % run)
        log.close()
    current, previous = kept.find("u", "web", previous=False), kept.find("u", "web", previous=True)

    assert current is not None
    assert previous is not None
    assert await read(current, LogOptions()) == b"run 3\n"
    assert await read(previous, LogOptions()) == b"run 2\n"
    assert sorted(path.name for path in (tmp_path / "default_web_u" / "web").iterdir()) == ["2.log", "3.log"]


async def test_the_logs_of_a_pod_go_with_it(tmp_path: Path) -> None:
    kept = PodLogs(tmp_path)
    gone, stays = kept.open("default_web_u", "u", "web", 0), kept.open("default_db_v", "v", "db", 0)
    kept.remove("default_web_u", "u")

    assert kept.find("u", "web", previous=False) is None
    assert (gone.path.exists(), stays.path.exists()) == (False, True)
    kept.remove("default_db_v", "v")


async def test_a_container_that_never_ran_has_no_log(tmp_path: Path) -> None:
    assert PodLogs(tmp_path).find("u", "web", previous=False) is None
    assert PodLogs(tmp_path).find("u", "web", previous=True) is None
