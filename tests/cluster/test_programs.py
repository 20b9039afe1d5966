"""A lab's programs share their caller's memory, and never finish what he left unfinished in it."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fairway.cluster import programs
from tests.fabric.labs import lab

pytestmark = pytest.mark.kernel


def leave_garbage() -> int:
    """A socket that only a cycle of references keeps open, as a closed event loop keeps its own; its descriptor."""
    cycle: list[Any] = [socket.socket()]
    cycle.append(cycle)
    return int(cycle[0].fileno())


def test_what_the_caller_left_in_memory_closes_no_descriptor_of_a_program(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    os.mkfifo(answer)

    def program(config: Mapping[str, Any]) -> int:
        programs._start_logging()
        os.dup2(os.open(os.devnull, os.O_RDONLY), number)
        gc.collect()
        told = "open" if Path(f"/proc/self/fd/{number}").exists() else "closed"
        answer.write_text(told)
        return signal.pause() or 0

    gc.collect()
    gc.disable()
    try:
        number = leave_garbage()
        with lab(tmp_path, programs={"collector": program}):
            assert answer.read_text() == "open"
    finally:
        gc.enable()
        with pytest.warns(ResourceWarning):
            gc.collect()
