"""A pod's status from its record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fairway.api.resources import PODS
from fairway.api.types import Object
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.strategic_merge import strategic_merge
from fairway.kubelet.backoff import Backoff
from fairway.kubelet.images import lab_catalogue
from fairway.kubelet.lifecycle import ContainerRecord, PodRecord, Running, Terminated, Waiting, new_record
from fairway.kubelet.pod import PodSpec
from fairway.kubelet.status import Phase, build_status, phase_of, qos_class, status_patch
from tests.kubelet.objects import ECHO, NODE_IP, POD_IP, container, pod_spec
from tests.kubelet.test_lifecycle import TWO_INIT, ended, record, running

T0, T1 = 1_700_000_000.0, 1_700_000_060.0
AT_T0, AT_T1 = "2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z"
CATALOGUE = lab_catalogue("/python", "/launch")


def status_of(pod: PodSpec, known: PodRecord, previous: list[Object] | None = None, *, now: float = T0) -> Object:
    return build_status(pod, known, previous or [], host_ips=[NODE_IP], qos="BestEffort", catalogue=CATALOGUE, now=now)


def conditions(status: Object) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


def condition(status: Object, kind: str) -> Object:
    return next(condition for condition in status["conditions"] if condition["type"] == kind)


def test_a_pod_that_is_being_made() -> None:
    pod = pod_spec(container(image=ECHO))

    assert status_of(pod, new_record(pod, T0)) == {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodReadyToStartContainers",
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": AT_T0,
            },
            {"type": "Initialized", "status": "True", "lastProbeTime": None, "lastTransitionTime": AT_T0},
            {
                "type": "Ready",
                "status": "False",
                "lastProbeTime": None,
                "reason": "ContainersNotReady",
                "message": "containers with unready status: [web]",
                "lastTransitionTime": AT_T0,
            },
            {
                "type": "ContainersReady",
                "status": "False",
                "lastProbeTime": None,
                "reason": "ContainersNotReady",
                "message": "containers with unready status: [web]",
                "lastTransitionTime": AT_T0,
            },
            {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": AT_T0},
        ],
        "hostIP": NODE_IP,
        "hostIPs": [{"ip": NODE_IP}],
        "startTime": AT_T0,
        "qosClass": "BestEffort",
        "containerStatuses": [
            {
                "name": "web",
                "state": {"waiting": {"reason": "ContainerCreating"}},
                "lastState": {},
                "ready": False,
                "restartCount": 0,
                "image": ECHO,
                "imageID": "",
                "started": False,
            }
        ],
    }


def test_a_pod_that_runs() -> None:
    pod = pod_spec(container(image=ECHO))
    last = Terminated(
        exit_code=137, reason="Error", message="m", started_at=T0, finished_at=T1, container_id="fairway://1"
    )
    web = ContainerRecord(
        state=Running(started_at=T1), last=last, restart_count=1, container_id="fairway://2", started=True, ready=True
    )

    status = status_of(pod, replace(record(web=web), started_at=T0, addresses=(POD_IP,)))

    assert (status["phase"], status["podIP"], status["podIPs"]) == ("Running", POD_IP, [{"ip": POD_IP}])
    assert set(conditions(status).values()) == {"True"}
    assert status["containerStatuses"] == [
        {
            "name": "web",
            "state": {"running": {"startedAt": AT_T1}},
            "lastState": {
                "terminated": {
                    "exitCode": 137,
                    "reason": "Error",
                    "message": "m",
                    "startedAt": AT_T0,
                    "finishedAt": AT_T1,
                    "containerID": "fairway://1",
                }
            },
            "ready": True,
            "restartCount": 1,
            "image": "docker.io/mendhak/http-https-echo:latest",
            "imageID": "fairway://echo",
            "containerID": "fairway://2",
            "started": True,
        }
    ]


WAITING = ContainerRecord(state=Waiting(reason="ErrImagePull"))


@pytest.mark.parametrize(
    ("policy", "a", "b", "phase"),
    [
        ("Always", running(), running(), Phase.RUNNING),
        ("Always", running(), WAITING, Phase.PENDING),
        ("Always", running(), ended(1), Phase.RUNNING),
        ("Always", ended(1), ended(1), Phase.RUNNING),
        ("Always", ended(0), ended(0), Phase.RUNNING),
        ("OnFailure", ended(0), ended(1), Phase.RUNNING),
        ("OnFailure", ended(0), ended(0), Phase.SUCCEEDED),
        ("Never", ended(0), running(), Phase.RUNNING),
        ("Never", ended(0), ended(0), Phase.SUCCEEDED),
        ("Never", ended(0), ended(2), Phase.FAILED),
    ],
)
def test_a_phase_sums_up_all_containers(policy: str, a: ContainerRecord, b: ContainerRecord, phase: Phase) -> None:
    pod = pod_spec(container("a"), container("b"), restartPolicy=policy)

    assert phase_of(pod, record(a=a, b=b)) is phase


@pytest.mark.parametrize(
    ("policy", "containers", "phase"),
    [
        ("Always", {"one": running()}, Phase.PENDING),
        ("Always", {"one": ended(1)}, Phase.PENDING),
        ("Always", {"one": ended(0), "two": ended(0), "web": running()}, Phase.RUNNING),
        ("Never", {"one": ended(1)}, Phase.FAILED),
    ],
)
def test_init_containers_keep_a_pod_pending(policy: str, containers: dict[str, ContainerRecord], phase: Phase) -> None:
    assert phase_of(pod_spec(restartPolicy=policy, **TWO_INIT), record(**containers)) is phase


@pytest.mark.parametrize(
    ("containers", "phase"),
    [
        ({"web": running()}, Phase.RUNNING),
        ({"web": ended(0)}, Phase.SUCCEEDED),
        ({"web": ended(143)}, Phase.FAILED),
        ({}, Phase.PENDING),
    ],
)
def test_a_deleted_pod_is_over_when_its_containers_are(containers: dict[str, ContainerRecord], phase: Phase) -> None:
    assert phase_of(pod_spec(deleted=30), record(**containers)) is phase


def test_a_container_that_waits_for_its_restart_is_in_crash_loop_back_off() -> None:
    pod = pod_spec(uid="u")
    crashed = ended(1, backoff=Backoff(delay_s=20.0, updated_at=900.0))

    found = status_of(pod, record(web=crashed))["containerStatuses"][0]

    message = "back-off 20s restarting failed container=web pod=web_default(u)"
    assert found["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    assert found["lastState"]["terminated"]["exitCode"] == 1


def test_a_container_that_is_restarted_at_once_is_terminated_until_then() -> None:
    assert list(status_of(pod_spec(), record(web=ended(1)))["containerStatuses"][0]["state"]) == ["terminated"]


def test_a_blocked_pods_containers_say_why() -> None:
    blocked = replace(record(sandbox=False), blocked=Waiting(reason="CreateContainerConfigError", message="no volumes"))

    state = status_of(pod_spec(), blocked)["containerStatuses"][0]["state"]

    assert state == {"waiting": {"reason": "CreateContainerConfigError", "message": "no volumes"}}


def test_incomplete_init_containers_are_named() -> None:
    status = status_of(pod_spec(**TWO_INIT), record(one=ended(0), two=running()))

    assert condition(status, "Initialized") == {
        "type": "Initialized",
        "status": "False",
        "lastProbeTime": None,
        "reason": "ContainersNotInitialized",
        "message": "containers with incomplete status: [two]",
        "lastTransitionTime": AT_T0,
    }
    assert [found["ready"] for found in status["initContainerStatuses"]] == [True, False]


@pytest.mark.parametrize(
    ("code", "reasons"),
    [
        (0, {"Initialized": "PodCompleted", "Ready": "PodCompleted", "ContainersReady": "PodCompleted"}),
        (1, {"Ready": "PodFailed", "ContainersReady": "PodFailed"}),
    ],
)
def test_a_pod_that_is_over_is_not_ready_for_that_reason(code: int, reasons: dict[str, str]) -> None:
    status = status_of(pod_spec(restartPolicy="Never"), record(web=ended(code)))

    assert {c["type"]: c["reason"] for c in status["conditions"] if "reason" in c} == reasons
    assert conditions(status)["Ready"] == "False"


@pytest.mark.parametrize(
    ("given", "ready", "message"),
    [
        ([], "False", 'corresponding condition of pod readiness gate "lb" does not exist.'),
        (
            [{"type": "lb", "status": "False"}],
            "False",
            'the status of pod readiness gate "lb" is not "True", but False',
        ),
        ([{"type": "lb", "status": "True"}], "True", None),
    ],
)
def test_readiness_gates_hold_ready_back(given: list[Object], ready: str, message: str | None) -> None:
    pod = pod_spec(readinessGates=[{"conditionType": "lb"}])

    status = status_of(pod, record(web=running()), given)

    assert conditions(status)["ContainersReady"] == "True"
    assert (condition(status, "Ready")["status"], condition(status, "Ready").get("message")) == (ready, message)


def test_a_condition_keeps_its_time_until_its_status_changes_and_others_stay() -> None:
    pod = pod_spec()
    foreign = {"type": "example.com/lb", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    first = status_of(pod, record(web=ContainerRecord()), [foreign])

    second = status_of(pod, record(web=running()), first["conditions"], now=T1)
    third = status_of(pod, record(web=running()), second["conditions"], now=T1 + 100)

    assert {c["type"]: c["lastTransitionTime"] for c in second["conditions"]} == {
        "PodReadyToStartContainers": AT_T0,
        "Initialized": AT_T0,
        "Ready": AT_T1,
        "ContainersReady": AT_T1,
        "PodScheduled": AT_T0,
        "example.com/lb": "2020-01-01T00:00:00Z",
    }
    assert third == second, "an equal record is an equal status, so that nothing is written"


def test_a_patch_sends_our_conditions_and_takes_back_what_they_no_longer_say() -> None:
    status = status_of(pod_spec(), record(web=running()), [{"type": "lb", "status": "True"}])

    patch = status_patch("u", status)

    assert patch["metadata"] == {"uid": "u"}
    assert [c["type"] for c in patch["status"]["conditions"]] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    assert all("reason" in c and c["reason"] is None for c in patch["status"]["conditions"])


FOUR, SIX = "10.10.1.7", "fd00:10:10:1::7"


@pytest.mark.parametrize("former", [[], [FOUR, SIX], ["10.10.1.2", "fd00:10:10:1::2"], ["10.10.1.2", SIX]])
def test_a_pod_has_the_addresses_of_its_sandbox_alone_and_in_their_order(former: list[str]) -> None:
    """The list merges by address, so an earlier sandbox's would stay."""
    known = replace(record(web=running()), addresses=(FOUR, SIX))
    patch = status_patch("u", status_of(pod_spec(), known), former=former)
    stored: Object = {"status": {"podIPs": [{"ip": address} for address in former]} if former else {}}

    pods = strategy_for(PODS)
    merged = strategic_merge(stored, patch, pods.schema_type, pods.patch_rule)

    assert merged["status"]["podIPs"] == [{"ip": FOUR}, {"ip": SIX}]


