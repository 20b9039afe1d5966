"""Typed rules: what they refuse to hold, and when two say the same."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from fairway.dataplane.ipt.ruleset import (
    Address,
    Comment,
    Conntrack,
    Jump,
    Rule,
    State,
    Statistic,
    Transport,
    Verdict,
    comment,
)
from fairway.flow.packet import Protocol
from fairway.flow.trace import Origin


@pytest.mark.parametrize("text", ["two\nlines", "tab\t", "café", "\x00", "x" * 256])
def test_a_comment_iptables_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a comment"):
        Comment(text)


def test_hostile_text_becomes_a_comment_of_one_short_line() -> None:
    hostile = 'default/web"\nCOMMIT\n*filter\n-F\n' + "é" * 300
    assert comment(hostile).text == ('default/web"?COMMIT?*filter?-F?' + "?" * 300)[:255]


@pytest.mark.parametrize(
    ("count", "threshold"), [(2, 1073741824), (3, 715827883), (4, 536870912), (5, 429496730), (1000, 2147484)]
)
def test_a_chance_is_the_number_the_kernel_makes_of_kube_proxys_ten_decimals(count: int, threshold: int) -> None:
    assert Statistic.one_in(count) == Statistic(threshold)


def test_a_network_holds_its_addresses_and_negated_all_others() -> None:
    pods = ip_network("10.10.0.0/16")
    inside, outside = ip_address("10.10.1.2"), ip_address("192.0.2.1")
    assert [Address(pods).holds(address) for address in (inside, outside)] == [True, False]
    assert [Address(pods, negated=True).holds(address) for address in (inside, outside)] == [False, True]


def test_the_order_of_matches_and_a_bare_protocol_match_do_not_tell_rules_apart() -> None:
    new = Conntrack(frozenset({State.NEW}))
    one = Rule(protocol=Protocol.TCP, matches=(Comment("a"), new, Transport(Protocol.TCP)), target=Verdict.DROP)
    other = Rule(protocol=Protocol.TCP, matches=(new, Comment("a")), target=Verdict.DROP)
    assert one != other
    assert one.canonical() == other.canonical()


def test_a_port_tells_rules_apart() -> None:
    rules = [
        Rule(protocol=Protocol.TCP, matches=(Transport(Protocol.TCP, port),), target=Jump("A")).canonical()
        for port in (None, 80, 443)
    ]
    assert len(set(rules)) == 3


def test_the_reason_for_a_rule_does_not_tell_rules_apart() -> None:
    origin = Origin(kind="Service", namespace="default", name="web", field="spec.ports")
    assert Rule(target=Jump("A"), origin=origin) == Rule(target=Jump("A"))
