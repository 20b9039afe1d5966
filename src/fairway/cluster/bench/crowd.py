"""Many pods at once, and pods on their way out, in a lab that is up: how long, and what callers notice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fairway.api.resources import DEPLOYMENTS, SERVICES
from fairway.base.errors import FairwayError
from fairway.cluster.bench.inlab import ECHO, InLab, deployment, node_port_service
from fairway.cluster.bench.record import Calls, Figure, Run, ended, spawn_rate
from fairway.cluster.noderules import own_program

MANY = 200

_REPLICAS, _LEFT = 6, 2
_GRACE_S = 30
"""The default of a pod's terminationGracePeriodSeconds."""

_LEAVING_S = 2
"""So long a pod that is told to end goes on answering: rules follow within a fraction of it."""

_READY = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}
"""A pod without a probe is Ready before its server listens, and its first callers are refused."""

_AGNHOST = {
    **_READY,
    "name": "web",
    "image": "registry.k8s.io/e2e-test-images/agnhost:2.53",
    "args": ["netexec", "--http-port=8080", "--udp-port=-1", f"--delay-shutdown={_LEAVING_S}"],
}

CONTAINERS: Mapping[str, Mapping[str, Any]] = {
    "scale_down": _AGNHOST,
    "scale_down_prestop": {**ECHO, **_READY, "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVING_S}}}},
}
"""Of pods that end gracefully in the field's two ways: the server itself waits after SIGTERM, or a hook before it."""


async def many_pods(lab: InLab, runs: int) -> Figure:
    """From the start of one `kubectl scale` to the Deployment's 200th Ready pod, as a watch tells."""
    app = "bench-many"
    await lab.client.create(DEPLOYMENTS, deployment(app, 0, ECHO, grace_s=0), "default")
    taken = []
    for run in range(runs):
        spawns_per_s = spawn_rate()
        started = time.perf_counter()
        await _scale(lab, app, MANY)
        await lab.pods.until_ready(app, MANY)
        taken.append(ended(time.perf_counter() - started, spawns_per_s=spawns_per_s))
        lab.say(f"{MANY} pods Ready, run {run + 1}: {taken[-1].value:.2f} s")
        await _scale(lab, app, 0)
        await lab.pods.until(lambda _: not lab.pods.of(app), f"the last pod of {app} gone")
    await lab.client.delete(DEPLOYMENTS, app, "default")
    return Figure(name="pods_200_ready", runs=taken, facts={"pods": MANY, "nodes": len(lab.scenario.nodes)})


async def scale_down(lab: InLab, name: str, runs: int) -> Figure:
    """Calls lost while a Deployment goes from six pods to two, called without a pause through each node's port.

    And once the same with pods that get no time to end, which shows that the callers notice what is lost.
    """
    taken = await _scaled_down(lab, name, runs, grace_s=_GRACE_S)
    abrupt = (await _scaled_down(lab, name, 1, grace_s=0))[0].calls
    assert abrupt is not None
    facts = {"pods_before": _REPLICAS, "pods_after": _LEFT, "abrupt_calls": abrupt.made, "abrupt_lost": abrupt.lost}
    return Figure(name=name, runs=taken, facts=facts)


async def _scaled_down(lab: InLab, name: str, runs: int, *, grace_s: int) -> list[Run]:
    app = "bench-" + name.replace("_", "-")
    await lab.client.create(DEPLOYMENTS, deployment(app, _REPLICAS, CONTAINERS[name], grace_s=grace_s), "default")
    service = await lab.client.create(SERVICES, node_port_service(app), "default")
    port = int(service["spec"]["ports"][0]["nodePort"])
    taken = []
    for run in range(runs):
        if run:
            await _scale(lab, app, _REPLICAS)
        await lab.pods.until_ready(app, _REPLICAS)
        taken.append(await _called_while_scaled_down(lab, app, port))
        calls = taken[-1].calls
        assert calls is not None
        what = f"run {run + 1}" if grace_s else "without grace"
        lab.say(f"{name}, {what}: {calls.lost} of {calls.made} calls lost")
    await lab.client.delete(SERVICES, app, "default")
    await lab.client.delete(DEPLOYMENTS, app, "default")
    await lab.pods.until(lambda _: not lab.pods.of(app), f"the last pod of {app} gone")
    return taken


async def _called_while_scaled_down(lab: InLab, app: str, port: int) -> Run:
    """The client calls, by a program for each node, until the pods that have to go are gone."""
    callers = []
    for address in lab.scenario.node_addresses.values():
        program = own_program("fairway.cluster.bench.calls", address, str(port), "/")
        callers.append(await lab.hosts.stream(lab.scenario.client, program.argv, extra=program.extra))
    for lines, _ in callers:
        if await anext(lines) != "ready":
            raise FairwayError("the client cannot call")
    await _scale(lab, app, _LEFT)
    await lab.pods.until_ready(app, _LEFT)
    made = lost = 0
    for lines, stop in callers:
        stop()
        counted = [line async for line in lines][-1].split()
        made, lost = made + int(counted[0]), lost + int(counted[1])
    return ended(lost, calls=Calls(made=made, lost=lost))


async def _scale(lab: InLab, app: str, replicas: int) -> None:
    code, said = await lab.kubectl.run(["scale", f"deployment/{app}", f"--replicas={replicas}"])
    if code:
        raise FairwayError(f"kubectl scale: {said.strip()}")
