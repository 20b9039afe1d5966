"""The iptables rules, run by our interpreter, do to packets what `evaluate` says.

Where kube-proxy's own rules differ from the specification, kube-proxy's are kept: `corner` says where.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, event, given, settings

from fairway.base.addresses import Family
from fairway.dataplane.ipt.corners import corner
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.names import endpoint_chain
from fairway.dataplane.ipt.run import run
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import Mode
from tests.agree.fates import answer_of, assert_same
from tests.agree.strategies import FAMILIES, Case, cases, in_family, packets
from tests.plan.test_golden_flows import CASES, ROWS, evaluator_of, expected_answer, packet_of, row_id


@FAMILIES
def test_every_generated_packet_meets_the_same_fate(family: Family) -> None:
    seen: set[Disposition] = set()

    @settings(max_examples=800, suppress_health_check=[HealthCheck.too_slow])
    @given(cases(), packets())
    def check(case: Case, packet: Packet) -> None:
        case, packet = in_family(family, case, packet)
        evaluator = Evaluator(case.plan())
        expected = evaluator.evaluate(packet)
        event(expected.disposition.value)
        seen.add(expected.disposition)
        if corner(evaluator, packet):
            return
        assert_same(expected, run(lower(evaluator.plan), packet, is_own=evaluator.is_own))

    check()
    assert seen == set(Disposition)


@FAMILIES
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases(), packet=packets())
def test_a_remembered_backend_is_kept_where_the_port_has_affinity(family: Family, case: Case, packet: Packet) -> None:
    case, packet = in_family(family, case, packet)
    evaluator = Evaluator(case.plan())
    opening = evaluator.opening(packet)
    if opening is None or corner(evaluator, packet):
        return
    for backend in opening.port.cluster:
        expected = evaluator.evaluate(packet, remembered=backend)
        remembered = frozenset({endpoint_chain(opening.port.name, backend)}) if opening.port.affinity else frozenset()

        branches = run(lower(evaluator.plan), packet, is_own=evaluator.is_own, remembered=remembered)

        assert_same(expected, branches)


@pytest.mark.parametrize("place", ROWS, ids=row_id)
def test_a_recorded_packet_meets_the_fate_it_has_under_kube_proxy(place: tuple[int, int]) -> None:
    """The rows of kube-proxy's iptables mode hold without exception; those of its nftables mode as that mode has them.

    What the modes do differently is left to the specification: the Plan is one of mode iptables.
    """
    case, row = place
    flow = CASES[case]["flows"][row]
    evaluator = evaluator_of(case, Mode.IPTABLES)
    packet = packet_of(flow)
    branches = run(lower(evaluator.plan), packet, is_own=evaluator.is_own)
    if CASES[case]["proxy"]["mode"] == "iptables":
        assert answer_of(branches, flow["expect"]) == expected_answer(flow["expect"])
    elif not corner(evaluator, packet):
        assert_same(evaluator.evaluate(packet), branches)


def test_every_row_of_the_recorded_packets_is_run() -> None:
    modes = Counter(CASES[case]["proxy"]["mode"] for case, _ in ROWS)
    assert modes == {"iptables": 153, "nftables": 240}
