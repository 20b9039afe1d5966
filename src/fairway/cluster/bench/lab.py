"""How fast labs are, and what they cost: bringing them up, pods, reactions, the demo.

Every figure is measured several times: machines are shared and noisy. Beside each run stand the machine's load and how
fast it started processes just before, so that runs of different days and machines can be told from each other.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from fairway.api.resources import DEPLOYMENTS
from fairway.base.errors import FairwayError
from fairway.cluster.bench import crowd, reactions, weight
from fairway.cluster.bench.inlab import ECHO, InLab, deployment, in_lab
from fairway.cluster.bench.record import LIMITS, Figure, Run, Say, ended, spawn_rate
from fairway.cluster.demo import find_kubectl, run_demo
from fairway.cluster.lab import bring_up, take_down
from fairway.cluster.labs import STUDY_LAB
from fairway.cluster.noderules import own_environment
from fairway.cluster.state import LabState

LARGE = {"up_20_nodes": 20, "up_50_nodes": 50}
"""How many nodes, by the figure."""

IDLE_WINDOW_S = 10.0
"""So long the processor time of an idle lab is counted in each run."""

_SETTLE_S = 5.0
"""So long after its last pod became Ready a lab is taken to be idle."""

_IDLE_PODS = 6

REACTIONS: Mapping[str, Callable[[InLab, int], Awaitable[Figure]]] = {
    "pod_ready": reactions.pod_ready,
    "endpoint_to_rules": reactions.endpoint_to_rules,
    "probe_to_rules": reactions.probe_to_rules,
    "repair_table": partial(reactions.repair, harm="table"),
    "repair_element": partial(reactions.repair, harm="element"),
}


def bench_lab(*, runs: int, wanted: Collection[str], say: Say) -> list[Figure]:
    """Measure a lab `runs` times; labs named bench-... are brought up and taken down for it.

    wanted: names of figures, of LIMITS.
    """
    figures = []
    if "up" in wanted:
        figures.append(_up(runs, say))
    figures += [_large_up(name, nodes, runs, say) for name, nodes in LARGE.items() if name in wanted]
    inside = set(wanted) - {"up", "demo", *LARGE}
    if inside:
        with _lab("bench-lab") as state:
            figures += asyncio.run(_inside(state, inside, runs, say))
    if "demo" in wanted:
        figures.append(_demo(runs, say))
    return sorted(figures, key=lambda figure: list(LIMITS).index(figure.name))


def _up(runs: int, say: Say) -> Figure:
    """From the call to four Ready nodes and an answer of kubectl."""
    kubectl = find_kubectl()
    taken = []
    for run in range(runs):
        state = LabState.of("bench-up")
        spawns_per_s = spawn_rate()
        started = time.perf_counter()
        bring_up(state, STUDY_LAB, report=lambda _: None)
        try:
            if kubectl:
                command = [kubectl, "--kubeconfig", str(state.kubeconfig), "get", "nodes"]
                subprocess.run(command, check=True, capture_output=True)
            taken.append(ended(time.perf_counter() - started, spawns_per_s=spawns_per_s))
        finally:
            take_down(state)
        say(f"up, run {run + 1}: {taken[-1].value:.3f} s")
    return Figure(name="up", runs=taken)


def _large_up(name: str, nodes: int, runs: int, say: Say) -> Figure:
    """The whole command `fairway up --nodes N`, from its start to its end."""
    taken = []
    for run in range(runs):
        spawns_per_s = spawn_rate()
        started = time.perf_counter()
        with _lab("bench-large", "--nodes", str(nodes)):
            taken.append(ended(time.perf_counter() - started, spawns_per_s=spawns_per_s))
        say(f"up of {nodes} nodes, run {run + 1}: {taken[-1].value:.2f} s")
    return Figure(name=name, runs=taken, facts={"nodes": nodes})


@contextmanager
def _lab(name: str, *options: str) -> Iterator[LabState]:
    """A lab as a person has it, from a process that has ended: nothing of it is shared with this one."""
    state = LabState.of(name)
    command = [sys.executable, "-c", "from fairway.cli.main import main; main()", "up", "--name", name, *options]
    done = subprocess.run(command, env={**os.environ, **own_environment()}, capture_output=True, text=True)
    if done.returncode:
        raise FairwayError(done.stderr.strip().removeprefix("fairway: "))
    try:
        yield state
    finally:
        take_down(state)


def _demo(runs: int, say: Say) -> Figure:
    taken = []
    for run in range(runs):
        spawns_per_s = spawn_rate()
        started = time.perf_counter()
        finished = run_demo("bench-demo", keep=False, show=lambda _: None, say=lambda _: None)
        taken.append(ended(time.perf_counter() - started, spawns_per_s=spawns_per_s))
        if not finished.held:
            raise FairwayError("a claim of the demo does not hold: run `fairway demo` to see which")
        say(f"demo, run {run + 1}: {taken[-1].value:.1f} s")
    return Figure(name="demo", runs=taken)


async def _inside(state: LabState, wanted: Collection[str], runs: int, say: Say) -> list[Figure]:
    """What is measured in one lab. While nothing else has run in it, what it costs; the many pods last."""
    figures = []
    async with in_lab(state, STUDY_LAB, say) as lab:
        if not {"idle_memory", "idle_cpu"}.isdisjoint(wanted):
            figures += [figure for figure in await _idle(state, lab, runs) if figure.name in wanted]
        figures += [await measure(lab, runs) for name, measure in REACTIONS.items() if name in wanted]
        figures += [await crowd.scale_down(lab, name, runs) for name in crowd.CONTAINERS if name in wanted]
        if "pods_200_ready" in wanted:
            figures.append(await crowd.many_pods(lab, runs))
    return figures


async def _idle(state: LabState, lab: InLab, runs: int) -> list[Figure]:
    """Memory and processor time of all processes of a lab with six pods that nobody calls."""
    app, first = "bench-idle", state.living().pid
    more = _IDLE_PODS - len(lab.pods.objects)
    await lab.client.create(DEPLOYMENTS, deployment(app, more, ECHO, grace_s=0), "default")
    await lab.pods.until_ready(app, more)
    await asyncio.sleep(_SETTLE_S)
    memory, cpu, processes = list[Run](), list[Run](), 0
    for run in range(runs):
        used, started = weight.processor_seconds(first), time.perf_counter()
        await asyncio.sleep(IDLE_WINDOW_S)
        used, elapsed = weight.processor_seconds(first) - used, time.perf_counter() - started
        size, processes = weight.memory(first)
        cpu.append(ended(100 * used / elapsed))
        memory.append(ended(size / 1e6))
        lab.say(f"idle, run {run + 1}: {memory[-1].value:.1f} MB, {cpu[-1].value:.2f} % of a core")
    await lab.client.delete(DEPLOYMENTS, app, "default")
    await lab.pods.until(lambda _: not lab.pods.of(app), f"the last pod of {app} gone")
    facts = {"nodes": len(lab.scenario.nodes), "pods": _IDLE_PODS}
    return [
        Figure(name="idle_memory", runs=memory, facts={**facts, "processes": processes}),
        Figure(name="idle_cpu", runs=cpu, facts={**facts, "window_s": IDLE_WINDOW_S}),
    ]
