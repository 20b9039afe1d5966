"""One run of a container: its hooks, its probes while it runs, and its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass

from fairway.kubelet import probes
from fairway.kubelet.container import Container
from fairway.kubelet.events import EventType
from fairway.kubelet.hooks import run_hook
from fairway.kubelet.lifecycle import MINIMUM_GRACE_S
from fairway.kubelet.pod import ContainerSpec, Hook, ProbeSpec, ProbeType
from fairway.kubelet.prober import ProbeAnswer, Prober, ProbeTarget
from fairway.kubelet.skew import Skewed, skewed_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Whom a run tells what. All are called in the event loop.

    ended: its exit code, negative for a signal. probed: a probe's result flipped; a container without a startup probe
    has passed it once its postStart is over. hook_failed: its postStart failed. event: type, reason, message.
    """

    ended: Callable[[int], None]
    probed: Callable[[ProbeType, bool], None]
    hook_failed: Callable[[], None]
    event: Callable[[EventType, str, str], None]


class ContainerRun:
    """A container that was started; `begin` once, then it reports until it has ended."""

    def __init__(
        self,
        container: Container,
        spec: ContainerSpec,
        target: ProbeTarget,
        prober: Prober,
        reports: Reports,
        *,
        clock: Callable[[], float],
        skewed: Skewed = lambda _: None,
    ) -> None:
        """skewed: which of its probes are made to fail now."""
        self.container = container
        self.spec = spec
        self.ended = False
        self._target = target
        self._prober = prober
        self._reports = reports
        self._clock = clock
        self._skewed = skewed
        self._started = asyncio.Event()
        self._changed = asyncio.Event()
        self._kill_at: float | None = None
        self._post_start: asyncio.Task[None] | None = None
        self._probes: list[tuple[ProbeType, asyncio.Task[None]]] = []

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Wait for its end, run its postStart and then its probes, in tasks of the group."""
        group.create_task(self._await_end())
        if self.spec.post_start is None:
            self._begin_probes(group)
        else:
            self._post_start = group.create_task(self._run_post_start(group, self.spec.post_start))

    async def _run_post_start(self, group: asyncio.TaskGroup, hook: Hook) -> None:
        good = await run_hook(hook, self._target, self._prober)
        if self.ended or self._kill_at is not None:
            return
        if good:
            self._begin_probes(group)
        else:
            self._reports.event(EventType.WARNING, "FailedPostStartHook", "PostStartHook failed")
            self._reports.hook_failed()

    def _begin_probes(self, group: asyncio.TaskGroup) -> None:
        if ProbeType.STARTUP not in self.spec.probes:
            self._started.set()
            self._reports.probed(ProbeType.STARTUP, True)
        for kind, spec in self.spec.probes.items():
            self._probes.append((kind, group.create_task(self._probe(kind, spec))))

    def stop_probes(self, *kinds: ProbeType) -> None:
        for kind, task in self._probes:
            if kind in kinds:
                task.cancel()

    def end(self, group: asyncio.TaskGroup, grace_s: float) -> bool:
        """preStop and SIGTERM now, SIGKILL after grace_s seconds; called again it may shorten that.

        Whether this began it.
        """
        deadline = self._clock() + grace_s
        if self.ended or (self._kill_at is not None and deadline >= self._kill_at):
            return False
        begins, self._kill_at = self._kill_at is None, deadline
        self._changed.set()
        if begins:
            group.create_task(self._end())
        return begins

    async def _await_end(self) -> None:
        code = await self.container.wait()
        self.ended = True
        self._changed.set()
        self.stop_probes(*ProbeType)
        if self._post_start is not None:
            self._post_start.cancel()
        self._reports.ended(code)

    async def _end(self) -> None:
        if self.spec.pre_stop is not None and self._left_s() > 0:
            await self._run_pre_stop(self.spec.pre_stop)
        if not self.ended and self._left_s() > 0:
            await self.container.signal(signal.SIGTERM)
        while not self.ended and self._left_s() > 0:
            await self._wait_for_change()
        if not self.ended:
            await self.container.signal(signal.SIGKILL)

    async def _run_pre_stop(self, hook: Hook) -> None:
        """At most as long as the grace; the container then has a little of its own, unless somebody hurries it."""
        kill_at = self._kill_at
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run_hook(hook, self._target, self._prober))
            task.add_done_callback(lambda _: self._changed.set())
            while not self.ended and not task.done() and self._left_s() > 0:
                await self._wait_for_change()
            if task.done() and not task.result() and not self.ended:
                self._reports.event(EventType.WARNING, "FailedPreStopHook", "PreStopHook failed")
            task.cancel()
        if self._kill_at == kill_at:
            self._kill_at = max(self._clock() + MINIMUM_GRACE_S, kill_at or 0.0)

    def _left_s(self) -> float:
        """Until it is killed."""
        assert self._kill_at is not None
        return self._kill_at - self._clock()

    async def _wait_for_change(self) -> None:
        """Until something is new, or it is time to kill it."""
        self._changed.clear()
        try:
            async with asyncio.timeout(self._left_s()):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _probe(self, kind: ProbeType, spec: ProbeSpec) -> None:
        """One probe, from the container's start; the startup probe holds the others back until it has passed."""
        since = self._clock()
        state = probes.initial(kind)
        if kind is not ProbeType.STARTUP:
            await self._started.wait()
        while (due := probes.next_probe(state, spec, running_since=since, now=self._clock())) is not None:
            await asyncio.sleep(max(0.0, due - self._clock()))
            skew = self._skewed(kind)
            answer = await (skewed_answer(skew, spec) if skew else self._prober.probe(spec, self._target))
            before, state = state, probes.observe(state, spec, answer.outcome)
            self._tell(spec, state, answer)
            if state.result is not None and state.result is not before.result:
                if kind is ProbeType.STARTUP and state.result:
                    self._started.set()
                self._reports.probed(kind, state.result)

    def _tell(self, spec: ProbeSpec, state: probes.ProbeState, answer: ProbeAnswer) -> None:
        match answer.outcome:
            case probes.Outcome.SUCCESS:
                if answer.message:
                    text = f"{state.kind} probe warning: {answer.message}"
                    self._reports.event(EventType.WARNING, "ProbeWarning", text)
            case probes.Outcome.FAILURE:
                if not probes.is_quiet(state, spec):
                    text = f"{state.kind} probe failed: {answer.message}"
                    self._reports.event(EventType.WARNING, "Unhealthy", text)
            case probes.Outcome.ERROR:
                text = f"{state.kind} probe errored and resulted in unknown state: {answer.message}"
                self._reports.event(EventType.WARNING, "Unhealthy", text)
