"""What a program wrote before it ended reaches the client, whoever is slow."""

from __future__ import annotations

import asyncio
import os

import pytest

from fairway.fabric.protocol import NOT_EXECUTABLE_CODE, NOT_FOUND_CODE, CannotExecute
from fairway.kubelet.descriptors import Reader, pipe
from fairway.kubelet.execution import not_started, wait_until_told


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("nope", NOT_FOUND_CODE, 'exec: "nope": executable file not found in $PATH'),
        ("/no/pe", NOT_FOUND_CODE, 'exec: "/no/pe": stat /no/pe: no such file or directory'),
        ("/etc/hosts", NOT_EXECUTABLE_CODE, "/etc/hosts: Permission denied"),
    ],
)
def test_a_program_that_does_not_start_is_told_of_as_by_a_container_runtime(
    program: str, code: int, words: str
) -> None:
    assert not_started(program, CannotExecute(f"{program}: Permission denied", exit_code=code)) == words


async def test_a_client_that_takes_its_time_still_gets_all_of_it() -> None:
    ours, theirs = pipe()
    reader, told, takes = Reader(ours), bytearray(), asyncio.Event()

    async def carry() -> None:
        while data := await reader.read():
            await takes.wait()
            told.extend(data)

    os.write(theirs, b"got hello")
    os.close(theirs)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(carry())
        waiting = group.create_task(wait_until_told({task: reader}))
        done, _ = await asyncio.wait({waiting}, timeout=1)
        assert not done, "it was given up while the client was slow"
        takes.set()
        await waiting
    reader.close()
    assert told == b"got hello"


async def test_an_output_that_somebody_else_holds_open_is_over_when_it_is_silent() -> None:
    ours, theirs = pipe()
    reader, told = Reader(ours), bytearray()

    async def carry() -> None:
        while data := await reader.read():
            told.extend(data)

    os.write(theirs, b"all there is")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(carry())
        await wait_until_told({task: reader})
        assert not task.done()
        os.close(theirs)
    reader.close()
    assert told == b"all there is"


async def test_a_program_without_outputs_is_told_at_once() -> None:
    await wait_until_told({})
