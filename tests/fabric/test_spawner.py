from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fairway.base.errors import Refused, Retry
from fairway.fabric.spawner import CannotExecute, ContainerRoot, HostKind, HostRecord, HostSpec, Mount, Process, Spawner
from tests.fabric.labs import ENVIRONMENT, PATIENCE_S, Lab, kill, lab, output_of

pytestmark = pytest.mark.kernel


@pytest_asyncio.fixture
async def spawner(shared_lab: Lab) -> AsyncIterator[Spawner]:
    async with await Spawner.connect(shared_lab.socket) as connected:
        yield connected


def pod(name: str, **changes: object) -> HostSpec:
    fields: dict[str, object] = {"name": f"default/{name}", "kind": HostKind.POD, "hostname": name, "tied": True}
    return HostSpec(**(fields | changes))


def existing(*paths: str) -> list[str]:
    """Those of the machine's own files that exist."""
    return [path for path in paths if os.path.lexists(path)]


async def begin(spawner: Spawner, host: str, *argv: str, **options: bool) -> Process:
    """Start a program with its standard streams on nothing."""
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        return await spawner.spawn(
            host, argv, env=ENVIRONMENT, stdin=nothing, stdout=nothing, stderr=nothing, **options
        )
    finally:
        os.close(nothing)


async def test_a_program_runs_in_its_host_with_its_arguments_environment_and_folder(spawner: Spawner) -> None:
    script = 'uname -n; pwd; echo "$0 $1 $HOME"; echo wrong >&2; exit 3'
    assert await output_of(spawner, "beta", ["sh", "-c", script, "a b", "ü"], cwd="/usr") == (
        3,
        "beta\n/usr\na b ü /\nwrong\n",
    )


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_the_signal_that_ends_a_program_is_told_as_its_negative(spawner: Spawner, end: signal.Signals) -> None:
    process = await begin(spawner, "alpha", "sleep", "1000")
    assert process.returncode is None
    await process.kill(end)
    assert await process.wait() == -end
    assert await process.wait() == -end
    assert process.returncode == -end
    await process.kill(end)


async def test_a_held_sigterm_waits_for_a_program_that_is_still_starting(spawner: Spawner) -> None:
    """Sent before Python can have got to the script; process 1 of a pid namespace would else lose it."""
    script = "import signal; signal.sigwait({signal.SIGTERM}); raise SystemExit(7)"
    argv = (sys.executable, "-I", "-S", "-c", script)
    process = await begin(spawner, "alpha", *argv, new_pid_namespace=True, hold_sigterm=True)
    await process.kill(signal.SIGTERM)
    assert await process.wait() == 7


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["no-such-program"], 127, "no-such-program: not found"),
        (["/no/such/program"], 127, "/no/such/program: not found"),
        (["/etc/hosts"], 126, "/etc/hosts: Permission denied"),
        (["/etc"], 126, "/etc: Permission denied"),
    ],
)
async def test_a_program_that_cannot_be_executed_is_an_error_of_spawn(
    spawner: Spawner, argv: list[str], code: int, message: str
) -> None:
    with pytest.raises(CannotExecute) as refused:
        await begin(spawner, "alpha", *argv)
    assert (str(refused.value), refused.value.exit_code) == (message, code)


async def test_what_is_wrong_with_a_request_is_named(spawner: Spawner) -> None:
    with pytest.raises(Refused) as no_host:
        await begin(spawner, "gamma", "ls")
    assert str(no_host.value) == "no host is named 'gamma'; there are: alpha, beta, mypc"
    with pytest.raises(Refused) as no_argv:
        await begin(spawner, "alpha")
    assert str(no_argv.value) == "spawn: argv is empty"
    with pytest.raises(Refused) as no_folder:
        await output_of(spawner, "alpha", ["ls"], cwd="/no/where")
    assert str(no_folder.value) == "host alpha: cannot go to /no/where: No such file or directory"
    with pytest.raises(Refused) as no_container:
        await output_of(spawner, "alpha", ["ls"], join=1)
    assert str(no_container.value) == "host alpha: process 1 is no running container of it"
    with pytest.raises(Refused) as unknown:
        await spawner.remove_host("gamma")
    assert str(unknown.value) == "no host is named 'gamma'; there are: alpha, beta, mypc"


