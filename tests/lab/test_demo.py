"""The main job: the study's thirteen claims hold, for root and for an ordinary user, with kubectl and without."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.lab.command import Answer, User
from tests.lab.ordinary import ORDINARY_UID, command_for_everyone, is_root
from tests.lab.traces import machine, processes_of

pytestmark = pytest.mark.lab

CLAIMS = [f"S{number}" for number in range(1, 14)]


def assert_all_hold(answer: Answer) -> None:
    assert answer.out, answer.err[-3000:]
    claims = answer.json()["claims"]
    failed = [check for claim in claims for check in claim["evidence"] if not check["ok"]]
    assert failed == [], answer.err[-3000:]
    assert [claim["id"] for claim in claims] == CLAIMS
    assert all(claim["ok"] and claim["evidence"] for claim in claims)
    assert answer.code == 0


def test_the_thirteen_claims_hold_and_nothing_is_left(user: User) -> None:
    before, running = machine(), processes_of(user)
    assert_all_hold(user.fairway("demo", "--name", "demo-kubectl", "-o", "json"))
    assert machine() == before
    assert processes_of(user) == running
    assert not (user.state / "demo-kubectl").exists()


def test_without_kubectl_the_same_requests_are_made_and_it_says_so(user: User, tmp_path: Path) -> None:
    for folder in os.environ["PATH"].split(":"):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if not program.name.startswith("kubectl") and not (tmp_path / program.name).exists():
                (tmp_path / program.name).symlink_to(program)
    answer = user.fairway("demo", "--name", "demo-requests", "-o", "json", PATH=str(tmp_path))
    assert "there is no kubectl on PATH" in answer.err
    assert_all_hold(answer)


def test_an_ordinary_user_gets_the_same() -> None:
    if not is_root():
        return  # then the first test was an ordinary user's
    folder = Path(tempfile.mkdtemp(prefix="fairway-nobody-"))
    try:
        folder.chmod(0o755)
        command = command_for_everyone(folder)
        state = folder / "state"
        state.mkdir()
        os.chown(state, ORDINARY_UID, ORDINARY_UID)
        nobody = User(state=state, uid=ORDINARY_UID, command=command)
        before = machine()
        assert_all_hold(nobody.fairway("demo", "-o", "json"))
        assert machine() == before
        assert processes_of(nobody) == []
    finally:
        shutil.rmtree(folder)
