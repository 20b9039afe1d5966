"""How fast a lab that is up reacts: a pod's start, a new endpoint's way to the rules, a failed probe's, a repair.

Measured from the outside.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fairway.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICES
from fairway.base.errors import FairwayError
from fairway.cluster import rulewatch
from fairway.cluster.bench.inlab import ECHO, InLab, deployment, node_port_service
from fairway.cluster.bench.podwatch import Pods, is_ready
from fairway.cluster.bench.record import Calls, Figure, ended, spawn_rate
from fairway.cluster.hosts import LabHosts
from fairway.cluster.labs import STUDY_LAB
from fairway.cluster.noderules import own_program, rules_programs
from fairway.watch.client import Client

_BARE = "bench-bare"
_BARE_ADDRESSES = ("10.10.3.251", "10.10.3.252")
"""Of no pod; taken in turn, so that each write is a change."""
_PROBED = "bench-probed"
_UNREADY, _FAILED = "/tmp/unready", "/tmp/failed"  # noqa: S108 - files in the pod's own /tmp
_FAIL = f"test ! -e {_UNREADY} || {{ date +%s%N >> {_FAILED}; exit 1; }}"
"""A probe that fails once the file is there, and writes down when (nanoseconds of the wall clock)."""

_QUIET_S = 1.0
"""So long without a commit and the rules have settled."""


async def pod_ready(lab: InLab, runs: int) -> Figure:
    """From a pod's creation, with a node's name, to Ready as a watch tells."""
    taken = []
    for run in range(runs):
        spawns_per_s = spawn_rate()
        taken.append(ended(await _pod_start(lab.client, lab.pods, run), spawns_per_s=spawns_per_s))
        lab.say(f"pod bound to Ready, run {run + 1}: {taken[-1].value:.3f} s")
    return Figure(name="pod_ready", runs=taken)


async def endpoint_to_rules(lab: InLab, runs: int) -> Figure:
    """From the answer to a write of an EndpointSlice to the rules of every node."""
    await _make_bare_service(lab.client)
    taken = []
    for run in range(runs):
        spawns_per_s = spawn_rate()
        seconds = await _endpoint_to_rules(lab.client, lab.hosts, _BARE_ADDRESSES[run % 2])
        taken.append(ended(seconds, spawns_per_s=spawns_per_s))
        lab.say(f"endpoint written to last rule, run {run + 1}: {seconds:.4f} s")
    return Figure(name="endpoint_to_rules", runs=taken)


async def probe_to_rules(lab: InLab, runs: int) -> Figure:
    """From a probe that fails to the rules of every node without the pod."""
    taken = []
    async with _probed_service(lab):
        for run in range(runs):
            spawns_per_s = spawn_rate()
            taken.append(ended(await _probe_to_rules(lab.hosts, lab.pods), spawns_per_s=spawns_per_s))
            lab.say(f"probe failed to last rule gone, run {run + 1}: {taken[-1].value:.3f} s")
    return Figure(name="probe_to_rules", runs=taken)


async def repair(lab: InLab, runs: int, harm: str) -> Figure:
    """From a stranger's commit that harms a node's table to the agent's that mends it, while the client calls."""
    async with _probed_service(lab):
        service = await lab.client.get(SERVICES, _PROBED, "default")
        port = str(service["spec"]["ports"][0]["nodePort"])
        taken = []
        for run in range(runs):
            spawns_per_s = spawn_rate()
            seconds, calls = await _harm_while_called(lab.hosts, harm, port)
            taken.append(ended(seconds, spawns_per_s=spawns_per_s, calls=calls))
            told = f"{calls.lost} of {calls.made} calls lost"
            lab.say(f"{harm} deleted to repaired, run {run + 1}: {seconds:.4f} s; {told}")
    return Figure(name=f"repair_{harm}", runs=taken)


async def _harm_while_called(hosts: LabHosts, harm: str, port: str) -> tuple[float, Calls]:
    node = STUDY_LAB.control_plane
    harming = own_program("fairway.cluster.bench.tamper", harm, port)
    calling = own_program("fairway.cluster.bench.calls", STUDY_LAB.node_addresses[node], port)
    lines, stop = await hosts.stream(STUDY_LAB.client, calling.argv, extra=calling.extra)
    if await anext(lines) != "ready":
        raise FairwayError("the client cannot call")
    code, told = await hosts.run(node, harming.argv, extra=harming.extra)
    stop()
    made, lost = [line async for line in lines][-1].split()
    if code:
        raise FairwayError(told.strip())
    return float(told), Calls(made=int(made), lost=int(lost))


async def _pod_start(client: Client, pods: Pods, run: int) -> float:
    """Bound when it is created, with a node's name; Ready as a watch tells."""
    name = f"bench-{run}"
    spec = {
        "nodeName": STUDY_LAB.workers[run % len(STUDY_LAB.workers)],
        "terminationGracePeriodSeconds": 0,
        "containers": [ECHO],
    }
    started = time.perf_counter()
    await client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, "default")
    await pods.until(lambda objects: name in objects and is_ready(objects[name]), f"pod {name} Ready")
    seconds = time.perf_counter() - started
    await client.delete(PODS, name, "default")
    return seconds


