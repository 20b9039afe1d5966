"""How fast a lab is: up, a pod's start, the way to the rules of an endpoint and of a failed probe, the demo.

Measured from the outside.

Every figure is the median of several runs, in seconds, with the runs beside it: machines are shared and noisy.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairway.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICES
from fairway.api.types import Object
from fairway.base.errors import FairwayError
from fairway.cluster import rulewatch
from fairway.cluster.bench import tamper
from fairway.cluster.demo import find_kubectl, run_demo
from fairway.cluster.hosts import LabHosts
from fairway.cluster.lab import bring_up, take_down
from fairway.cluster.labs import STUDY_LAB
from fairway.cluster.noderules import own_program, rules_programs
from fairway.cluster.state import LabState
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer

LIMITS_S = {
    "up": 3.0,
    "pod_ready": 1.0,
    "endpoint_to_rules": 0.02,
    "probe_to_rules": 0.2,
    "repair_table": 0.1,
    "repair_element": 0.1,
    "demo": 60.0,
}
"""What each figure should stay below."""

_BARE = "bench-bare"
_BARE_ADDRESSES = ("10.10.3.251", "10.10.3.252")
"""Of no pod; taken in turn, so that each write is a change."""
_PROBED = "bench-probed"
_UNREADY, _FAILED = "/tmp/unready", "/tmp/failed"  # noqa: S108 - files in the pod's own /tmp
_FAIL = f"test ! -e {_UNREADY} || {{ date +%s%N >> {_FAILED}; exit 1; }}"
"""A probe that fails once the file is there, and writes down when (nanoseconds of the wall clock)."""

_QUIET_S = 1.0
"""So long without a commit and the rules have settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Of a client's calls through a node port while a run was made: how many there were, and how many failed."""

    made: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured several times, in seconds. calls: of each run, where some were made meanwhile."""

    name: str
    seconds: tuple[float, ...]
    calls: tuple[Calls, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "median_s": round(statistics.median(self.seconds), 4),
            "limit_s": LIMITS_S[self.name],
            "runs_s": [round(value, 4) for value in self.seconds],
            **({"calls": [calls.made for calls in self.calls]} if self.calls else {}),
            **({"lost": [calls.lost for calls in self.calls]} if self.calls else {}),
        }


def bench_lab(*, runs: int, with_demo: bool, say: Callable[[str], None]) -> list[Figure]:
    """Measure a lab `runs` times; labs named bench-... are brought up and taken down for it."""
    figures = [_bench_up(runs, say)]
    state = LabState.of("bench-lab")
    bring_up(state, STUDY_LAB, report=lambda _: None)
    try:
        figures += asyncio.run(_bench_in_lab(state, runs, say))
    finally:
        take_down(state)
    if with_demo:
        figures.append(_bench_demo(runs, say))
    return figures


def _bench_up(runs: int, say: Callable[[str], None]) -> Figure:
    """From the call to four Ready nodes and an answer of kubectl."""
    kubectl = find_kubectl()
    seconds = []
    for run in range(runs):
        state = LabState.of("bench-up")
        started = time.perf_counter()
        bring_up(state, STUDY_LAB, report=lambda _: None)
        try:
            if kubectl:
                command = [kubectl, "--kubeconfig", str(state.kubeconfig), "get", "nodes"]
                subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
        finally:
            take_down(state)
        say(f"up, run {run + 1}: {seconds[-1]:.3f} s")
    return Figure(name="up", seconds=tuple(seconds))


def _bench_demo(runs: int, say: Callable[[str], None]) -> Figure:
    seconds = []
    for run in range(runs):
        started = time.perf_counter()
        finished = run_demo("bench-demo", keep=False, show=lambda _: None, say=lambda _: None)
        seconds.append(time.perf_counter() - started)
        if not finished.held:
            raise FairwayError("a claim of the demo does not hold: run `fairway demo` to see which")
        say(f"demo, run {run + 1}: {seconds[-1]:.1f} s")
    return Figure(name="demo", seconds=tuple(seconds))


async def _bench_in_lab(state: LabState, runs: int, say: Callable[[str], None]) -> list[Figure]:
    async with Client(state.credentials()) as client, LabHosts.connect(state) as hosts:
        async with _followed_pods(client) as pods:
            ready = []
            for run in range(runs):
                ready.append(await _pod_start(client, pods, run))
                say(f"pod bound to Ready, run {run + 1}: {ready[-1]:.3f} s")
            await _make_bare_service(client)
            changed = []
            for run in range(runs):
                changed.append(await _endpoint_to_rules(client, hosts, _BARE_ADDRESSES[run % 2]))
                say(f"endpoint written to last rule, run {run + 1}: {changed[-1]:.4f} s")
            await _make_probed_service(client, pods)
            gone = []
            for run in range(runs):
                gone.append(await _probe_to_rules(hosts, pods))
                say(f"probe failed to last rule gone, run {run + 1}: {gone[-1]:.3f} s")
            repairs = [await _repairs(client, hosts, harm, runs, say) for harm in tamper.HARMS]
    measured = {"pod_ready": ready, "endpoint_to_rules": changed, "probe_to_rules": gone}
    return [*(Figure(name=name, seconds=tuple(seconds)) for name, seconds in measured.items()), *repairs]


async def _repairs(client: Client, hosts: LabHosts, harm: str, runs: int, say: Callable[[str], None]) -> Figure:
    """From a stranger's commit that harms a node's table to the agent's that mends it, while the client calls."""
    service = await client.get(SERVICES, _PROBED, "default")
    node, port = STUDY_LAB.control_plane, str(service["spec"]["ports"][0]["nodePort"])
    harming = own_program("fairway.cluster.bench.tamper", harm, port)
    calling = own_program("fairway.cluster.bench.calls", STUDY_LAB.node_addresses[node], port)
    seconds, counted = [], []
    for run in range(runs):
        lines, stop = await hosts.stream(STUDY_LAB.client, calling.argv, extra=calling.extra)
        if await anext(lines) != "ready":
            raise FairwayError("the client cannot call")
        code, told = await hosts.run(node, harming.argv, extra=harming.extra)
        stop()
        made, lost = [line async for line in lines][-1].split()
        if code:
            raise FairwayError(told.strip())
        seconds.append(float(told))
        counted.append(Calls(made=int(made), lost=int(lost)))
        say(f"{harm} deleted to repaired, run {run + 1}: {seconds[-1]:.4f} s; {lost} of {made} calls lost")
    return Figure(name=f"repair_{harm}", seconds=tuple(seconds), calls=tuple(counted))


