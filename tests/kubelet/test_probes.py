"""Probe outcomes become a container's health."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairway.kubelet.pod import ExecAction, ProbeSpec, ProbeType
from fairway.kubelet.probes import Outcome, initial, is_quiet, next_probe, observe

SPEC = ProbeSpec(handler=ExecAction(command=("true",)))
S, F, E = Outcome.SUCCESS, Outcome.FAILURE, Outcome.ERROR
READINESS, LIVENESS, STARTUP = ProbeType.READINESS, ProbeType.LIVENESS, ProbeType.STARTUP


def results(kind: ProbeType, spec: ProbeSpec, outcomes: list[Outcome]) -> list[bool | None]:
    """The result before the first outcome and after each."""
    state = initial(kind)
    seen = [state.result]
    for outcome in outcomes:
        state = observe(state, spec, outcome)
        seen.append(state.result)
    return seen


@pytest.mark.parametrize(("kind", "result"), [(READINESS, False), (LIVENESS, True), (STARTUP, None)])
def test_before_the_first_outcome_each_kind_has_its_own_result(kind: ProbeType, result: bool | None) -> None:
    """E11."""
    assert initial(kind).result is result


@pytest.mark.parametrize(
    ("kind", "thresholds", "outcomes", "expected"),
    [
        (READINESS, (1, 3), [S], [False, True]),
        (READINESS, (2, 3), [S, F, S, S], [False, False, False, False, True]),
        (READINESS, (1, 3), [S, F, F, S, F, F, F], [False, True, True, True, True, True, True, False]),
        (READINESS, (1, 2), [S, F, E, F], [False, True, True, True, False]),
        (READINESS, (1, 1), [S, F, S], [False, True, False, True]),
        (LIVENESS, (1, 3), [F, F, S, F, F, F], [True, True, True, True, True, True, False]),
        (STARTUP, (1, 3), [F, F, S], [None, None, None, True]),
        (STARTUP, (1, 2), [F, F], [None, None, False]),
    ],
)
def test_a_result_flips_after_enough_equal_outcomes_in_a_row(
    kind: ProbeType, thresholds: tuple[int, int], outcomes: list[Outcome], expected: list[bool | None]
) -> None:
    """E12; an error counts for nothing, not even as a break."""
    spec = replace(SPEC, success_threshold=thresholds[0], failure_threshold=thresholds[1])

    assert results(kind, spec, outcomes) == expected


@pytest.mark.parametrize(
    ("kind", "outcome", "rests"),
    [(READINESS, F, False), (LIVENESS, S, False), (LIVENESS, F, True), (STARTUP, S, True), (STARTUP, F, True)],
)
def test_a_probe_rests_once_it_has_decided_for_good(kind: ProbeType, outcome: Outcome, rests: bool) -> None:
    state = observe(initial(kind), replace(SPEC, failure_threshold=1), outcome)

    assert state.resting is rests
    assert (next_probe(state, SPEC, running_since=0.0, now=5.0) is None) is rests


@pytest.mark.parametrize(("now", "due"), [(100.0, 107.0), (110.0, 110.0)])
def test_the_first_probe_waits_for_its_initial_delay(now: float, due: float) -> None:
    spec = replace(SPEC, initial_delay_s=7)

    assert next_probe(initial(LIVENESS), spec, running_since=100.0, now=now) == due


def test_a_container_that_was_never_ready_is_asked_sooner_than_its_period() -> None:
    state, waits = initial(READINESS), []
    for _ in range(10):
        state = observe(state, SPEC, F)
        due = next_probe(state, SPEC, running_since=0.0, now=0.0)
        assert due is not None
        waits.append(due)

    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@pytest.mark.parametrize("kind", [LIVENESS, STARTUP])
def test_other_probes_keep_their_period(kind: ProbeType) -> None:
    """More failures in less time would end a container that still starts."""
    state = observe(initial(kind), SPEC, F)

    assert next_probe(state, SPEC, running_since=0.0, now=1.0) == 11.0


def test_after_the_first_success_readiness_keeps_its_period() -> None:
    state = observe(observe(initial(READINESS), SPEC, S), SPEC, F)

    assert next_probe(state, SPEC, running_since=0.0, now=1.0) == 11.0


def test_the_first_failures_of_a_starting_container_are_quiet() -> None:
    state, quiet = initial(READINESS), []
    for outcome in (F, F, F, F, F, F, S, F):
        state = observe(state, SPEC, outcome)
        quiet.append(is_quiet(state))

    assert quiet == [True, True, True, True, True, False, False, False]


@pytest.mark.parametrize("kind", [LIVENESS, STARTUP])
def test_failures_of_other_probes_are_never_quiet(kind: ProbeType) -> None:
    assert not is_quiet(observe(initial(kind), SPEC, F))
