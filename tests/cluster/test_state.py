"""A lab is found by what its folder says and by a living first process, and never mistaken for another."""

import os
import signal
from pathlib import Path

import pytest

from fairway.base.errors import Refused
from fairway.cluster.state import LabRecord, LabState, labs, state_root
from fairway.fabric.init import process_start_time


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRWAY_STATE_DIR", str(tmp_path / "state"))


def record_of(pid: int, start_time: int | None, *, name: str = "x") -> LabRecord:
    return LabRecord(name=name, pid=pid, start_time=start_time or 0, api="https://127.0.0.1:1", created="2026-11-23")


def test_a_lab_whose_first_process_lives_is_up() -> None:
    state = LabState.of("x")
    state.create()
    record = record_of(os.getpid(), process_start_time(os.getpid()))
    state.write_record(record)
    assert state.record() == state.living() == record
    assert labs() == [record]


def test_another_process_with_the_same_pid_is_not_the_lab() -> None:
    state = LabState.of("x")
    state.create()
    state.write_record(record_of(os.getpid(), (process_start_time(os.getpid()) or 0) + 1))
    assert state.record() is None
    assert labs() == []


def test_a_name_without_a_lab_is_refused_with_the_labs_there_are() -> None:
    other = LabState.of("other")
    other.create()
    other.write_record(record_of(os.getpid(), process_start_time(os.getpid()), name="other"))
    with pytest.raises(Refused, match="there is no lab 'x'; labs that are up: other"):
        LabState.of("x").living()


def test_a_damaged_record_is_refused_with_the_way_out() -> None:
    state = LabState.of("x")
    state.create()
    (state.folder / "lab.json").write_text("{")
    with pytest.raises(Refused, match=r"is damaged .* remove the folder"):
        state.record()


@pytest.mark.parametrize("name", ["", "-x", "x-", "X", "a/b", "..", "a" * 33, "a b", "a\n"])
def test_names_that_cannot_be_part_of_paths_and_host_names_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="is not valid"):
        LabState.of(name)


def test_a_name_is_held_by_one_command_at_a_time() -> None:
    state = LabState.of("x")
    with state.locked(), pytest.raises(Refused, match="brought up or down by another command"), state.locked():
        pass
    with state.locked():
        pass


def test_what_is_private_to_the_lab_is_private_to_its_user() -> None:
    state = LabState.of("x")
    state.create()
    assert {path.stat().st_mode & 0o777 for path in (state.folder, state.pki, state.logs)} == {0o700}


def test_a_user_without_a_home_gets_a_folder_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAIRWAY_STATE_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nonexistent")
    root = state_root()
    assert root == Path(f"/tmp/fairway-{os.getuid()}")
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_first_process_that_has_ended_but_is_not_reaped_is_not_up() -> None:
    state = LabState.of("x")
    state.create()
    pid = os.fork()
    if not pid:
        signal.pause()
    state.write_record(record_of(pid, process_start_time(pid)))
    assert state.record()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert state.record() is None
    os.waitpid(pid, 0)
