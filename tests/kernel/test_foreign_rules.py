"""Foreign tables of nf_tables, as `nft` makes them in a kernel of the test's own, as filter tables."""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import ip_address

import pytest

from fairway.cluster.doctor.facts import Questions
from fairway.cluster.doctor.filters import Act, FilterTable, Probe, meet
from fairway.cluster.doctor.nodefacts import gather
from tests.kernel.namespaces import in_namespaces

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft to make tables")]

CALL = Probe(
    source=ip_address("172.18.0.100"),
    destination=ip_address("10.10.1.3"),
    protocol="tcp",
    port=8080,
    iif="eth0",
    oif="veth1",
)
ROWS = [
    ("tcp dport 8080 drop", Act.DROP),
    ("tcp dport 8000-8100 drop", Act.DROP),
    ("tcp dport { 22, 8080 } drop", Act.DROP),
    ("tcp dport != 22 drop", Act.DROP),
    ("ip protocol tcp drop", Act.DROP),
    ("meta l4proto tcp reject", Act.REJECT),
    ("ip saddr 172.18.0.0/16 drop", Act.DROP),
    ("ip saddr 172.16.0.0/12 drop", Act.DROP),
    ('ip daddr 10.0.0.0/8 counter log prefix "x" drop', Act.DROP),
    ("ip daddr != 10.10.1.4 drop", Act.DROP),
    ('iifname "eth0" drop', Act.DROP),
    ('iifname "eth*" oifname "veth1" drop', Act.DROP),
    ("ct state new drop", Act.DROP),
    ("ct state != established drop", Act.DROP),
    ("mark and 0x4000 == 0 drop", Act.DROP),
    ("jump away", Act.DROP),
    ("tcp dport 8081 drop", None),
    ("udp dport 8080 drop", None),
    ("tcp dport { 22, 80 } drop", None),
    ("ip saddr 10.0.0.0/8 drop", None),
    ('iifname "wan" drop', None),
    ("ct state established,related drop", None),
    ("ct state invalid drop", None),
    ("mark 0x4000 drop", None),
    ("fib daddr type local drop", None),
    ("ip6 daddr ::/0 drop", None),
    ("limit rate 5/second drop", None),  # who knows
    ("tcp flags syn tcp option maxseg size 1-500 drop", None),
    ("ct state vmap { new : drop }", None),  # what is in a map is not read
    ("ip saddr @blocked drop", Act.DROP),
    ("tcp dport 8080 accept; tcp dport 8080 drop", None),
    ("ip saddr . tcp dport { 172.18.0.100 . 8080 } accept; drop", None),
    ("ct state vmap { established : accept, new : accept }; drop", None),
    ("ct status dnat accept; drop", None),
    ("return; drop", None),
]


@pytest.mark.parametrize(("rules", "expected"), ROWS)
def test_a_call_meets_what_the_kernel_would_do_for_certain(rules: str, expected: Act | None) -> None:
    lines = (
        "table inet guard {",
        "set blocked { type ipv4_addr; elements = { 172.18.0.100 }; }",
        "chain away { drop; }",
        "chain c {",
        "type filter hook forward priority 0;",
        *rules.split("; "),
        "}",
        "}",
    )
    text = "\n".join(lines)
    (table,) = in_namespaces(lambda: made(text))
    meeting = meet([table], "forward", CALL)
    assert (meeting.act if meeting is not None else None) == expected


def made(text: str) -> tuple[FilterTable, ...]:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
    return gather(Questions()).tables


def test_a_policy_and_a_rule_tell_what_takes_them_away() -> None:
    head = "type filter hook forward priority -1; policy drop;"
    text = f"table ip guard {{\nchain c {{\n{head}\ntcp dport 8080 drop\n}}\n}}\n"
    (table,) = in_namespaces(lambda: made(text))
    (chain,) = table.chains
    assert (chain.hook, chain.priority, chain.drops) == ("forward", -1, True)
    assert chain.accept == ("nft", "chain", "ip", "guard", "c", "{ policy accept; }")
    assert chain.rules[0].remove[:7] == ("nft", "delete", "rule", "ip", "guard", "c", "handle")


def test_iptables_of_both_kinds_are_read_once() -> None:
    """What iptables-nft made is a table of nf_tables too, and is told in its own words."""

    def make() -> list[tuple[str, str]]:
        subprocess.run(["iptables-nft", "-A", "FORWARD", "-p", "tcp", "-j", "DROP"], check=True)
        return [(table.program, table.name) for table in gather(Questions()).tables]

    if shutil.which("iptables-nft") is None:
        pytest.skip("needs iptables-nft")
    assert in_namespaces(make) == [("iptables-nft", "filter")]
