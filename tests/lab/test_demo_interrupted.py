"""A demo that loses its lab, or is interrupted, ends with one line, not with success, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.lab.command import User
from tests.lab.traces import machine, processes_of, wait_until_gone

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("whose", ["the lab's first process", "the demo itself"])
def test_killed_in_the_middle_it_leaves_nothing(tmp_path: Path, whose: str) -> None:
    before = machine()
    user = User(state=tmp_path / "state")
    demo = user.start("demo", "--name", "short")
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("S3 "):
            break
    if whose == "the demo itself":
        demo.send_signal(signal.SIGINT)
    else:
        os.kill(json.loads((user.state / "short" / "lab.json").read_text())["pid"], signal.SIGKILL)
    _, said = demo.communicate(timeout=60)
    assert demo.returncode == (130 if whose == "the demo itself" else 1)
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1, said
    wait_until_gone(user)
    assert processes_of(user) == []
    assert machine() == before
    assert not (user.state / "short").exists()
