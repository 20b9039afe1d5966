"""The kubelet's process: one node's pods, kept as the API says."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from fairway.api.resources import PODS, SERVICES
from fairway.api.types import Key, Object
from fairway.base.errors import FairwayError
from fairway.fabric.spawner import Spawner
from fairway.kubelet.config import KubeletConfig
from fairway.kubelet.events import Recorder
from fairway.kubelet.images import Catalogue, lab_catalogue
from fairway.kubelet.ipam import PodNetworks
from fairway.kubelet.lifecycle import Waiting
from fairway.kubelet.logs import ContainerLog, PodLogs
from fairway.kubelet.masquerade import ensure_masquerade
from fairway.kubelet.network import NodeAddresses, NodeNetwork
from fairway.kubelet.node import allocatable
from fairway.kubelet.pod_volumes import Library
from fairway.kubelet.prober import Prober
from fairway.kubelet.registration import Registration, read_machine
from fairway.kubelet.runtime import Runtime
from fairway.kubelet.server import NotFoundError, RunningContainer, Server, healthz_application, serving, tls_context
from fairway.kubelet.tools import Tools
from fairway.kubelet.vip import VipHolder, held_addresses
from fairway.kubelet.worker import PodWorker
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer
from fairway.watch.kubeconfig import load_kubeconfig

WORKER_RETRY_S = 5.0
STOP_S = 5.0
"""How long all pods together may take to stop when the kubelet ends."""
MAX_DESCRIPTORS = 65536
"""Each container takes three, and 110 pods may have many; the usual limit of 1024 is for programs that use select."""
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - as a kubelet listens; the certificate is the guard

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class PodManager:
    """The workers of a node: one for each pod, by uid; what the informer says goes to them."""

    tools: Tools
    logs: PodLogs
    group: asyncio.TaskGroup
    _workers: dict[str, PodWorker] = field(default_factory=dict)
    _by_key: dict[Key, str] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _stopping: bool = False

    def on_change(self, change: Change[Object]) -> None:
        """A pod of this node is new, changed, or gone; under one key it may be another pod than before."""
        before, now = change.previous, change.current
        replaced = before is not None and (now is None or _uid(before) != _uid(now))
        if before is not None and replaced and (gone := self._workers.get(_uid(before))) is not None:
            gone.vanish()
        if now is None or self._stopping:
            return
        worker = self._workers.get(_uid(now))
        if worker is not None:
            worker.update(now)
        elif not _is_over(now):
            self._begin(change.key, now)

    def _begin(self, key: Key, obj: Object) -> None:
        """A worker for a new pod; it waits until the last one of that name has gone, as that has its host's name."""
        predecessor = self._workers.get(self._by_key.get(key, ""))
        worker = PodWorker(self.tools, obj)
        self._workers[worker.pod.uid] = worker
        self._by_key[key] = worker.pod.uid
        task = self.group.create_task(self._run(key, worker, predecessor))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: Key, worker: PodWorker, predecessor: PodWorker | None) -> None:
        if predecessor is not None:
            await predecessor.finished.wait()
        try:
            await worker.run()
        except Exception as error:  # one pod must not take the node's others with it
            _log.exception("pod %s: %s", key, error)
            await asyncio.sleep(WORKER_RETRY_S)
            self._workers.pop(worker.pod.uid, None)
            if not worker.vanished and not self._stopping:
                self._begin(key, worker.obj)
            return
        self._workers.pop(worker.pod.uid, None)
        if self._by_key.get(key) == worker.pod.uid:
            del self._by_key[key]

    async def stop(self) -> None:
        """End every pod's containers; the pods stay in the API. Who cannot end in time is cut short."""
        self._stopping = True
        for worker in self._workers.values():
            worker.shut_down()
        if tasks := list(self._tasks):
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()

    # For the server.

    def _find(self, namespace: str, pod: str) -> PodWorker:
        worker = self._workers.get(self._by_key.get(Key(namespace, pod), ""))
        if worker is None:
            raise NotFoundError(404, f'pod "{pod}" not found')
        return worker

    def running_container(self, namespace: str, pod: str, container: str) -> RunningContainer:
        worker = self._find(namespace, pod)
        running = worker.running(container)
        if running is None or worker.sandbox is None:
            raise NotFoundError(404, f'container not found ("{container}")')
        return RunningContainer(sandbox=worker.sandbox, container=running)

    def container_log(self, namespace: str, pod: str, container: str, *, previous: bool) -> ContainerLog:
        worker = self._find(namespace, pod)
        if worker.pod.container(container) is None:
            raise NotFoundError(404, f'container "{container}" in pod "{pod}" is not available')
        log = self.logs.find(worker.pod.uid, container, previous=previous)
        if log is not None:
            return log
        if previous:
            raise NotFoundError(400, f'previous terminated container "{container}" in pod "{pod}" not found')
        state = worker.record.blocked or worker.record.of(container).state
        reason = state.reason if isinstance(state, Waiting) else "ContainerCreating"
        if reason in ("ErrImagePull", "ImagePullBackOff"):
            reason = "trying and failing to pull image"
        raise NotFoundError(400, f'container "{container}" in pod "{pod}" is waiting to start: {reason}')

    def objects(self) -> list[Object]:
        return [worker.obj for worker in self._workers.values()]


