"""What a container's probes say about it, outcome by outcome.

`ProbeState` is one probe of one run of a container. The rules are those of the kubelet's
`pkg/kubelet/prober/worker.go`: a result flips only after a threshold of equal outcomes in a row, an outcome that is an
error is dropped, a liveness or startup probe rests from the moment it has decided until the container's next run.

There is no start jitter: it spreads the probes of containers that outlived a restart of their kubelet, and here the
containers end with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from fairway.kubelet.pod import ProbeSpec, ProbeType


class Outcome(StrEnum):
    """Of one probe. ERROR: the probe itself could not be made, which says nothing about the container."""

    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeState:
    """One probe in one run of a container.

    result: None is unknown (a startup probe that has not decided). run: equal outcomes in a row, up to now.
    succeeded: there has been a success.
    """

    kind: ProbeType
    result: bool | None
    last: Outcome | None = None
    run: int = 0
    resting: bool = False
    attempts: int = 0
    succeeded: bool = False


_INITIAL = {ProbeType.READINESS: False, ProbeType.LIVENESS: True, ProbeType.STARTUP: None}


def initial(kind: ProbeType) -> ProbeState:
    """Before the first outcome: not ready, alive, start unknown."""
    return ProbeState(kind=kind, result=_INITIAL[kind])


def observe(state: ProbeState, spec: ProbeSpec, outcome: Outcome) -> ProbeState:
    """After one more outcome."""
    if outcome is Outcome.ERROR or (
        outcome is Outcome.FAILURE and state.kind is ProbeType.STARTUP and _extra(state, spec)
    ):
        return replace(state, attempts=state.attempts + 1)
    state = replace(
        state,
        attempts=state.attempts + 1,
        succeeded=state.succeeded or outcome is Outcome.SUCCESS,
        run=state.run + 1 if outcome is state.last else 1,
        last=outcome,
    )
    threshold = spec.success_threshold if outcome is Outcome.SUCCESS else spec.failure_threshold
    if state.run < threshold:
        return state
    result = outcome is Outcome.SUCCESS
    decided = state.kind is ProbeType.STARTUP or (state.kind is ProbeType.LIVENESS and not result)
    return replace(state, result=result, run=0 if decided else state.run, resting=decided)


FIRST_RETRY_S = 0.05
"""A program of the lab listens within some 30 ms of its start; see `next_probe`."""

QUIET_ATTEMPTS = 5
"""So many failures of a container that has never been ready are its start-up, not an event: 0.75 s in all."""


def next_probe(state: ProbeState, spec: ProbeSpec, *, running_since: float, now: float) -> float | None:
    """When to probe next, None for not any more. Called before the first probe and after each.

    Probes come a period apart. The first readiness probe comes once initialDelaySeconds have passed, the first of
    liveness and startup not before a period has passed either, as the kubelet's worker is there a period before its
    container runs. Until its first success, extra readiness and startup probes come in between, in doubling steps up to
    the period: Kubernetes allows readiness probes at other times while a container is not ready, so that it becomes
    ready faster; of a startup probe the extra failures do not count.
    """
    if state.resting:
        return None
    if not state.attempts:
        wait_s = spec.initial_delay_s if _tries_extra(state, spec) else max(spec.initial_delay_s, spec.period_s)
        return max(now, running_since + wait_s)
    if _tries_extra(state, spec):
        return now + min(FIRST_RETRY_S * 2.0 ** min(state.attempts - 1, 16), float(spec.period_s))
    return now + spec.period_s


def is_quiet(state: ProbeState, spec: ProbeSpec) -> bool:
    """Whether the last outcome, a failure, is of a container that has only just started, and not worth an event."""
    if state.kind is ProbeType.STARTUP:
        return _extra(replace(state, attempts=state.attempts - 1), spec)
    return _tries_extra(state, spec) and state.attempts <= QUIET_ATTEMPTS


def _tries_extra(state: ProbeState, spec: ProbeSpec) -> bool:
    """A startup probe with a delay of its own says by it when it means to begin."""
    if state.succeeded:
        return False
    return state.kind is ProbeType.READINESS or (state.kind is ProbeType.STARTUP and not spec.initial_delay_s)


def _extra(state: ProbeState, spec: ProbeSpec) -> bool:
    """Whether the next probe comes before the first period is over."""
    return _tries_extra(state, spec) and FIRST_RETRY_S * (2.0 ** min(state.attempts, 16) - 1) < spec.period_s
