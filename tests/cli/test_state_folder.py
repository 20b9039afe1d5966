"""A state folder that is damaged, or another version's, is refused by every verb with the way out, and stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairway.base.errors import Refused
from fairway.cli.verbs import cli
from fairway.cluster.state import FORMAT, LabRecord, LabState
from fairway.fabric.init import process_start_time
from fairway.fabric.unixsocket import listen

VERBS = [
    ("up", "--name", "x"),
    ("demo", "--name", "x"),
    ("status", "--name", "x"),
    ("exec", "--name", "x", "mypc", "true"),
    ("shell", "--name", "x", "mypc"),
    ("rules", "--name", "x", "myk8s-worker"),
    ("kubeconfig", "--name", "x"),
    ("doctor", "--name", "x"),
    ("fault", "list", "--name", "x"),
    ("fault", "cut", "mypc", "--name", "x"),
    ("fault", "undo", "--all", "--name", "x"),
]

OUT = "take it down with: fairway down --name x"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabState]:
    """The folder of a lab that is up, as far as its record, its socket and its kubeconfig tell."""
    monkeypatch.setenv("FAIRWAY_STATE_DIR", str(tmp_path))
    state = LabState.of("x")
    state.create()
    start_time = process_start_time(os.getpid())
    state.write_record(LabRecord(name="x", pid=os.getpid(), start_time=start_time, api="", created=""))
    state.kubeconfig.write_text("current-context: a\n")
    with listen(state.socket):
        yield state


def run(verb: tuple[str, ...]) -> str:
    """What a verb is refused with."""
    with pytest.raises(Refused) as refused:
        cli.main(list(verb), standalone_mode=False)
    return str(refused.value)


def rewritten(state: LabState, **fields: object) -> None:
    file = state.folder / "lab.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def other_version(state: LabState) -> str:
    rewritten(state, format=FORMAT + 1, nodes=["new"])
    return (
        f"lab 'x' is of another version of fairway (format {FORMAT + 1} in {state.folder}/lab.json, this one's is "
        f"{FORMAT}): {OUT}"
    )


def first_version(state: LabState) -> str:
    file = state.folder / "lab.json"
    record = json.loads(file.read_text())
    del record["format"]
    file.write_text(json.dumps(record))
    return f"lab 'x' is of another version of fairway (format 1 in {file}, this one's is {FORMAT}): {OUT}"


def garbled(state: LabState) -> str:
    (state.folder / "lab.json").write_bytes(b'{"name": "x", "pid": \xff')
    return f"{state.folder}/lab.json is damaged "


def without_a_field(state: LabState) -> str:
    (state.folder / "lab.json").write_text('{"name": "x"}')
    return f"{state.folder}/lab.json is damaged "


def a_folder(state: LabState) -> str:
    (state.folder / "lab.json").unlink()
    (state.folder / "lab.json").mkdir()
    return f"{state.folder}/lab.json is a folder, no file: {OUT}"


def lost(state: LabState) -> str:
    (state.folder / "lab.json").unlink()
    return f"lab 'x' runs, but its {state.folder}/lab.json is lost: {OUT}"


RECORDS = [other_version, first_version, garbled, without_a_field, a_folder, lost]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("damage", RECORDS)
def test_a_record_that_cannot_be_used_is_refused(
    state: LabState, damage: Callable[[LabState], str], verb: tuple[str, ...]
) -> None:
    begins = damage(state)
    before = contents(state)
    said = run(verb)
    assert said.startswith(begins)
    assert said.endswith(OUT)
    assert contents(state) == before


def contents(state: LabState) -> list[tuple[str, bytes]]:
    files = [path for path in sorted(state.folder.rglob("*")) if path.is_file()]
    return [(str(path), path.read_bytes()) for path in files]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb[0] not in ("up", "demo")], ids=" ".join)
@pytest.mark.parametrize("name", ["kubeconfig", "init.sock"])
def test_another_file_that_is_lost_is_refused(state: LabState, name: str, verb: tuple[str, ...]) -> None:
    (state.folder / name).unlink()
    assert run(verb) == f"lab 'x' runs, but its {state.folder}/{name} is lost: {OUT}"


@pytest.mark.parametrize("verb", [("kubeconfig", "--name", "x"), ("doctor", "--name", "x")], ids=" ".join)
@pytest.mark.parametrize("text", ["", "{", "current-context: a", "\udcff"])
def test_a_damaged_kubeconfig_is_refused(state: LabState, text: str, verb: tuple[str, ...]) -> None:
    state.kubeconfig.write_bytes(text.encode("utf-8", "surrogateescape"))
    said = run(verb)
    assert said.startswith("lab 'x' has no kubeconfig that can be used (")
    assert str(state.kubeconfig) in said
    assert said.endswith(OUT)


@pytest.mark.parametrize("damage", RECORDS)
def test_down_is_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[LabState], str]
) -> None:
    """Of a lab of any version, whatever is left of its folder; also where the mark of a lab's folder is gone."""
    monkeypatch.setenv("FAIRWAY_STATE_DIR", str(tmp_path))
    state = LabState.of("x")
    state.create()
    answers = (
        f"import socket, time; s = socket.socket(1); s.bind({str(state.socket)!r}); s.listen(); "
        "print(flush=True); time.sleep(100)"
    )
    first = subprocess.Popen([sys.executable, "-c", answers], stdout=subprocess.PIPE)
    with first:
        assert first.stdout is not None
        first.stdout.readline()
        start_time = process_start_time(first.pid)
        state.write_record(LabRecord(name="x", pid=first.pid, start_time=start_time, api="", created=""))
        damage(state)
        (state.folder / ".fairway-lab").unlink()
        cli.main(["down", "--name", "x"], standalone_mode=False)
        assert first.wait(10) < 0
    assert not state.folder.exists()


def test_a_folder_of_somebody_else_is_not_taken_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRWAY_STATE_DIR", str(tmp_path))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "precious").touch()
    for verb in (("down", "--name", "x"), ("up", "--name", "x")):
        assert run(verb).startswith(f"{tmp_path}/x is not the folder of a lab, and stays as it is: ")
    assert (tmp_path / "x" / "precious").exists()
