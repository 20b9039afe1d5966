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
from fairway.agent.flowcleaner import RETRY_S as FLOWS_RETRY_S
from fairway.agent.flowcleaner import FlowCleaner
from fairway.agent.health import ProxyHealth
from fairway.agent.metrics import Metrics
from fairway.agent.overview import NoteBook, Overview
from fairway.agent.repairs import RepairLimit
from fairway.agent.step import Step, Target, unknown_node
from fairway.api.core import Node
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress
from fairway.base.errors import Retry
from fairway.base.text import one_line
from fairway.plan.model import HealthCheck, ServicePlan
from fairway.plan.options import NodeView, Options, view_node
from fairway.watch.reflector import Backoff

_log = logging.getLogger(__name__)

TOLD_PERIOD_S = 600.0
"""How often the kernel is looked at by a data plane that is told of changes: only in case it was not told."""
MENTIONED_CHANGES = 3
"""So many of what others did are named in one line of the log."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands in the kernel, as far as others than the data plane have to follow it."""

    view: NodeView
    health_checks: tuple[HealthCheck, ...]


class SyncLoop:
    """Keeps one data plane at what `objects` say.

    on_applied: called after an apply that looked at everything or changed a health check. on_unprogrammed: told why a
    Service is not programmed as it is, once for as long as that stands; on_door_taken: that what it asks for is another
    Service's. local_addresses: the node's addresses; asked whenever everything is looked at, where node ports are kept
    to some networks. flows: cleans up after each apply.
    leads: whether it is for the node's primary address family, whose loop counts the changes for all; what a node lacks
    of another family is nothing amiss. May be set until it runs.
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
        on_applied: Callable[[Standing], Awaitable[None]],
        on_unprogrammed: Callable[[Key, str], None],
        on_door_taken: Callable[[Key, str], None],
        local_addresses: Callable[[], Sequence[IPAddress]],
        flows: FlowCleaner,
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._feed = objects.feed()
        self.leads = True
        self._dataplane = dataplane
        self._trigger = trigger
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._on_applied = on_applied
        self._on_unprogrammed = on_unprogrammed
        self._on_door_taken = on_door_taken
        self._local_addresses = local_addresses
        self._flows = flows
        self._interfaces: tuple[IPAddress, ...] | None = None
        self._node: Node | None = None
        self._target = Target()
        self._overview = Overview()
        self._notes = NoteBook()
        self._blamed: dict[Key, ServicePlan] = {}
        self._triggered: list[datetime] = []
        self._unknown = True
        self._failures = 0
        self._complaint = ""
        self._due_s = 0.0
        self._repairs = RepairLimit()
        self._repair_due_s = 0.0
        self._undone: list[str] = []
        self._listening: int | None = None

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
        try:
            while True:
                self._trigger.clear()
                await self.sync()
                self._listen()
                await self._trigger.wait(self._due_s - self._clock.monotonic_s())
        finally:
            self._stop_listening()

    async def sync(self) -> None:
        """Take up what changed and bring the kernel to it; nothing to do where all is as it was."""
        started_s = self._clock.monotonic_s()
        self._heed(self._dataplane.tampering())
        if self._undone and self._repair_due_s <= started_s:
            self._unknown = True
        reconcile = started_s >= self._due_s
        node = self._known_node()
        options = await self._options(node, anew=reconcile)
        pending = self._feed.take()
        if self.leads:
            self._metrics.taken(pending)
        self._triggered += pending.triggered
        step = self._target.take_up(self._objects, pending, node=node, options=options)
        if reconcile and not self._failures:
            self._target.pardon()
        self._tell_notes(general=step.full or pending.orphans)
        self._unknown = self._unknown or step.full
        everything = reconcile or self._unknown
        if not everything and not self._target.dirty:
            self._health.updated(self._settings.family, self._clock.now())
            self._triggered.clear()
            return
        # Also where nothing changed: rules that cannot be repaired, or a program that hangs, are a sick proxy.
        self._health.queued(self._settings.family, self._clock.now())
        try:
            applied = await self._apply(None if everything else frozenset(self._target.dirty))
        except ServiceRefused as error:
            self._refuse_alone(error, everything=everything)
        except Retry as error:
            self._fail(error)
        else:
            self._succeed(step, applied, started_s)
            await self._follow(everything=everything, applied=applied)
            # The kernel has told of our own commit too; whoever committed besides is not to wait for the next one.
            if self._heed(self._dataplane.tampering()):
                self._trigger.fire()

    async def _apply(self, changed: frozenset[Key] | None) -> Applied:
        if changed is not None and self._dataplane.quick:
            return self._dataplane.apply(self._target.assembly, changed)
        return await asyncio.to_thread(self._dataplane.apply, self._target.assembly, changed)

    def _succeed(self, step: Step, applied: Applied, started_s: float) -> None:
        now, ended_s = self._clock.now(), self._clock.monotonic_s()
        took_s = ended_s - started_s
        self._heed(applied.tampering)
        if self._undone:
            _log.warning("somebody else changed our rules: %s; repaired", one_line("; ".join(self._undone)))
            self._metrics.repaired(self._settings.family)
        elif applied.changed and not self._unknown and not self._target.dirty:
            _log.warning("rules were changed by someone else; they are repaired")
        self._undone.clear()
        if self._failures:
            _log.info("rules are written again after %d failures", self._failures)
        self._unknown, self._failures, self._complaint = False, 0, ""
        period_s = TOLD_PERIOD_S if self._dataplane.told else self._settings.period_s
        self._due_s = ended_s + max(period_s, RECONCILE_SHARE * took_s)
        family = self._settings.family
        self._health.updated(family, now)
        self._metrics.synced(family, took_s=took_s, full=step.full, now=now)
        self._metrics.programmed(family, self._triggered, now)
        self._metrics.rules(family, total=applied.total, written=applied.written)
        self._metrics.sent(family, elements=applied.elements, messages=applied.messages)
        self._triggered.clear()
        _log.debug("%d Services compiled, rules written: %s", step.recompiled, applied.written)

    async def _follow(self, *, everything: bool, applied: Applied) -> None:
        """What follows from the parts that are in the kernel now."""
        assembly, dirty = self._target.assembly, self._target.dirty
        for key in self._blamed.keys() & dirty - self._target.refused.keys() - applied.refused.keys():
            del self._blamed[key]
        checks, no_local = self._overview.health_checks, self._overview.no_local
        self._overview.update(assembly.parts, dirty)
        self._flows.heed(assembly.parts, dirty - applied.refused.keys())
        self._target.confirm(but=applied.refused)
        for key, reason in applied.refused.items():
            self._refuse(key, Retry(reason, after_s=0.0))
        if everything or self._overview.no_local != no_local:
            internal, external = self._overview.no_local
            self._metrics.no_local(self._settings.family, internal=internal, external=external)
        if everything or self._overview.health_checks is not checks:
            await self._on_applied(Standing(view=assembly.view, health_checks=self._overview.health_checks))
        if self._flows.is_due(assembly.view):
            await self._clean_flows(assembly.view)

    async def _clean_flows(self, view: NodeView) -> None:
        """Only now: a client that goes on sending makes its flow anew at once, by the rules that stand."""
        started_s = self._clock.monotonic_s()
        deleted = await self._flows.clean(view)
        ended_s = self._clock.monotonic_s()
        if deleted is None:
            self._due_s = min(self._due_s, ended_s + FLOWS_RETRY_S)
            return
        self._metrics.flows_cleaned(self._settings.family, deleted=deleted, took_s=ended_s - started_s)
        if deleted:
            _log.info("%d stale UDP flows deleted", deleted)

    def _refuse_alone(self, error: ServiceRefused, *, everything: bool) -> None:
        """Nothing was written because of one Service: go on without it at once, and try it again a period later.

        everything: what was to be looked at, and so still is.
        """
        self._unknown = everything
        self._due_s = self._clock.monotonic_s() + self._settings.period_s
        self._refuse(error.service, error)

    def _refuse(self, key: Key, error: Retry) -> None:
        """Leave the Service as it was and go on with the others at once.

        One that is blamed although it is left out is a failure like any other.
        """
        if not self._target.refuse(key):
            self._fail(error)
            return
        self._metrics.failed(self._settings.family)
        part = self._target.refused[key]
        if self._blamed.get(key) != part:
            self._blamed[key] = part
            _log.error("Service %s is left as it was: %s", one_line(str(key)), one_line(str(error)))
            self._on_unprogrammed(key, str(error))
        self._trigger.fire()

    def _fail(self, error: Retry) -> None:
        """What the kernel holds is unknown now; the next step looks at all of it."""
        self._failures += 1
        self._unknown = True
        self._metrics.failed(self._settings.family)
        wait_s = self._settings.backoff.delay_s(self._failures, 0.0)
        self._due_s = self._clock.monotonic_s() + wait_s
        if str(error) != self._complaint:
            self._complaint = str(error)
            _log.error("rules could not be written: %s; trying again", one_line(str(error)))

    def _heed(self, tampering: Sequence[str]) -> bool:
        """Have undone what others did to the rules, at once if the limit lets; whether there was anything."""
        if not tampering:
            return False
        if not self._undone:
            now_s = self._clock.monotonic_s()
            self._repair_due_s = now_s + self._repairs.wait_s(now_s)
            self._due_s = min(self._due_s, self._repair_due_s)
        self._undone += tampering[: MENTIONED_CHANGES - len(self._undone)]
        return True

    def _listen(self) -> None:
        """Wake up when the kernel tells of a change to the rules."""
        number = self._dataplane.fileno()
        if number is not None:
            self._listening = number
            asyncio.get_running_loop().add_reader(number, self._told)

    def _told(self) -> None:
        """Nobody reads it until the next sync does."""
        self._stop_listening()
        self._trigger.fire()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening = None

    def _known_node(self) -> Node:
        """The Node as last seen: one that was deleted leaves its rules as they were."""
        self._node = self._objects.node or self._node or unknown_node(self._settings.node_name)
        return self._node

    async def _options(self, node: Node, *, anew: bool) -> Options:
        """With the cluster's own networks of clusterIPs.

        With the interfaces' addresses too where they matter: where node ports are kept to some networks.
        """
        options = self._settings.options
        if self._objects.service_cidrs:
            joined = dict.fromkeys((*options.service_cidrs, *self._objects.service_cidrs))
            options = replace(options, service_cidrs=tuple(joined))
        if not options.node_port_addresses:
            return options
        if anew or self._interfaces is None:
            self._interfaces = tuple(await asyncio.to_thread(self._local_addresses))
        primary = view_node(node, options).node_addresses
        return replace(options, node_addresses=tuple(dict.fromkeys((*primary, *self._interfaces))))

    def _tell_notes(self, *, general: bool) -> None:
        """Log what the Plan could not use, once for as long as it stands."""
        assembly = self._target.assembly
        level = logging.WARNING if self.leads else logging.DEBUG
        for note in self._notes.general(assembly.notes) if general else ():
            _log.log(level, "%s: %s", one_line(str(note.origin)), one_line(note.message))
        for key, note in self._notes.of_parts(assembly.parts, self._target.dirty):
            _log.warning("%s: %s", one_line(str(note.origin)), one_line(note.message))
            if note.unprogrammed:
                self._on_unprogrammed(key, note.message)
            elif note.taken_by is not None:
                self._on_door_taken(key, note.message)
