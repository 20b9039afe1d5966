"""A container with a root of its own sees what it is given there, and writes nothing of the machine's."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fairway.base.errors import Refused
from fairway.fabric.protocol import ContainerRoot
from fairway.fabric.spawner import HostKind, HostSpec, Spawner
from tests.fabric.folders import make_root
from tests.fabric.labs import ENVIRONMENT, Lab, machine, output_of

pytestmark = pytest.mark.kernel

POD = "default/web"


@pytest_asyncio.fixture
async def spawner(shared_lab: Lab) -> AsyncIterator[Spawner]:
    async with await Spawner.connect(shared_lab.socket) as connected:
        files = {"/etc/hosts": "10.0.0.1 web\n", "/etc/resolv.conf": "nameserver 10.0.0.2\n"}
        spec = HostSpec(name=POD, kind=HostKind.POD, hostname="web", files=files, read_only=True, tied=True)
        await connected.create_host(spec)
        yield connected


async def sh(spawner: Spawner, root: ContainerRoot | None, script: str) -> tuple[int, str]:
    return await output_of(spawner, POD, ["sh", "-c", script], new_pid_namespace=True, root=root)


async def test_a_script_and_a_program_are_below_the_hosts_own_root(spawner: Spawner, tmp_path: Path) -> None:
    """The program lies in /tmp, which a host has to itself: it is found where the machine has it."""
    program = tmp_path / "tool"
    program.write_text('#!/bin/sh\necho "tool $1"\n')
    program.chmod(0o755)
    root = ContainerRoot(programs={"mine": str(program)}, scripts={"hello": '#!/bin/sh\necho "hello $1"\n'})
    assert await sh(spawner, root, "/hello a; /mine b; cat /etc/hosts; ls -d /usr /etc /tmp") == (
        0,
        "hello a\ntool b\n10.0.0.1 web\n/etc\n/tmp\n/usr\n",
    )
    assert (await sh(spawner, None, "/hello"))[0] == 127


async def test_containers_of_a_pod_share_its_tmp_with_what_is_mounted_there(spawner: Spawner, tmp_path: Path) -> None:
    """The interpreter's folders may lie in /tmp; a host sees them, and so does every container."""
    folder = make_root(tmp_path / "image", "sh", "ls", "cat")
    roots = (None, ContainerRoot(scripts={"a": "#!/bin/sh\n"}), ContainerRoot(folder=str(folder)))
    (folder / "page").write_text("seen\n")
    spec = HostSpec(name="default/two", kind=HostKind.POD, hostname="two", visible=(str(tmp_path),), tied=True)
    await spawner.create_host(spec)
    script = f"cd /tmp; cat {folder}/page; ls mine-* 2>/dev/null; echo x > mine-$1"
    said = [
        await output_of(spawner, spec.name, ["sh", "-c", script, "sh", str(index)], new_pid_namespace=True, root=root)
        for index, root in enumerate(roots)
    ]
    assert said == [(0, "seen\n"), (0, "seen\nmine-0\n"), (0, "seen\nmine-0\nmine-1\n")]


async def test_what_is_run_in_the_container_later_has_its_root(spawner: Spawner) -> None:
    root = ContainerRoot(scripts={"hello": "#!/bin/sh\necho hello\n"})
    nothing = os.open(os.devnull, os.O_RDWR)
    container = await spawner.spawn(
        POD,
        ["sleep", "1000"],
        env=ENVIRONMENT,
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        new_pid_namespace=True,
        root=root,
    )
    os.close(nothing)
    script = "/hello; cat /proc/1/comm; ls /proc | grep -c '^[0-9]'"
    code, said = await output_of(spawner, POD, ["sh", "-c", script], join=container.pid)
    assert (code, said.splitlines()[:2]) == (0, ["hello", "sleep"])
    await container.kill(signal.SIGKILL)
    await container.wait()


async def test_a_folder_is_the_root_with_what_a_pod_has_of_its_host(spawner: Spawner, tmp_path: Path) -> None:
    folder = make_root(tmp_path / "image", "sh", "cat", "ls")
    (folder / "app").mkdir()
    (folder / "app" / "page").write_text("mine\n")
    (folder / "etc").mkdir()
    (folder / "etc" / "os-release").write_text("NAME=mine\n")
    (folder / "etc" / "resolv.conf").symlink_to("../run/resolv.conf")
    (folder / "lib32").symlink_to("lib")
    (folder / "tmp").mkdir()
    (folder / "tmp" / "left").touch()
    before = sorted(path for path in folder.rglob("*"))
    root = ContainerRoot(folder=str(folder))
    script = """
    cat /app/page /etc/os-release /etc/hosts /etc/resolv.conf
    cat /etc/hostname || cat /proc/sys/kernel/hostname
    echo left > /tmp/note && echo can >> /tmp/note && cat /tmp/note && ls /tmp/note
    cat /proc/1/comm
    ls -d /tmp/left /tmp/root /tmp/folder /usr/share 2>/dev/null
    read x </dev/null || echo null
    """
    assert await sh(spawner, root, script) == (
        0,
        "mine\nNAME=mine\n10.0.0.1 web\nnameserver 10.0.0.2\nweb\nleft\ncan\n/tmp/note\nsh\nnull\n",
    )
    assert sorted(path for path in folder.rglob("*")) == before


async def test_no_file_of_the_machine_can_be_written(spawner: Spawner, tmp_path: Path) -> None:
    folder = make_root(tmp_path / "image", "sh", "cat")
    for path in (folder / "app", tmp_path / "tool"):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o777)
    script = """
    for file in "$@" /new /etc/new /bin/new; do (echo changed > $file) 2>/dev/null && echo $file was written; done
    for file in "$@"; do cat $file; done
    """
    for root, paths in (
        (ContainerRoot(folder=str(folder)), ("/app",)),
        (ContainerRoot(programs={"tool": str(tmp_path / "tool")}), ("/tool",)),
        (ContainerRoot(folder=str(folder), programs={"tool": str(tmp_path / "tool")}), ("/app", "/tool")),
    ):
        argv = ["sh", "-c", script, "sh", *paths]
        result = await output_of(spawner, POD, argv, new_pid_namespace=True, root=root)
        assert result == (0, "#!/bin/sh\n" * len(paths))
    assert {path.read_text() for path in (folder / "app", tmp_path / "tool")} == {"#!/bin/sh\n"}


@pytest.mark.parametrize("field", ["folder", "program"])
async def test_what_is_not_there_is_named(spawner: Spawner, field: str) -> None:
    root = ContainerRoot(folder="/no/such") if field == "folder" else ContainerRoot(programs={"a": "/no/such"})
    with pytest.raises(Refused) as refused:
        await sh(spawner, root, "true")
    assert str(refused.value) == f"host {POD}: /no/such: No such file or directory"


async def test_a_program_is_looked_up_in_the_new_root(spawner: Spawner, tmp_path: Path) -> None:
    folder = make_root(tmp_path / "image", "sh")
    with pytest.raises(Refused, match="python3: not found"):
        await output_of(spawner, POD, ["python3"], new_pid_namespace=True, root=ContainerRoot(folder=str(folder)))


async def test_nothing_of_it_is_left_on_the_machine(spawner: Spawner, tmp_path: Path) -> None:
    before = machine()
    root = ContainerRoot(folder=str(make_root(tmp_path / "image", "sh")))
    assert (await sh(spawner, root, "true"))[0] == 0
    assert machine() == before