CPU_AND_MEMORY = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"ephemeral-storage": "1Gi"}}], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"memory": "1Gi"}}], "Burstable"),
        ([{"limits": CPU_AND_MEMORY}], "Guaranteed"),
        ([{"limits": CPU_AND_MEMORY, "requests": CPU_AND_MEMORY}], "Guaranteed"),
        ([{"limits": CPU_AND_MEMORY, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": CPU_AND_MEMORY}, {}], "Burstable"),
    ],
)
def test_quality_of_service_follows_requests_and_limits(resources: list[dict[str, Any]], qos: str) -> None:
    assert qos_class({"containers": [{"resources": item} for item in resources]}) == qos


SIDECAR = {"initContainers": [container("proxy", restartPolicy="Always")]}


@pytest.mark.parametrize(
    ("containers", "phase", "initialized", "ready"),
    [
        ({"proxy": replace(running(), started=False, ready=False)}, Phase.PENDING, "False", "False"),
        ({"proxy": running(), "web": running()}, Phase.RUNNING, "True", "True"),
        ({"proxy": replace(running(), ready=False), "web": running()}, Phase.RUNNING, "True", "False"),
        ({"proxy": running(), "web": ended(0)}, Phase.RUNNING, "True", "False"),
        ({"proxy": ended(137), "web": ended(0)}, Phase.SUCCEEDED, "True", "False"),
    ],
)
def test_a_sidecar_counts_for_readiness_and_not_for_success(
    containers: dict[str, ContainerRecord], phase: Phase, initialized: str, ready: str
) -> None:
    status = status_of(pod_spec(restartPolicy="Never", **SIDECAR), record(**containers))

    assert status["phase"] == phase
    assert (conditions(status)["Initialized"], conditions(status)["Ready"]) == (initialized, ready)


def test_a_sidecar_of_a_finished_pod_is_terminated_and_not_about_to_restart() -> None:
    pod = pod_spec(restartPolicy="Never", **SIDECAR)
    proxy = ended(143, T0, backoff=Backoff(delay_s=10.0, updated_at=T0))

    status = status_of(pod, record(proxy=proxy, web=ended(0)))

    assert list(status["initContainerStatuses"][0]["state"]) == ["terminated"]
