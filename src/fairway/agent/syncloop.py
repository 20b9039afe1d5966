"""The loop of the agent: whenever something changed, compile, apply, answer; and once in a while look whether the
kernel still holds what it should.

It sleeps on a Trigger alone, so a change is taken up at once, and everything that changed during an apply is taken up
together after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from fairway.agent.changes import ChangeTracker
from fairway.agent.dataplane import Applied, Dataplane, ServiceRefused
from fairway.agent.health import ProxyHealth
from fairway.agent.metrics import Metrics
from fairway.agent.step import Compiled, compile_step, plan_around, unknown_node
from fairway.api.core import Node
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress
from fairway.base.errors import Retry
from fairway.plan.model import Note, Plan, ServicePlan
from fairway.plan.options import Options, view_node
from fairway.watch.reflector import Backoff

_log = logging.getLogger(__name__)

RECONCILE_SHARE = 20
"""An unchanged kernel is looked at again after at least this many times what the last look took: 5 % of a CPU."""


class Clock(Protocol):
    """Time of day for people and health, and a clock that only goes forward for waiting."""

    def now(self) -> datetime: ...

    def monotonic_s(self) -> float: ...


class Trigger:
    """Wakes the loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Something changed."""
        self._event.set()

    def clear(self) -> None:
        """What changed until now is about to be taken up."""
        self._event.clear()

    async def wait(self, timeout_s: float) -> None:
        """Return when fired since it was cleared, or after the time."""
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._event.wait()
        except TimeoutError:
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """node_name: whose rules these are. period_s: how often an unchanged kernel is looked at.

    backoff: after a failed apply; a change meanwhile is tried at once.
    """

    node_name: str
    options: Options
    period_s: float = 30.0
    backoff: Backoff = field(default_factory=lambda: Backoff(initial_s=0.1, limit_s=30.0))

    @property
    def family(self) -> Family:
        return self.options.family


class SyncLoop:
    """Keeps one data plane at the Plan of what `objects` says.

    on_applied: called after every apply, with the Plan the kernel now holds. local_addresses: the node's addresses as
    of now; asked before each step where node ports are kept to some networks.
    """

    def __init__(
        self,
        settings: SyncSettings,
        *,
        objects: ChangeTracker,
        dataplane: Dataplane,
        trigger: Trigger,
        health: ProxyHealth,
        metrics: Metrics,
        clock: Clock,
        on_applied: Callable[[Plan], Awaitable[None]],
        local_addresses: Callable[[], Sequence[IPAddress]],
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._dataplane = dataplane
        self._trigger = trigger
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._on_applied = on_applied
        self._local_addresses = local_addresses
        self._node: Node | None = None
        self._compiled: Compiled | None = None
        self._applied: Plan | None = None
        self._working: dict[Key, ServicePlan] = {}
        self._refused: dict[Key, ServicePlan] = {}
        self._blamed: dict[Key, ServicePlan] = {}
        self._triggered: list[datetime] = []
        self._notes: frozenset[Note] = frozenset()
        self._failures = 0
        self._complaint = ""
        self._due_s = 0.0

    def change_seen(self) -> None:
        """Something the Plan may depend on changed: have it synced."""
        now = self._clock.now()
        self._health.queued(self._settings.family, now)
        self._metrics.queued(self._settings.family, now)
        self._trigger.fire()

    async def run(self) -> None:
        """Sync now, then for ever; start it only when all objects are known.

        Raises Unsupported where this machine can never hold the rules.
        """
        self._due_s = self._clock.monotonic_s()
        while True:
            self._trigger.clear()
            await self.sync()
            await self._trigger.wait(self._due_s - self._clock.monotonic_s())

    async def sync(self) -> None:
        """Take up what changed and bring the kernel to it; nothing to do where the Plan is as it was."""
        started_s = self._clock.monotonic_s()
        pending = self._objects.take()
        self._metrics.taken(pending)
        self._triggered += pending.triggered
        self._compiled = compiled = compile_step(
            self._compiled, self._objects, pending.services, node=self._known_node(), options=await self._options()
        )
        self._tell_notes(compiled.plan)
        reconcile = started_s >= self._due_s
        if reconcile and not self._failures:
            # Whatever was in the way of a Service may be gone.
            self._refused.clear()
        plan = plan_around(compiled, self._refused, self._working)
        if plan == self._applied and not reconcile:
            self._health.updated(self._settings.family, self._clock.now())
            self._triggered.clear()
            return
        # Also where nothing changed: rules that cannot be repaired, or a program that hangs, are a sick proxy.
        self._health.queued(self._settings.family, self._clock.now())
        try:
            applied = await asyncio.to_thread(self._dataplane.apply, plan)
        except ServiceRefused as error:
            self._refuse(error)
        except Retry as error:
            self._fail(error)
        else:
            await self._succeed(plan, applied, started_s)

    async def _succeed(self, plan: Plan, applied: Applied, started_s: float) -> None:
        assert self._compiled is not None
        now, ended_s = self._clock.now(), self._clock.monotonic_s()
        took_s = ended_s - started_s
        if plan == self._applied and applied.changed:
            _log.warning("rules were changed by someone else; they are repaired")
        if self._failures:
            _log.info("rules are written again after %d failures", self._failures)
        self._applied, self._failures, self._complaint = plan, 0, ""
        self._working = {key: part for key, part in self._compiled.parts.items() if self._refused.get(key) != part}
        self._due_s = ended_s + max(self._settings.period_s, RECONCILE_SHARE * took_s)
        family = self._settings.family
        self._health.updated(family, now)
        self._metrics.synced(family, took_s=took_s, full=self._compiled.full, now=now)
        self._metrics.programmed(family, self._triggered, now)
        self._metrics.rules(family, total=applied.total, written=applied.written)
        self._metrics.plan(plan)
        self._triggered.clear()
        _log.debug("%d Services compiled, rules written: %s", self._compiled.recompiled, dict(applied.written))
        await self._on_applied(plan)

    def _refuse(self, error: ServiceRefused) -> None:
        """Leave the Service as it was and go on with the others at once.

        One that is blamed although it was left as it was is a failure like any other.
        """
        assert self._compiled is not None
        part = self._compiled.parts.get(error.service)
        if part is None or self._refused.get(error.service) == part:
            self._fail(error)
            return
        if self._blamed.get(error.service) != part:
            _log.error("Service %s is left as it was: %s", error.service, error)
        self._metrics.failed(self._settings.family)
        self._refused[error.service] = self._blamed[error.service] = part
        self._applied = None
        self._due_s = self._clock.monotonic_s() + self._settings.period_s
        self._trigger.fire()

    def _fail(self, error: Retry) -> None:
        """What the kernel holds is unknown now; the next step observes it, as every step does."""
        self._failures += 1
        self._applied = None
        self._metrics.failed(self._settings.family)
        wait_s = self._settings.backoff.delay_s(self._failures, 0.0)
        self._due_s = self._clock.monotonic_s() + wait_s
        if str(error) != self._complaint:
            self._complaint = str(error)
            _log.error("rules could not be written: %s; trying again", error)

    def _known_node(self) -> Node:
        """The Node as last seen: one that was deleted leaves its rules as they were."""
        self._node = self._objects.node or self._node
        return self._node or unknown_node(self._settings.node_name)

    async def _options(self) -> Options:
        """With the interfaces' addresses where they matter: where node ports are kept to some networks."""
        options = self._settings.options
        if not options.node_port_addresses:
            return options
        primary = view_node(self._known_node(), options).node_addresses
        found = await asyncio.to_thread(self._local_addresses)
        return replace(options, node_addresses=tuple(dict.fromkeys((*primary, *found))))

    def _tell_notes(self, plan: Plan) -> None:
        """Log what the Plan could not use, once for as long as it stands."""
        notes = frozenset(plan.notes)
        for note in plan.notes:
            if note not in self._notes:
                _log.warning("%s: %s", note.origin, note.message)
        self._notes = notes
