"""What was seen is held against every fate that a packet may have."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest

from fairway.api.codec import decode_cluster
from fairway.base.addresses import IPAddress
from fairway.cluster.verify.compare import Memory, is_as_expected
from fairway.cluster.verify.jobs import assemble
from fairway.cluster.verify.seen import Seen
from fairway.flow.packet import Packet
from fairway.flow.trace import Candidate, Disposition, Trace
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import parse_options
from tests.kernel.cluster import FAR_POD, LOCAL_POD, NODE, NODE_ADDRESS, NODE_OBJECT, endpoints, service

CLIENT, POD, OWN = (ip_address(each) for each in ("203.0.113.7", LOCAL_POD, NODE_ADDRESS))
PACKET = Packet(source=CLIENT, destination=OWN, port=30080)


def is_own(address: IPAddress) -> bool:
    return address == OWN


def said(disposition: Disposition, *backends: tuple[IPAddress, bool], packet: Packet = PACKET) -> Trace:
    candidates = tuple(
        Candidate(address=address, port=8080, probability=Fraction(1), masquerade=masquerade, local=True)
        for address, masquerade in backends
    )
    return Trace(packet=packet, disposition=disposition, steps=(), reason="", candidates=candidates)


def seen(
    disposition: Disposition, server: IPAddress | None = None, peer: IPAddress | None = None, fault: str = ""
) -> Seen:
    return Seen(disposition=disposition, server=(server, 8080) if server else None, peer=peer, fault=fault)


NONE, DNAT, REJECT, DROP, ACCEPT = (
    Disposition.NONE,
    Disposition.DNAT,
    Disposition.REJECT,
    Disposition.DROP,
    Disposition.ACCEPT,
)


@pytest.mark.parametrize(
    ("expected", "what", "agrees"),
    [
        (said(DROP), seen(DROP), True),
        (said(DROP), seen(REJECT), False),
        (said(REJECT), seen(REJECT), True),
        (said(REJECT), seen(REJECT, fault="the sender was not told"), False),
        (said(NONE), seen(NONE), True),
        (said(NONE), seen(NONE, OWN, CLIENT), True),
        (said(NONE), seen(NONE, OWN, OWN), False),
        (said(ACCEPT), seen(NONE, OWN, CLIENT), True),
        (said(DNAT, (POD, False)), seen(DNAT, POD, CLIENT), True),
        (said(DNAT, (POD, False)), seen(DNAT, POD, OWN), False),
        (said(DNAT, (POD, True)), seen(DNAT, POD, OWN), True),
        (said(DNAT, (POD, True)), seen(DNAT, POD, CLIENT), False),
        (said(DNAT, (POD, False)), seen(DNAT, CLIENT, CLIENT), False),
        (said(DNAT, (POD, False)), seen(DNAT, POD), False),
        # What comes by a link and stays on the node is rewritten by nobody.
        (said(DNAT, (OWN, True)), seen(DNAT, OWN, CLIENT), True),
        (said(DNAT, (OWN, True)), seen(DNAT, OWN, OWN), False),
    ],
)
def test_a_fate_and_what_was_seen(expected: Trace, what: Seen, agrees: bool) -> None:
    assert is_as_expected(what, [expected], is_own) is agrees
    unlike = said(DROP if what.disposition is not DROP else REJECT)
    assert is_as_expected(what, [unlike, expected], is_own) is agrees


def test_a_client_is_expected_at_the_backend_it_met() -> None:
    objects = [NODE_OBJECT, service("web", 1, sessionAffinity="ClientIP"), endpoints("web", [LOCAL_POD, FAR_POD])]
    options = parse_options(node_addresses=[NODE_ADDRESS])
    evaluator = Evaluator(assemble(decode_cluster(objects), NODE, options).plan())
    packet = Packet(source=CLIENT, destination=OWN, port=30001)
    memory = Memory()
    (anew,) = memory.expected(evaluator, packet)
    memory.note(evaluator, packet, seen(DNAT, POD, OWN))
    (kept,) = memory.expected(evaluator, packet)
    assert {str(each.address) for each in anew.candidates} == {LOCAL_POD, FAR_POD}
    assert [str(each.address) for each in kept.candidates] == [LOCAL_POD]


def test_what_was_seen_is_said_in_a_clause() -> None:
    assert str(seen(DNAT, POD, OWN)) == f"DNAT to {POD}:8080, from {OWN}"
    assert str(seen(NONE, OWN, CLIENT)) == f"NONE at {OWN}:8080, from {CLIENT}"
    assert str(seen(REJECT, fault="why")) == "REJECT (why)"
