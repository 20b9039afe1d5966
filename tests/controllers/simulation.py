"""A cluster in virtual time: an API in a dict, its watches with any lag, and a kubelet that makes pods ready.

Everything but the API server, the network and the clock is the real thing: controllers, caches, queues, writer. What
happens next (a watch catches up by one event, a controller works on a key, a kubelet looks at a pod) is chosen by a
random generator, so that a seed is one interleaving.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Hashable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from fairway.api.resources import (
    BY_KIND,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from fairway.api.status import ApiError
from fairway.api.types import Key, Object, key_of
from fairway.controllers.address_pool import AddressPool
from fairway.controllers.cache import Cache
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.names import ALPHABET
from fairway.controllers.queue import WorkQueue
from fairway.controllers.wiring import all_controllers
from fairway.controllers.writer import WriteError, Writer
from fairway.controllers.writes import Recheck, Record
from fairway.watch.client import WatchEvent, WatchEventType
from tests.controllers.objects import NOW, node

POOL = AddressPool.parse("172.18.255.200-172.18.255.202")
ROOT_CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
WORKERS = ("worker", "worker2", "worker3")
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
TOLERATIONS = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
]
"""What admission gives every pod (DefaultTolerationSeconds)."""


class Clock:
    """Virtual time in seconds since NOW."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


class FakeApi:
    """The part of an API server that controllers rely on; the same methods as watch.Client, which never wait.

    events, versions: of each resource in order, (previous, current) and its version. requests: verb and plural of
    each accepted write. refuse: what a write is answered instead, None for none.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.objects: dict[Resource, dict[Key, Object]] = {resource: {} for resource in BY_KIND.values()}
        self.events: dict[Resource, list[tuple[Object | None, Object | None]]] = {r: [] for r in BY_KIND.values()}
        self.versions: dict[Resource, list[int]] = {r: [] for r in BY_KIND.values()}
        self.requests: Counter[tuple[str, str]] = Counter()
        self.refuse: Callable[[str, Resource, Object], ApiError | None] = lambda verb, resource, body: None
        self._version = 0
        self._uids = 0
        self._names = Random(0)

    def __getitem__(self, resource: Resource) -> dict[Key, Object]:
        return self.objects[resource]

    async def get(self, resource: Resource, name: str, namespace: str = "", **_: Any) -> Object:
        return copy.deepcopy(self._find(resource, Key(namespace if resource.namespaced else "", name)))

    async def create(
        self, resource: Resource, body: Object, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Object:
        self._check("create", resource, body)
        if subresource == "binding":
            bound = copy.deepcopy(self._find(resource, Key(namespace, name)))
            if bound["spec"].get("nodeName"):
                raise ApiError(409, "Conflict", f"pod {name} is already assigned to node")
            bound["spec"]["nodeName"] = body["target"]["name"]
            self._store(resource, bound)
            return {"kind": "Status", "status": "Success"}
        made = copy.deepcopy(body)
        meta = made["metadata"]
        if not meta.get("name"):
            meta["name"] = meta["generateName"] + "".join(self._names.choices(ALPHABET, k=5))
        key = key_of(made)
        if key in self[resource]:
            raise ApiError(409, "AlreadyExists", f'{resource.plural} "{key.name}" already exists')
        self._uids += 1
        meta |= {"uid": f"u{self._uids}", "creationTimestamp": self._time(), "generation": 1}
        made.setdefault("status", {})
        if resource == PODS:
            made["spec"].setdefault("tolerations", TOLERATIONS)
        self._store(resource, made)
        return copy.deepcopy(made)

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        self._check("update", resource, body)
        key = key_of(body)
        before = self._find(resource, key)
        if body["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", f'the object "{key.name}" has been modified')
        after = copy.deepcopy(body)
        if subresource == "status":
            after["spec"] = copy.deepcopy(before.get("spec", {}))
        else:
            after["status"] = copy.deepcopy(before.get("status", {}))
        return self._replace(resource, before, after)

    async def patch(
        self, resource: Resource, name: str, body: Any, namespace: str = "", *, subresource: str = "", **_: Any
    ) -> Object:
        before = self._find(resource, Key(namespace, name))
        merged = _merged(before, body)
        return await self.update(resource, merged, subresource=subresource)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        propagation: str | None = None,
        uid: str | None = None,
        grace_period_s: int | None = None,
    ) -> Object:
        key = Key(namespace if resource.namespaced else "", name)
        self._check("delete", resource, {})
        before = self._find(resource, key)
        if uid is not None and before["metadata"]["uid"] != uid:
            raise ApiError(409, "Conflict", "uid precondition failed")
        after = copy.deepcopy(before)
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation or "")
        finalizers = after["metadata"].setdefault("finalizers", [])
        if finalizer and finalizer not in finalizers:
            finalizers.append(finalizer)
        graceful = resource == PODS and before["spec"].get("nodeName") and grace_period_s != 0
        if finalizers or graceful:
            after["metadata"].setdefault("deletionTimestamp", self._time())
            return self._replace(resource, before, after)
        self.remove(resource, key)
        return {"kind": "Status", "status": "Success"}

    def remove(self, resource: Resource, key: Key) -> None:
        """At once, as a kubelet does with a pod it has stopped."""
        self._version += 1
        self.tell(resource, self[resource].pop(key), None)

    def tell(self, resource: Resource, previous: Object | None, current: Object | None) -> None:
        """Add to what the watches of a resource are told."""
        self.events[resource].append((previous, current))
        self.versions[resource].append(self._version)

    def put(self, resource: Resource, obj: Object) -> None:
        """Store a changed copy of an object, as some other client would."""
        before = self[resource].get(key_of(obj))
        if before is None:
            obj = copy.deepcopy(obj)
            self._uids += 1
            obj["metadata"] |= {"uid": f"u{self._uids}", "creationTimestamp": self._time(), "generation": 1}
            obj.setdefault("status", {})
            self._store(resource, obj)
        else:
            self._replace(resource, before, copy.deepcopy(obj))

    def _check(self, verb: str, resource: Resource, body: Object) -> None:
        error = self.refuse(verb, resource, body)
        if error is not None:
            raise error
        self.requests[verb, resource.plural] += 1

    def _find(self, resource: Resource, key: Key) -> Object:
        if key not in self[resource]:
            raise ApiError(404, "NotFound", f'{resource.plural} "{key.name}" not found')
        return self[resource][key]

    def _replace(self, resource: Resource, before: Object, after: Object) -> Object:
        if {**after, "metadata": _bare(after)} == {**before, "metadata": _bare(before)}:
            return copy.deepcopy(before)
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        if after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers"):
            graceful = resource == PODS and before["spec"].get("nodeName")
            if not graceful:
                self.remove(resource, key_of(after))
                return after
        self._store(resource, after)
        return copy.deepcopy(after)

    def _store(self, resource: Resource, obj: Object) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        before = self[resource].get(key_of(obj))
        self[resource][key_of(obj)] = obj
        self.tell(resource, before, copy.deepcopy(obj))

    def _time(self) -> str:
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _bare(obj: Object) -> Object:
    return {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


class LiveApi(FakeApi):
    """The same with lists and watches, as an Informer asks for them, and a word to those who wait for a change."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._moved = asyncio.Event()

    async def list(self, resource: Resource, *_: Any, **__: Any) -> Object:
        items = [copy.deepcopy(obj) for obj in self[resource].values()]
        return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    async def watch(
        self, resource: Resource, *_: Any, resource_version: str, **__: Any
    ) -> AsyncGenerator[WatchEvent, None]:
        told = sum(version <= int(resource_version) for version in self.versions[resource])
        while True:
            for previous, current in self.events[resource][told:]:
                told += 1
                kind = "DELETED" if current is None else "ADDED" if previous is None else "MODIFIED"
                obj = copy.deepcopy(current or previous or {})
                obj["metadata"]["resourceVersion"] = str(self.versions[resource][told - 1])
                yield WatchEvent(type=WatchEventType(kind), object=obj)
            await self.changed()

    async def changed(self) -> None:
        """Return after the next change of anything."""
        await self._moved.wait()

    def tell(self, resource: Resource, previous: Object | None, current: Object | None) -> None:
        super().tell(resource, previous, current)
        self._moved.set()
        self._moved = asyncio.Event()


