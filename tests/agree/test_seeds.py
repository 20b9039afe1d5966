"""The clusters that `fairway verify --random` makes: the same for the same seed, and of every kind of behaviour."""

from __future__ import annotations

import pytest

from fairway.base.addresses import Family
from fairway.cluster.verify.draw import RandomDraw
from fairway.cluster.verify.generate import draw_case
from fairway.cluster.verify.packets import Aims
from fairway.dataplane.ipt.corners import corner as iptables_corner
from fairway.dataplane.ipt.lower import lower as lower_to_iptables
from fairway.dataplane.ipt.run import run as run_iptables
from fairway.dataplane.nft.corners import corner as nftables_corner
from fairway.dataplane.nft.lower import lower as lower_to_nftables
from fairway.dataplane.nft.run import run as run_nftables
from fairway.flow.packet import Protocol
from fairway.plan.options import Mode
from tests.agree.drawn import FAMILIES, evaluator_in
from tests.agree.fates import assert_same

SEEDS = range(60)
PACKETS = 25


@FAMILIES
@pytest.mark.parametrize("seed", SEEDS)
def test_the_rules_do_what_the_specification_says_in_every_family_and_mode(seed: int, family: Family) -> None:
    draw = RandomDraw(seed)
    case = draw_case(draw)

    plane = evaluator_in(case, family, Mode.NFTABLES)
    table, aims = lower_to_nftables(plane.plan), Aims(plane, tuple(Protocol))
    for packet in [aims.draw(draw) for _ in range(PACKETS)]:
        if not nftables_corner(plane, packet):
            assert_same(plane.evaluate(packet), run_nftables(table, packet, is_own=plane.is_own))

    plane = evaluator_in(case, family, Mode.IPTABLES)
    rules, aims = lower_to_iptables(plane.plan), Aims(plane, tuple(Protocol))
    for packet in [aims.draw(draw) for _ in range(PACKETS)]:
        if not iptables_corner(plane, packet):
            assert_same(plane.evaluate(packet), run_iptables(rules, packet, is_own=plane.is_own))
