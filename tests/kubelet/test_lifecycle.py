"""What to do next with a pod."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairway.api.types import Object
from fairway.kubelet.backoff import Backoff
from fairway.kubelet.lifecycle import (
    CREATING,
    ContainerRecord,
    CreateSandbox,
    Decision,
    Finish,
    KillContainer,
    PodRecord,
    Running,
    StartContainer,
    Terminated,
    Waiting,
    back_off_message,
    container_ended,
    container_failed_to_start,
    container_started,
    container_waits,
    decide,
    is_terminal,
    new_record,
    next_init_container,
    restored_record,
    start_at,
)
from fairway.kubelet.pod import PodSpec
from tests.kubelet.objects import container, pod_spec

NOW = 1000.0
TWO_INIT = {"initContainers": [container("one"), container("two")]}


def ended(code: int, at: float = NOW, *, backoff: Backoff | None = None) -> ContainerRecord:
    end = Terminated(exit_code=code, reason="Completed" if code == 0 else "Error", started_at=0.0, finished_at=at)
    return ContainerRecord(state=end, container_id="c", backoff=backoff or Backoff())


def running(pod: PodSpec | None = None, name: str = "web") -> ContainerRecord:
    spec = pod.container(name) if pod else None
    return ContainerRecord(state=Running(started_at=0.0), container_id="c", started=True, ready=True, spec=spec)


def record(*, sandbox: bool = True, **containers: ContainerRecord) -> PodRecord:
    return PodRecord(started_at=0.0, sandbox=sandbox, addresses=("10.10.1.2",), containers=containers)


def start(*names: str) -> Decision:
    return Decision(actions=tuple(StartContainer(name=name) for name in names))


NOTHING = Decision()


def test_a_new_pod_gets_its_sandbox_first() -> None:
    pod = pod_spec()

    assert decide(pod, new_record(pod, NOW), NOW) == Decision(actions=(CreateSandbox(),))


def test_then_all_its_containers_start_at_once() -> None:
    assert decide(pod_spec(container("a"), container("b")), record(), NOW) == start("a", "b")


def test_nothing_is_to_be_done_for_a_pod_that_runs() -> None:
    pod = pod_spec()

    assert decide(pod, record(web=running(pod)), NOW) == NOTHING


@pytest.mark.parametrize(
    ("containers", "decision"),
    [
        ({}, start("one")),
        ({"one": running()}, NOTHING),
        ({"one": ended(0)}, start("two")),
        ({"one": ended(0), "two": ended(0)}, start("web")),
        ({"one": ended(1)}, start("one")),
        ({"one": ended(1, backoff=Backoff(delay_s=10.0, updated_at=NOW))}, Decision(wake_at=NOW + 10.0)),
    ],
)
def test_init_containers_succeed_one_after_another(containers: dict[str, ContainerRecord], decision: Decision) -> None:
    assert decide(pod_spec(**TWO_INIT), record(**containers), NOW) == decision


def test_init_containers_are_over_once_a_container_was_started() -> None:
    pod = pod_spec(**TWO_INIT)

    assert next_init_container(pod, record(web=ended(1))) is None


@pytest.mark.parametrize(
    ("policy", "code", "decision"),
    [
        ("Always", 0, start("web")),
        ("Always", 1, start("web")),
        ("OnFailure", 1, start("web")),
        ("OnFailure", 0, Decision(actions=(Finish(deleted=False),))),
        ("Never", 1, Decision(actions=(Finish(deleted=False),))),
        ("Never", 0, Decision(actions=(Finish(deleted=False),))),
    ],
)
def test_what_follows_an_end_is_the_restart_policys(policy: str, code: int, decision: Decision) -> None:
    assert decide(pod_spec(restartPolicy=policy), record(web=ended(code)), NOW) == decision


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    pod = pod_spec(restartPolicy="Never", **TWO_INIT)

    assert decide(pod, record(one=ended(1)), NOW) == Decision(actions=(Finish(deleted=False),))


def test_a_finished_pod_without_a_sandbox_is_left_alone() -> None:
    assert decide(pod_spec(restartPolicy="Never"), record(sandbox=False, web=ended(0)), NOW) == NOTHING


def test_a_crashed_container_waits_for_its_back_off_and_the_pod_wakes_for_the_first() -> None:
    pod = pod_spec(container("a"), container("b"), container("c"))
    worn, more_worn = Backoff(delay_s=10.0, updated_at=NOW), Backoff(delay_s=40.0, updated_at=NOW)
    containers = {"a": ended(1, backoff=more_worn), "b": ended(1, backoff=worn), "c": running(pod, "c")}

    assert decide(pod, record(**containers), NOW) == Decision(wake_at=NOW + 10.0)
    assert decide(pod, record(**containers), NOW + 10.0) == Decision(
        actions=(StartContainer(name="b"),), wake_at=NOW + 40.0
    )


def test_a_changed_image_replaces_a_running_container() -> None:
    pod = pod_spec(container(image="busybox:2"))
    old = running(pod_spec(container(image="busybox:1")))

    message = "Container web definition changed, will be restarted"
    assert decide(pod, record(web=old), NOW) == Decision(
        actions=(KillContainer(name="web", grace_s=30.0, message=message),)
    )


def test_an_image_that_cannot_be_had_waits_for_another() -> None:
    bad, good = pod_spec(container(image="redis")), pod_spec(container(image="busybox"))
    waiting = container_waits(ContainerRecord(), bad.containers[0], Waiting(reason="ErrImagePull"))

    assert decide(bad, record(web=waiting), NOW) == NOTHING
    assert decide(good, record(web=waiting), NOW) == start("web")


def test_a_blocked_pod_waits_until_it_is_deleted() -> None:
    blocked = replace(record(sandbox=False), blocked=Waiting(reason="CreateContainerConfigError"))

    assert decide(pod_spec(), blocked, NOW) == NOTHING
    assert decide(pod_spec(deleted=30), blocked, NOW) == Decision(actions=(Finish(deleted=True),))


def test_deletion_stops_what_runs_and_then_finishes() -> None:
    pod = pod_spec(container("a"), container("b"), deleted=7)
    kill = KillContainer(name="a", grace_s=7.0, message="Stopping container a")

    assert decide(pod, record(a=running(), b=ended(0)), NOW) == Decision(actions=(kill,))
    assert decide(pod, record(a=ended(143), b=ended(0)), NOW) == Decision(actions=(Finish(deleted=True),))


def test_a_pod_deleted_before_it_had_anything_is_finished_at_once() -> None:
    pod = pod_spec(deleted=30)

    assert decide(pod, new_record(pod, NOW), NOW) == Decision(actions=(Finish(deleted=True),))


@pytest.mark.parametrize(
    ("policy", "containers", "terminal"),
    [
        ("Always", {"a": ended(0), "b": ended(0)}, False),
        ("OnFailure", {"a": ended(0), "b": ended(1)}, False),
        ("OnFailure", {"a": ended(0), "b": ended(0)}, True),
        ("Never", {"a": ended(0), "b": running()}, False),
        ("Never", {"a": ended(0), "b": ended(1)}, True),
        ("Never", {"a": ended(0)}, False),
    ],
)
def test_a_pod_is_over_when_nothing_will_run_again(
    policy: str, containers: dict[str, ContainerRecord], terminal: bool
) -> None:
    assert is_terminal(pod_spec(container("a"), container("b"), restartPolicy=policy), record(**containers)) is terminal


# What the record is told.


def test_a_first_start_is_no_restart() -> None:
    spec = pod_spec().containers[0]

    assert container_started(ContainerRecord(), spec, "id", NOW) == ContainerRecord(
        state=Running(started_at=NOW), container_id="id", spec=spec
    )


def test_a_start_after_an_end_counts_and_backs_off() -> None:
    spec, before = pod_spec().containers[0], ended(1, at=990.0)

    after = container_started(before, spec, "id", NOW)

    assert (after.restart_count, after.last, after.backoff) == (1, before.state, Backoff(delay_s=10.0, updated_at=NOW))


def test_another_image_starts_at_once_and_backs_off_afresh() -> None:
    before, after = pod_spec(container(image="busybox")), pod_spec(container(image="alpine"))
    worn = replace(ended(1, backoff=Backoff(delay_s=80.0, updated_at=NOW)), spec=before.containers[0])
    assert decide(before, record(web=worn), NOW) == Decision(wake_at=NOW + 80.0)
    assert decide(after, record(web=worn), NOW) == start("web")

    started = container_started(worn, after.containers[0], "id", NOW)

    assert (started.restart_count, started.backoff) == (1, Backoff(delay_s=10.0, updated_at=NOW))


@pytest.mark.parametrize(
    ("reason", "image", "retry_at", "due"),
    [
        ("ErrImagePull", "busybox", NOW + 10, NOW + 10),
        ("ImagePullBackOff", "busybox", 0.0, None),
        ("InvalidImageName", "busybox", 0.0, None),
        ("ImagePullBackOff", "alpine", 0.0, 0.0),
        ("ErrImagePull", "alpine", NOW + 10, 0.0),
    ],
)
def test_an_image_that_is_not_known_is_waited_for(reason: str, image: str, retry_at: float, due: float | None) -> None:
    """It is told to wait once, and then for ever, unless the container's image is another by then."""
    pod = pod_spec(container(image="busybox"))
    waiting = container_waits(ContainerRecord(), pod.containers[0], Waiting(reason=reason), retry_at=retry_at)

    assert start_at(pod, replace(pod.containers[0], image=image), waiting) == due


