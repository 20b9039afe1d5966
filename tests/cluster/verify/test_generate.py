"""What is generated has every behaviour in it, and is the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.api.codec import decode_cluster
from fairway.base.addresses import Family
from fairway.cluster.verify.draw import RandomDraw
from fairway.cluster.verify.generate import Case, draw_case
from fairway.cluster.verify.packets import SENT, Aims
from fairway.cluster.verify.plane import NODE
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import DoorKind
from fairway.plan.options import Mode, parse_options
from tests.drawing import HypothesisDraw, drawn_cases

SEEDS = range(100)
FAMILIES = pytest.mark.parametrize("family", Family, ids=lambda family: family.api_name)


def evaluator_of(case: Case, family: Family, mode: Mode = Mode.IPTABLES) -> Evaluator:
    cluster = decode_cluster(case.objects)
    options = parse_options(**case.settings, family=family, mode=mode)
    return Evaluator(compile_plan(cluster.services, cluster.slices, cluster.node(NODE), options=options))


def packets_of(seed: int, family: Family, count: int = 30) -> Iterator[tuple[Evaluator, Packet]]:
    draw = RandomDraw(seed)
    evaluator = evaluator_of(draw_case(draw), family)
    aims = Aims(evaluator)
    for _ in range(count):
        yield evaluator, aims.draw(draw)


def test_a_seed_gives_the_same_cluster_and_another_gives_another() -> None:
    drawn = [draw_case(RandomDraw(seed)) for seed in SEEDS]
    assert drawn == [draw_case(RandomDraw(seed)) for seed in SEEDS]
    assert all(one != other for one, other in pairwise(drawn))


@FAMILIES
def test_packets_meet_every_fate_at_every_kind_of_door_from_every_source(family: Family) -> None:
    fates: Counter[Disposition] = Counter()
    doors: Counter[tuple[DoorKind, object]] = Counter()
    for seed in SEEDS:
        for evaluator, packet in packets_of(seed, family):
            fates[evaluator.evaluate(packet).disposition] += 1
            opening = evaluator.opening(packet)
            if opening is not None:
                doors[opening.door.kind, evaluator.source_of(packet)] += 1
    assert set(fates) == set(Disposition)
    assert len(doors) == len(DoorKind) * 3
    # Most packets have something to meet.
    assert fates[Disposition.DNAT] > sum(fates.values()) / 4


@FAMILIES
def test_every_behaviour_of_a_service_is_in_some_plan(family: Family) -> None:
    plans = [evaluator_of(draw_case(RandomDraw(seed)), family).plan for seed in SEEDS]
    ports = [port for plan in plans for port in plan.ports]
    notes = "\n".join(note.message for plan in plans for note in plan.notes)
    assert any(port.affinity for port in ports)
    assert any(door.allowed_sources for port in ports for door in port.doors)
    assert any(plan.health_checks for plan in plans)
    assert any(plan.node_port_addresses is None for plan in plans)
    assert {port.name.protocol for port in ports} > set(SENT)
    assert "so it stays with that one" in notes


@settings(max_examples=50)
@given(case=drawn_cases(), data=st.data())
def test_hypothesis_can_draw_them_too(case: Case, data: st.DataObject) -> None:
    evaluator = evaluator_of(case, Family.IPV4)
    packet = Aims(evaluator).draw(HypothesisDraw(data.draw))
    assert packet.protocol in SENT
    assert packet.from_node == evaluator.is_own(packet.source)