class _Worker:
    """A controller with its queue, as the manager has it."""

    def __init__(self, controller: Controller, simulation: Simulation) -> None:
        self.controller = controller
        self.queue: WorkQueue[Hashable] = WorkQueue()
        self.failures: dict[Hashable, tuple[str, str]] = {}
        self.waiting: dict[Hashable, datetime] = {}
        self._simulation = simulation
        self._writer = Writer(
            simulation.api,
            simulation.caches,
            simulation.clock.now,
            lambda record: simulation.records.append((controller.name, record)),
        )

    async def work(self) -> None:
        clock = self._simulation.clock
        key = self.queue.get(clock.seconds)
        if key is None:
            return
        since = self.waiting.setdefault(key, clock.now())
        failure = self.failures.get(key)
        attempt = Attempt(now=clock.now(), random=self._simulation.random, since=since, failure=failure)
        try:
            writes = self.controller.reconcile(key, self._simulation.caches, attempt)
            await self._writer.perform(writes, lambda after_s: self.queue.add_at(key, clock.seconds + after_s))
            if not any(isinstance(write, Recheck) for write in writes):
                self.waiting.pop(key, None)
        except WriteError as error:
            if error.failure:
                self.failures[key] = (error.failure.reason, error.failure.message)
            self.queue.failed(key, clock.seconds)
        else:
            self.failures.pop(key, None)
            self.queue.done(key)