def test_a_start_while_waiting_for_an_image_keeps_the_last_end() -> None:
    spec = pod_spec().containers[0]
    waiting = container_waits(ended(1), spec, Waiting(reason="ErrImagePull"))

    assert container_started(waiting, spec, "id", NOW).restart_count == 1


@pytest.mark.parametrize(("code", "told", "reason"), [(0, 0, "Completed"), (3, 3, "Error"), (-9, 137, "Error")])
def test_an_end_tells_its_exit_code(code: int, told: int, reason: str) -> None:
    after = container_ended(running(), code, NOW)

    assert after == ContainerRecord(
        state=Terminated(exit_code=told, reason=reason, started_at=0.0, finished_at=NOW, container_id="c"),
        container_id="c",
    )


def test_a_program_that_cannot_start_has_begun_and_ended() -> None:
    spec = pod_spec().containers[0]

    after = container_failed_to_start(ContainerRecord(), spec, "", "no such program", NOW)

    assert after.state == Terminated(
        exit_code=128, reason="StartError", message="no such program", started_at=NOW, finished_at=NOW
    )
    assert (after.ready, after.started) == (False, False)


def test_a_new_pod_waits_for_creation_or_initialisation() -> None:
    assert new_record(pod_spec(), NOW).of("web").state == CREATING
    assert new_record(pod_spec(**TWO_INIT), NOW).of("web").state == Waiting(reason="PodInitializing")


