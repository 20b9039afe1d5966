"""Generated clusters and packets for the agreement tests: every behaviour, in both families, shrunk by hypothesis."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import strategies as st

from fairway.api.codec import decode_cluster
from fairway.base.addresses import Family
from fairway.cluster.verify.generate import Case
from fairway.cluster.verify.packets import Aims
from fairway.cluster.verify.plane import CLIENTS, NODE, NODE_ADDRESSES, address_in
from fairway.flow.packet import Packet, Protocol
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import Mode, parse_options
from tests.drawing import HypothesisDraw

FAMILIES = pytest.mark.parametrize("family", Family, ids=lambda family: family.api_name)
EACH = 4
"""Packets to a cluster: making its rules costs more than sending one."""


def evaluator_in(case: Case, family: Family, mode: Mode) -> Evaluator:
    """The node's Plan in one family and mode."""
    cluster = decode_cluster(case.objects)
    options = parse_options(**case.settings, family=family, mode=mode)
    return Evaluator(compile_plan(cluster.services, cluster.slices, cluster.node(NODE), options=options))


def packets_to(evaluator: Evaluator, data: st.DataObject) -> Iterator[Packet]:
    """EACH packets of every protocol, from everybody, to a door more often than not, and one to each health check."""
    aims, draw = Aims(evaluator, tuple(Protocol)), HypothesisDraw(data.draw)
    family = evaluator.plan.family
    for _ in range(EACH):
        yield aims.draw(draw)
    for check in evaluator.plan.health_checks:
        source, destination = (ip_address(address_in(family, each)) for each in (CLIENTS[0], NODE_ADDRESSES[0]))
        yield Packet(source=source, destination=destination, port=check.port)
