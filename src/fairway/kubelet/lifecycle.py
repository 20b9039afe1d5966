"""A pod's life: what is known of its containers, and what to do next.

The shell keeps one `PodRecord` per pod, tells it what happened (a container started, ended, could not start) and asks
`decide` for the next step; `decide` never acts and never reads a clock. The rules are those of the kubelet's
`computePodActions` (`pkg/kubelet/kuberuntime/kuberuntime_manager.go`): init containers one after another, then all
containers at once; a container that ended is started again as restartPolicy says, after its back-off. A sidecar (a
restartable init container, KEP-753) is waited for until it has started, and ends after the others, the last one first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fairway.kubelet.backoff import Backoff
from fairway.kubelet.pod import ContainerSpec, PodSpec, RestartPolicy
from fairway.kubelet.times import parse_timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not running; reason and message as in ContainerStateWaiting."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    """The end of one run; a signal ends with exit code 128 + signal, as a container runtime reports it."""

    exit_code: int
    reason: str
    started_at: float
    finished_at: float
    message: str = ""
    container_id: str = ""


CREATING = Waiting(reason="ContainerCreating")
INITIALIZING = Waiting(reason="PodInitializing")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """One container as it is now.

    state: a Terminated stays here until the next run; last: the run before this one.
    started: its startup probe has passed, or it has none. ready: its readiness probe says so, or it has none.
    spec: what it was started from, to see that the pod's spec changed. retry_at: before that it is not tried again.
    """

    state: Waiting | Running | Terminated = CREATING
    last: Terminated | None = None
    restart_count: int = 0
    backoff: Backoff = field(default_factory=Backoff)
    container_id: str = ""
    started: bool = False
    ready: bool = False
    spec: ContainerSpec | None = None
    retry_at: float = 0.0

    @property
    def running(self) -> bool:
        return isinstance(self.state, Running)

    @property
    def finished(self) -> Terminated | None:
        """The newest end of a run while none is going on."""
        if isinstance(self.state, Terminated):
            return self.state
        return self.last if isinstance(self.state, Waiting) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRecord:
    """A pod as it is now.

    sandbox: it has its namespaces and its link now. addresses: its addresses, kept when the sandbox is gone.
    blocked: why it cannot be started (its containers' waiting state). containers: by name, init containers too.
    """

    started_at: float
    sandbox: bool = False
    addresses: tuple[str, ...] = ()
    blocked: Waiting | None = None
    containers: Mapping[str, ContainerRecord] = field(default_factory=dict)

    def of(self, name: str) -> ContainerRecord:
        return self.containers.get(name) or ContainerRecord()

    def with_container(self, name: str, record: ContainerRecord) -> PodRecord:
        return replace(self, containers={**self.containers, name: record})


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSandbox:
    """Make the pod's namespaces and its link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContainer:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KillContainer:
    """End a container: SIGTERM, then SIGKILL after grace_s seconds; message is the event's text."""

    name: str
    grace_s: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Nothing runs and nothing will: tear the sandbox down. deleted: the API object goes as well."""

    deleted: bool


Action = CreateSandbox | StartContainer | KillContainer | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """actions: to be done now, in any order. wake_at: when to ask again even if nothing happens."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None


def decide(pod: PodSpec, record: PodRecord, now: float) -> Decision:
    """The next step of a pod."""
    if pod.deletion_grace_s is not None:
        return _stop(pod, record, float(pod.deletion_grace_s), now)
    if record.blocked is not None:
        return Decision()
    if is_terminal(pod, record):
        if not record.sandbox:
            return Decision()
        return _kill(_next_to_stop(pod, record), float(pod.grace_s)) or Decision(actions=(Finish(deleted=False),))
    if not record.sandbox:
        return Decision(actions=(CreateSandbox(),))
    pending = next_init_container(pod, record)
    if pending is not None:
        before = pod.init_containers[: pod.init_containers.index(pending)]
        return _run(pod, record, (*(container for container in before if container.sidecar), pending), now)
    return _run(pod, record, pod.lasting_containers, now)


MINIMUM_GRACE_S = 2.0
"""What a container gets when those that end before it took all the time (kuberuntime, minimumGracePeriodInSeconds)."""


def _stop(pod: PodSpec, record: PodRecord, grace_s: float, now: float) -> Decision:
    if grace_s <= 0:
        running = [container.name for container in pod.all_containers if record.of(container.name).running]
        return _kill(running, 0.0) or Decision(actions=(Finish(deleted=True),))
    if not any(record.of(container.name).running for container in _without_sidecars(pod)):
        left_s = pod.deleted_at - now if pod.deleted_at else grace_s
        grace_s = max(MINIMUM_GRACE_S, min(grace_s, left_s))
    return _kill(_next_to_stop(pod, record), grace_s) or Decision(actions=(Finish(deleted=True),))


def _without_sidecars(pod: PodSpec) -> list[ContainerSpec]:
    return [container for container in pod.all_containers if not container.sidecar]


def _next_to_stop(pod: PodSpec, record: PodRecord) -> list[str]:
    """All containers that are no sidecars; then the sidecars, one by one, the last first (termination_order.go)."""
    first = [container.name for container in _without_sidecars(pod) if record.of(container.name).running]
    sidecars = [container.name for container in pod.sidecars if record.of(container.name).running]
    return first or sidecars[-1:]


def _kill(names: Sequence[str], grace_s: float) -> Decision | None:
    """None when there is nothing to kill."""
    if not names:
        return None
    return Decision(
        actions=tuple(KillContainer(name=name, grace_s=grace_s, message=f"Stopping container {name}") for name in names)
    )


def _run(pod: PodSpec, record: PodRecord, containers: tuple[ContainerSpec, ...], now: float) -> Decision:
    actions: list[Action] = []
    wake_at: float | None = None
    for container in containers:
        current = record.of(container.name)
        if current.running:
            if current.spec is not None and current.spec.image != container.image:
                message = f"Container {container.name} definition changed, will be restarted"
                actions.append(KillContainer(name=container.name, grace_s=float(pod.grace_s), message=message))
            continue
        due = start_at(pod, container, current)
        if due is None:
            continue
        if due <= now:
            actions.append(StartContainer(name=container.name))
        else:
            wake_at = due if wake_at is None else min(wake_at, due)
    return Decision(actions=tuple(actions), wake_at=wake_at)


def start_at(pod: PodSpec, container: ContainerSpec, record: ContainerRecord) -> float | None:
    """When a container that does not run may start: None for never (or not before its image is another)."""
    if isinstance(record.state, Waiting) and record.state.reason in IMAGE_REASONS:
        if record.spec is None or record.spec.image != container.image:
            return 0.0
        return record.retry_at or None
    finished = record.finished
    if finished is None:
        return record.retry_at
    if not restarts(pod, container, finished):
        return None
    return max(record.retry_at, back_off(container, record).until(finished.finished_at))


def back_off(container: ContainerSpec, record: ContainerRecord) -> Backoff:
    """The back-off of a container as it is now wanted; another image has none yet (`GetStableKey` hashes it in)."""
    changed = record.spec is not None and record.spec.image != container.image
    return Backoff() if changed else record.backoff


IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")


def restarts(pod: PodSpec, container: ContainerSpec, finished: Terminated) -> bool:
    """Whether a container that ended so is to run again. An init container that succeeded is only as a sidecar."""
    failed = finished.exit_code != 0
    if container.sidecar:
        return True
    if container in pod.init_containers:
        return failed and pod.restart_policy is not RestartPolicy.NEVER
    match pod.restart_policy:
        case RestartPolicy.ALWAYS:
            return True
        case RestartPolicy.ON_FAILURE:
            return failed
        case RestartPolicy.NEVER:
            return False


def will_restart(pod: PodSpec, record: PodRecord, container: ContainerSpec) -> bool:
    """Whether a container that has ended is to run again in this pod as it is now."""
    finished = record.of(container.name).finished
    if finished is None or pod.deletion_grace_s is not None or not restarts(pod, container, finished):
        return False
    return not (container.sidecar and is_terminal(pod, record))


def next_init_container(pod: PodSpec, record: PodRecord) -> ContainerSpec | None:
    """The init container that has to succeed, or as a sidecar to start, next.

    None once all have, or once a container was started.
    """
    if any(record.of(container.name).container_id for container in pod.containers):
        return None
    for index, container in enumerate(pod.init_containers):
        if container.sidecar and any(_was_begun(record.of(later.name)) for later in pod.init_containers[index + 1 :]):
            continue
        if not is_initialized(container, record.of(container.name)):
            return container
    return None


def _was_begun(record: ContainerRecord) -> bool:
    return record.running or record.finished is not None


def is_initialized(container: ContainerSpec, record: ContainerRecord) -> bool:
    """Whether what comes after an init container need not wait for it."""
    if container.sidecar:
        return record.running and record.started
    finished = record.finished
    return finished is not None and finished.exit_code == 0


def is_terminal(pod: PodSpec, record: PodRecord) -> bool:
    """Whether no container but a sidecar runs or will ever run again: the pod has succeeded or failed."""
    if init_failed(pod, record):
        return True
    if next_init_container(pod, record) is not None:
        return False
    return all(_over(pod, container, record.of(container.name)) for container in pod.containers)


def init_failed(pod: PodSpec, record: PodRecord) -> bool:
    """An init container failed and restartPolicy is Never."""
    if pod.restart_policy is not RestartPolicy.NEVER:
        return False
    ends = (record.of(container.name).finished for container in pod.init_containers if not container.sidecar)
    return any(end is not None and end.exit_code != 0 for end in ends)


def _over(pod: PodSpec, container: ContainerSpec, record: ContainerRecord) -> bool:
    finished = record.finished
    return not record.running and finished is not None and not restarts(pod, container, finished)


# What the shell tells the record.


def new_record(pod: PodSpec, now: float) -> PodRecord:
    """A pod that the kubelet has just seen."""
    waiting = INITIALIZING if pod.init_containers else CREATING
    containers = {container.name: ContainerRecord(state=waiting) for container in pod.containers}
    containers |= {container.name: ContainerRecord(state=waiting) for container in pod.init_containers}
    return PodRecord(started_at=now, containers=containers)


def restored_record(pod: PodSpec, statuses: Iterable[Mapping[str, Any]], now: float) -> PodRecord:
    """A pod that another life of this kubelet may have run, from the container statuses it left; [] for a new pod.

    Restarts count on. What had ended then has ended so; what ran then ended with the kubelet, and gets the exit code
    that containerd gives a container whose end nobody saw.
    """
    record = new_record(pod, now)
    for status in statuses:
        name, container_id = status["name"], status.get("containerID") or ""
        if container_id and pod.container(name) is not None:
            end = _restored_end((status.get("state") or {}).get("terminated"), container_id, now)
            count = int(status.get("restartCount") or 0)
            record = record.with_container(name, ContainerRecord(state=end, restart_count=count))
    return record


UNSEEN_EXIT_CODE = 255


def _restored_end(terminated: Mapping[str, Any] | None, container_id: str, now: float) -> Terminated:
    if terminated is None:
        return Terminated(
            exit_code=UNSEEN_EXIT_CODE, reason="Unknown", started_at=now, finished_at=now, container_id=container_id
        )
    return Terminated(
        exit_code=int(terminated.get("exitCode") or 0),
        reason=terminated.get("reason") or "",
        message=terminated.get("message") or "",
        started_at=parse_timestamp(terminated.get("startedAt") or "", now),
        finished_at=parse_timestamp(terminated.get("finishedAt") or "", now),
        container_id=container_id,
    )


def container_started(record: ContainerRecord, spec: ContainerSpec, container_id: str, now: float) -> ContainerRecord:
    """A run began; a run after an earlier one counts as a restart and moves the back-off on."""
    finished = record.finished
    return replace(
        record,
        state=Running(started_at=now),
        last=finished or record.last,
        backoff=back_off(spec, record).restarted(finished.finished_at, now) if finished else record.backoff,
        restart_count=record.restart_count + (1 if finished else 0),
        container_id=container_id,
        started=False,
        ready=False,
        spec=spec,
        retry_at=0.0,
    )


def container_ended(record: ContainerRecord, exit_code: int, now: float) -> ContainerRecord:
    """A run ended. exit_code: negative for the signal that ended it, as a wait status is usually told in Python."""
    assert isinstance(record.state, Running)
    code = 128 - exit_code if exit_code < 0 else exit_code
    end = Terminated(
        exit_code=code,
        reason="Completed" if code == 0 else "Error",
        started_at=record.state.started_at,
        finished_at=now,
        container_id=record.container_id,
    )
    return replace(record, state=end, started=False, ready=False)


START_ERROR_CODE = 128
"""Exit code of a container whose program could not be started (containerd, reason StartError)."""


def container_failed_to_start(
    record: ContainerRecord, spec: ContainerSpec, container_id: str, message: str, now: float
) -> ContainerRecord:
    """Its program could not be executed: a run that began and ended now."""
    begun = container_started(record, spec, container_id, now)
    end = Terminated(
        exit_code=START_ERROR_CODE,
        reason="StartError",
        message=message,
        started_at=now,
        finished_at=now,
        container_id=container_id,
    )
    return replace(begun, state=end)


def container_waits(
    record: ContainerRecord, spec: ContainerSpec, waiting: Waiting, *, retry_at: float = 0.0
) -> ContainerRecord:
    """It cannot be started for now, for a reason that is not its own crash."""
    last = record.finished or record.last
    return replace(record, state=waiting, last=last, spec=spec, started=False, ready=False, retry_at=retry_at)


def back_off_message(pod: PodSpec, container: ContainerSpec, record: ContainerRecord) -> str:
    """The text of a CrashLoopBackOff (`pkg/kubelet/kuberuntime/kuberuntime_manager.go` doBackOff)."""
    key = f"{pod.key.name}_{pod.key.namespace}({pod.uid})"
    return f"back-off {_go_duration(record.backoff.delay_s)} restarting failed container={container.name} pod={key}"


def _go_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
