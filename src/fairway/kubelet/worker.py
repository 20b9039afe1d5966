"""One pod: does what `lifecycle.decide` says, tells the record what came of it, and writes the status."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fairway.api.resources import PODS
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import FairwayError, Retry
from fairway.kubelet import lifecycle, probes
from fairway.kubelet.events import EventType, Recorder, pod_reference
from fairway.kubelet.images import Catalogue, Image, parse_reference
from fairway.kubelet.lifecycle import ContainerRecord, CreateSandbox, Finish, KillContainer, StartContainer, Waiting
from fairway.kubelet.pod import ContainerSpec, PodSpec, ProbeSpec, ProbeType, parse_pod
from fairway.kubelet.prober import ProbeAnswer, Prober, ProbeTarget
from fairway.kubelet.runtime import Container, Runtime, Sandbox, StartError
from fairway.kubelet.status import build_status, qos_class
from fairway.kubelet.status_writer import StatusWriter
from fairway.watch.client import Client

SANDBOX_RETRY_S = 1.0
CREATE_SANDBOX = CreateSandbox()
SHUTDOWN_GRACE_S = 2.0
"""How long containers get when the kubelet itself is told to end."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What all workers of a node share."""

    client: Client
    runtime: Runtime
    prober: Prober
    recorder: Recorder
    catalogue: Catalogue
    node_address: str
    clock: Callable[[], float] = time.time


@dataclass(slots=True, kw_only=True)
class _Run:
    """A container that runs: its probes' gate, and until when it may live once it is being stopped."""

    container: Container
    spec: ContainerSpec
    started: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    kill_at: float | None = None
    ended: bool = False
    tasks: list[tuple[ProbeType, asyncio.Task[None]]] = field(default_factory=list)