class _Pods:
    """The pods of the default namespace as they are now, and a way to wait for what they become."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self._changed = asyncio.Event()

    def note(self, change: Change[Object]) -> None:
        if change.current is None:
            self.objects.pop(change.key.name, None)
        else:
            self.objects[change.key.name] = change.current
        self._changed.set()

    async def until(self, satisfied: Callable[[dict[str, Object]], bool]) -> None:
        async with asyncio.timeout(60):
            while not satisfied(self.objects):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def _followed_pods(client: Client) -> AsyncIterator[_Pods]:
    pods = _Pods()
    informer = Informer(client, PODS, namespace="default", on_change=pods.note)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(informer.run())
        await informer.wait_synced()
        yield pods
        running.cancel()


async def _pod_start(client: Client, pods: _Pods, run: int) -> float:
    """Bound when it is created, with a node's name; Ready as a watch tells."""
    name = f"bench-{run}"
    spec = {
        "nodeName": STUDY_LAB.workers[run % len(STUDY_LAB.workers)],
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "echo", "image": "mendhak/http-https-echo"}],
    }
    started = time.perf_counter()
    await client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, "default")
    await pods.until(lambda objects: name in objects and is_ready(objects[name]))
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


async def _make_probed_service(client: Client, pods: _Pods) -> None:
    """A Deployment of three pods with a probe that can be made to fail, and a Service of type NodePort."""
    labels = {"app": _PROBED}
    probe = {"exec": {"command": ["sh", "-c", _FAIL]}, "periodSeconds": 1, "failureThreshold": 1}
    container = {"name": "echo", "image": "mendhak/http-https-echo", "readinessProbe": probe}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": _PROBED},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _PROBED},
        "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    await client.create(DEPLOYMENTS, deployment, "default")
    await client.create(SERVICES, service, "default")
    await pods.until(lambda objects: len(_probed(objects, ready=True)) == 3)


async def _probe_to_rules(hosts: LabHosts, pods: _Pods) -> float:
    """From the failing probe's own clock to the last commit by which a node's rules lost the pod."""
    name, pod = next(iter(_probed(pods.objects, ready=True).items()))
    address = pod["status"]["podIP"]
    await hosts.run(name, ["rm", "-f", _FAILED])
    async with _watched_rules(hosts) as nodes:
        await hosts.run(name, ["touch", _UNREADY])
        await pods.until(lambda objects: not is_ready(objects[name]))
        last = [await _last_commit(commits) for commits in nodes]
    for node in STUDY_LAB.nodes:
        if await _leads_to(hosts, node, address):
            raise FairwayError(f"{node} still leads to {address} although its probe fails")
    _, failed = await hosts.run(name, ["head", "-n1", _FAILED])
    await hosts.run(name, ["rm", _UNREADY])
    await pods.until(lambda objects: is_ready(objects[name]))
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


def is_ready(pod: Object) -> bool:
    """Its condition Ready is True."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _probed(objects: dict[str, Object], *, ready: bool) -> dict[str, Object]:
    return {name: pod for name, pod in objects.items() if name.startswith(_PROBED) and is_ready(pod) is ready}
