"""One pod: does what `lifecycle.decide` says, tells the record what came of it, and writes the status."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import FairwayError, Retry
from fairway.kubelet import lifecycle
from fairway.kubelet.container import Container
from fairway.kubelet.container_run import ContainerRun, Reports
from fairway.kubelet.environment import ConfigError
from fairway.kubelet.events import EventType, pod_reference
from fairway.kubelet.images import Image, parse_reference
from fairway.kubelet.lifecycle import ContainerRecord, CreateSandbox, Finish, KillContainer, StartContainer, Waiting
from fairway.kubelet.pod import ContainerSpec, PodSpec, ProbeType, parse_pod
from fairway.kubelet.pod_volumes import Mounted, PodVolumes
from fairway.kubelet.prober import ProbeTarget
from fairway.kubelet.removal import delete_from_api
from fairway.kubelet.runtime import Sandbox, StartError
from fairway.kubelet.skew import skew_of
from fairway.kubelet.sources import read_sources, wanted_by
from fairway.kubelet.status import build_status, qos_class
from fairway.kubelet.status_writer import StatusWriter
from fairway.kubelet.times import parse_timestamp
from fairway.kubelet.tools import Tools
from fairway.kubelet.volume_files import MountError

SANDBOX_RETRY_S = 1.0
CONFIG_RETRY_S = 5.0
"""How long a container waits for a ConfigMap or Secret before it is looked for again."""
PULL_AGAIN_S = 10.0
"""Until a container whose image is not known waits for it (kubelet's imageBackOff begins so). There is nothing to pull:
it waits for ever, or until its image is another."""
CREATE_SANDBOX = CreateSandbox()
SHUTDOWN_GRACE_S = 2.0
"""How long containers get when the kubelet itself is told to end."""
_log = logging.getLogger(__name__)


class PodWorker:
    """Owns one pod from the moment the node sees it until nothing of it is left."""

    def __init__(self, tools: Tools, obj: Object) -> None:
        self._tools = tools
        self.obj = obj
        self.pod: PodSpec = parse_pod(obj)
        self._sandbox: Sandbox | None = None
        self._runs: dict[str, ContainerRun] = {}
        self._changed = asyncio.Event()
        self._volumes = PodVolumes(tools.library, tools.node_addresses, clock=tools.clock)
        self._writer = StatusWriter(tools.client, self.pod, obj.get("status") or {})
        self._gone = False
        self._shutdown = False
        self._group: asyncio.TaskGroup | None = None
        self.record = self._first_record()
        self.finished = asyncio.Event()

    def _first_record(self) -> lifecycle.PodRecord:
        now = self._tools.clock()
        status = self.obj.get("status") or {}
        statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        record = lifecycle.restored_record(self.pod, statuses, now)
        return replace(record, started_at=parse_timestamp(status.get("startTime") or "", now))

    # What others tell it.

    def update(self, obj: Object) -> None:
        """The pod changed in the API."""
        was_deleted = self.pod.deletion_grace_s is not None
        self.obj = obj
        self.pod = parse_pod(obj) if not self._gone else replace(parse_pod(obj), deletion_grace_s=0)
        self._volumes.changed.set()
        self._writer.observe(obj)
        if self.pod.deletion_grace_s is not None and not was_deleted:
            # Readiness is still probed while a pod ends, so that `serving` of its endpoint stays true to the facts.
            for run in self._runs.values():
                run.stop_probes(ProbeType.LIVENESS, ProbeType.STARTUP)
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
                following = group.create_task(self._volumes.keep(self._mounted, self._tell_failed_mount))
                self._announce()
                await self._loop()
                writing.cancel()
                following.cancel()
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
            files = await self._volumes.read(self.pod, self.obj)
            self._sandbox = await self._tools.runtime.create_sandbox(self.pod)
            self._volumes.write(self.pod, files, self._sandbox.store)
        except MountError as error:
            await self._remove_sandbox()
            self._tell_failed_mount(str(error))
            return self._tools.clock() + self._volumes.retry_s()
        except FairwayError as error:
            self._event(EventType.WARNING, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            after_s = error.after_s if isinstance(error, Retry) else SANDBOX_RETRY_S
            return self._tools.clock() + max(after_s, SANDBOX_RETRY_S)
        self._volumes.changed.set()
        self.record = replace(self.record, sandbox=True, addresses=tuple(map(str, self._sandbox.addresses)))
        self._changed.set()
        return None

    def _tell_failed_mount(self, message: str) -> None:
        self._event(EventType.WARNING, "FailedMount", message)

    def _mounted(self) -> Mounted | None:
        return Mounted(pod=self.pod, obj=self.obj, store=self._sandbox.store) if self._sandbox else None

    async def _start(self, name: str) -> float | None:
        spec = self.pod.container(name)
        assert spec is not None
        assert self._sandbox is not None
        before = self.record.of(name)
        image = self._image(spec)
        if image is None:
            return None
        run = before.restart_count + (1 if before.finished else 0)
        self._event(EventType.NORMAL, "Pulled", f'Container image "{spec.image}" already present on machine', name)
        try:
            sources = await read_sources(self._tools.client, self.pod.key.namespace, wanted_by(spec))
            container = await self._tools.runtime.start(
                self.pod, self.obj, self._sandbox, spec, image, run=run, sources=sources
            )
        except (ConfigError, MountError, ApiError) as error:
            self._event(EventType.WARNING, "Failed", f"Error: {error}", name)
            waiting = Waiting(reason="CreateContainerConfigError", message=str(error))
            retry_at = self._tools.clock() + CONFIG_RETRY_S
            self._set(name, lifecycle.container_waits(before, spec, waiting, retry_at=retry_at))
            return None
        except StartError as error:
            self._event(EventType.WARNING, "Failed", f"Error: {error}", name)
            self._set(name, lifecycle.container_failed_to_start(before, spec, "", str(error), self._tools.clock()))
            self._tell_back_off(name)
            return None
        except Retry as error:
            self._event(EventType.WARNING, "Failed", f"Error: {error}", name)
            return self._tools.clock() + error.after_s
        self._event(EventType.NORMAL, "Created", f"Created container: {name}", name)
        self._set(name, lifecycle.container_started(before, spec, container.id, self._tools.clock()))
        self._event(EventType.NORMAL, "Started", f"Started container {name}", name)
        self._begin(container, spec, self._sandbox)
        return None

    def _image(self, spec: ContainerSpec) -> Image | None:
        """The container's image; one that is not known leaves it waiting."""
        reference = parse_reference(spec.image)
        image = self._tools.catalogue.find(reference) if reference else None
        if image is not None:
            return image
        if reference is None:
            message = f'Failed to apply default image tag "{spec.image}": invalid reference format'
            self._event(EventType.WARNING, "InspectFailed", message, spec.name)
            waiting = Waiting(reason="InvalidImageName", message=message)
        else:
            self._wait_for_image(spec)
            return None
        self._set(spec.name, lifecycle.container_waits(self.record.of(spec.name), spec, waiting))
        return None

    def _wait_for_image(self, spec: ContainerSpec) -> None:
        """ErrImagePull at first, ImagePullBackOff after a while, as a kubelet tells of an image that is nowhere."""
        record, known = self.record.of(spec.name), ", ".join(self._tools.catalogue.known)
        message = (
            f'Failed to pull image "{spec.image}": this lab has no registry; map the image to a program or a folder '
            f"of this machine (fairway up --image {spec.image}=PATH, or `images` in a lab file), or use one it knows: "
            f"{known}"
        )
        tried = isinstance(record.state, Waiting) and record.state.reason == "ErrImagePull"
        if tried and record.spec is not None and record.spec.image == spec.image:
            self._event(EventType.NORMAL, "BackOff", f'Back-off pulling image "{spec.image}"', spec.name)
            self._event(EventType.WARNING, "Failed", "Error: ImagePullBackOff", spec.name)
            text = f'Back-off pulling image "{spec.image}": ErrImagePull: {message}'
            self._set(
                spec.name, lifecycle.container_waits(record, spec, Waiting(reason="ImagePullBackOff", message=text))
            )
            return
        self._event(EventType.WARNING, "Failed", message, spec.name)
        self._event(EventType.WARNING, "Failed", "Error: ErrImagePull", spec.name)
        retry_at = self._tools.clock() + PULL_AGAIN_S
        waiting = Waiting(reason="ErrImagePull", message=message)
        self._set(spec.name, lifecycle.container_waits(record, spec, waiting, retry_at=retry_at))

    def _begin(self, container: Container, spec: ContainerSpec, sandbox: Sandbox) -> None:
        """Watch over a container that has just been started."""
        assert self._group is not None
        name, tools = spec.name, self._tools

        async def command(argv: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
            return await tools.runtime.run_command(sandbox, container, argv, timeout_s)

        run = ContainerRun(
            container,
            spec,
            ProbeTarget(address=str(sandbox.addresses[0]), ports=spec.ports, run=command),
            tools.prober,
            Reports(
                ended=lambda code: self._ended(name, code),
                probed=lambda kind, good: self._probed(name, kind, good),
                hook_failed=lambda: self._kill(name, float(self.pod.grace_s), "FailedPostStartHook"),
                event=lambda kind, reason, message: self._event(kind, reason, message, name),
            ),
            clock=tools.clock,
            skewed=lambda kind: skew_of(tools.skews, self.pod.key, kind),
        )
        self._runs[name] = run
        run.begin(self._group)

    def _ended(self, name: str, code: int) -> None:
        self._set(name, lifecycle.container_ended(self.record.of(name), code, self._tools.clock()))
        self._tell_back_off(name)

    def _probed(self, name: str, kind: ProbeType, good: bool) -> None:
        """A probe's result flipped."""
        run, record = self._runs[name], self.record.of(name)
        if run.ended:
            return
        if kind is ProbeType.READINESS:
            self._set(name, replace(record, ready=good))
        elif good:
            self._set(name, replace(record, started=True, ready=ProbeType.READINESS not in run.spec.probes))
        else:
            grace = run.spec.probes[kind].grace_s
            message = f"Container {name} failed {kind.lower()} probe, will be restarted"
            self._kill(name, float(self.pod.grace_s if grace is None else grace), message)

    def _tell_back_off(self, name: str) -> None:
        record = self.record.of(name)
        spec = self.pod.container(name)
        if spec is None or record.finished is None or not lifecycle.will_restart(self.pod, self.record, spec):
            return
        if lifecycle.back_off(spec, record).until(record.finished.finished_at) > self._tools.clock():
            where = f"{self.pod.key.name}_{self.pod.key.namespace}({self.pod.uid})"
            message = f"Back-off restarting failed container {name} in pod {where}"
            self._event(EventType.WARNING, "BackOff", message, name)

    # Ending.

    def _kill(self, name: str, grace_s: float, message: str) -> None:
        """Begin to end a container, or shorten the time it has left."""
        assert self._group is not None
        run = self._runs.get(name)
        if run is not None and run.end(self._group, grace_s):
            self._event(EventType.NORMAL, "Killing", message, name)

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
            self._publish()  # written while the sandbox is being removed
            await self._tools.runtime.remove_sandbox(self.pod, sandbox)
        self._publish()
        if not deleted:
            return False
        if not self._gone:
            await self._writer.flush()
            await delete_from_api(self._tools.client, self.pod)
        self._tools.runtime.remove_logs(self.pod)
        return True

    async def _clean_up(self) -> None:
        """What is left when the work was cut short."""
        for run in self._runs.values():
            run.container.close()
        await self._remove_sandbox()

    async def _remove_sandbox(self) -> None:
        if self._sandbox is not None:
            sandbox, self._sandbox = self._sandbox, None
            try:
                await self._tools.runtime.remove_sandbox(self.pod, sandbox)
            except FairwayError as error:
                _log.warning("removing the sandbox of %s: %s", self.pod.key, error)

    # The record and the status.

    def _set(self, name: str, record: ContainerRecord) -> None:
        self.record = self.record.with_container(name, record)
        self._changed.set()

    def _publish(self) -> None:
        status = build_status(
            self.pod,
            self.record,
            self._writer.conditions,
            host_ips=self._tools.node_addresses,
            qos=qos_class(self.obj.get("spec") or {}),
            catalogue=self._tools.catalogue,
            now=self._tools.clock(),
        )
        self._writer.want(status)

    def _event(self, kind: EventType, reason: str, message: str, container: str = "") -> None:
        """About the pod, or one of its containers."""
        init = any(container == spec.name for spec in self.pod.init_containers)
        field_path = f"spec.{'initContainers' if init else 'containers'}{{{container}}}" if container else ""
        if not self._gone:
            self._tools.recorder.event(pod_reference(self.obj, field_path), kind, reason, message)


def _earlier(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
