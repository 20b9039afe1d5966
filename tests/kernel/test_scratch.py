"""Scratch namespaces are others than the machine's own, and gone with whoever works there."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairway.base.errors import FairwayError
from fairway.cluster.scratch import in_child_of, in_scratch, in_scratches, network

pytestmark = pytest.mark.kernel


def net() -> str:
    return str(Path("/proc/self/ns/net").readlink())


def test_a_scratch_namespace_is_another_with_only_loopback() -> None:
    inside, links, run = in_scratch(lambda: (net(), socket.if_nameindex(), os.listdir("/run")))
    assert inside != net()
    assert [name for _, name in links] == ["lo"]
    assert run == []


def test_a_network_within_is_one_more_and_ends_with_its_block() -> None:
    def child() -> tuple[str, str, str, bool]:
        with network() as pid:
            inner = in_child_of(pid, net)
            held = str(Path(f"/proc/{pid}/ns/net").readlink())
        return net(), inner, held, Path(f"/proc/{pid}").exists()

    own, inner, held, left = in_scratch(child)
    assert own != inner == held
    assert not left


def test_what_goes_wrong_within_is_told() -> None:
    def refuse() -> None:
        raise FairwayError("this will not do")

    def crash() -> None:
        raise ZeroDivisionError

    with pytest.raises(FairwayError, match=r"^this will not do$"):
        in_scratch(refuse)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        in_scratch(crash)
    with pytest.raises(RuntimeError, match="was killed"):
        in_scratch(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_several_work_at_a_time_and_answer_in_their_order() -> None:
    """The first two are made before the first is heard, and the third only then."""
    made: list[int] = []

    def functions() -> Iterator[Callable[[], tuple[int, str]]]:
        for number in range(3):
            made.append(number)
            yield lambda number=number: (number, net())

    told = in_scratches(functions(), at_once=2)
    first = next(told)
    assert made == [0, 1]
    rest = list(told)
    assert [number for number, _ in (first, *rest)] == [0, 1, 2]
    assert net() not in {place for _, place in (first, *rest)}


def test_one_that_fails_ends_the_others() -> None:
    reading, writing = os.pipe()

    def refuse() -> None:
        raise FairwayError("this will not do")

    def tell_and_wait() -> None:
        os.close(reading)
        os.write(writing, b".")
        signal.pause()

    with pytest.raises(FairwayError, match=r"^this will not do$"):
        list(in_scratches([refuse, tell_and_wait], at_once=2))
    os.close(writing)
    with open(reading, "rb") as other:
        # It ends only when all who could write are gone.
        assert other.read() in (b"", b".")
