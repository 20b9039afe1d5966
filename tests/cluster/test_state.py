"""A lab is found by what its folder says and by a living first process, and never mistaken for another."""

import os
import signal
from pathlib import Path

import pytest

from fairway.base.errors import Refused
from fairway.cluster.state import LabRecord, LabState, labs, state_root
from fairway.fabric.init import process_start_time
from fairway.fabric.unixsocket import listen


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
    for path in (state.socket, state.kubeconfig):
        path.touch()
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
    with pytest.raises(Refused, match=r"lab.json is damaged .* take it down with: fairway down --name x"):
        state.record()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"name":"x"}',
        b'{"name":"x","pid":"1","start_time":1,"api":"","created":""}',
    ],
)
def test_no_content_of_a_record_is_more_than_damaged(text: bytes) -> None:
    state = LabState.of("x")
    state.create()
    (state.folder / "lab.json").write_bytes(text)
    with pytest.raises(Refused, match=r"lab.json is damaged"):
        state.record()
    assert state.first_process() is None
    assert labs() == []
    state.create()
    assert state.record() is None


def test_a_lab_whose_record_is_lost_is_found_by_its_socket() -> None:
    state = LabState.of("x")
    state.create()
    with listen(state.socket):
        assert state.record() is None
        assert state.first_process() == (os.getpid(), process_start_time(os.getpid()))
        with pytest.raises(Refused, match=r"lab 'x' runs, but .*lab.json is lost: take it down with: fairway down"):
            state.living()
        (state.folder / "lab.json").write_text("{")
        assert state.first_process() == (os.getpid(), process_start_time(os.getpid()))
    assert state.first_process() is None


def test_a_folder_that_is_no_labs_is_not_removed() -> None:
    state = LabState.of("x")
    state.folder.mkdir(parents=True)
    (state.folder / "precious").touch()
    for step in (state.create, state.remove):
        with pytest.raises(Refused, match="is not the folder of a lab, and stays as it is"):
            step()
    assert (state.folder / "precious").exists()


def test_a_file_or_a_link_in_the_place_of_the_folder_stays(tmp_path: Path) -> None:
    file, link = LabState.of("file"), LabState.of("link")
    file.root.mkdir(parents=True)
    file.folder.touch()
    elsewhere = LabState(name="elsewhere", root=tmp_path)
    elsewhere.create()
    link.folder.symlink_to(elsewhere.folder)
    for state in (file, link):
        with pytest.raises(Refused, match="is not the folder of a lab"):
            state.create()
    assert file.folder.is_file()
    assert link.folder.is_symlink()
    assert elsewhere.pki.is_dir()


def test_what_a_killed_lab_left_is_removed_with_all_that_is_in_it() -> None:
    state = LabState.of("x")
    state.create()
    (state.logs / "pods").mkdir()
    (state.logs / "pods" / "0.log").touch()
    (state.folder / "current").symlink_to(state.logs)
    state.remove()
    assert not state.folder.exists()
    state.folder.mkdir()
    state.create()
    assert state.pki.is_dir()


@pytest.mark.parametrize("root", ["/etc/passwd", "/proc/none", "/sys", "/tmp/" + 300 * "x"])
def test_a_state_folder_that_cannot_be_written_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.setenv("FAIRWAY_STATE_DIR", root)
    with pytest.raises(Refused, match="FAIRWAY_STATE_DIR"), LabState.of("x").locked():
        pass
    with pytest.raises(Refused, match=r"FAIRWAY_STATE_DIR|there is no lab 'x'"):
        LabState.of("x").living()
    with pytest.raises(Refused, match="FAIRWAY_STATE_DIR"):
        LabState.of("x").create()


def test_a_relative_state_folder_is_one_of_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The lab's programs work in directories of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRWAY_STATE_DIR", "here/labs")
    assert LabState.of("x").folder == tmp_path / "here" / "labs" / "x"


def test_a_relative_xdg_folder_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FAIRWAY_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_root() == tmp_path / ".local" / "state" / "fairway"


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


@pytest.mark.parametrize("home", ["/proc/nonexistent", ""])
def test_a_user_without_a_home_gets_a_folder_of_his_own(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.delenv("FAIRWAY_STATE_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
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
