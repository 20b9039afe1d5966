"""The words of each match and target, and a whole table."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from fairway.base.addresses import Family
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.parse import parse_rule
from fairway.dataplane.ipt.ruleset import (
    Address,
    AddrTypeLocal,
    Comment,
    Conntrack,
    Dnat,
    Interface,
    Jump,
    Mark,
    Masquerade,
    Nfacct,
    RecentCheck,
    RecentSet,
    Reject,
    Rule,
    SetXmark,
    Side,
    State,
    Statistic,
    Table,
    Transport,
    Verdict,
)
from fairway.dataplane.ipt.text import format_rule, format_save, quote
from fairway.flow.packet import Protocol
from fairway.plan.model import Links, Plan

EMPTY = Plan(node="node-1", node_addresses=(), cluster_cidrs=(), node_port_addresses=None, ports=())

WORDS = [
    (Rule(target=Jump("KUBE-SERVICES")), "-j KUBE-SERVICES"),
    (Rule(target=None, matches=(Comment("counts only"),)), '-m comment --comment "counts only"'),
    (Rule(target=Verdict.RETURN, source=Address(ip_network("10.10.0.0/16"))), "-s 10.10.0.0/16 -j RETURN"),
    (
        Rule(target=Verdict.DROP, source=Address(ip_network("10.10.0.0/16"), negated=True)),
        "! -s 10.10.0.0/16 -j DROP",
    ),
    (
        Rule(
            target=Verdict.ACCEPT,
            destination=Address(ip_network("10.200.1.1/32")),
            protocol=Protocol.UDP,
            matches=(Transport(Protocol.UDP, 53),),
        ),
        "-d 10.200.1.1/32 -p udp -m udp --dport 53 -j ACCEPT",
    ),
    (Rule(target=Jump("X"), interface=Interface(Links(name="cni0"))), "-i cni0 -j X"),
    (Rule(target=Jump("X"), interface=Interface(Links(name="veth", is_prefix=True))), "-i veth+ -j X"),
    (
        Rule(
            target=Jump("X"),
            destination=Address(ip_network("10.200.1.1/32")),
            interface=Interface(Links(name="veth", is_prefix=True), negated=True),
            protocol=Protocol.TCP,
        ),
        "-d 10.200.1.1/32 ! -i veth+ -p tcp -j X",
    ),
    (Rule(target=Reject()), "-j REJECT --reject-with icmp-port-unreachable"),
    (Rule(target=Reject(Family.IPV6)), "-j REJECT --reject-with icmp6-port-unreachable"),
    (
        Rule(target=Jump("X"), source=Address(ip_network("fd00::1/128"), negated=True)),
        "! -s fd00::1/128 -j X",
    ),
    (Rule(target=Dnat(ip_address("fd00:10:0:1::3"), 8080)), "-j DNAT --to-destination [fd00:10:0:1::3]:8080"),
    (
        Rule(target=Jump("X"), matches=(RecentCheck("KUBE-SEP-A", 90, Family.IPV6),)),
        (
            "-m recent --rcheck --seconds 90 --reap --name KUBE-SEP-A --mask ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
            "--rsource -j X"
        ),
    ),
    (
        Rule(target=Jump("X"), matches=(RecentSet("KUBE-SEP-A", Family.IPV6),)),
        "-m recent --set --name KUBE-SEP-A --mask ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rsource -j X",
    ),
    (
        Rule(target=Dnat(ip_address("10.10.1.3"), 8080), protocol=Protocol.TCP, matches=(Transport(Protocol.TCP),)),
        "-p tcp -m tcp -j DNAT --to-destination 10.10.1.3:8080",
    ),
    (Rule(target=SetXmark(0x4000, 0x4000)), "-j MARK --set-xmark 0x4000/0x4000"),
    (Rule(target=SetXmark(0x4000, 0)), "-j MARK --set-xmark 0x4000/0x0"),
    (Rule(target=Masquerade()), "-j MASQUERADE --random-fully"),
    (Rule(target=Masquerade(random_fully=False)), "-j MASQUERADE"),
    (
        Rule(target=Verdict.DROP, matches=(Conntrack(frozenset({State.DNAT, State.RELATED}), negated=True),)),
        "-m conntrack ! --ctstate RELATED,DNAT -j DROP",
    ),
    (Rule(target=Jump("X"), matches=(AddrTypeLocal(Side.SOURCE),)), "-m addrtype --src-type LOCAL -j X"),
    (Rule(target=Jump("X"), matches=(AddrTypeLocal(Side.DESTINATION),)), "-m addrtype --dst-type LOCAL -j X"),
    (
        Rule(target=Verdict.RETURN, matches=(Mark(0x4000, 0x4000, negated=True),)),
        "-m mark ! --mark 0x4000/0x4000 -j RETURN",
    ),
    (
        Rule(target=Jump("X"), matches=(Statistic.one_in(3),)),
        "-m statistic --mode random --probability 0.33333333349 -j X",
    ),
    (
        Rule(target=Jump("X"), matches=(RecentCheck("KUBE-SEP-A", 10800),)),
        "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j X",
    ),
    (
        Rule(target=Jump("X"), matches=(RecentSet("KUBE-SEP-A"),)),
        "-m recent --set --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j X",
    ),
    (Rule(target=Verdict.DROP, matches=(Nfacct("dropped"),)), "-m nfacct --nfacct-name  dropped -j DROP"),
]


@pytest.mark.parametrize(("rule", "text"), WORDS, ids=[text for _, text in WORDS])
def test_a_rule_is_printed_as_the_kernel_prints_it_and_read_back(rule: Rule, text: str) -> None:
    assert format_rule(rule) == text
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("KUBE-SEP_1", "KUBE-SEP_1"),
        ("", '""'),
        ("default/web", '"default/web"'),
        ('say "no" \\ it\'s', '"say \\"no\\" \\\\ it\\\'s"'),
    ],
)
def test_words_are_quoted_as_libxtables_quotes_them(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize("text", ["two\nlines", "\r", "é", "\x7f"])
def test_text_that_could_end_the_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not printable"):
        quote(text)


def test_an_empty_plan_prints_the_frame_in_the_order_of_iptables_save() -> None:
    assert format_save(lower(EMPTY), (Table.MANGLE, Table.NAT)).splitlines() == [
        "*mangle",
        ":PREROUTING ACCEPT [0:0]",
        ":INPUT ACCEPT [0:0]",
        ":FORWARD ACCEPT [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        ":POSTROUTING ACCEPT [0:0]",
        ":KUBE-PROXY-CANARY - [0:0]",
        "COMMIT",
        "*nat",
        ":PREROUTING ACCEPT [0:0]",
        ":INPUT ACCEPT [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        ":POSTROUTING ACCEPT [0:0]",
        ":KUBE-MARK-MASQ - [0:0]",
        ":KUBE-NODEPORTS - [0:0]",
        ":KUBE-POSTROUTING - [0:0]",
        ":KUBE-PROXY-CANARY - [0:0]",
        ":KUBE-SERVICES - [0:0]",
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        (
            '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" '
            "-j MASQUERADE --random-fully"
        ),
        (
            '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in '
            'this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'
        ),
        "COMMIT",
    ]