async def test_a_container_is_process_1_of_its_own_pid_namespace_and_can_be_joined(spawner: Spawner) -> None:
    await spawner.create_host(pod("web"))
    container = await begin(spawner, "default/web", "sleep", "1000", new_pid_namespace=True)
    other = await begin(spawner, "default/web", "sleep", "1000", new_pid_namespace=True)
    record = next(record for record in await spawner.hosts() if record.name == "default/web")
    assert record.containers == (container.pid, other.pid)
    script = "for process in /proc/[0-9]*; do read name <$process/comm; echo $name; done"
    assert await output_of(spawner, "default/web", ["sh", "-c", script], join=container.pid) == (0, "sleep\nsh\n")
    joined = await begin(spawner, "default/web", "sleep", "1000", join=container.pid)
    await container.kill(signal.SIGKILL)
    assert await container.wait() == -signal.SIGKILL
    assert await joined.wait() == -signal.SIGKILL
    with pytest.raises(Refused) as ended:
        await begin(spawner, "default/web", "true", join=container.pid)
    assert str(ended.value) == f"host default/web: process {container.pid} is no running container of it"
    assert other.returncode is None


async def test_closing_a_connection_ends_its_processes_with_their_sessions_and_its_tied_hosts(
    shared_lab: Lab, spawner: Spawner
) -> None:
    async with await Spawner.connect(shared_lab.socket) as other:
        await other.create_host(pod("tied"))
        await other.create_host(pod("kept", tied=False))
        reading, writing = os.pipe()
        # The shell leaves a child behind in another process group of its session; both hold the pipe.
        process = await other.spawn(
            "alpha",
            ["bash", "-c", "set -m; sleep 1000 & sleep 1000"],
            env=ENVIRONMENT,
            stdin=writing,
            stdout=writing,
            stderr=writing,
        )
        os.close(writing)
        assert process.returncode is None
    assert await asyncio.to_thread(os.read, reading, 1) == b""
    os.close(reading)
    assert [record.name for record in await spawner.hosts()] == ["alpha", "beta", "mypc", "default/kept"]
    await spawner.remove_host("default/kept")
    assert await process.wait() == -signal.SIGKILL


async def test_removing_a_host_ends_all_in_it_also_what_left_its_session(spawner: Spawner) -> None:
    record = await spawner.create_host(pod("busy"))
    reading, writing = os.pipe()
    script = "setsid sh -c 'sleep 1000' & echo ready; wait"
    process = await spawner.spawn(
        "default/busy", ["sh", "-c", script], env=ENVIRONMENT, stdin=writing, stdout=writing, stderr=writing
    )
    os.close(writing)
    assert await asyncio.to_thread(os.read, reading, 6) == b"ready\n"
    await spawner.remove_host("default/busy")
    assert await process.wait() == -signal.SIGKILL
    assert await asyncio.to_thread(os.read, reading, 1) == b""
    os.close(reading)
    code, _ = await output_of(spawner, "alpha", ["test", "-e", f"/proc/{record.pid}"])
    assert code == 1
    assert [record.name for record in await spawner.hosts()] == ["alpha", "beta", "mypc"]


async def test_a_host_within_another_has_its_network_and_name_and_leaves_it_whole(spawner: Spawner) -> None:
    look = ["sh", "-c", "readlink /proc/self/ns/net; uname -n; ls /sys/class/net"]
    around = await output_of(spawner, "alpha", look)
    await spawner.create_host(pod("inside", within="alpha", files={"/etc/hosts": "its own\n"}))
    neighbour = await begin(spawner, "alpha", "sleep", "1000")
    inside = await begin(spawner, "default/inside", "sleep", "1000", new_pid_namespace=True)

    assert await output_of(spawner, "default/inside", look) == around
    assert await output_of(spawner, "default/inside", ["cat", "/etc/hosts"]) == (0, "its own\n")

    await spawner.remove_host("default/inside")
    assert await inside.wait() == -signal.SIGKILL
    assert neighbour.returncode is None
    assert await output_of(spawner, "alpha", look) == around


async def test_a_host_within_one_that_is_not_there_is_refused(spawner: Spawner) -> None:
    with pytest.raises(Refused, match="no host is named 'nowhere'"):
        await spawner.create_host(pod("inside", within="nowhere"))


async def test_a_host_whose_holder_is_killed_is_gone_with_all_in_it(spawner: Spawner) -> None:
    record = await spawner.create_host(pod("frail"))
    process = await begin(spawner, "default/frail", "sleep", "1000")
    assert (await output_of(spawner, "alpha", ["sh", "-c", f"kill -9 {record.pid}"]))[0] == 0
    assert await process.wait() == -signal.SIGKILL
    assert [record.name for record in await spawner.hosts()] == ["alpha", "beta", "mypc"]


