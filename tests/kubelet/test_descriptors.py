"""Pipes and terminals in an event loop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios

from fairway.kubelet.descriptors import Pump, Reader, Writer, closing, pipe, resize, terminal


async def test_a_pump_passes_everything_on_and_tells_the_end() -> None:
    ours, theirs = pipe()
    seen: list[bytes] = []
    pump = Pump(ours, seen.append, lambda: seen.append(b"<end>"))
    os.write(theirs, b"hello")
    os.close(theirs)
    async with asyncio.timeout(10):
        await pump.ended.wait()

    assert b"".join(seen) == b"hello<end>"


async def test_a_pump_may_be_closed_early_and_twice() -> None:
    ours, theirs = pipe()
    pump = Pump(ours, lambda _: None)
    pump.close()
    pump.close()
    os.close(theirs)

    assert pump.ended.is_set()


async def test_what_was_written_before_a_pump_is_closed_is_passed_on() -> None:
    ours, theirs = pipe()
    seen: list[bytes] = []
    pump = Pump(ours, seen.append)
    os.write(theirs, b"last words")
    pump.close()
    os.close(theirs)

    assert seen == [b"last words"]


async def test_a_reader_is_silent_only_while_it_waits_for_what_is_not_there() -> None:
    ours, theirs = pipe()
    reader = Reader(ours)
    assert not reader.is_silent(), "nobody reads: what there is may still be to be told"
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(reader.read())
        await asyncio.sleep(0)
        assert reader.is_silent()
        os.write(theirs, b"x")
        assert not reader.is_silent()
    assert reading.result() == b"x"
    os.close(theirs)
    reader.close()


async def test_more_than_a_pipe_holds_is_written_as_it_is_read() -> None:
    ours, theirs = pipe()
    reader, writer = Reader(ours), Writer(theirs)
    data = os.urandom(1 << 20)

    async def write() -> bool:
        done = await writer.write(data)
        writer.close()
        return done

    read = bytearray()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        while piece := await reader.read():
            read += piece
    reader.close()

    assert writing.result() is True
    assert bytes(read) == data


async def test_a_writer_whose_reader_is_gone_says_so() -> None:
    ours, theirs = pipe()
    os.close(ours)
    writer = Writer(theirs)

    assert await writer.write(b"x") is False
    writer.close()
    assert await writer.write(b"x") is False


async def test_a_terminal_ends_like_a_pipe_and_has_a_size() -> None:
    ours, theirs = terminal()
    resize(ours, rows=24, columns=80)
    size = struct.unpack("HHHH", fcntl.ioctl(theirs, termios.TIOCGWINSZ, bytes(8)))
    with closing(theirs, theirs):
        os.write(theirs, b"prompt")
    reader = Reader(ours)
    async with asyncio.timeout(10):
        pieces = [await reader.read(), await reader.read()]
    reader.close()

    assert size[:2] == (24, 80)
    assert pieces == [b"prompt", b""]
