"""The nf_tables rules, run by our interpreter, do to packets what `evaluate` says, in both address families.

Nothing but one corner is left out, and `corner` says which.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.base.addresses import Family
from fairway.cluster.verify.generate import Case
from fairway.dataplane.ipt.corners import corner as iptables_corner
from fairway.dataplane.ipt.lower import lower as lower_to_iptables
from fairway.dataplane.ipt.run import run as run_iptables
from fairway.dataplane.nft.affinity import Sticky
from fairway.dataplane.nft.corners import corner
from fairway.dataplane.nft.layout import MASQUERADE_MARK
from fairway.dataplane.nft.lower import lower
from fairway.dataplane.nft.run import Branch, run
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Backend, ServicePort
from fairway.plan.options import Mode
from tests.agree.drawn import FAMILIES, evaluator_in, packets_to
from tests.agree.fates import answer_of, assert_same
from tests.drawing import drawn_cases
from tests.plan.test_golden_flows import CASES, ROWS, evaluator_of, expected_answer, packet_of, row_id

OTHERS_MARK = 0xABC0_1234 & ~MASQUERADE_MARK
"""Bits that a network plugin may have set before."""


def send(plane: Evaluator, packet: Packet, **options: Any) -> tuple[Branch, ...]:
    return run(lower(plane.plan), packet, is_own=plane.is_own, **options)


@FAMILIES
def test_every_generated_packet_meets_the_same_fate(family: Family) -> None:
    seen: set[Disposition] = set()

    @settings(max_examples=300)
    @given(drawn_cases(), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        plane = evaluator_in(case, family, Mode.NFTABLES)
        for packet in packets_to(plane, data):
            expected = plane.evaluate(packet)
            seen.add(expected.disposition)
            if not corner(plane, packet):
                assert_same(expected, send(plane, packet))

    check()
    # Mode nftables lets nothing in past a firewall that says no later: its word on health checks is NONE.
    assert seen == set(Disposition) - {Disposition.ACCEPT}


@FAMILIES
@settings(max_examples=100)
@given(case=drawn_cases(), data=st.data())
def test_a_remembered_backend_is_kept_where_the_port_has_affinity(
    family: Family, case: Case, data: st.DataObject
) -> None:
    plane = evaluator_in(case, family, Mode.NFTABLES)
    for packet in packets_to(plane, data):
        opening = plane.opening(packet)
        if opening is None or corner(plane, packet):
            continue
        for backend in {*opening.port.cluster, *opening.port.local}:
            expected = plane.evaluate(packet, remembered=backend)
            assert_same(expected, send(plane, packet, remembered=clients_of(plane, opening.port, backend)))


def clients_of(plane: Evaluator, port: ServicePort, backend: Backend) -> frozenset[str]:
    """The sets that hold a client whom a backend met last."""
    return frozenset({Sticky(port, plane.plan).clients(backend)}) if port.affinity else frozenset()


@FAMILIES
@settings(max_examples=100)
@given(case=drawn_cases(), data=st.data())
def test_a_packet_goes_on_with_no_priority_and_the_mark_it_came_with(
    family: Family, case: Case, data: st.DataObject
) -> None:
    """Or with ours besides, where nothing more is to come: what is sent on to a backend loses it on its way out."""
    plane = evaluator_in(case, family, Mode.NFTABLES)
    for packet in packets_to(plane, data):
        for branch in send(plane, packet, mark=OTHERS_MARK):
            assert branch.mark & ~MASQUERADE_MARK == OTHERS_MARK
            if branch.disposition in (Disposition.DNAT, Disposition.NONE):
                assert branch.mark == OTHERS_MARK
                assert branch.priority == 0


@FAMILIES
@settings(max_examples=100)
@given(case=drawn_cases(), data=st.data())
def test_both_data_planes_and_the_specification_agree_on_one_plan(
    family: Family, case: Case, data: st.DataObject
) -> None:
    """On the Plan of either mode, wherever neither data plane has a corner and the Plan is one that both can write.

    Where a packet meets no door the modes differ: only nf_tables' rules guard clusterIPs and the networks of Services,
    only those of iptables let health checks in past a firewall.
    """
    for mode in Mode:
        plane = evaluator_in(case, family, mode)
        by_nftables, by_iptables = lower(plane.plan), lower_to_iptables(plane.plan)
        health_ports = {check.port for check in plane.plan.health_checks}
        for packet in packets_to(plane, data):
            expected = plane.evaluate(packet)
            guarded = plane.opening(packet) is None and expected.disposition is not Disposition.NONE
            if guarded or packet.port in health_ports or corner(plane, packet) or iptables_corner(plane, packet):
                continue
            assert_same(expected, run(by_nftables, packet, is_own=plane.is_own))
            assert_same(expected, run_iptables(by_iptables, packet, is_own=plane.is_own))


@pytest.mark.parametrize("place", ROWS, ids=row_id)
def test_a_recorded_packet_meets_the_fate_it_has_under_kube_proxy(place: tuple[int, int]) -> None:
    """The rows of kube-proxy's nftables mode hold without exception; those of its iptables mode as that mode has them.

    What the modes do differently is left to the specification: the Plan is one of mode nftables.
    """
    case, row = place
    flow = CASES[case]["flows"][row]
    plane = evaluator_of(case, Mode.NFTABLES)
    packet = packet_of(flow)
    branches = send(plane, packet)
    if CASES[case]["proxy"]["mode"] == "nftables":
        assert answer_of(branches, flow["expect"]) == expected_answer(flow["expect"])
    if not corner(plane, packet):
        assert_same(plane.evaluate(packet), branches)


def test_every_row_of_the_recorded_packets_is_run() -> None:
    modes = Counter(CASES[case]["proxy"]["mode"] for case, _ in ROWS)
    assert modes == {"iptables": 153, "nftables": 240}
