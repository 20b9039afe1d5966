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
    attempts = state.attempts + 1
    if outcome is Outcome.ERROR:
        return replace(state, attempts=attempts)
    state = replace(
        state,
        attempts=attempts,
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

    The first comes once initialDelaySeconds have passed, the others a period apart. A container that has not been
    ready yet is asked sooner, in doubling steps up to the period: Kubernetes allows readiness probes at other times
    while a container is not ready, so that it becomes ready faster.
    """
    if state.resting:
        return None
    if not state.attempts:
        return max(now, running_since + spec.initial_delay_s)
    if _starting_up(state):
        return now + min(FIRST_RETRY_S * 2.0 ** min(state.attempts - 1, 16), float(spec.period_s))
    return now + spec.period_s


def is_quiet(state: ProbeState) -> bool:
    """Whether the last outcome, a failure, is too early to be worth an event."""
    return _starting_up(state) and state.attempts <= QUIET_ATTEMPTS


def _starting_up(state: ProbeState) -> bool:
    return state.kind is ProbeType.READINESS and not state.succeeded