def test_another_life_of_the_kubelet_is_remembered_by_its_statuses() -> None:
    statuses: list[Object] = [
        {"name": "a", "containerID": "x", "restartCount": 2, "state": {"running": {}}},
        {
            "name": "b",
            "containerID": "y",
            "restartCount": 0,
            "state": {
                "terminated": {
                    "exitCode": 0,
                    "reason": "Completed",
                    "startedAt": "1970-01-01T00:00:01Z",
                    "finishedAt": "1970-01-01T00:00:02Z",
                }
            },
        },
        {"name": "c", "state": {"waiting": {}}, "restartCount": 0},
        {"name": "gone", "containerID": "z", "state": {"running": {}}},
    ]
    pod = pod_spec(container("a"), container("b"), container("c"))

    found = restored_record(pod, statuses, NOW)

    unseen = Terminated(exit_code=255, reason="Unknown", started_at=NOW, finished_at=NOW, container_id="x")
    done = Terminated(exit_code=0, reason="Completed", started_at=1.0, finished_at=2.0, container_id="y")
    assert found.containers == {
        "a": ContainerRecord(state=unseen, restart_count=2),
        "b": ContainerRecord(state=done),
        "c": ContainerRecord(),
    }


@pytest.mark.parametrize(("delay_s", "text"), [(10.0, "10s"), (80.0, "1m20s"), (300.0, "5m0s")])
def test_a_back_off_says_how_long(delay_s: float, text: str) -> None:
    pod = pod_spec(uid="u")
    worn = ContainerRecord(backoff=Backoff(delay_s=delay_s, updated_at=NOW))

    message = f"back-off {text} restarting failed container=web pod=web_default(u)"
    assert back_off_message(pod, pod.containers[0], worn) == message


