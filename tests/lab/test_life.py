"""A lab begins whole or not at all, ends with its first process, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.lab.command import User
from tests.lab.traces import machine, network_namespaces, processes_of, wait_until_gone

pytestmark = pytest.mark.lab


@pytest.fixture
def newcomer(tmp_path: Path) -> User:
    return User(state=tmp_path / "state")


def first_process(user: User, name: str) -> int:
    return int(json.loads((user.state / name / "lab.json").read_text())["pid"])


def test_kill_9_of_the_first_process_ends_everything(newcomer: User) -> None:
    before = machine()
    assert newcomer.fairway("up", "--name", "killed").code == 0
    running = processes_of(newcomer)
    assert len(running) > 10
    assert len(network_namespaces(running)) >= 6
    handle = os.pidfd_open(first_process(newcomer, "killed"))
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
    wait_until_gone(newcomer)
    assert machine() == before

    again = newcomer.fairway("up", "--name", "killed")
    assert again.code == 0, again.err
    assert newcomer.fairway("down", "--name", "killed").code == 0
    assert processes_of(newcomer) == []
    assert machine() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("stage", ["pki", "init.sock", "data/apiserver.db"])
def test_an_interrupted_up_leaves_nothing(newcomer: User, stage: str, number: signal.Signals) -> None:
    """Interrupted as soon as a file of each stage is there."""
    before = machine()
    folder = newcomer.state / "brief"
    up = newcomer.start("up", "--name", "brief")
    while not (folder / stage).exists():
        assert up.poll() is None, up.communicate()
    up.send_signal(number)
    _, said = up.communicate(timeout=30)
    assert up.returncode != 0
    if number is signal.SIGINT:
        assert up.returncode == 130
        assert said.splitlines()[-1] == "fairway: interrupted"
    wait_until_gone(newcomer)
    assert machine() == before
    if number is signal.SIGKILL:
        # Nobody was there to remove it; the next command that names the lab does.
        assert newcomer.fairway("down", "--name", "brief").code == 0
    assert not folder.exists()


def test_a_second_up_of_the_same_name_is_refused(lab: User) -> None:
    answer = lab.fairway("up")
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert "lab 'myk8s' is up already" in answer.err
    assert lab.fairway("status").code == 0


@pytest.mark.parametrize("verb", [["down"], ["status"], ["kubeconfig"], ["exec", "mypc", "true"]])
def test_a_lab_that_is_not_there_is_one_clear_line(newcomer: User, verb: list[str]) -> None:
    answer = newcomer.fairway(verb[0], "--name", "none", *verb[1:])
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert "there is no lab 'none'" in answer.err


def test_a_port_in_use_is_refused_before_anything_is_made(newcomer: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = newcomer.fairway("up", "--api-port", str(port))
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert f"127.0.0.1:{port} cannot be listened on" in answer.err
    assert not (newcomer.state / "myk8s").exists()


def test_labs_of_different_names_live_side_by_side(lab: User, newcomer: User) -> None:
    assert newcomer.fairway("up", "--name", "beside").code == 0
    for user, name in ((lab, "myk8s"), (newcomer, "beside")):
        answer = user.fairway("exec", "--name", name, "mypc", "--", "curl", "-sk", "https://172.18.0.3:6443/healthz")
        assert answer.out == "ok"
    assert newcomer.fairway("down", "--name", "beside").code == 0
    assert lab.fairway("status").code == 0


def test_a_dry_run_prints_the_steps_and_makes_nothing(newcomer: User) -> None:
    answer = newcomer.fairway("up", "--dry-run")
    assert answer.code == 0
    assert "172.18.0.3/16" in answer.out
    assert "10.10.2.0/24" in answer.out
    assert processes_of(newcomer) == []
    assert not newcomer.state.exists()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["upp"], 2, "there is no verb 'upp'; did you mean 'up'?"),
        (["xyzzy"], 2, "there is no verb 'xyzzy'; the verbs are: up, down"),
        (["up", "--name", "NO"], 1, "lab name 'NO' is not valid"),
        (["up", "--api-port", "70000"], 2, "70000 is not in the range"),
        (["exec", "mypc"], 2, "Missing argument 'COMMAND...'"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(newcomer: User, args: list[str], code: int, said: str) -> None:
    answer = newcomer.fairway(*args)
    assert answer.code == code
    assert said in answer.err
