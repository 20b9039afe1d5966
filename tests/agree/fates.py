"""The fate of a packet in one form, whoever tells of it: what becomes of it, to where, how likely."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Protocol

from fairway.base.addresses import IPAddress
from fairway.flow.trace import Disposition, Trace

Fate = dict[tuple[Disposition, tuple[IPAddress, int] | None, bool], Fraction]
"""How likely: what happens, the backend it is sent to, and whether its source is rewritten."""

_NEAR = Fraction(1, 10**8)
"""xt_statistic keeps probabilities in 31 bits, of ten decimals."""


class Branch(Protocol):
    """As the interpreters of all data planes give them."""

    @property
    def probability(self) -> Fraction: ...
    @property
    def disposition(self) -> Disposition: ...
    @property
    def destination(self) -> tuple[IPAddress, int] | None: ...
    @property
    def masquerade(self) -> bool: ...


def assert_same(expected: Trace, branches: Iterable[Branch]) -> None:
    fate, wanted = fate_of_branches(branches), fate_of_trace(expected)
    assert sum(fate.values()) == 1
    assert fate.keys() == wanted.keys()
    for key, probability in wanted.items():
        assert abs(fate[key] - probability) < _NEAR


def fate_of_branches(branches: Iterable[Branch]) -> Fate:
    fate: Fate = defaultdict(Fraction)
    for branch in branches:
        fate[branch.disposition, branch.destination, branch.masquerade] += branch.probability
    return dict(fate)


def fate_of_trace(trace: Trace) -> Fate:
    if not trace.candidates:
        return {(trace.disposition, None, False): Fraction(1)}
    return {
        (trace.disposition, (candidate.address, candidate.port), candidate.masquerade): candidate.probability
        for candidate in trace.candidates
    }


def answer_of(branches: Iterable[Branch], expect: dict[str, Any]) -> dict[str, Any]:
    """In the form of `expected_answer`; expect: what is recorded, which says whether masquerading matters."""
    branches = tuple(branches)
    (disposition,) = {branch.disposition for branch in branches}
    masquerade = {
        format_place(*branch.destination): branch.masquerade for branch in branches if branch.destination is not None
    }
    answer: dict[str, Any] = {"action": disposition.value, "endpoints": set(masquerade)}
    if expect["masqueradeSignificant"]:
        answer["masquerade"] = masquerade
    return answer


def format_place(address: IPAddress, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
