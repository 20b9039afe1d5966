"""One run of a container: its probes while it runs, and its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass

from fairway.kubelet import probes
from fairway.kubelet.events import EventType
from fairway.kubelet.pod import ContainerSpec, ProbeSpec, ProbeType
from fairway.kubelet.prober import ProbeAnswer, Prober, ProbeTarget
from fairway.kubelet.runtime import Container


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Whom a run tells what. All are called in the event loop.

    ended: its exit code, negative for a signal. probed: a probe's result flipped. event: type, reason, message.
    """

    ended: Callable[[int], None]
    probed: Callable[[ProbeType, bool], None]
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
    ) -> None:
        self.container = container
        self.spec = spec
        self.ended = False
        self._target = target
        self._prober = prober
        self._reports = reports
        self._clock = clock
        self._started = asyncio.Event()
        self._changed = asyncio.Event()
        self._kill_at: float | None = None
        self._probes: list[tuple[ProbeType, asyncio.Task[None]]] = []

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Wait for its end and probe it, in tasks of the group."""
        group.create_task(self._await_end())
        if ProbeType.STARTUP not in self.spec.probes:
            self._started.set()
        for kind, spec in self.spec.probes.items():
            self._probes.append((kind, group.create_task(self._probe(kind, spec))))

    def stop_probes(self, *kinds: ProbeType) -> None:
        for kind, task in self._probes:
            if kind in kinds:
                task.cancel()

    def end(self, group: asyncio.TaskGroup, grace_s: float) -> bool:
        """SIGTERM now, SIGKILL after grace_s seconds; called again it may shorten that. Whether this began it."""
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
        self._reports.ended(code)

    async def _end(self) -> None:
        assert self._kill_at is not None
        if self._kill_at > self._clock():
            await self.container.signal(signal.SIGTERM)
        while not self.ended and (left := self._kill_at - self._clock()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                pass
        if not self.ended:
            await self.container.signal(signal.SIGKILL)

    async def _probe(self, kind: ProbeType, spec: ProbeSpec) -> None:
        """One probe, from the container's start; the startup probe holds the others back until it has passed."""
        since = self._clock()
        state = probes.initial(kind)
        if kind is not ProbeType.STARTUP:
            await self._started.wait()
        while (due := probes.next_probe(state, spec, running_since=since, now=self._clock())) is not None:
            await asyncio.sleep(max(0.0, due - self._clock()))
            answer = await self._prober.probe(spec, self._target)
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