# Sidecars.

SIDECAR = container("proxy", restartPolicy="Always")
BETWEEN = {"initContainers": [container("one"), SIDECAR, container("two")]}


def starting() -> ContainerRecord:
    """It runs, and its startup probe has not passed."""
    return replace(running(), started=False, ready=False)


@pytest.mark.parametrize(
    ("containers", "decision"),
    [
        ({}, start("one")),
        ({"one": ended(0)}, start("proxy")),
        ({"one": ended(0), "proxy": starting()}, NOTHING),
        ({"one": ended(0), "proxy": running()}, start("two")),
        ({"one": ended(0), "proxy": ended(1)}, start("proxy")),
        ({"one": ended(0), "proxy": ended(0), "two": running()}, start("proxy")),
        ({"one": ended(0), "proxy": running(), "two": ended(0)}, start("web")),
        ({"one": ended(0), "proxy": ended(0), "two": ended(0), "web": running()}, start("proxy")),
    ],
)
def test_a_sidecar_is_started_in_its_turn_and_kept(containers: dict[str, ContainerRecord], decision: Decision) -> None:
    assert decide(pod_spec(**BETWEEN), record(**containers), NOW) == decision


def kill(name: str, grace_s: float) -> Decision:
    return Decision(actions=(KillContainer(name=name, grace_s=grace_s, message=f"Stopping container {name}"),))


TWO_SIDECARS = {"initContainers": [container("a", restartPolicy="Always"), container("b", restartPolicy="Always")]}


@pytest.mark.parametrize(
    ("containers", "decision"),
    [
        ({"web": ended(0), "a": running(), "b": running()}, kill("b", 30.0)),
        ({"web": ended(0), "a": running(), "b": ended(0)}, kill("a", 30.0)),
        ({"web": ended(0), "a": ended(0), "b": ended(137)}, Decision(actions=(Finish(deleted=False),))),
    ],
)
def test_sidecars_end_with_the_last_of_the_others(containers: dict[str, ContainerRecord], decision: Decision) -> None:
    assert decide(pod_spec(restartPolicy="Never", **TWO_SIDECARS), record(**containers), NOW) == decision


@pytest.mark.parametrize(
    ("containers", "left_s", "decision"),
    [
        ({"web": running(), "a": running(), "b": running()}, 25.0, kill("web", 30.0)),
        ({"web": ended(0), "a": running(), "b": running()}, 12.0, kill("b", 12.0)),
        ({"web": ended(0), "a": running(), "b": ended(0)}, -1.0, kill("a", 2.0)),
    ],
)
def test_a_deleted_pods_sidecars_share_what_is_left_of_its_grace(
    containers: dict[str, ContainerRecord], left_s: float, decision: Decision
) -> None:
    pod = pod_spec(deleted=30, **TWO_SIDECARS)

    assert decide(pod, record(**containers), pod.deleted_at - left_s) == decision


def test_a_pod_that_is_gone_from_the_api_ends_all_at_once() -> None:
    pod = pod_spec(deleted=0, **TWO_SIDECARS)

    actions = decide(pod, record(web=running(), a=running(), b=running()), NOW).actions
    assert {action.name for action in actions if isinstance(action, KillContainer)} == {"web", "a", "b"}
