"""The interpreter's own steps; that it agrees with `evaluate` is shown in tests/agree."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest

from fairway.base.addresses import IPAddress
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.names import endpoint_chain
from fairway.dataplane.ipt.ruleset import Ruleset
from fairway.dataplane.ipt.run import Branch, run
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition
from fairway.plan.model import DoorKind, HealthCheck, Source
from tests.dataplane.ipt.build import (
    FAR,
    HASH,
    LOCAL,
    NAME,
    NO_ENDPOINTS,
    NO_LOCAL_ENDPOINTS,
    door,
    plan,
    port,
    ways,
)

NODE = ip_address("172.18.0.1")
CLIENT = "203.0.113.7"
EVERYBODY = list(Source)


def is_own(address: IPAddress) -> bool:
    return address == NODE or address.is_loopback


def packet(destination: str, to: int, *, source: str = CLIENT, from_node: bool = False) -> Packet:
    return Packet(source=ip_address(source), destination=ip_address(destination), port=to, from_node=from_node)


def send(ruleset: Ruleset, sent: Packet, **options: frozenset[str]) -> tuple[Branch, ...]:
    return run(ruleset, sent, is_own=is_own, **options)


def fates(branches: tuple[Branch, ...]) -> set[tuple[Disposition, tuple[IPAddress, int] | None, bool]]:
    return {(branch.disposition, branch.destination, branch.masquerade) for branch in branches}


NODE_PORT = lower(plan(port(door(DoorKind.NODE_PORT, ways(masquerade=EVERYBODY)))))


def test_a_packet_meets_the_rules_of_the_study_in_their_order() -> None:
    to_local = next(branch for branch in send(NODE_PORT, packet("172.18.0.1", 30080)) if branch.destination)
    assert [visit.chain for visit in to_local.visits] == [
        "PREROUTING",
        "KUBE-SERVICES",
        "KUBE-NODEPORTS",
        f"KUBE-EXT-{HASH}",
        "KUBE-MARK-MASQ",
        f"KUBE-EXT-{HASH}",
        f"KUBE-SVC-{HASH}",
        endpoint_chain(NAME, LOCAL),
        "FORWARD",
        "FORWARD",
        "KUBE-FORWARD",
        "POSTROUTING",
        "KUBE-POSTROUTING",
        "KUBE-POSTROUTING",
    ]


def test_each_backend_is_a_branch_with_its_probability() -> None:
    branches = send(NODE_PORT, packet("172.18.0.1", 30080))
    assert {branch.destination: branch.probability for branch in branches} == {
        (LOCAL.address, 8080): Fraction(1, 2),
        (FAR.address, 8080): Fraction(1, 2),
    }
    assert all(branch.masquerade for branch in branches)


def test_a_packet_for_nobody_passes() -> None:
    assert fates(send(NODE_PORT, packet("172.18.0.1", 22))) == {(Disposition.NONE, None, False)}
    assert fates(send(NODE_PORT, packet("192.0.2.1", 30080))) == {(Disposition.NONE, None, False)}


def test_a_remembered_source_stays_with_its_backend() -> None:
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP), affinity=60)))
    remembered = frozenset({endpoint_chain(NAME, FAR)})
    branches = send(ruleset, packet("10.200.1.1", 80), remembered=remembered)
    assert [(branch.probability, branch.destination) for branch in branches] == [(1, (FAR.address, 8080))]


def test_a_backend_that_calls_itself_is_masqueraded() -> None:
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP))))
    assert fates(send(ruleset, packet("10.200.1.1", 80, source="10.10.1.2"))) == {
        (Disposition.DNAT, (LOCAL.address, 8080), True),
        (Disposition.DNAT, (FAR.address, 8080), False),
    }


@pytest.mark.parametrize(
    ("refusal", "disposition"),
    [(NO_ENDPOINTS, Disposition.REJECT), (NO_LOCAL_ENDPOINTS, Disposition.DROP)],
)
@pytest.mark.parametrize(
    ("kind", "destination", "to", "from_node"),
    [
        (DoorKind.CLUSTER_IP, "10.200.1.1", 80, False),
        (DoorKind.CLUSTER_IP, "10.200.1.1", 80, True),
        (DoorKind.NODE_PORT, "172.18.0.1", 30080, False),
        (DoorKind.NODE_PORT, "172.18.0.1", 30080, True),
        (DoorKind.LOAD_BALANCER_IP, "172.18.255.1", 80, False),
    ],
)
def test_a_refused_door_answers_where_the_packet_passes(
    refusal: object, disposition: Disposition, kind: DoorKind, destination: str, to: int, from_node: bool
) -> None:
    ruleset = lower(plan(port(door(kind, ways(refusal)))))
    source = "172.18.0.1" if from_node else CLIENT
    branches = send(ruleset, packet(destination, to, source=source, from_node=from_node))
    assert fates(branches) == {(disposition, None, False)}


def test_the_node_itself_is_not_refused_at_an_address_that_is_not_its_own() -> None:
    """KUBE-EXTERNAL-SERVICES is not called from OUTPUT: the packet leaves for where the address leads."""
    ruleset = lower(plan(port(door(DoorKind.LOAD_BALANCER_IP, ways(NO_ENDPOINTS)))))
    sent = packet("172.18.255.1", 80, source="172.18.0.1", from_node=True)
    assert fates(send(ruleset, sent)) == {(Disposition.NONE, None, False)}


def test_the_health_check_node_port_is_let_in() -> None:
    check = HealthCheck(namespace="default", service="web", port=31999, local_endpoints=1)
    ruleset = lower(plan(port(door(DoorKind.NODE_PORT)), health_checks=(check,)))
    assert fates(send(ruleset, packet("172.18.0.1", 31999))) == {(Disposition.ACCEPT, None, False)}


def test_the_network_cannot_reach_loopback() -> None:
    assert fates(send(NODE_PORT, packet("127.0.0.1", 22))) == {(Disposition.DROP, None, False)}


def test_each_visit_tells_the_reason_of_its_rule() -> None:
    branch = send(NODE_PORT, packet("172.18.0.1", 30080))[0]
    reasons = [visit.rule.origin for visit in branch.visits if visit.chain == f"KUBE-EXT-{HASH}"]
    assert [origin.name for origin in reasons if origin] == ["web", "web"]
