from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.apiserver.pod_status import PodSummary, readiness_gates, summarize

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


def pod(
    containers: list[dict[str, Any]],
    *,
    init: list[dict[str, Any]] | None = None,
    sidecars: tuple[str, ...] = (),
    deleted: bool = False,
    **status: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "p"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    names = [one["name"] for one in init or []]
    return {
        "metadata": metadata,
        "spec": {
            "containers": [{"name": one["name"]} for one in containers],
            "initContainers": [
                {"name": name, **({"restartPolicy": "Always"} if name in sidecars else {})} for name in names
            ],
        },
        "status": {"phase": "Pending", "containerStatuses": containers, "initContainerStatuses": init or [], **status},
    }


def container(name: str = "c", *, ready: bool = False, **state: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "state": state}


RUNNING = container(ready=True, running={})
WAITING = container(waiting={"reason": "ContainerCreating"})
READY = [{"type": "Ready", "status": "True"}]


@pytest.mark.parametrize(
    ("obj", "ready", "status"),
    [
        (pod([]), "0/0", "Pending"),
        (pod([WAITING]), "0/1", "ContainerCreating"),
        (pod([RUNNING], phase="Running"), "1/1", "Running"),
        (pod([container(waiting={"reason": "CrashLoopBackOff"})], phase="Running"), "0/1", "CrashLoopBackOff"),
        (pod([container(terminated={"reason": "Completed", "exitCode": 0})], phase="Succeeded"), "0/1", "Completed"),
        (pod([container(terminated={"exitCode": 3})]), "0/1", "ExitCode:3"),
        (pod([container(terminated={"exitCode": 137, "signal": 9})]), "0/1", "Signal:9"),
        (pod([RUNNING], phase="Running", deleted=True), "1/1", "Terminating"),
        (pod([], phase="Succeeded", deleted=True), "0/0", "Succeeded"),
        (pod([RUNNING], phase="Running", reason="NodeLost", deleted=True), "1/1", "Unknown"),
        (pod([], phase="Failed", reason="Evicted"), "0/0", "Evicted"),
        (
            pod([], conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
            "0/0",
            "SchedulingGated",
        ),
    ],
)
def test_a_pod_is_summed_up(obj: dict[str, Any], ready: str, status: str) -> None:
    assert summarize(obj, NOW) == PodSummary(ready=ready, status=status, restarts="0")


def test_the_first_containers_trouble_names_the_pods() -> None:
    trouble = [container("a", waiting={"reason": "ErrImagePull"}), container("b", waiting={"reason": "Other"})]
    assert summarize(pod(trouble), NOW).status == "ErrImagePull"


def test_a_pod_with_one_container_done_and_one_running_runs() -> None:
    done = container("a", terminated={"reason": "Completed", "exitCode": 0})
    assert summarize(pod([done, {**RUNNING, "name": "b"}], conditions=READY), NOW).status == "Running"
    assert summarize(pod([done, {**RUNNING, "name": "b"}]), NOW).status == "NotReady"


@pytest.mark.parametrize(
    ("init", "status"),
    [
        ([container("i", running={})], "Init:0/1"),
        ([container("i", waiting={"reason": "PodInitializing"})], "Init:0/1"),
        ([container("i", waiting={"reason": "CrashLoopBackOff"})], "Init:CrashLoopBackOff"),
        ([container("i", terminated={"exitCode": 1})], "Init:ExitCode:1"),
        ([container("i", terminated={"exitCode": 1, "reason": "Error"})], "Init:Error"),
        ([container("i", terminated={"exitCode": 9, "signal": 9})], "Init:Signal:9"),
        ([container("i", terminated={"exitCode": 0}), container("j", running={})], "Init:1/2"),
    ],
)
def test_an_init_container_holds_the_pod_up(init: list[dict[str, Any]], status: str) -> None:
    assert summarize(pod([WAITING], init=init), NOW).status == status


def test_a_sidecar_that_started_counts_among_the_ready() -> None:
    sidecar = {**container("s", ready=True, running={}), "started": True, "restartCount": 2}
    summary = summarize(pod([RUNNING], init=[sidecar], sidecars=("s",), phase="Running"), NOW)
    assert summary == PodSummary(ready="2/2", status="Running", restarts="2")


def test_restarts_say_when_the_last_one_was() -> None:
    one = {**RUNNING, "restartCount": 2, "lastState": {"terminated": {"finishedAt": "2026-11-23T12:00:25Z"}}}
    two = {
        **RUNNING,
        "name": "d",
        "restartCount": 1,
        "lastState": {"terminated": {"finishedAt": "2026-11-23T11:00:00Z"}},
    }
    assert summarize(pod([one, two], phase="Running"), NOW).restarts == "3 (5s ago)"


def test_readiness_gates_count_those_that_are_true() -> None:
    obj = pod([], conditions=[{"type": "a", "status": "True"}, {"type": "b", "status": "False"}])
    assert readiness_gates(obj) == "<none>"
    obj["spec"]["readinessGates"] = [{"conditionType": name} for name in "abc"]
    assert readiness_gates(obj) == "1/3"
