"""The controller manager: watches, keeps the work queues, and lets the controllers' writes be performed.

Nothing is decided here. Every change goes into the cache of its resource, then as keys to the controllers that watch
it; a worker reconciles a key and performs what comes back. What fails comes again, later each time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from fairway.api.resources import Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import FairwayError, Retry
from fairway.controllers.address_pool import AddressPool
from fairway.controllers.cache import Cache
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.events import EventRecorder
from fairway.controllers.queue import WorkQueue
from fairway.controllers.wiring import all_controllers
from fairway.controllers.writer import WriteError, Writer
from fairway.controllers.writes import Create, Patch, Recheck, Record
from fairway.watch import informer
from fairway.watch.client import Client
from fairway.watch.kubeconfig import load_kubeconfig

_log = logging.getLogger(__name__)

DEFAULT_POOL = AddressPool(first=IPv4Address("172.18.255.200"), last=IPv4Address("172.18.255.250"))
MAX_EVENTS_WAITING = 1000
"""Events beyond are dropped: they must never hold up the work they tell of."""

DEAR_S = 0.002
RESTS = 5
"""A key whose reconcile took more than DEAR_S of processor time rests RESTS times as long: of two hundred pods that
become ready one after another each would else have all two hundred looked at. A lone change is never held up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerConfig:
    """kubeconfig: the API server and who we are to it. seed: of the random parts of pod names; None for a new one."""

    kubeconfig: Path
    context: str | None = None
    load_balancer_pools: tuple[AddressPool, ...] = (DEFAULT_POOL,)
    seed: int | None = None


def run(config: ManagerConfig) -> int:
    """Run all controllers until SIGTERM or SIGINT; returns the exit status.

    A kubeconfig that cannot be used is logged as one line, and gives 1.
    """
    status = 0
    try:
        asyncio.run(_until_signalled(config))
    except* FairwayError as group:
        status = 1
        for error in group.exceptions:
            _log.error("controllers: %s", error)
    return status


async def run_async(config: ManagerConfig) -> None:
    """Run all controllers in this event loop, until cancelled. Raises Refused for a bad kubeconfig.

    An API server that is not there yet is waited for.
    """
    credentials = load_kubeconfig(config.kubeconfig, context=config.context)
    async with Client(credentials, user_agent="fairway-controllers") as client:
        found = all_controllers(config.load_balancer_pools, root_ca=credentials.authority)
        await Manager(client, found, seed=config.seed).run()