async def test_a_host_has_its_files_where_they_were_asked_and_nothing_of_it_reaches_the_machine(
    spawner: Spawner, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    visible = tmp_path / "shown"
    visible.mkdir()
    (visible / "file").write_text("shown")
    record = await spawner.create_host(
        pod(
            "files",
            files={
                "/etc/hosts": "over a file\n",
                "/var/run/secrets/token": "in a fresh folder\n",
                "/usr/share/fairway/made": "where nothing was\n",
                "/tmp/deep/er": "in /tmp\n",
            },
            hidden=("/usr/share/doc", "/etc/passwd", "/no/such"),
            visible=(str(visible),),
            owner="uid-1",
        )
    )
    assert record == HostRecord(
        name="default/files", kind=HostKind.POD, pid=record.pid, hostname="files", owner="uid-1"
    )
    script = f"""
        cat /etc/hosts /run/secrets/token /usr/share/fairway/made /tmp/deep/er {visible}/file /etc/passwd
        ls /usr/share/doc {tmp_path}
        echo x 2>/dev/null >/etc/hosts || echo read-only
        echo x >/run/mine && echo x >/tmp/mine && echo fresh
    """
    assert await output_of(spawner, "default/files", ["sh", "-c", script]) == (
        0,
        (
            f"over a file\nin a fresh folder\nwhere nothing was\nin /tmp\nshown{tmp_path}:\nshown\n\n/usr/share/doc:\n"
            "read-only\nfresh\n"
        ),
    )
    named = "cat /etc/hostname 2>/dev/null || cat /proc/sys/kernel/hostname"
    assert await output_of(spawner, "default/files", ["sh", "-c", named]) == (0, "files\n")
    # pytest's folder lies in /tmp, which the host has to itself; what is shown of it is the machine's own.
    assert existing("/usr/share/fairway", "/tmp/mine", "/run/mine", "/tmp/deep") == []


async def test_a_read_only_host_writes_to_what_is_its_own_and_to_nothing_of_the_machines(
    spawner: Spawner, tmp_path: Path
) -> None:
    await spawner.create_host(pod("sealed", visible=(str(tmp_path),), read_only=True))
    script = f"""
        for folder in {tmp_path} /etc /usr /sys /run /tmp /dev/shm; do
            touch $folder/fairway-test 2>/dev/null && echo $folder
        done
        echo x >/dev/null && echo /dev/null
    """
    assert await output_of(spawner, "default/sealed", ["sh", "-c", script]) == (0, "/run\n/tmp\n/dev/shm\n/dev/null\n")
    own = [f"{folder}/fairway-test" for folder in (tmp_path, "/etc", "/usr", "/run", "/tmp", "/dev/shm")]
    assert existing(*own) == []


STORE = "/run/fairway/volumes"


async def host_with_store(spawner: Spawner, name: str, files: dict[str, str]) -> Path:
    """A host, and its store with files by path as its maker sees it."""
    record = await spawner.create_host(pod(name, read_only=True, store=STORE, files={"/etc/hosts": "of the host\n"}))
    store = Path(f"/proc/{outer_pid(record.pid)}/root{STORE}")
    for path, text in files.items():
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        (store / path).write_text(text)
    return store


def outer_pid(pid: int) -> int:
    """The pid here of a process of the lab."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                numbers = [line for line in (entry / "status").read_text().splitlines() if line.startswith("NSpid:")]
                name = (entry / "comm").read_text()
            except OSError:
                continue
            if numbers and numbers[0].split()[2:3] == [str(pid)] and name.startswith("default/"):
                return int(entry.name)
    raise LookupError(pid)


async def test_a_container_has_parts_of_the_store_where_it_wants_them_and_nothing_of_it_reaches_the_machine(
    spawner: Spawner,
) -> None:
    await host_with_store(spawner, "stored", {"a/key": "value\n", "b/x": "of b\n", "b/deep/y": "deeper\n"})
    mounts = [
        Mount(source="a", target="/fairway-top", read_only=True),  # no such folder below /
        Mount(source="b", target="/fairway-top/../etc/fairway"),  # none in /etc, which has the host's own file
        Mount(source="b/deep", target="/usr/share/fairway/deep/er"),
        Mount(source="a/key", target="/etc/fairway.conf"),
        Mount(source="b/deep/y", target="/etc/hostname"),  # over a file of the machine
        Mount(source="a", target="/var/run/secrets/mine"),
    ]
    script = """
        cat /fairway-top/key /etc/fairway/x /usr/share/fairway/deep/er/y /etc/fairway.conf /etc/hostname
        cat /run/secrets/mine/key /etc/hosts
        echo x 2>/dev/null >/fairway-top/key || echo read-only
        echo x >/etc/fairway/written && echo writable
        echo x 2>/dev/null >/usr/bin/fairway-test || echo sealed
        ls -A /run/fairway/volumes
        test -x /bin/sh && test -d /proc/self && test -c /dev/null && test -w /tmp && echo whole
    """

    said = await output_of(spawner, "default/stored", ["sh", "-c", script], new_pid_namespace=True, mounts=mounts)

    assert said == (
        0,
        "value\nof b\ndeeper\nvalue\ndeeper\nvalue\nof the host\nread-only\nwritable\nsealed\nwhole\n",
    )
    assert existing("/fairway-top", "/etc/fairway", "/usr/share/fairway", "/etc/fairway.conf", STORE) == []
    # Another container of the host sees what the first wrote to a part of the store that both have.
    again = Mount(source="b", target="/again/of/mine")
    argv = ["cat", "/again/of/mine/written"]
    assert await output_of(spawner, "default/stored", argv, new_pid_namespace=True, mounts=[again]) == (0, "x\n")


async def test_a_program_that_joins_a_container_sees_its_mounts(spawner: Spawner) -> None:
    store = await host_with_store(spawner, "joined", {"a/key": "value\n"})
    nothing = os.open(os.devnull, os.O_RDWR)
    mounts = [Mount(source="a", target="/fairway-top"), Mount(source="new/er", target="/srv", make=True)]
    options = {"env": ENVIRONMENT, "stdin": nothing, "stdout": nothing, "stderr": nothing, "mounts": mounts}
    first = await spawner.spawn("default/joined", ["sleep", "1000"], new_pid_namespace=True, **options)
    os.close(nothing)

    (store / "a/later").write_text("later\n")
    script = "cat /fairway-top/key /fairway-top/later; ls -A /srv"
    assert await output_of(spawner, "default/joined", ["sh", "-c", script], join=first.pid) == (0, "value\nlater\n")


async def test_a_container_with_a_root_of_its_own_has_mounts_in_it(spawner: Spawner, tmp_path: Path) -> None:
    await host_with_store(spawner, "rooted", {"a/key": "value\n"})
    script = "#!/bin/sh\ncat /fairway-top/key /etc/fairway/key /run/fairway-key; ls -A /run/fairway/volumes\n"
    mounts = [
        Mount(source="a", target="/fairway-top"),
        Mount(source="a", target="/etc/fairway"),
        Mount(source="a/key", target="/run/fairway-key"),
    ]
    said = await output_of(
        spawner,
        "default/rooted",
        ["/hello"],
        root=ContainerRoot(scripts={"hello": script}),
        new_pid_namespace=True,
        mounts=mounts,
    )
    assert said == (0, "value\nvalue\nvalue\n")
    assert existing("/fairway-top", "/etc/fairway", "/hello") == []


async def test_a_mount_that_cannot_be_is_refused_by_its_place(spawner: Spawner) -> None:
    await host_with_store(spawner, "unmounted", {"a/key": "value\n"})
    problems = []
    for host, options in (
        ("default/unmounted", {"mounts": [Mount(source="a/other", target="/srv")], "new_pid_namespace": True}),
        ("default/unmounted", {"mounts": [Mount(source="a/key", target="/srv")], "new_pid_namespace": True}),
        ("default/unmounted", {"mounts": [Mount(source="a", target="/etc/hosts")], "new_pid_namespace": True}),
        ("default/unmounted", {"mounts": [Mount(source="a", target="/etc/hosts/x")], "new_pid_namespace": True}),
        ("default/unmounted", {"mounts": [Mount(source="a", target="/srv")]}),
        ("alpha", {"mounts": [Mount(source="a", target="/srv")], "new_pid_namespace": True}),
    ):
        with pytest.raises(Refused) as refused:
            await output_of(spawner, host, ["true"], **options)
        problems.append(str(refused.value))
    with pytest.raises(Refused) as refused:
        await spawner.create_host(pod("open", store=STORE))
    assert [*problems, str(refused.value)] == [
        "host default/unmounted: /srv: there is no other in it",
        "host default/unmounted: /srv: it is a folder here, and a file is to be mounted on it",
        "host default/unmounted: /etc/hosts: it is a file here, and a folder is to be mounted on it",
        "host default/unmounted: /etc/hosts/x: cannot be put in its place: Not a directory",
        "host default/unmounted: mounts are for a container, in a host that has a store",
        "host alpha: mounts are for a container, in a host that has a store",
        "host 'default/open': store: only a host that is read_only has one",
    ]


async def test_a_host_that_cannot_be_made_is_refused_with_the_reason_and_leaves_nothing(spawner: Spawner) -> None:
    problems = []
    for spec in (
        pod("bad", files={"/none/x": ""}),
        pod("bad", visible=("/tmp/no/such",)),
        pod("bad", hostname=""),
        HostSpec(name="alpha", kind=HostKind.NODE, hostname="alpha"),
    ):
        with pytest.raises(Refused) as refused:
            await spawner.create_host(spec)
        problems.append(str(refused.value))
    assert problems == [
        "host default/bad: /none/x: this machine has no such file and no folder for it below /; choose another path",
        "host default/bad: /tmp/no/such: No such file or directory",
        "host 'default/bad': hostname '' must be 1 to 64 bytes",
        "host alpha: the name is taken by one that is standing",
    ]
    assert existing("/none") == []
    assert [record.name for record in await spawner.hosts()] == ["alpha", "beta", "mypc"]


async def test_many_tasks_share_one_connection(spawner: Spawner) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(output_of(spawner, host, ["sh", "-c", f"echo {number}; exit {number}"]))
            for number, host in enumerate(["alpha", "beta", "mypc"] * 7)
        ]
    assert [task.result() for task in tasks] == [(number, f"{number}\n") for number in range(21)]


async def test_requests_longer_than_the_sockets_buffers_arrive_whole(spawner: Spawner) -> None:
    text = "0123456789abcdef" * (1 << 17)
    specs = [pod(f"large{number}", files={"/etc/hosts": text}) for number in range(3)]
    async with asyncio.TaskGroup() as group:
        for spec in specs:
            group.create_task(spawner.create_host(spec))
    counted = [(await output_of(spawner, spec.name, ["wc", "-c", "/etc/hosts"]))[1] for spec in specs]
    assert counted == [f"{len(text)} /etc/hosts\n"] * 3
    for spec in specs:
        await spawner.remove_host(spec.name)


async def test_a_cancelled_spawn_leaves_no_process_and_a_cancelled_host_no_host(spawner: Spawner) -> None:
    reading, writing = os.pipe()

    async def spawn() -> None:
        await spawner.spawn("alpha", ["sleep", "1000"], env=ENVIRONMENT, stdin=writing, stdout=writing, stderr=writing)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(spawn()), group.create_task(spawner.create_host(pod("unwanted", tied=False)))]
        # One turn of the loop: both requests are on their way, no answer is here.
        await asyncio.sleep(0)
        os.close(writing)
        for task in tasks:
            task.cancel()
    assert await asyncio.to_thread(os.read, reading, 1) == b""
    os.close(reading)
    # Requests of one connection are handled in order, so the name was taken before this asks for it; it is free again
    # only once the first has been removed.
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await spawner.create_host(pod("unwanted"))
                break
            except Refused:
                continue
    await spawner.remove_host("default/unwanted")


async def test_a_connection_outlives_no_lab(tmp_path: Path) -> None:
    with lab(tmp_path) as up:
        spawner = await Spawner.connect(up.socket)
        process = await begin(spawner, "alpha", "sleep", "1000")
        kill(up.started.pid)
        with pytest.raises(Retry):
            await process.wait()
        with pytest.raises(Retry):
            await spawner.hosts()
        await spawner.close()
        assert await asyncio.to_thread(up.ended)
        with pytest.raises(Refused) as refused:
            await Spawner.connect(up.socket)
    assert str(refused.value) == f"no lab is running: {up.socket}: Connection refused"


async def test_a_socket_path_longer_than_the_kernel_takes_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    assert len(str(folder)) > 108
    with lab(folder) as up:
        async with await Spawner.connect(up.socket) as spawner:
            assert await output_of(spawner, "alpha", ["uname", "-n"]) == (0, "alpha\n")


async def test_nothing_a_client_says_ends_the_lab(shared_lab: Lab, spawner: Spawner) -> None:
    for garbage in (
        b"hello\n",
        b"{}\n",
        b'{"method":"spawn","id":1,"host":"alpha","argv":["ls"],"env":{}}\n',
        b"\xff" * 9,
    ):
        reader, writer = await asyncio.open_unix_connection(shared_lab.socket)
        writer.write(garbage)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.read()).count(b'"failure"') == (garbage[-1:] == b"\n")
        writer.close()
        await writer.wait_closed()
    assert await output_of(spawner, "alpha", ["sh", "-c", "kill -TERM 1; kill -KILL 1; kill -INT 1"]) == (0, "")
    assert len(await spawner.hosts()) == 3


async def test_a_process_gets_no_descriptor_but_its_three(spawner: Spawner) -> None:
    code, text = await output_of(spawner, "alpha", ["sh", "-c", "echo /proc/self/fd/*"])
    assert (code, text) == (0, "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n")
