"""The iptables rules, run by our interpreter, do to packets what `evaluate` says.

Where kube-proxy's own rules differ from the specification, kube-proxy's are kept: `corner` says where.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fairway.base.addresses import Family
from fairway.cluster.verify.generate import Case
from fairway.dataplane.ipt.corners import corner
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.names import endpoint_chain
from fairway.dataplane.ipt.run import run
from fairway.flow.trace import Disposition
from fairway.plan.options import Mode
from tests.agree.drawn import FAMILIES, evaluator_in, packets_to
from tests.agree.fates import answer_of, assert_same
from tests.drawing import drawn_cases
from tests.plan.test_golden_flows import CASES, ROWS, evaluator_of, expected_answer, packet_of, row_id


@FAMILIES
def test_every_generated_packet_meets_the_same_fate(family: Family) -> None:
    seen: set[Disposition] = set()

    @settings(max_examples=300)
    @given(drawn_cases(), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        evaluator = evaluator_in(case, family, Mode.IPTABLES)
        rules = lower(evaluator.plan)
        for packet in packets_to(evaluator, data):
            expected = evaluator.evaluate(packet)
            event(expected.disposition.value)
            seen.add(expected.disposition)
            if not corner(evaluator, packet):
                assert_same(expected, run(rules, packet, is_own=evaluator.is_own))

    check()
    assert seen == set(Disposition)


@FAMILIES
@settings(max_examples=100)
@given(case=drawn_cases(), data=st.data())
def test_a_remembered_backend_is_kept_where_the_port_has_affinity(
    family: Family, case: Case, data: st.DataObject
) -> None:
    evaluator = evaluator_in(case, family, Mode.IPTABLES)
    rules = lower(evaluator.plan)
    for packet in packets_to(evaluator, data):
        opening = evaluator.opening(packet)
        if opening is None or corner(evaluator, packet):
            continue
        for backend in {*opening.port.cluster, *opening.port.local}:
            expected = evaluator.evaluate(packet, remembered=backend)
            chain = endpoint_chain(opening.port.name, backend)
            remembered = frozenset({chain}) if opening.port.affinity else frozenset()

            branches = run(rules, packet, is_own=evaluator.is_own, remembered=remembered)

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
