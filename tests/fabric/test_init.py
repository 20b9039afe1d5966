from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fairway.base.errors import Refused
from fairway.fabric.init import ServiceSpec, end, process_start_time, start
from fairway.fabric.namespaces import check_support
from fairway.fabric.spawner import hold_service, list_hosts, list_services
from tests.fabric.labs import (
    PATIENCE_S,
    all_namespaces,
    descendants,
    forked,
    held_open,
    kill,
    lab,
    machine,
    namespaces_of,
    result_of,
)
from tests.fabric.topologies import client, node, topology

pytestmark = pytest.mark.kernel

NOBODY = 65534
_PR_SET_DUMPABLE = 4


def become_nobody() -> None:
    """Be an ordinary user as after a login: a process that changed its user is else barred from its own /proc."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def test_this_machine_can_hold_a_lab_for_root_and_for_an_ordinary_user() -> None:
    def as_nobody() -> list[str]:
        become_nobody()
        return [str(problem) for problem in check_support()]

    assert check_support() == []
    assert result_of(forked(as_nobody)) == []


def test_a_lab_is_reported_stage_by_stage_and_has_its_hosts_and_services(tmp_path: Path) -> None:
    stages: list[str] = []
    with lab(tmp_path, report=stages.append) as up:
        assert stages == ["making 3 hosts", "linking them", "starting 3 services"]
        assert [record.name for record in list_hosts(up.socket)] == ["alpha", "beta", "mypc"]
        assert [(record.name, record.host, record.starts) for record in list_services(up.socket)] == [
            ("remote-alpha", "alpha", 1),
            ("remote-beta", "beta", 1),
            ("remote-mypc", "mypc", 1),
        ]
        assert up.started.start_time == process_start_time(up.started.pid)
        assert Path(f"/proc/{up.started.pid}/comm").read_text() == "fairway-init\n"
        assert os.getsid(up.started.pid) != os.getsid(0)
        assert up.socket.stat().st_mode & 0o777 == 0o600


def test_killing_the_first_process_leaves_nothing(tmp_path: Path) -> None:
    before = machine()
    with lab(tmp_path) as up:
        members = descendants(up.started.pid)
        # The first process, three holders, three remotes.
        assert len(members) == 7
        its_own = namespaces_of(members) - namespaces_of({os.getpid()})
        # net, uts, ipc, mnt of the lab and of three hosts, one pid namespace; and a user namespace without privilege.
        assert len(its_own) == (17 if os.geteuid() == 0 else 18)
        with held_open(members):
            kill(up.started.pid)
            assert up.ended()
            assert [descendants(pid) for pid in members] == [set()] * 7
            assert its_own & all_namespaces() == set()
    assert machine() == before


def test_an_orderly_end_lets_services_finish_and_takes_the_socket_along(tmp_path: Path) -> None:
    def polite(_: Mapping[str, Any]) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        print("ready", flush=True)
        signal.sigwait({signal.SIGTERM})
        print("finished", flush=True)
        return 0

    log = tmp_path / "polite.log"
    with lab(tmp_path, programs={"polite": polite}) as up:
        process = up.started
        up.do("alpha", "pid")
        while "ready" not in (log.read_text() if log.exists() else ""):
            os.sched_yield()
        assert end(process.pid, process.start_time, patience_s=PATIENCE_S)
        assert log.read_text() == "ready\nfinished\n"
        assert not up.socket.exists()
        assert not end(process.pid, process.start_time, patience_s=PATIENCE_S)


def test_ending_spares_a_process_that_only_has_the_pid_now(tmp_path: Path) -> None:
    with lab(tmp_path) as up:
        assert not end(up.started.pid, up.started.start_time - 1, patience_s=PATIENCE_S)
        assert len(list_hosts(up.socket)) == 3


def test_two_labs_with_the_same_addresses_run_side_by_side(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with lab(folders[0], topology("one")) as one, lab(folders[1], topology("two")) as two:
        for up, name in ((one, "first"), (two, "second")):
            up.do("alpha", "serve", name=name)
        assert [up.do("mypc", "call", address="172.18.0.3") for up in (one, two)] == [
            "first 172.18.0.100",
            "second 172.18.0.100",
        ]
        kill(one.started.pid)
        assert one.ended()
        assert two.do("mypc", "call", address="172.18.0.3") == "second 172.18.0.100"


def test_a_second_lab_at_the_same_socket_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with lab(tmp_path) as up:
        with pytest.raises(Refused) as refused:
            start(topology("other"), socket_path=up.socket, log_path=tmp_path / "other.log", programs={})
        assert str(refused.value) == f"{up.socket}: another lab is running here"
        assert len(list_hosts(up.socket)) == 3


def test_an_ordinary_user_gets_a_whole_lab_too() -> None:
    def as_nobody() -> dict[str, Any]:
        become_nobody()
        # Not pytest's own folder, which is root's.
        with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as up:
            up.do("beta", "serve", name="beta")
            members = descendants(up.started.pid)
            seen = {
                "call": up.do("mypc", "call", address="172.18.0.5"),
                "hosts": up.run("mypc", "cat", "/etc/hosts")[1].splitlines()[-1],
                "name": up.run("alpha", "uname", "-n"),
                "user": up.run("alpha", "id", "-u"),
                "links": up.run("alpha", "ls", "/sys/class/net"),
                "rules": up.run("alpha", "iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE"),
                "members": len(members),
            }
            kill(up.started.pid)
            return {**seen, "ended": up.ended(), "left": [pid for pid in members if descendants(pid)]}

    assert result_of(forked(as_nobody)) == {
        "call": "beta 172.18.0.100",
        "hosts": "172.18.0.100\tmypc",
        "name": [0, "alpha\n"],
        "user": [0, "0\n"],
        "links": [0, "eth0\nlo\n"],
        "rules": [0, ""],
        "members": 7,
        "ended": True,
        "left": [],
    }


STAGES = ("making", "linking", "starting")


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupt_at_any_stage_leaves_nothing(tmp_path: Path, stage: str) -> None:
    def interrupt(text: str) -> None:
        if text.startswith(stage):
            raise KeyboardInterrupt

    before, namespaces = machine(), namespaces_of({os.getpid()})
    children = descendants(os.getpid())
    with pytest.raises(KeyboardInterrupt):
        with lab(tmp_path, report=interrupt):
            raise AssertionError("it was not interrupted")
    assert machine() == before
    assert namespaces_of({os.getpid()}) == namespaces
    assert descendants(os.getpid()) == children
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".log") == []


@pytest.mark.parametrize("stage", [*STAGES, "up"])
def test_a_lab_that_is_not_detached_dies_with_the_one_who_starts_it(tmp_path: Path, stage: str) -> None:
    def die() -> None:
        kill(os.getpid())

    def start_and_die() -> None:
        os.close(alive)
        spec = ServiceSpec(
            name="s", host="alpha", program="wait", config={}, log=tmp_path / "s.log", fds={"alive": held}
        )
        start(
            topology(),
            socket_path=tmp_path / "init.sock",
            log_path=tmp_path / "init.log",
            programs={"wait": lambda _: signal.pause() or 0},
            services=[spec],
            report=lambda text: die() if text.startswith(stage) else None,
            attached=True,
        )
        die()

    alive, held = os.pipe()
    child, reading = forked(start_and_die)
    os.close(held)
    os.close(reading)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    # Every process of the lab got the pipe from its caller: its end is the end of the last of them.
    assert os.read(alive, 1) == b""
    os.close(alive)


def test_a_detached_lab_outlives_the_one_who_started_it(tmp_path: Path) -> None:
    def start_and_go() -> list[int]:
        started = start(topology(), socket_path=tmp_path / "init.sock", log_path=tmp_path / "init.log", programs={})
        return [started.pid, started.start_time]

    pid, start_time = result_of(forked(start_and_go))
    try:
        assert [record.name for record in list_hosts(tmp_path / "init.sock")] == ["alpha", "beta", "mypc"]
    finally:
        assert end(pid, start_time, patience_s=PATIENCE_S)


def test_a_service_for_a_host_that_is_not_there_ends_the_start_with_its_name(tmp_path: Path) -> None:
    spec = ServiceSpec(name="lost", host="gamma", program="p", config={}, log=tmp_path / "lost.log")
    children = descendants(os.getpid())
    with pytest.raises(Refused) as refused:
        start(
            topology(),
            socket_path=tmp_path / "init.sock",
            log_path=tmp_path / "init.log",
            programs={"p": lambda _: 0},
            services=[spec],
        )
    assert str(refused.value) == "no host is named 'gamma'; there are: alpha, beta, mypc"
    assert descendants(os.getpid()) == children
    assert [path.name for path in tmp_path.iterdir()] == ["init.log"]


def test_a_program_that_is_not_given_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    spec = ServiceSpec(name="lost", host="alpha", program="p", config={}, log=tmp_path / "lost.log")
    with pytest.raises(Refused) as refused:
        start(topology(), socket_path=tmp_path / "s", log_path=tmp_path / "l", programs={}, services=[spec])
    assert str(refused.value) == "service lost: there is no program 'p'"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["socket", "log"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, missing: str) -> None:
    paths = {name: tmp_path / name for name in ("socket", "log")} | {missing: tmp_path / "no" / missing}
    with pytest.raises(Refused) as refused:
        start(topology(), socket_path=paths["socket"], log_path=paths["log"], programs={})
    told = {
        "socket": f"{tmp_path}/no/socket: cannot make the lab's socket: No such file or directory",
        "log": f"{tmp_path}/no/log: No such file or directory",
    }
    assert str(refused.value) == told[missing]


def test_a_failing_step_is_named_by_its_command_and_nothing_stays(tmp_path: Path) -> None:
    # The kernel refuses a route through an address that is no neighbour's: the gateway is off this node's own /16.
    nodes = (node("alpha", "172.18.0.3", "10.10.0.0/24"), node("beta", "172.18.0.5", "10.10.1.0/24"))
    odd = topology(nodes=nodes, clients=(client("mypc", "172.18.0.9"),))
    children = descendants(os.getpid())
    object.__setattr__(odd, "gateway", odd.gateway + (1 << 16))
    with pytest.raises(Refused) as refused:
        with lab(tmp_path, odd):
            raise AssertionError("it was made")
    assert str(refused.value) == (
        "ip -n alpha route add default via 172.19.0.1: Network is unreachable: Nexthop has invalid gateway"
    )
    assert descendants(os.getpid()) == children


def test_a_service_that_is_killed_is_started_again_and_so_counted(tmp_path: Path) -> None:
    with lab(tmp_path) as up:
        pid = up.do("beta", "pid")
        up.run("beta", "sh", "-c", f"kill -9 {pid}")
        assert up.do("beta", "pid") != pid
        record = next(record for record in list_services(up.socket) if record.host == "beta")
        assert (record.starts, record.last_exit) == (2, -signal.SIGKILL)


def test_a_service_that_is_held_stays_down_until_it_is_released(tmp_path: Path) -> None:
    with lab(tmp_path) as up:
        name = next(record.name for record in list_services(up.socket) if record.host == "beta")
        for _ in range(2):  # the second time it is so already
            hold_service(up.socket, name, held=True)
            (record,) = (record for record in list_services(up.socket) if record.name == name)
            assert (record.pid, record.held, record.starts, record.last_exit) == (0, True, 1, -signal.SIGKILL)
        for _ in range(2):
            hold_service(up.socket, name, held=False)
            (record,) = (record for record in list_services(up.socket) if record.name == name)
            assert (record.held, record.starts) == (False, 2)
            assert up.do("beta", "pid") == record.pid


def test_a_service_that_is_none_cannot_be_held(tmp_path: Path) -> None:
    with lab(tmp_path) as up:
        for held in (True, False):
            with pytest.raises(Refused, match="no program of the lab is named 'gamma'; there are: "):
                hold_service(up.socket, "gamma", held=held)


def test_a_service_of_no_host_runs_where_the_links_meet_and_the_bridge_knows_no_rules(tmp_path: Path) -> None:
    def look(_: Mapping[str, Any]) -> int:
        keys = ["net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"]
        paths = [Path("/proc/sys", key) for key in keys]
        values = {key: path.read_text() for key, path in zip(keys, paths, strict=True) if path.exists()}
        links = sorted(name for _, name in socket.if_nameindex())
        os.write(writing, json.dumps([socket.gethostname(), links, values]).encode() + b"\n")
        signal.pause()
        return 0

    reading, writing = os.pipe()
    spec = ServiceSpec(name="look", host="", program="look", config={}, log=tmp_path / "log", fds={"out": writing})
    started = start(
        topology("bridged"),
        socket_path=tmp_path / "init.sock",
        log_path=tmp_path / "init.log",
        programs={"look": look},
        services=[spec],
    )
    try:
        with open(reading) as lines:
            name, links, values = json.loads(lines.readline())
    finally:
        end(started.pid, started.start_time, patience_s=PATIENCE_S)
        os.close(writing)
    assert (name, links) == ("bridged", ["fairway0", "lo", "veth0", "veth1", "veth2"])
    assert values == {"net/ipv4/ip_forward": "1\n"} | {key: "0\n" for key in values if "bridge" in key}


def test_a_write_to_a_closed_connection_is_an_error_for_a_service_and_not_its_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def write(config: Mapping[str, Any]) -> int:
        near, far = socket.socketpair()
        far.close()
        try:
            near.send(b"x")
        except BrokenPipeError:
            os.write(config["fds"]["out"], b"an error\n")
        signal.pause()
        return 0

    spec = ServiceSpec(
        name="write", host="alpha", program="write", config={}, log=tmp_path / "log", fds={"out": writing}
    )
    started = start(
        topology(),
        socket_path=tmp_path / "init.sock",
        log_path=tmp_path / "init.log",
        programs={"write": write},
        services=[spec],
    )
    try:
        os.close(writing)
        with open(reading) as lines:
            assert lines.readline() == "an error\n"
            assert [record.starts for record in list_services(tmp_path / "init.sock")] == [1]
            end(started.pid, started.start_time, patience_s=PATIENCE_S)
    finally:
        end(started.pid, started.start_time, patience_s=PATIENCE_S)


def test_another_user_is_told_that_the_lab_is_not_his() -> None:
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as up:
        Path(folder).chmod(0o755)
        up.socket.chmod(0o666)

        def as_nobody() -> str:
            become_nobody()
            try:
                return str(list_hosts(up.socket))
            except Refused as error:
                return str(error)

        told = "this lab is another user's" if os.geteuid() == 0 else str(list_hosts(up.socket))
        assert result_of(forked(as_nobody)) == told