class PodWorker:
    """Owns one pod from the moment the node sees it until nothing of it is left."""

    def __init__(self, tools: Tools, obj: Object) -> None:
        self._tools = tools
        self.obj = obj
        self.pod: PodSpec = parse_pod(obj)
        self._sandbox: Sandbox | None = None
        self._runs: dict[str, _Run] = {}
        self._changed = asyncio.Event()
        self._writer = StatusWriter(tools.client, self.pod, (obj.get("status") or {}).get("conditions") or [])
        self._gone = False
        self._shutdown = False
        self._group: asyncio.TaskGroup | None = None
        self.record = self._first_record()
        self.finished = asyncio.Event()

    def _first_record(self) -> lifecycle.PodRecord:
        now = self._tools.clock()
        status = self.obj.get("status") or {}
        statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        return lifecycle.restored_record(self.pod, statuses, now)

    # What others tell it.

    def update(self, obj: Object) -> None:
        """The pod changed in the API."""
        was_deleted = self.pod.deletion_grace_s is not None
        self.obj = obj
        self.pod = parse_pod(obj) if not self._gone else replace(parse_pod(obj), deletion_grace_s=0)
        self._writer.observe((obj.get("status") or {}).get("conditions") or [])
        if self.pod.deletion_grace_s is not None and not was_deleted:
            self._stop_probes(ProbeType.LIVENESS, ProbeType.STARTUP)
        self._changed.set()

    def vanish(self) -> None:
        """The pod is gone from the API (a deletion without grace): end everything now, write nothing more."""
        self._gone = True
        self._writer.close()
        self.pod = replace(self.pod, deletion_grace_s=0)
        self._changed.set()

    def shut_down(self) -> None:
        """The kubelet ends: stop the containers, leave the pod in the API as it is."""
        self._shutdown = True
        self._changed.set()

    def running(self, container: str) -> Container | None:
        run = self._runs.get(container)
        return run.container if run is not None and not run.ended else None

    @property
    def vanished(self) -> bool:
        return self._gone

    @property
    def sandbox(self) -> Sandbox | None:
        return self._sandbox

    # The work.

    async def run(self) -> None:
        """Until the pod is finished and cleaned up, or the kubelet ends."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                writing = group.create_task(self._writer.run())
                self._announce()
                await self._loop()
                writing.cancel()
        finally:
            await self._clean_up()
            self.finished.set()

    def _announce(self) -> None:
        """Say once what of the pod the lab does not offer."""
        if self.pod.unenforced:
            message = f"not enforced in this lab, the pod runs without: {', '.join(self.pod.unenforced)}"
            self._event(EventType.WARNING, "NotEnforced", message)
        if self.pod.unsupported and self.pod.deletion_grace_s is None:
            message = f"this lab does not offer: {', '.join(self.pod.unsupported)}; remove it from the pod"
            self._event(EventType.WARNING, "Unsupported", message)
            self.record = replace(self.record, blocked=Waiting(reason="CreateContainerConfigError", message=message))

    async def _loop(self) -> None:
        self._publish()
        while True:
            self._changed.clear()
            if self._shutdown:
                await self._stop_all()
                return
            decision = lifecycle.decide(self.pod, self.record, self._tools.clock())
            wake_at = decision.wake_at
            for action in decision.actions:
                if isinstance(action, Finish):
                    if await self._finish(deleted=action.deleted):
                        return
                    break
                wake_at = _earlier(wake_at, await self._do(action))
            if CREATE_SANDBOX not in decision.actions or not self.record.sandbox:
                self._publish()  # a sandbox by itself is not worth a write: its containers start at once
            await self._wait(wake_at)

    async def _wait(self, wake_at: float | None) -> None:
        if wake_at is None:
            await self._changed.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, wake_at - self._tools.clock())):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _do(self, action: lifecycle.Action) -> float | None:
        """Do one thing; when to look again if it could not be done now."""
        match action:
            case CreateSandbox():
                return await self._create_sandbox()
            case StartContainer(name=name):
                return await self._start(name)
            case KillContainer(name=name, grace_s=grace_s, message=message):
                self._kill(name, grace_s, message)
        return None

    async def _create_sandbox(self) -> float | None:
        try:
            self._sandbox = await self._tools.runtime.create_sandbox(self.pod)
        except FairwayError as error:
            self._event(EventType.WARNING, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            after_s = error.after_s if isinstance(error, Retry) else SANDBOX_RETRY_S
            return self._tools.clock() + max(after_s, SANDBOX_RETRY_S)
        self.record = replace(self.record, sandbox=True, address=str(self._sandbox.address))
        self._changed.set()
        return None

    async def _start(self, name: str) -> float | None:
        spec = self.pod.container(name)
        assert spec is not None
        assert self._sandbox is not None
        before = self.record.of(name)
        image = self._image(spec)
        if image is None:
            return None
        run = before.restart_count + (1 if before.finished else 0)
        about = f"spec.containers{{{name}}}"
        self._event(EventType.NORMAL, "Pulled", f'Container image "{spec.image}" already present on machine', about)
        try:
            container = await self._tools.runtime.start(self.pod, self.obj, self._sandbox, spec, image, run)
        except StartError as error:
            self._event(EventType.WARNING, "Failed", f"Error: {error}", about)
            self._set(name, lifecycle.container_failed_to_start(before, spec, "", str(error), self._tools.clock()))
            return None
        except Retry as error:
            self._event(EventType.WARNING, "Failed", f"Error: {error}", about)
            return self._tools.clock() + error.after_s
        self._event(EventType.NORMAL, "Created", f"Created container: {name}", about)
        self._set(name, lifecycle.container_started(before, spec, container.id, self._tools.clock()))
        self._event(EventType.NORMAL, "Started", f"Started container {name}", about)
        self._begin(_Run(container=container, spec=spec))
        return None

    def _image(self, spec: ContainerSpec) -> Image | None:
        """The container's image; one that is not known leaves it waiting."""
        reference = parse_reference(spec.image)
        image = self._tools.catalogue.find(reference) if reference else None
        if image is not None:
            return image
        about = f"spec.containers{{{spec.name}}}"
        if reference is None:
            message = f'Failed to apply default image tag "{spec.image}": invalid reference format'
            self._event(EventType.WARNING, "InspectFailed", message, about)
            waiting = Waiting(reason="InvalidImageName", message=message)
        else:
            known = ", ".join(self._tools.catalogue.known)
            message = f'Failed to pull image "{spec.image}": this lab has no registry; the images it knows are: {known}'
            self._event(EventType.WARNING, "Failed", message, about)
            self._event(EventType.WARNING, "Failed", "Error: ErrImagePull", about)
            waiting = Waiting(reason="ErrImagePull", message=message)
        self._set(spec.name, lifecycle.container_waits(self.record.of(spec.name), spec, waiting))
        return None

    def _begin(self, run: _Run) -> None:
        """Watch over a container that has just been started."""
        assert self._group is not None
        name = run.spec.name
        self._runs[name] = run
        self._group.create_task(self._await_end(run))
        if ProbeType.STARTUP not in run.spec.probes:
            self._mark_started(run)
        for kind, spec in run.spec.probes.items():
            run.tasks.append((kind, self._group.create_task(self._probe(run, kind, spec))))

    async def _await_end(self, run: _Run) -> None:
        code = await run.container.wait()
        run.ended = True
        run.changed.set()
        for _, task in run.tasks:
            task.cancel()
        name = run.spec.name
        self._set(name, lifecycle.container_ended(self.record.of(name), code, self._tools.clock()))
        self._tell_back_off(name)

    def _tell_back_off(self, name: str) -> None:
        record = self.record.of(name)
        spec = self.pod.container(name)
        if spec is None or record.finished is None or self.pod.deletion_grace_s is not None:
            return
        waits = record.backoff.until(record.finished.finished_at) > self._tools.clock()
        if waits and lifecycle.restarts(self.pod, spec, record.finished):
            where = f"{self.pod.key.name}_{self.pod.key.namespace}({self.pod.uid})"
            message = f"Back-off restarting failed container {name} in pod {where}"
            self._event(EventType.WARNING, "BackOff", message, f"spec.containers{{{name}}}")

    # Ending containers.

    def _kill(self, name: str, grace_s: float, message: str) -> None:
        """Begin to end a container, or shorten the time it has left."""
        run = self._runs.get(name)
        if run is None or run.ended:
            return
        deadline = self._tools.clock() + grace_s
        if run.kill_at is not None:
            if deadline < run.kill_at:
                run.kill_at = deadline
                run.changed.set()
            return
        run.kill_at = deadline
        assert self._group is not None
        self._event(EventType.NORMAL, "Killing", message, f"spec.containers{{{name}}}")
        self._group.create_task(self._end(run))

    async def _end(self, run: _Run) -> None:
        """SIGTERM, and SIGKILL when its time is over."""
        assert run.kill_at is not None
        if run.kill_at > self._tools.clock():
            await run.container.signal(signal.SIGTERM)
        while not run.ended and (left := run.kill_at - self._tools.clock()) > 0:
            run.changed.clear()
            try:
                async with asyncio.timeout(left):
                    await run.changed.wait()
            except TimeoutError:
                pass
        if not run.ended:
            await run.container.signal(signal.SIGKILL)

    async def _stop_all(self) -> None:
        for name, run in self._runs.items():
            if not run.ended:
                self._kill(name, min(SHUTDOWN_GRACE_S, float(self.pod.grace_s)), f"Stopping container {name}")
        while any(not run.ended for run in self._runs.values()):
            self._changed.clear()
            await self._changed.wait()

    async def _finish(self, *, deleted: bool) -> bool:
        """Nothing runs any more: tear down, and with `deleted` take the pod out of the API. Whether that was all."""
        self.record = replace(self.record, sandbox=False)
        if self._sandbox is not None:
            sandbox, self._sandbox = self._sandbox, None
            await self._tools.runtime.remove_sandbox(self.pod, sandbox)
        self._publish()
        if not deleted:
            return False
        if not self._gone:
            await self._writer.flush()
            await self._delete()
        self._tools.runtime.remove_logs(self.pod)
        return True

    async def _delete(self) -> None:
        """Take the pod out of the API; whoever else did so is as good."""
        while True:
            try:
                await self._tools.client.delete(
                    PODS, self.pod.key.name, self.pod.key.namespace, grace_period_s=0, uid=self.pod.uid
                )
                return
            except ApiError as error:
                if error.code in (404, 409):
                    return
                _log.warning("deleting pod %s: %s; trying again", self.pod.key, error)
                await asyncio.sleep(1.0)
            except Retry as error:
                await asyncio.sleep(error.after_s)

    async def _clean_up(self) -> None:
        """What is left when the work was cut short."""
        for run in self._runs.values():
            run.container.close()
        if self._sandbox is not None:
            sandbox, self._sandbox = self._sandbox, None
            try:
                await self._tools.runtime.remove_sandbox(self.pod, sandbox)
            except FairwayError as error:
                _log.warning("removing the sandbox of %s: %s", self.pod.key, error)

    # Probes.

    async def _probe(self, run: _Run, kind: ProbeType, spec: ProbeSpec) -> None:
        """One probe through one run of a container."""
        clock = self._tools.clock
        since = clock()
        state = probes.initial(kind)
        target = self._target(run)
        if kind is not ProbeType.STARTUP:
            await run.started.wait()
        while (due := probes.next_probe(state, spec, running_since=since, now=clock())) is not None:
            await asyncio.sleep(max(0.0, due - clock()))
            answer = await self._tools.prober.probe(spec, target)
            before, state = state, probes.observe(state, spec, answer.outcome)
            self._tell_probe(run, spec, state, answer)
            if state.result is not before.result:
                self._apply(run, kind, spec, state)

    def _target(self, run: _Run) -> ProbeTarget:
        sandbox, runtime = self._sandbox, self._tools.runtime
        assert sandbox is not None

        async def command(argv: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
            return await runtime.run_command(sandbox, run.container, argv, timeout_s)

        return ProbeTarget(address=str(sandbox.address), ports=run.spec.ports, run=command)

    def _tell_probe(self, run: _Run, spec: ProbeSpec, state: probes.ProbeState, answer: ProbeAnswer) -> None:
        about = f"spec.containers{{{run.spec.name}}}"
        if answer.outcome is probes.Outcome.SUCCESS:
            if answer.message:
                text = f"{state.kind} probe warning: {answer.message}"
                self._event(EventType.WARNING, "ProbeWarning", text, about)
        elif not probes.is_quiet(state, spec):
            word = "failed" if answer.outcome is probes.Outcome.FAILURE else "errored and resulted in unknown state"
            self._event(EventType.WARNING, "Unhealthy", f"{state.kind} probe {word}: {answer.message}", about)

    def _apply(self, run: _Run, kind: ProbeType, spec: ProbeSpec, state: probes.ProbeState) -> None:
        """A probe's result flipped."""
        name = run.spec.name
        if run.ended:
            return
        if kind is ProbeType.READINESS:
            self._set(name, replace(self.record.of(name), ready=bool(state.result)))
        elif kind is ProbeType.STARTUP and state.result:
            self._mark_started(run)
        elif not state.result:
            grace = self.pod.grace_s if spec.grace_s is None else spec.grace_s
            self._kill(name, float(grace), f"Container {name} failed {kind.lower()} probe, will be restarted")

    def _mark_started(self, run: _Run) -> None:
        run.started.set()
        record = self.record.of(run.spec.name)
        ready = ProbeType.READINESS not in run.spec.probes
        self._set(run.spec.name, replace(record, started=True, ready=ready))

    def _stop_probes(self, *kinds: ProbeType) -> None:
        """Readiness goes on while a pod ends, so that `serving` stays true to the facts; the others do not."""
        for run in self._runs.values():
            for kind, task in run.tasks:
                if kind in kinds:
                    task.cancel()

    # The record and the status.

    def _set(self, name: str, record: ContainerRecord) -> None:
        self.record = self.record.with_container(name, record)
        self._changed.set()

    def _publish(self) -> None:
        status = build_status(
            self.pod,
            self.record,
            self._writer.conditions,
            host_ip=self._tools.node_address,
            qos=qos_class(self.obj.get("spec") or {}),
            catalogue=self._tools.catalogue,
            now=self._tools.clock(),
        )
        self._writer.want(status)

    def _event(self, kind: EventType, reason: str, message: str, field_path: str = "") -> None:
        if not self._gone:
            self._tools.recorder.event(pod_reference(self.obj, field_path), kind, reason, message)


def _earlier(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
