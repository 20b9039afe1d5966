"""Sandboxes and containers, with nothing half made left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from fairway.api.types import Object
from fairway.base.errors import Refused, Retry
from fairway.kubelet.container import Container
from fairway.kubelet.cri import LogOptions
from fairway.kubelet.dns import ClusterDns
from fairway.kubelet.hostport import HostPort
from fairway.kubelet.images import Image
from fairway.kubelet.ipam import PodNetworks
from fairway.kubelet.logs import PodLogs
from fairway.kubelet.pod import parse_pod
from fairway.kubelet.runtime import Runtime, Sandbox, StartError
from tests.kubelet.objects import NODE_IP, container, pod_object
from tests.kubelet.processes import LocalSpawner, LoopbackNetwork

IDLE = Image(program="idle", entrypoint=("sleep", "infinity"))


class Bench:
    """A runtime and what it is made of."""

    def __init__(self, directory: Path) -> None:
        self.spawner = LocalSpawner()
        self.network = LoopbackNetwork()
        self.logs = PodLogs(directory / "logs")
        self.stores = directory / "stores"
        self.runtime = Runtime(
            self.spawner,
            self.network,
            PodNetworks.of([IPv4Network("127.9.2.0/24")]),
            self.logs,
            node_addresses=[IPv4Address(NODE_IP)],
            dns=ClusterDns(),
            hidden=(),
            services=list,
            store=lambda host: self.stores / host.name,
        )

    async def start(self, obj: Object, sandbox: Sandbox, run: int = 0) -> Container:
        pod = parse_pod(obj)
        return await self.runtime.start(pod, obj, sandbox, pod.containers[0], IDLE, run=run, sources={})

    async def log_of(self, obj: Object) -> bytes:
        log = self.logs.find(parse_pod(obj).uid, "web", previous=False)
        assert log is not None
        return b"".join([piece async for piece in log.read(LogOptions())])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.spawner.close()


def command(*argv: str, **fields: Any) -> Object:
    return pod_object("web", container(command=list(argv), **fields))


def descriptors() -> set[str]:
    """What this process has open, standing for what it leaks."""
    return set(os.listdir("/proc/self/fd"))


async def test_the_network_hears_of_host_ports(bench: Bench) -> None:
    port = {"containerPort": 80, "hostPort": 8080}
    pod = parse_pod(pod_object("web", container(ports=[port])))

    await bench.runtime.create_sandbox(pod)

    assert bench.network.ports == {pod.key: (HostPort(port=8080, container_port=80),)}


async def test_a_sandbox_is_a_host_with_a_link_and_an_address(bench: Bench) -> None:
    pod = parse_pod(pod_object("web", uid="u"))

    sandbox = await bench.runtime.create_sandbox(pod)

    address = IPv4Interface("127.9.2.2/24")
    assert sandbox == Sandbox(host="web", pid=os.getpid(), addresses=(address.ip,), uid="u", store=bench.stores / "web")
    assert bench.network.attached == {pod.key: (address,)}


async def test_a_sandbox_without_a_link_leaves_nothing(bench: Bench) -> None:
    bench.network.refuse = "no link"
    with pytest.raises(Refused, match="no link"):
        await bench.runtime.create_sandbox(parse_pod(pod_object("web")))
    assert bench.spawner.specs == {}

    bench.network.refuse = ""
    sandbox = await bench.runtime.create_sandbox(parse_pod(pod_object("web")))
    assert str(sandbox.addresses[0]) == "127.9.2.3", "the address went back, to be used again last"


async def test_a_sandbox_without_a_host_gives_its_address_back(bench: Bench) -> None:
    bench.spawner.refuse = "no namespaces"
    for _ in range(300):
        with pytest.raises(Refused, match="no namespaces"):
            await bench.runtime.create_sandbox(parse_pod(pod_object("web")))


async def test_removing_a_sandbox_twice_is_no_error(bench: Bench) -> None:
    pod = parse_pod(pod_object("web"))
    sandbox = await bench.runtime.create_sandbox(pod)

    await bench.runtime.remove_sandbox(pod, sandbox)
    await bench.runtime.remove_sandbox(pod, sandbox)

    assert (bench.spawner.specs, bench.network.attached) == ({}, {})


async def test_a_container_tells_its_exit_code_once_its_log_is_complete(bench: Bench) -> None:
    obj = command("sh", "-c", "echo out; echo err >&2; exit 3")
    sandbox = await bench.runtime.create_sandbox(parse_pod(obj))
    before = descriptors()

    code = await (await bench.start(obj, sandbox)).wait()

    assert code == 3
    assert sorted((await bench.log_of(obj)).split()) == [b"err", b"out"]
    assert descriptors() == before


async def test_a_container_has_no_input_or_one_that_stays_silent(bench: Bench) -> None:
    """`stdin: true` promises somebody who may type; a program that reads must not meet the end of its input."""
    sandbox = await bench.runtime.create_sandbox(parse_pod(pod_object("web")))
    before = descriptors()

    ends = await bench.start(command("cat"), sandbox)
    waits = await bench.start(command("cat", stdin=True), sandbox, 1)

    assert await ends.wait() == 0
    await waits.signal(15)
    assert await waits.wait() == -15
    assert descriptors() == before


async def test_a_container_with_a_terminal_writes_to_it(bench: Bench) -> None:
    obj = command("sh", "-c", "test -t 0 && test -t 1 && tty -s && echo yes", tty=True)
    sandbox = await bench.runtime.create_sandbox(parse_pod(obj))
    before = descriptors()

    assert await (await bench.start(obj, sandbox)).wait() == 0
    assert await bench.log_of(obj) == b"yes\r\n"
    assert descriptors() == before


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (command("no-such-program"), "no-such-program: not found in $PATH"),
        (command("true", workingDir="/no/such/place"), "/no/such/place: no such directory"),
    ],
)
async def test_a_container_that_cannot_start_says_why_and_leaves_nothing(bench: Bench, obj: Object, why: str) -> None:
    sandbox = await bench.runtime.create_sandbox(parse_pod(obj))
    before = descriptors()

    with pytest.raises(StartError) as caught:
        await bench.start(obj, sandbox)

    assert str(caught.value) == f"failed to start container 'web': {why}"
    assert descriptors() == before


async def test_a_kubelet_without_room_for_a_log_tries_again_later(bench: Bench, tmp_path: Path) -> None:
    obj = command("true")
    sandbox = await bench.runtime.create_sandbox(parse_pod(obj))
    (tmp_path / "logs").write_text("in the way")

    with pytest.raises(Retry, match="cannot start container 'web' now"):
        await bench.start(obj, sandbox)


async def test_a_command_in_a_container_has_its_environment_and_its_end(bench: Bench) -> None:
    obj = command("sleep", "infinity", env=[{"name": "COLOUR", "value": "blue"}], workingDir="/tmp")
    sandbox = await bench.runtime.create_sandbox(parse_pod(obj))
    running = await bench.start(obj, sandbox)

    answer = await bench.runtime.run_command(sandbox, running, ["sh", "-c", "echo $COLOUR; pwd >&2; exit 2"], 10.0)

    assert answer == (2, "blue\n/tmp\n")


async def test_a_command_that_takes_too_long_is_killed_with_all_it_started(bench: Bench) -> None:
    obj = command("sleep", "infinity")
    sandbox = await bench.runtime.create_sandbox(parse_pod(obj))
    running = await bench.start(obj, sandbox)
    before = descriptors()

    with pytest.raises(TimeoutError):
        await bench.runtime.run_command(sandbox, running, ["sh", "-c", "sleep 1000 & sleep 1000"], 0.05)

    async with asyncio.timeout(20):
        assert await bench.spawner.processes[-1].wait() == -9
    assert descriptors() == before


async def test_of_what_a_command_prints_only_so_much_is_kept(bench: Bench) -> None:
    obj = command("sleep", "infinity")
    sandbox = await bench.runtime.create_sandbox(parse_pod(obj))
    running = await bench.start(obj, sandbox)

    _, output = await bench.runtime.run_command(sandbox, running, ["head", "-c", "1000000", "/dev/zero"], 10.0)

    assert len(output) == 10 * 1024
