"""A pod's probes and hooks, through the API and the first process."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fairway.api.types import Object
from tests.kubelet.conftest import RunNode
from tests.kubelet.objects import ECHO, container, exists, pod_object, shell, stubborn

FOREVER = ["sleep", "infinity"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Probes.


async def test_a_pod_is_ready_while_its_readiness_probe_succeeds(run_node: RunNode, tmp_path: Path) -> None:
    good = tmp_path / "good"
    async with run_node() as node:
        await node.apply(pod_object("web", container(command=FOREVER, readinessProbe=exists(good))))
        await node.until(lambda: "running" in node.state("web"))
        assert not node.ready("web")

        good.touch()
        await node.until(lambda: node.ready("web"))
        good.unlink()
        await node.until(lambda: not node.ready("web"))
        await node.until(lambda: bool(node.events("Unhealthy")))

        await node.until_events("Unhealthy", ["Readiness probe failed: "])
        condition = next(c for c in node.status("web")["conditions"] if c["type"] == "Ready")
        assert condition["reason"] == "ContainersNotReady"
        assert condition["message"] == "containers with unready status: [web]"


async def test_the_echo_server_is_ready_long_before_its_probes_period(run_node: RunNode) -> None:
    """The first probe comes before the program listens; the next must not wait for the whole period."""
    port = free_port()
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3600}
    web = container(
        image=ECHO,
        env=[{"name": "HTTP_PORT", "value": str(port)}],
        ports=[{"name": "http", "containerPort": port}],
        readinessProbe=probe,
    )
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))

        await node.until_events("Unhealthy", [])


async def test_a_failed_liveness_probe_restarts_the_container(run_node: RunNode, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    script = f"trap 'exit 0' TERM; touch {alive}; while :; do sleep 0.01; done"
    web = shell(script, livenessProbe=exists(alive), readinessProbe=exists(alive))
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))
        alive.unlink()
        await node.until(lambda: bool(node.status("web")["containerStatuses"][0]["restartCount"]))

        await node.until_events("Killing", ["Container web failed liveness probe, will be restarted"])
        await node.until(lambda: "Liveness probe failed: " in node.events("Unhealthy"))


async def test_readiness_waits_for_the_startup_probe(run_node: RunNode, tmp_path: Path) -> None:
    up = tmp_path / "up"
    startup = {**exists(up), "failureThreshold": 30}
    readiness = {"exec": {"command": ["true"]}}
    async with run_node() as node:
        web = container(command=FOREVER, startupProbe=startup, readinessProbe=readiness)
        await node.apply(pod_object("web", web))
        await node.until(lambda: "running" in node.state("web"))
        status = node.status("web")["containerStatuses"][0]
        assert (status["started"], status["ready"]) == (False, False)

        up.touch()
        await node.until(lambda: node.ready("web"))

        assert node.status("web")["containerStatuses"][0]["started"] is True
        assert not any(p.spawned["argv"] == ("true",) for p in node.spawner.processes[:-1])


async def test_a_failed_startup_probe_ends_the_container(run_node: RunNode) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    async with run_node() as node:
        await node.apply(pod_object("web", container(command=FOREVER, startupProbe=probe), restartPolicy="Never"))
        await node.until(lambda: node.status("web").get("phase") == "Failed")

        await node.until_events("Killing", ["Container web failed startup probe, will be restarted"])


async def test_readiness_is_still_probed_while_the_pod_ends(run_node: RunNode, tmp_path: Path) -> None:
    """`serving` of an endpoint follows it (E14)."""
    good = tmp_path / "good"
    web = stubborn(good)
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))
        await node.apply({**pod_object("web", web, deleted=3600), "status": node.status("web")})
        await node.until(lambda: bool(node.events("Killing")))
        good.unlink()
        await node.until(lambda: not node.ready("web"))

        assert "running" in node.state("web")


async def test_a_readiness_gate_holds_the_pod_back_until_somebody_sets_it(run_node: RunNode) -> None:
    gates = [{"conditionType": "example.com/lb"}]
    async with run_node() as node:
        await node.apply(pod_object("web", readinessGates=gates))
        await node.until(lambda: node.condition("web", "ContainersReady") == "True")
        ready = next(c for c in node.status("web")["conditions"] if c["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")

        conditions = [*node.status("web")["conditions"], {"type": "example.com/lb", "status": "True"}]
        status = {**node.status("web"), "conditions": conditions}
        await node.apply(pod_object("web", readinessGates=gates, status=status))
        await node.until(lambda: node.ready("web"))


# Hooks.


def hook(script: str) -> Object:
    return {"exec": {"command": ["/bin/sh", "-c", script]}}


async def test_a_container_is_probed_once_its_post_start_is_over(run_node: RunNode, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    probe = {"exec": {"command": ["/bin/sh", "-c", f"echo probe >> {trace}"]}, "periodSeconds": 1}
    web = container(lifecycle={"postStart": hook(f"sleep 0.1; echo hook >> {trace}")}, readinessProbe=probe)
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))

    assert trace.read_text().splitlines()[:2] == ["hook", "probe"]


async def test_a_failed_post_start_ends_the_container(run_node: RunNode) -> None:
    web = shell("trap 'exit 3' TERM; while :; do sleep 0.01; done", lifecycle={"postStart": hook("sleep 0.1; false")})
    async with run_node() as node:
        await node.apply(pod_object("web", web, restartPolicy="Never"))
        await node.until(lambda: node.status("web").get("phase") == "Failed")

        assert node.state("web")["terminated"]["exitCode"] == 3
        await node.until_events("FailedPostStartHook", ["PostStartHook failed"])
        await node.until_events("Killing", ["FailedPostStartHook"])


async def test_pre_stop_comes_before_sigterm(run_node: RunNode, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    script = f"trap 'echo term >> {trace}; exit 0' TERM; echo up >> {trace}; while :; do sleep 0.01; done"
    hooks = {"preStop": hook(f"sleep 0.1; echo hook >> {trace}; false")}
    web = shell(script, lifecycle=hooks, readinessProbe=exists(trace))
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))
        await node.apply(pod_object("web", web, deleted=30))
        await node.until(lambda: node.pod("web") is None)
        await node.until_events("FailedPreStopHook", ["PreStopHook failed"])

    assert trace.read_text() == "up\nhook\nterm\n"


async def test_pre_stop_takes_no_longer_than_the_grace(run_node: RunNode, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    script = f"trap 'echo term >> {trace}; exit 0' TERM; echo up >> {trace}; while :; do sleep 0.01; done"
    web = shell(script, lifecycle={"preStop": {"sleep": {"seconds": 3600}}}, readinessProbe=exists(trace))
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))
        await node.apply(pod_object("web", web, deleted=1))
        await node.until(lambda: node.pod("web") is None)

    assert trace.read_text() == "up\nterm\n"


@pytest.mark.parametrize(("answered", "events"), [(True, []), (False, ["PreStopHook failed"])])
async def test_a_hook_over_http_fails_when_nobody_answers(run_node: RunNode, answered: bool, events: list[str]) -> None:
    port = free_port()
    get = {"port": port, "path": "/", "scheme": "HTTP"}
    hooks = {"preStop": {"httpGet": get if answered else {**get, "port": free_port()}}}
    probe = {"httpGet": get, "periodSeconds": 1}
    web = container("web", "traefik/whoami", args=["--port", str(port)], readinessProbe=probe, lifecycle=hooks)
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))
        await node.apply(pod_object("web", web, deleted=30))
        await node.until(lambda: node.pod("web") is None)
        await node.until_events("FailedPreStopHook", events)
