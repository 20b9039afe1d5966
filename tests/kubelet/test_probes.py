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
    ],
)
def test_a_result_flips_after_enough_equal_outcomes_in_a_row(
    kind: ProbeType, thresholds: tuple[int, int], outcomes: list[Outcome], expected: list[bool | None]
) -> None:
    """E12; an error counts for nothing, not even as a break."""
    spec = replace(SPEC, success_threshold=thresholds[0], failure_threshold=thresholds[1])

    assert results(kind, spec, outcomes) == expected


DELAYED = replace(SPEC, initial_delay_s=5)


@pytest.mark.parametrize(
    ("failures", "outcomes", "expected"),
    [(3, [F, F, S], [None, None, None, True]), (2, [F, F], [None, None, False])],
)
def test_a_startup_probe_decides_once(failures: int, outcomes: list[Outcome], expected: list[bool | None]) -> None:
    assert results(STARTUP, replace(DELAYED, failure_threshold=failures), outcomes) == expected


@pytest.mark.parametrize(
    ("kind", "outcome", "rests"),
    [(READINESS, F, False), (LIVENESS, S, False), (LIVENESS, F, True), (STARTUP, S, True), (STARTUP, F, True)],
)
def test_a_probe_rests_once_it_has_decided_for_good(kind: ProbeType, outcome: Outcome, rests: bool) -> None:
    spec = replace(DELAYED, failure_threshold=1)
    state = observe(initial(kind), spec, outcome)

    assert state.resting is rests
    assert (next_probe(state, spec, running_since=0.0, now=5.0) is None) is rests


@pytest.mark.parametrize(
    ("kind", "delay_s", "first"),
    [
        (READINESS, 0, 100.0),
        (READINESS, 7, 107.0),
        (STARTUP, 0, 100.0),
        (STARTUP, 7, 110.0),
        (STARTUP, 17, 117.0),
        (LIVENESS, 0, 110.0),
        (LIVENESS, 7, 110.0),
        (LIVENESS, 17, 117.0),
    ],
)
def test_the_first_probe_waits_for_its_delay_and_some_for_a_period(kind: ProbeType, delay_s: int, first: float) -> None:
    """A liveness probe at the very start would count the start-up as a failure."""
    spec = replace(SPEC, initial_delay_s=delay_s)

    assert next_probe(initial(kind), spec, running_since=100.0, now=100.0) == first


def test_a_first_probe_that_is_overdue_comes_at_once() -> None:
    assert next_probe(initial(READINESS), DELAYED, running_since=100.0, now=110.0) == 110.0


@pytest.mark.parametrize("kind", [READINESS, STARTUP])
def test_a_container_without_a_success_yet_is_asked_sooner_than_its_period(kind: ProbeType) -> None:
    state, waits = initial(kind), []
    for _ in range(10):
        state = observe(state, replace(SPEC, failure_threshold=30), F)
        due = next_probe(state, SPEC, running_since=0.0, now=0.0)
        assert due is not None
        waits.append(due)

    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_failures_of_extra_startup_probes_do_not_count() -> None:
    """The probes of the first period, 10 s, are extra; then two failures in a row are the end."""
    spec = replace(SPEC, failure_threshold=2)

    assert results(STARTUP, spec, [F] * 10) == [None] * 10 + [False]
    assert results(STARTUP, spec, [F, F, S])[-1] is True


@pytest.mark.parametrize(("kind", "spec"), [(LIVENESS, SPEC), (STARTUP, DELAYED)])
def test_other_probes_keep_their_period(kind: ProbeType, spec: ProbeSpec) -> None:
    """More failures in less time would end a container that still starts."""
    state = observe(initial(kind), spec, F)

    assert next_probe(state, spec, running_since=0.0, now=1.0) == 11.0


def test_after_the_first_success_readiness_keeps_its_period() -> None:
    state = observe(observe(initial(READINESS), SPEC, S), SPEC, F)

    assert next_probe(state, SPEC, running_since=0.0, now=1.0) == 11.0


def quiet(kind: ProbeType, spec: ProbeSpec, outcomes: list[Outcome]) -> list[bool]:
    state, found = initial(kind), []
    for outcome in outcomes:
        state = observe(state, spec, outcome)
        found.append(is_quiet(state, spec))
    return found


@pytest.mark.parametrize(
    ("kind", "spec", "outcomes", "expected"),
    [
        (READINESS, SPEC, [F, F, F, F, F, F, S, F], [True] * 5 + [False] * 3),
        (STARTUP, SPEC, [F] * 10, [True] * 8 + [False] * 2),
        (STARTUP, DELAYED, [F], [False]),
        (LIVENESS, SPEC, [F], [False]),
    ],
)
def test_the_first_failures_of_a_starting_container_are_quiet(
    kind: ProbeType, spec: ProbeSpec, outcomes: list[Outcome], expected: list[bool]
) -> None:
    assert quiet(kind, spec, outcomes) == expected
