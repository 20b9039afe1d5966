"""The words for a packet's fate."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest

from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Candidate, Disposition, Origin, Trace

PACKET = Packet(source=ip_address("10.0.0.1"), destination=ip_address("10.0.0.2"), port=80)


def trace(*masquerades: bool) -> Trace:
    candidates = tuple(
        Candidate(
            address=ip_address("10.0.0.3"),
            port=port,
            probability=Fraction(1, len(masquerades)),
            masquerade=masquerade,
            local=False,
        )
        for port, masquerade in enumerate(masquerades, start=1)
    )
    disposition = Disposition.DNAT if candidates else Disposition.DROP
    return Trace(packet=PACKET, disposition=disposition, steps=(), reason="", candidates=candidates)


@pytest.mark.parametrize(
    ("masquerades", "expected"),
    [((), False), ((True,), True), ((True, True), True), ((True, False), False), ((False,), False)],
)
def test_a_trace_masquerades_if_every_candidate_is(masquerades, expected):
    assert trace(*masquerades).masquerade is expected


def test_candidates_read_like_addresses_and_ports():
    ipv6 = Candidate(address=ip_address("fd00::1"), port=80, probability=Fraction(1), masquerade=False, local=True)
    assert [str(each) for each in (*trace(True).candidates, ipv6)] == ["10.0.0.3:1", "[fd00::1]:80"]


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (
            Origin(kind="Service", namespace="default", name="web", field="spec.type", value="NodePort"),
            "Service default/web: spec.type=NodePort",
        ),
        (Origin(kind="Service", namespace="default", name="web", field=""), "Service default/web"),
        (Origin(kind="Node", namespace="", name="worker", field="status.addresses"), "Node worker: status.addresses"),
    ],
)
def test_an_origin_names_object_field_and_value(origin, text):
    assert str(origin) == text


def test_protocols_have_the_names_of_the_api():
    assert [protocol.api_name for protocol in Protocol] == ["TCP", "UDP", "SCTP"]
