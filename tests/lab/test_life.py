"""A lab begins whole or not at all, ends with its first process, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from fairway.fabric.unixsocket import peer_pid
from tests.lab.command import FAIRWAY, User
from tests.lab.traces import machine, network_namespaces, processes_of, wait_until_gone

pytestmark = pytest.mark.lab


@pytest.fixture
def newcomer(tmp_path: Path) -> User:
    return User(state=tmp_path / "state")


def first_process(user: User, name: str) -> int:
    return int(json.loads((user.state / name / "lab.json").read_text())["pid"])


def wait_for(command: subprocess.Popen[str], file: Path) -> None:
    """Until the command has made the file."""
    while not file.exists():
        assert command.poll() is None, command.communicate()


def in_namespace_of(first: int, pid: int) -> int:
    """The host's number of a process of a lab, by its number in the lab."""
    own = os.readlink(f"/proc/{first}/ns/pid")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "ns" / "pid") != own:
                continue
            status = (entry / "status").read_text()
        except OSError:
            continue
        if next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1] == str(pid):
            return int(entry.name)
    raise LookupError(pid)


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("stage", ["pki", "init.sock", "data/apiserver.db"])
def test_an_interrupted_up_leaves_nothing(newcomer: User, stage: str, number: signal.Signals) -> None:
    """Interrupted as soon as a file of each stage is there."""
    before = machine()
    folder = newcomer.state / "brief"
    up = newcomer.start("up", "--name", "brief")
    wait_for(up, folder / stage)
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


def test_a_first_process_killed_during_up_ends_it_at_once(newcomer: User) -> None:
    folder = newcomer.state / "brief"
    up = newcomer.start("up", "--name", "brief")
    wait_for(up, folder / "data" / "apiserver.db")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(folder / "init.sock"))
        handle = os.pidfd_open(peer_pid(connection))
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
    _, said = up.communicate(timeout=30)
    assert up.returncode == 1
    assert said.startswith("fairway: lab 'brief' did not come up: ")
    assert "first process" in said.splitlines()[0]
    assert "ended" in said.splitlines()[0]
    assert str(folder) not in said.splitlines()[0]
    wait_until_gone(newcomer)
    assert not folder.exists()


def test_while_a_lab_comes_up_its_name_is_held(newcomer: User) -> None:
    up = newcomer.start("up", "--name", "brief")
    wait_for(up, newcomer.state / "brief" / "pki")
    for verb in ("up", "down"):
        answer = newcomer.fairway(verb, "--name", "brief")
        if up.poll() is not None:
            break
        assert (answer.code, answer.err) == (
            1,
            "fairway: lab 'brief' is being brought up or down by another command: wait for it\n",
        )
    assert up.wait(timeout=60) == 0
    up.communicate()
    assert newcomer.fairway("down", "--name", "brief").code == 0


def test_a_lab_whose_record_is_lost_can_be_taken_down(newcomer: User) -> None:
    assert newcomer.fairway("up", "--name", "lost").code == 0
    (newcomer.state / "lost" / "lab.json").unlink()
    for verb in (["status"], ["exec", "mypc", "true"], ["kubeconfig"], ["up"]):
        answer = newcomer.fairway(verb[0], "--name", "lost", *verb[1:])
        assert (answer.code, answer.err.splitlines()[0].partition(": ")[0]) == (1, "fairway")
        assert "take it down with: fairway down --name lost" in answer.err
    assert newcomer.fairway("down", "--name", "lost").code == 0
    assert processes_of(newcomer) == []


def test_up_prints_commands_that_can_be_typed_as_they_are(newcomer: User) -> None:
    """By a lab of another name, in a folder with a space in its name."""
    there = User(state=newcomer.state / "my labs")
    up = there.fairway("up", "--name", "other")
    head, *typed, down = up.out.splitlines()
    assert head.startswith("lab 'other' is up after ")
    script = "set -e\n" + "\n".join(typed)
    answer = there.run(["sh", "-c", script], PATH=f"{Path(FAIRWAY).parent}:{os.environ['PATH']}")
    assert (answer.code, answer.err) == (0, "")
    assert "myk8s-worker3" in answer.out
    assert '"gitVersion"' in answer.out
    assert there.run(["sh", "-c", down]).out == "lab 'other' is down\n"


def test_a_lab_whose_api_server_hangs_is_told_so(newcomer: User) -> None:
    assert newcomer.fairway("up", "--name", "hung").code == 0
    status = newcomer.fairway("status", "--name", "hung", "-o", "json").json()
    pid = next(service["pid"] for service in status["services"] if service["name"] == "control-plane")
    os.kill(in_namespace_of(status["firstProcess"], pid), signal.SIGSTOP)
    answer = newcomer.fairway("status", "--name", "hung")
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert "the API server does not answer (nothing came within 5 s)" in answer.err
    assert "mypc                 client  172.18.0.100" in answer.out
    assert newcomer.fairway("exec", "--name", "hung", "mypc", "hostname").out == "mypc\n"
    assert newcomer.fairway("down", "--name", "hung").code == 0
    assert processes_of(newcomer) == []


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
        (["exec", "mypc"], 2, "what shall mypc run? For a shell: fairway exec mypc -- bash"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(newcomer: User, args: list[str], code: int, said: str) -> None:
    answer = newcomer.fairway(*args)
    assert answer.code == code
    assert said in answer.err


def test_a_lab_of_mode_iptables_says_so_and_has_kube_proxys_rules(newcomer: User) -> None:
    assert newcomer.fairway("up", "--name", "older", "--proxy-mode", "iptables").code == 0
    try:
        assert newcomer.fairway("status", "--name", "older", "-o", "json").json()["mode"] == "iptables"
        answer = newcomer.fairway("rules", "--name", "older", "-o", "json", "myk8s-worker").json()
        chains = {name: table["chains"] for table in answer["tables"] if (name := table["table"])}
        assert answer["mode"] == "iptables"
        assert any("-j KUBE-SERVICES" in rule for rule in chains["nat"]["PREROUTING"]["rules"])
        assert "*nat" in newcomer.fairway("rules", "--name", "older", "myk8s-worker").out
        tables = newcomer.fairway("exec", "--name", "older", "myk8s-worker", "--", "nft", "list", "tables").out
        assert "fairway" not in tables
    finally:
        assert newcomer.fairway("down", "--name", "older").code == 0
