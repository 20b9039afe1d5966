"""The wire tells apart whatever can become of a packet, in both address families."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from fairway.base.addresses import Family, IPAddress
from fairway.cluster.verify.seen import Seen
from fairway.cluster.verify.wire import Wire, wire
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition
from tests.kernel.namespaces import in_namespaces

pytestmark = pytest.mark.kernel

PROTOCOLS = (Protocol.TCP, Protocol.UDP)
NODE, CLIENT, POD, OTHER_POD, NOBODY = "10.9.0.1", "203.0.113.7", "10.10.1.2", "10.10.1.3", "10.200.0.9"
EVERYBODY = (NODE, CLIENT, POD, OTHER_POD, NOBODY)


def at(family: Family, address: str) -> IPAddress:
    """The same last 32 bits in either family."""
    four = ip_address(address)
    return four if family is Family.IPV4 else ip_address(int(ip_address("fd00::")) + int(four))


@contextmanager
def wired(family: Family) -> Iterator[Wire]:
    """A client, and two pods behind one link, port 8080; the node serves 30080."""
    with wire(family) as node:
        node.own(str(at(family, NODE)))
        node.link(str(at(family, CLIENT)), str(at(family, NODE)))
        node.link([str(at(family, POD)), str(at(family, OTHER_POD))], str(at(family, NODE)))
        node.route_all_to(str(at(family, CLIENT)))
        for protocol in PROTOCOLS:
            node.serve(str(at(family, POD)), 8080, protocol)
            node.serve(str(at(family, NODE)), 30080, protocol)
        yield node


def to(address: str, port: int, *, by: str = CLIENT) -> tuple[str, str, int]:
    return by, address, port


NONE, DNAT, REJECT, DROP = Disposition.NONE, Disposition.DNAT, Disposition.REJECT, Disposition.DROP
CHAINS = """
table {table} test {{
 chain pre {{ type nat hook prerouting priority -100; {pre}; }}
 chain out {{ type nat hook output priority -100; {pre}; }}
 chain post {{ type nat hook postrouting priority 100; {post}; }}
 chain forward {{ type filter hook forward priority 0; {filter}; }}
 chain input {{ type filter hook input priority 0; {filter}; }}
 chain output {{ type filter hook output priority 0; {filter}; }}
}}
"""
TO_POD = "th dport 80 dnat to {OTHER_POD_8080}"
ROWS = [
    # what, the rules' (pre, post, filter), sent, seen: disposition, server, peer
    ("untouched to a pod", ("", "", ""), to(POD, 8080), (NONE, (POD, 8080), CLIENT)),
    ("untouched to the node", ("", "", ""), to(NODE, 30080), (NONE, (NODE, 30080), CLIENT)),
    ("untouched from the node", ("", "", ""), to(POD, 8080, by=NODE), (NONE, (POD, 8080), NODE)),
    ("untouched on its way to nobody", ("", "", ""), to(NOBODY, 80), (NONE, None, None)),
    ("untouched from the node to nobody", ("", "", ""), to(NOBODY, 80, by=NODE), (NONE, None, None)),
    ("to a backend", (TO_POD, "", ""), to(NOBODY, 80), (DNAT, (OTHER_POD, 8080), CLIENT)),
    ("from the node to a backend", (TO_POD, "", ""), to(NOBODY, 80, by=NODE), (DNAT, (OTHER_POD, 8080), NODE)),
    ("masqueraded", (TO_POD, "masquerade", ""), to(NOBODY, 80), (DNAT, (OTHER_POD, 8080), NODE)),
    ("to itself", (TO_POD, "masquerade", ""), to(NOBODY, 80, by=OTHER_POD), (DNAT, (OTHER_POD, 8080), NODE)),
    ("rejected", ("", "", "th dport 80 reject"), to(NOBODY, 80), (REJECT, None, None)),
    ("rejected where it is from", ("", "", "th dport 80 reject"), to(NOBODY, 80, by=NODE), (REJECT, None, None)),
    ("rejected at the node", ("", "", "th dport 30080 reject"), to(NODE, 30080), (REJECT, None, None)),
    ("dropped", ("", "", "th dport 80 drop"), to(NOBODY, 80), (DROP, None, None)),
    ("dropped where it is from", ("", "", "th dport 80 drop"), to(NOBODY, 80, by=NODE), (DROP, None, None)),
    ("dropped at the node", ("", "", "th dport 30080 drop"), to(NODE, 30080, by=POD), (DROP, None, None)),
]
FAULTS = [
    ("to where no server is", ("th dport 80 dnat to {POD_9}", "", ""), to(NOBODY, 80), "no server is there"),
    (
        "the answer is lost",
        ("", "", "ct direction reply th sport 8080 ct packets > 1 drop"),
        to(POD, 8080),
        "the server's answer did not come back to the client",
    ),
]


def load(family: Family, pre: str, post: str, filter_: str) -> None:
    bracketed = "{}" if family is Family.IPV4 else "[{}]"
    places = {
        name: f"{bracketed.format(at(family, address))}:{port}"
        for name, address, port in (("OTHER_POD_8080", OTHER_POD, 8080), ("POD_9", POD, 9))
    }
    if "{" in pre:
        pre = f"meta l4proto {{ tcp, udp }} {pre.format(**places)}"
    table = "ip" if family is Family.IPV4 else "ip6"
    if filter_.endswith("reject"):
        filter_ += f" with icmp{'' if family is Family.IPV4 else 'v6'} type port-unreachable"
    text = CHAINS.format(table=table, pre=pre, post=post, filter=filter_)
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    subprocess.run(["nft", f"flush ruleset; {text}"], check=True, env=environment)


def send(node: Wire, family: Family, protocol: Protocol, sent: tuple[str, str, int]) -> Seen:
    by, address, port = sent
    packet = Packet(
        source=at(family, by), destination=at(family, address), port=port, protocol=protocol, from_node=by == NODE
    )
    return node.send(packet)


@pytest.mark.parametrize("family", Family, ids=lambda family: family.api_name)
def test_what_becomes_of_a_packet_is_seen(family: Family) -> None:
    def child() -> list[Seen]:
        found = []
        with wired(family) as node:
            for _, rules, sent, _ in ROWS:
                load(family, *rules)
                found += [send(node, family, protocol, sent) for protocol in PROTOCOLS]
        return found

    found = in_namespaces(child)
    for number, (what, _, _, (disposition, server, peer)) in enumerate(ROWS):
        wanted = Seen(
            disposition=disposition,
            server=(at(family, server[0]), server[1]) if server else None,
            peer=at(family, peer) if peer else None,
        )
        assert found[2 * number : 2 * number + 2] == [wanted, wanted], what


@pytest.mark.parametrize("family", Family, ids=lambda family: family.api_name)
def test_what_goes_wrong_on_the_way_is_named(family: Family) -> None:
    def child() -> list[str]:
        found = []
        with wired(family) as node:
            for _, rules, sent, _ in FAULTS:
                load(family, *rules)
                found += [send(node, family, Protocol.UDP, sent).fault]
        return found

    assert in_namespaces(child) == [fault for *_, fault in FAULTS]
