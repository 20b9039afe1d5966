"""A pod's status as the API carries it: phase, conditions and container statuses from its record.

Rules and texts of the kubelet's `getPhase` (`pkg/kubelet/kubelet_pods.go`) and `pkg/kubelet/status/generate.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from fairway.api.types import Object
from fairway.kubelet.images import Catalogue, parse_reference
from fairway.kubelet.lifecycle import (
    ContainerRecord,
    PodRecord,
    Running,
    Terminated,
    Waiting,
    back_off,
    back_off_message,
    init_failed,
    is_initialized,
    is_terminal,
    next_init_container,
    will_restart,
)
from fairway.kubelet.pod import ContainerSpec, PodSpec
from fairway.kubelet.times import timestamp


class Phase(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
"""The condition types the kubelet writes; all others (readiness gates) belong to somebody else."""


def phase_of(pod: PodSpec, record: PodRecord) -> Phase:
    """Where the pod is in its life."""
    if init_failed(pod, record):
        return Phase.FAILED
    records = [record.of(container.name) for container in pod.containers]
    ends = [current.finished for current in records]
    if pod.deletion_grace_s is not None and not any(current.running for current in records) and any(ends):
        return Phase.SUCCEEDED if all(end is not None and end.exit_code == 0 for end in ends) else Phase.FAILED
    if next_init_container(pod, record) is not None:
        return Phase.PENDING
    if is_terminal(pod, record) and not any(record.of(sidecar.name).running for sidecar in pod.sidecars):
        return Phase.SUCCEEDED if all(end is not None and end.exit_code == 0 for end in ends) else Phase.FAILED
    if any(not current.running and current.finished is None for current in records):
        return Phase.PENDING
    return Phase.RUNNING


def qos_class(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort (`pkg/apis/core/v1/helper/qos`): from cpu and memory of all containers."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    relevant = ("cpu", "memory")

    def amounts(kind: str, item: Mapping[str, Any]) -> dict[str, str]:
        given = item.get(kind) or {}
        return {name: str(given[name]) for name in relevant if str(given.get(name, "0")) not in ("0", "")}

    if not any(amounts("requests", item) or amounts("limits", item) for item in resources):
        return "BestEffort"
    for item in resources:
        limits = amounts("limits", item)
        if set(limits) != set(relevant) or {**limits, **amounts("requests", item)} != limits:
            return "Burstable"
    return "Guaranteed"


def build_status(
    pod: PodSpec,
    record: PodRecord,
    previous: Sequence[Mapping[str, Any]],
    *,
    host_ips: Sequence[str],
    qos: str,
    catalogue: Catalogue,
    now: float,
) -> Object:
    """The whole status of a pod.

    previous: the conditions as last known; one that keeps its status keeps its lastTransitionTime, and those of others
    stay as they are. With its own result as `previous`, an equal record gives an equal status, whatever `now` is.
    """
    phase = phase_of(pod, record)
    own = _conditions(pod, record, phase, previous)
    status: Object = {
        "phase": phase.value,
        "conditions": _merged(previous, own, now),
        "hostIP": host_ips[0],
        "hostIPs": [{"ip": address} for address in host_ips],
        "startTime": timestamp(record.started_at),
        "qosClass": qos,
    }
    if addresses := record.addresses or (host_ips if pod.host_network else ()):
        status |= {"podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses]}
    if pod.init_containers:
        status["initContainerStatuses"] = [
            container_status(pod, container, record, catalogue, init=True) for container in pod.init_containers
        ]
    status["containerStatuses"] = [
        container_status(pod, container, record, catalogue, init=False) for container in pod.containers
    ]
    return status


def container_status(
    pod: PodSpec, container: ContainerSpec, record: PodRecord, catalogue: Catalogue, *, init: bool
) -> Object:
    """One entry of containerStatuses or initContainerStatuses."""
    current = record.of(container.name)
    finished = current.finished
    state: Waiting | Running | Terminated = current.state
    last = current.last
    if record.blocked is not None and not current.running:
        state = record.blocked
    elif isinstance(state, Terminated) and will_restart(pod, record, container):
        waits = back_off(container, current).until(state.finished_at) > state.finished_at
        if waits:
            state, last = (
                Waiting(reason="CrashLoopBackOff", message=back_off_message(pod, container, current)),
                finished,
            )
    ready = current.ready and current.running
    if init and not container.sidecar:
        ready = isinstance(state, Terminated) and state.exit_code == 0
    reference = parse_reference(container.image)
    image = catalogue.find(reference) if reference else None
    ran = bool(current.container_id)
    return {
        "name": container.name,
        "state": _state(state),
        "lastState": _state(last) if last is not None else {},
        "ready": ready,
        "restartCount": current.restart_count,
        "image": str(reference) if reference and ran else container.image,
        "imageID": f"fairway://{image.program}" if image and ran else "",
        **({"containerID": current.container_id} if ran else {}),
        "started": current.started and current.running,
    }


def _state(state: Waiting | Running | Terminated) -> Object:
    match state:
        case Waiting(reason=reason, message=message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running(started_at=started_at):
            return {"running": {"startedAt": timestamp(started_at)}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    "reason": state.reason,
                    **({"message": state.message} if state.message else {}),
                    "startedAt": timestamp(state.started_at),
                    "finishedAt": timestamp(state.finished_at),
                    **({"containerID": state.container_id} if state.container_id else {}),
                }
            }


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Object:
    return {
        "type": kind,
        "status": "True" if holds else "False",
        "lastProbeTime": None,
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }


def _conditions(pod: PodSpec, record: PodRecord, phase: Phase, previous: Iterable[Mapping[str, Any]]) -> list[Object]:
    containers_ready = _containers_ready(pod, record, phase)
    return [
        _condition("PodReadyToStartContainers", record.sandbox),
        _initialized(pod, record, phase),
        _ready(pod, containers_ready, previous),
        containers_ready,
        _condition("PodScheduled", True),
    ]


def _initialized(pod: PodSpec, record: PodRecord, phase: Phase) -> Object:
    if phase is Phase.SUCCEEDED:
        return _condition("Initialized", True, "PodCompleted")
    if next_init_container(pod, record) is None and not init_failed(pod, record):
        return _condition("Initialized", True)
    incomplete = [
        container.name for container in pod.init_containers if not is_initialized(container, record.of(container.name))
    ]
    message = f"containers with incomplete status: [{' '.join(incomplete)}]"
    return _condition("Initialized", False, "ContainersNotInitialized", message)


def _containers_ready(pod: PodSpec, record: PodRecord, phase: Phase) -> Object:
    if phase is Phase.SUCCEEDED:
        return _condition("ContainersReady", False, "PodCompleted")
    if phase is Phase.FAILED:
        return _condition("ContainersReady", False, "PodFailed")
    unready = [container.name for container in pod.lasting_containers if not _is_ready(record.of(container.name))]
    if not unready:
        return _condition("ContainersReady", True)
    message = f"containers with unready status: [{' '.join(unready)}]"
    return _condition("ContainersReady", False, "ContainersNotReady", message)


def _is_ready(record: ContainerRecord) -> bool:
    return record.running and record.ready


def _ready(pod: PodSpec, containers_ready: Object, previous: Iterable[Mapping[str, Any]]) -> Object:
    """ContainersReady and every readiness gate (KEP-580)."""
    if containers_ready["status"] != "True":
        return {**containers_ready, "type": "Ready"}
    given = {condition["type"]: condition["status"] for condition in previous}
    problems = []
    for gate in pod.readiness_gates:
        if gate not in given:
            problems.append(f'corresponding condition of pod readiness gate "{gate}" does not exist.')
        elif given[gate] != "True":
            problems.append(f'the status of pod readiness gate "{gate}" is not "True", but {given[gate]}')
    if problems:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(problems))
    return _condition("Ready", True)


def _merged(previous: Sequence[Mapping[str, Any]], own: Sequence[Object], now: float) -> list[Object]:
    """Our conditions with the time of their last change, then those of others as they are."""
    known = {condition["type"]: condition for condition in previous}
    merged: list[Object] = []
    for condition in own:
        before = known.get(condition["type"])
        unchanged = before is not None and before.get("status") == condition["status"]
        since = before.get("lastTransitionTime") if before is not None and unchanged else None
        merged.append({**condition, "lastTransitionTime": since or timestamp(now)})
    merged += [dict(condition) for condition in previous if condition["type"] not in OWN_CONDITIONS]
    return merged


def status_patch(uid: str, status: Object, *, former: Iterable[str] = ()) -> Object:
    """The strategic merge patch that makes a pod's status this one, provided the pod is still the one with `uid`.

    Conditions merge by type: only our own are sent, and what they no longer say is sent as null. Addresses merge by
    themselves: those the pod has no more are sent as deleted. former: the addresses it had, of another sandbox perhaps.
    """
    conditions = [
        {"reason": None, "message": None, **condition}
        for condition in status["conditions"]
        if condition["type"] in OWN_CONDITIONS
    ]
    now = status.get("podIPs") or []
    gone = [{"$patch": "delete", "ip": address} for address in former if {"ip": address} not in now]
    ips = {"podIPs": [*now, *gone], "$setElementOrder/podIPs": now} if gone else {}
    return {"metadata": {"uid": uid}, "status": {**status, **ips, "conditions": conditions}}