async def _until_signalled(config: ManagerConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(run_async(config), name="controllers")
        await stop.wait()
        work.cancel()


class Manager:
    """Controllers at one API server.

    now: the time of day; clock: a steady one in seconds; processor_time: what this thread has used, in seconds.
    """

    def __init__(
        self,
        client: Client,
        controllers: tuple[Controller, ...],
        *,
        seed: int | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        processor_time: Callable[[], float] = time.thread_time,
    ) -> None:
        self._client = client
        self.caches: dict[Resource, Cache] = {
            resource: Cache() for controller in controllers for resource in controller.watches
        }
        self._events: asyncio.Queue[tuple[EventRecorder, Record]] = asyncio.Queue(MAX_EVENTS_WAITING)
        self._now = now
        self._runners = [
            _Runner(controller, client, self.caches, self._events, random.Random(seed), now, clock, processor_time)
            for controller in controllers
        ]

    async def run(self) -> None:
        """Watch, and once all is known, work; until cancelled."""
        informers = [
            informer.Informer[Object](self._client, resource, on_change=partial(self._observe, resource))
            for resource in self.caches
        ]
        async with asyncio.TaskGroup() as tasks:
            for one in informers:
                tasks.create_task(one.run())
            for one in informers:
                await one.wait_synced()
            tasks.create_task(self._write_events(), name="events")
            for runner in self._runners:
                for number in range(runner.controller.workers):
                    tasks.create_task(runner.work(), name=f"{runner.controller.name}-{number}")

    def _observe(self, resource: Resource, change: informer.Change[Object]) -> None:
        news = self.caches[resource].observe(change.key, change.previous, change.current)
        seen = Change(resource=resource, previous=change.previous, current=change.current, news=news)
        for runner in self._runners:
            if resource in runner.controller.watches:
                runner.observe(seen)

    async def _write_events(self) -> None:
        """Events one after another; one that fails is dropped, as client-go drops it in the end."""
        while True:
            recorder, record = await self._events.get()
            write = recorder.write(record, self._now())
            try:
                try:
                    await self._write_event(write)
                except ApiError as error:
                    if error.code != 404 or isinstance(write, Create):
                        raise
                    # It has expired: what it told is new again.
                    recorder.forget(write)
                    write = recorder.write(record, self._now())
                    await self._write_event(write)
            except FairwayError as error:
                recorder.forget(write)
                _log.debug("event %s about %s not written: %s", record.reason, record.regarding["metadata"], error)

    async def _write_event(self, write: Create | Patch) -> None:
        if isinstance(write, Create):
            await self._client.create(write.resource, write.body)
        else:
            await self._client.patch(write.resource, write.key.name, write.body, write.key.namespace)


class _Runner:
    """One controller with its queue and workers."""

    def __init__(
        self,
        controller: Controller,
        client: Client,
        caches: dict[Resource, Cache],
        events: asyncio.Queue[tuple[EventRecorder, Record]],
        random: random.Random,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        processor_time: Callable[[], float],
    ) -> None:
        self.controller = controller
        self._caches = caches
        self._events = events
        self._random = random
        self._now = now
        self._clock = clock
        self._processor_time = processor_time
        self._recorder = EventRecorder(controller.name)
        self._writer = Writer(client, caches, now, self._tell)
        self._queue: WorkQueue[Hashable] = WorkQueue()
        self._wake = asyncio.Event()
        self._failures: dict[Hashable, tuple[str, str]] = {}
        self._waiting: dict[Hashable, datetime] = {}

    def observe(self, change: Change) -> None:
        """Queue what the change gives this controller to do."""
        try:
            for key in self.controller.keys(change, self._caches):
                self._queue.add(key)
        except Exception:
            # As below: one object that cannot be digested must not end the watch for all.
            _log.exception("%s: change of %s %s", self.controller.name, change.resource.singular, change.key)
        if self._queue:
            self._wake.set()

    async def work(self) -> None:
        """Reconcile keys one after another, for ever."""
        while True:
            key = self._queue.get(self._clock())
            if key is None:
                await self._wait()
            else:
                await self._reconcile(key)

    async def _wait(self) -> None:
        due = self._queue.next_at()
        self._wake.clear()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _reconcile(self, key: Hashable) -> None:
        now = self._now()
        since = self._waiting.setdefault(key, now)
        attempt = Attempt(now=now, random=self._random, since=since, failure=self._failures.get(key))
        try:
            begun = self._processor_time()
            writes = self.controller.reconcile(key, self._caches, attempt)
            cost_s = self._processor_time() - begun
            await self._writer.perform(writes, lambda after_s: self._queue.add_at(key, self._clock() + after_s))
            if not any(isinstance(write, Recheck) for write in writes):
                self._waiting.pop(key, None)
        except WriteError as failed:
            self._failed(key, failed)
        except Exception:
            # One object that a controller cannot digest must not keep it from all others.
            _log.exception("%s: %s cannot be reconciled", self.controller.name, key)
            self._queue.failed(key, self._clock())
        else:
            self._failures.pop(key, None)
            self._queue.done(key, rest_until=self._clock() + RESTS * cost_s if cost_s > DEAR_S else None)
        self._wake.set()

    def _failed(self, key: Hashable, failed: WriteError) -> None:
        if failed.failure is not None:
            self._failures[key] = (failed.failure.reason, failed.failure.message)
            self._tell(failed.failure)
        after_s = failed.error.after_s if isinstance(failed.error, Retry) else 0.0
        wait = self._queue.failed(key, self._clock(), after_s=after_s)
        # A view that was a moment behind is part of the game.
        usual = isinstance(failed.error, ApiError) and failed.error.code in (404, 409)
        level = logging.DEBUG if usual else logging.WARNING
        _log.log(level, "%s: %s: %s; again in %.3f s", self.controller.name, key, failed.error, wait)

    def _tell(self, record: Record) -> None:
        try:
            self._events.put_nowait((self._recorder, record))
        except asyncio.QueueFull:
            _log.debug("too many events: %s is not told", record.reason)