def _uid(pod: Object) -> str:
    return str(pod["metadata"].get("uid") or "")


def _is_over(pod: Object) -> bool:
    """It has succeeded or failed in another life of this kubelet, and nobody wants it gone yet."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return ended and not pod["metadata"].get("deletionTimestamp")


class Kubelet:
    """Everything of one node put together."""

    def __init__(self, config: KubeletConfig, *, catalogue: Catalogue | None = None) -> None:
        self._config = config
        self._catalogue = catalogue or lab_catalogue(mapped=config.images)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Make `run` end, pods first. Callable from a signal handler of the event loop."""
        self._stop.set()

    async def run(self) -> None:
        """Until stopped. Raises Refused for a configuration that cannot be, Unsupported and OSError as they come."""
        config = self._config
        context = tls_context(config.tls_cert, config.tls_key, config.client_ca)
        credentials = load_kubeconfig(config.kubeconfig)
        for network in config.pod_networks:
            await ensure_masquerade(network, config.mode)
        async with AsyncExitStack() as stack:
            spawner = await Spawner.connect(config.spawner)
            stack.push_async_callback(spawner.close)
            client = await stack.enter_async_context(Client(credentials, user_agent="fairway-kubelet"))
            prober = await stack.enter_async_context(Prober())
            holder = VipHolder(NodeAddresses())
            services: Informer[Object] = Informer(
                client,
                SERVICES,
                on_change=lambda _: holder.want(
                    held_addresses(services.objects.values(), config.node_name, config.families)
                ),
            )
            machine = read_machine()
            logs = PodLogs(config.log_dir)
            recorder = Recorder(client, config.node_name)
            runtime = Runtime(
                spawner,
                NodeNetwork(),
                PodNetworks.of(config.pod_cidrs, last=config.last_pod_addresses),
                logs,
                node_addresses=config.addresses,
                dns=config.dns,
                hidden=config.hidden,
                services=services.objects.values,
                allocatable=allocatable(machine),
            )
            tools = Tools(
                client=client,
                runtime=runtime,
                prober=prober,
                recorder=recorder,
                catalogue=self._catalogue,
                library=Library(client, allocatable(machine)),
                node_addresses=[str(address) for address in config.addresses],
                skews=config.skews,
            )
            registration = Registration(client, config, machine, recorder)
            async with asyncio.TaskGroup() as group:
                manager = PodManager(tools, logs, group)
                application = Server(manager, runtime, client_names=config.client_names).application()
                await stack.enter_async_context(serving(application, ANY_ADDRESS, config.port, context))
                await stack.enter_async_context(serving(healthz_application(), "127.0.0.1", config.healthz_port))
                pods: Informer[Object] = Informer(
                    client, PODS, field_selector=f"spec.nodeName={config.node_name}", on_change=manager.on_change
                )
                endless = [
                    group.create_task(part)
                    for part in (registration.run(), services.run(), holder.run(), recorder.run())
                ]
                # Containers are told of the Services that are there when they start.
                following = group.create_task(_after(services, registration, pods))
                await self._stop.wait()
                await manager.stop()
                for task in (following, *endless):
                    task.cancel()


async def _after(services: Informer[Object], registration: Registration, pods: Informer[Object]) -> None:
    await services.wait_synced()
    await registration.registered.wait()
    await pods.run()


async def _main(config: KubeletConfig) -> None:
    kubelet = Kubelet(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, kubelet.stop)
    await kubelet.run()


def run(config: KubeletConfig) -> int:
    """Run a node's kubelet in this process, inside the node's namespaces, until SIGTERM: 0, or 1 after an error."""
    code = 0
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        asyncio.run(_main(config))
    except* (FairwayError, OSError) as group:
        code = 1
        for error in group.exceptions:
            _log.error("kubelet of %s: %s", config.node_name, error)
    return code