class Simulation:
    """All controllers on a FakeApi with a control plane and three workers.

    watch: called after every step, for what must always hold. records: what was told, by component.
    """

    def __init__(self, seed: int = 0, *, lag: bool = True, pool: AddressPool = POOL) -> None:
        self.clock = Clock()
        self.api = FakeApi(self.clock)
        self.random = Random(seed)
        self.records: list[tuple[str, Record]] = []
        self.watch: Callable[[], None] = lambda: None
        self.kubelet = True
        self._lag = lag
        controllers = all_controllers([pool], root_ca=ROOT_CA)
        self.caches = {resource: Cache() for one in controllers for resource in one.watches}
        self._told = dict.fromkeys(self.caches, 0)
        self.workers = [_Worker(one, self) for one in controllers]
        self.api.put(NODES, node("control-plane", taints=[CONTROL_PLANE_TAINT]))
        for name in WORKERS:
            self.api.put(NODES, node(name))
        # The first list: controllers start once it is in the caches.
        for _ in self.api.events[NODES]:
            self._deliver(NODES)
        self._addresses = iter(f"10.10.{n // 250}.{n % 250 + 2}" for n in range(10_000))

    # What a test does

    def apply(self, obj: Object) -> None:
        """Create an object, or replace its spec."""
        resource = BY_KIND[obj["apiVersion"], obj["kind"]]
        before = self.api[resource].get(key_of(obj))
        self.api.put(resource, {**before, "spec": copy.deepcopy(obj["spec"])} if before else obj)

    async def delete(self, resource: Resource, name: str, propagation: str | None = None) -> None:
        await self.api.delete(resource, name, "default", propagation=propagation)

    async def settle(self, *, until: float = 0.0, steps: int = 200_000) -> None:
        """Run until nothing is left to do; time goes on only where all wait for it, to `until` at most."""
        for _ in range(steps):
            if await self._step():
                self.watch()
                continue
            due = min((at for one in self.workers if (at := one.queue.next_at()) is not None), default=None)
            # Failed work waits less than a second in these tests; deadlines are longer.
            horizon = max(until, self.clock.seconds + 1.0) if due is not None else until
            if due is None or due > horizon:
                self.clock.seconds = max(self.clock.seconds, until)
                return
            self.clock.seconds = max(self.clock.seconds, due)
        raise AssertionError(f"not settled after {steps} steps")

    # What happens by itself

    async def _step(self) -> bool:
        """One thing that can happen now; False where nothing can."""
        watches = [r for r in self.caches if self._told[r] < len(self.api.events[r])]
        if watches and not self._lag:
            self._deliver(watches[0])
            return True
        workers = [one for one in self.workers if _has_work(one, self.clock.seconds)]
        pods = [pod for pod in self.api[PODS].values() if self.kubelet and _needs_kubelet(pod, self.api)]
        choices: list[tuple[str, Any]] = [("watch", one) for one in watches]
        choices += [("work", one) for one in workers]
        choices += [("kubelet", pods)] if pods else []
        if not choices:
            return False
        what, chosen = self.random.choice(choices)
        match what:
            case "watch":
                self._deliver(chosen)
            case "work":
                await chosen.work()
            case "kubelet":
                self._run_pod(self.random.choice(pods))
        return True

    def _deliver(self, resource: Resource) -> None:
        previous, current = self.api.events[resource][self._told[resource]]
        self._told[resource] += 1
        key = key_of(current or previous or {})
        news = self.caches[resource].observe(key, previous, current)
        for worker in self.workers:
            if resource in worker.controller.watches:
                change = Change(resource=resource, previous=previous, current=current, news=news)
                for one in worker.controller.keys(change, self.caches):
                    worker.queue.add(one)

    def _run_pod(self, pod: Object) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            self.api.remove(PODS, key_of(pod))
            return
        running = copy.deepcopy(pod)
        address = next(self._addresses)
        moment = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        running["status"] = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": moment}],
        }
        self.api.put(PODS, running)

    # What there is

    def pods(self, *, active: bool = True) -> list[Object]:
        return [pod for pod in self.api[PODS].values() if not active or not pod["metadata"].get("deletionTimestamp")]

    def ready(self) -> list[Object]:
        return [pod for pod in self.pods() if is_running(pod)]

    def slices(self, service: str = "web") -> list[Object]:
        return [
            one
            for one in self.api[ENDPOINT_SLICES].values()
            if one["metadata"]["labels"]["kubernetes.io/service-name"] == service
        ]

    def the(self, resource: Resource, name: str = "web") -> Object:
        return self.api[resource][Key("default" if resource.namespaced else "", name)]

    def replica_sets(self) -> list[Object]:
        return list(self.api[REPLICA_SETS].values())

    def reasons(self, component: str = "") -> list[str]:
        return [record.reason for who, record in self.records if component in ("", who)]


def is_running(pod: Object) -> bool:
    return any(one["status"] == "True" for one in pod["status"].get("conditions", ()) if one["type"] == "Ready")


def _needs_kubelet(pod: Object, api: FakeApi) -> bool:
    if Key("", pod["spec"].get("nodeName", "")) not in api[NODES]:
        return False
    return bool(pod["metadata"].get("deletionTimestamp")) or not pod["status"].get("podIP")


def _has_work(worker: _Worker, now: float) -> bool:
    due = worker.queue.next_at()
    return bool(worker.queue) or (due is not None and due <= now)


__all__ = ["DEPLOYMENTS", "SERVICES", "FakeApi", "Simulation", "is_running"]
