"""Real packets meet in the kernel what `evaluate` says of them, under the iptables rules of the same Plan."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from fairway.cluster.verify.compare import is_as_expected
from fairway.dataplane.ipt.backend import IptablesBackend, Variant
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Plan
from fairway.plan.options import Mode
from tests.kernel.cluster import (
    CLIENT,
    NODE,
    NODE_ADDRESS,
    NODE_OBJECT,
    OBJECTS,
    all_packets,
    assembly_of,
    options_of,
    wired,
)
from tests.kernel.namespaces import in_namespaces

pytestmark = pytest.mark.kernel


@pytest.fixture(params=(Variant.NFT, Variant.LEGACY), ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


def plan_of(objects: Sequence[dict[str, Any]]) -> Plan:
    return assembly_of((NODE_OBJECT, *objects), NODE, options_of(Mode.IPTABLES)).plan()


def test_real_packets_meet_what_evaluate_says(variant: Variant) -> None:
    def child() -> tuple[list[str], dict[str, int]]:
        evaluator = Evaluator(plan_of(OBJECTS))
        wrong, fates = [], dict.fromkeys(map(str, Disposition), 0)
        with wired() as node:
            IptablesBackend(variant).sync(evaluator.plan)
            for packet in all_packets(evaluator.plan):
                expected = evaluator.evaluate(packet)
                seen = node.send(packet)
                fates[seen.disposition.value] += 1
                if not is_as_expected(seen, [expected], evaluator.is_own):
                    wrong.append(f"{packet}: expected {expected.reason}, saw {seen}")
        return wrong, fates

    wrong, fates = in_namespaces(child)
    assert wrong == []
    assert all(fates[fate] for fate in (Disposition.DNAT, Disposition.REJECT, Disposition.DROP))


def test_calls_spread_over_all_backends_and_affinity_keeps_one(variant: Variant) -> None:
    """That 60 fair choices between two miss one of them happens once in 10^18 runs."""

    def child() -> tuple[int, int]:
        plan = plan_of(OBJECTS)
        with wired() as node:
            IptablesBackend(variant).sync(plan)
            met = [
                {node.send(packet).server for _ in range(60)}
                for packet in (
                    Packet(source=ip_address(CLIENT), destination=ip_address(NODE_ADDRESS), port=port)
                    for port in (30001, 30008)
                )
            ]
        return len(met[0]), len(met[1])

    assert in_namespaces(child) == (2, 1)