async def _make_bare_service(client: Client) -> None:
    """A Service without a selector, whose endpoints are for us to write, and an empty EndpointSlice of it."""
    metadata = {"name": _BARE, "labels": {"kubernetes.io/service-name": _BARE}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _BARE},
        "spec": {"type": "NodePort", "ports": [{"name": "web", "port": 80, "targetPort": 8080}]},
    }
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
        "endpoints": [],
    }
    await client.create(SERVICES, service, "default")
    await client.create(ENDPOINT_SLICES, endpoint_slice, "default")


async def _endpoint_to_rules(client: Client, hosts: LabHosts, address: str) -> float:
    """From the answer to a write of an EndpointSlice to the last commit by which a node's rules have its endpoint.

    Below zero where all nodes were faster than the answer.
    """
    endpoint_slice = await client.get(ENDPOINT_SLICES, _BARE, "default")
    endpoint_slice["endpoints"] = [{"addresses": [address], "conditions": {"ready": True}}]
    async with _watched_rules(hosts) as nodes:
        await client.update(ENDPOINT_SLICES, endpoint_slice)
        answered = time.time_ns()
        last = [await _last_commit(commits) for commits in nodes]
    for node in STUDY_LAB.nodes:
        if not await _leads_to(hosts, node, address):
            raise FairwayError(f"{node} does not lead to {address} although it is an endpoint")
    return (max(last) - answered) / 1e9


@asynccontextmanager
async def _probed_service(lab: InLab) -> AsyncIterator[None]:
    """A Deployment of three pods with a probe that can be made to fail, and a Service of type NodePort."""
    probe = {"exec": {"command": ["sh", "-c", _FAIL]}, "periodSeconds": 1, "failureThreshold": 1}
    await lab.client.create(
        DEPLOYMENTS, deployment(_PROBED, 3, {**ECHO, "readinessProbe": probe}, grace_s=0), "default"
    )
    await lab.client.create(SERVICES, node_port_service(_PROBED), "default")
    await lab.pods.until_ready(_PROBED, 3)
    yield
    await lab.client.delete(SERVICES, _PROBED, "default")
    await lab.client.delete(DEPLOYMENTS, _PROBED, "default")
    await lab.pods.until(lambda _: not lab.pods.of(_PROBED), f"the last pod of {_PROBED} gone")


async def _probe_to_rules(hosts: LabHosts, pods: Pods) -> float:
    """From the failing probe's own clock to the last commit by which a node's rules lost the pod."""
    name, pod = next((name, pod) for name, pod in pods.of(_PROBED).items() if is_ready(pod))
    address = pod["status"]["podIP"]
    await hosts.run(name, ["rm", "-f", _FAILED])
    async with _watched_rules(hosts) as nodes:
        await hosts.run(name, ["touch", _UNREADY])
        await pods.until(lambda objects: not is_ready(objects[name]), f"pod {name} not Ready")
        last = [await _last_commit(commits) for commits in nodes]
    for node in STUDY_LAB.nodes:
        if await _leads_to(hosts, node, address):
            raise FairwayError(f"{node} still leads to {address} although its probe fails")
    _, failed = await hosts.run(name, ["head", "-n1", _FAILED])
    await hosts.run(name, ["rm", _UNREADY])
    await pods.until(lambda objects: is_ready(objects[name]), f"pod {name} Ready again")
    return (max(last) - int(failed)) / 1e9


async def _leads_to(hosts: LabHosts, node: str, address: str) -> bool:
    program = next(rules_programs(STUDY_LAB.mode, STUDY_LAB.families))
    code, listing = await hosts.run(node, program.argv, extra=program.extra)
    if code:
        raise FairwayError(f"the rules of {node} cannot be read: {listing.strip()}")
    return address in listing


@asynccontextmanager
async def _watched_rules(hosts: LabHosts) -> AsyncIterator[list[asyncio.Queue[int]]]:
    """The times of commits to each node's rules, for the time of the block."""
    nodes = [asyncio.Queue[int]() for _ in STUDY_LAB.nodes]
    async with asyncio.TaskGroup() as group:
        stops = []
        try:
            for node, commits in zip(STUDY_LAB.nodes, nodes, strict=True):
                stops.append(await _watch_rules(group, hosts, node, commits))
            yield nodes
        finally:
            for stop in stops:
                stop()


async def _watch_rules(
    group: asyncio.TaskGroup, hosts: LabHosts, node: str, commits: asyncio.Queue[int]
) -> Callable[[], None]:
    """Start `rulewatch` on a node; its times go to `commits`. Returns what stops it."""
    lines, stop = await hosts.stream(node, [sys.executable, "-I", "-S", str(Path(rulewatch.__file__))])
    first = await anext(lines)
    if first != "ready":
        raise FairwayError(f"the rules of {node} cannot be watched: {first}")

    async def read() -> None:
        async for line in lines:
            commits.put_nowait(int(line))

    group.create_task(read())
    return stop


async def _last_commit(commits: asyncio.Queue[int]) -> int:
    """The time of the last commit before the rules were quiet."""
    last = await asyncio.wait_for(commits.get(), timeout=10)
    while True:
        try:
            last = await asyncio.wait_for(commits.get(), timeout=_QUIET_S)
        except TimeoutError:
            return last
