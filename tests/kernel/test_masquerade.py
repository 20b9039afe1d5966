"""A pod is its node to those outside the pod network; kube-proxy's chains and foreign rules stay as they are."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network

import pytest

from fairway.kubelet.masquerade import ensure_masquerade
from fairway.plan.options import Mode
from tests.kernel.namespaces import in_namespaces, in_network_of, network_namespace

pytestmark = pytest.mark.kernel

PODS, PODS6 = IPv4Network("10.10.0.0/16"), IPv6Network("fd00:10:10::/56")
OUTSIDE = "203.0.113.1"


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def listing() -> list[str]:
    return [line for line in run("iptables", "-t", "nat", "-S").splitlines() if not line.startswith("-P")]


def put_twice() -> tuple[list[str], list[str]]:
    run("iptables", "-t", "nat", "-A", "POSTROUTING", "-d", "192.0.2.1", "-j", "ACCEPT")
    asyncio.run(ensure_masquerade(PODS, Mode.IPTABLES))
    once = listing()
    asyncio.run(ensure_masquerade(PODS, Mode.IPTABLES))
    return once, listing()


def test_the_rules_are_there_once_however_often_they_are_put() -> None:
    once, twice = in_namespaces(put_twice)
    assert once == twice
    assert once == [
        "-N IP-MASQ-AGENT",
        "-A POSTROUTING -d 192.0.2.1/32 -j ACCEPT",
        (
            "-A POSTROUTING -s 10.10.0.0/16 -m addrtype ! --dst-type LOCAL -m comment "
            '--comment "pods to where they are not known" -j IP-MASQ-AGENT'
        ),
        '-A IP-MASQ-AGENT -d 10.10.0.0/16 -m comment --comment "pods know each other" -j RETURN',
        '-A IP-MASQ-AGENT -m comment --comment "to others a pod is its node" -j MASQUERADE --random-fully',
    ]


def put_table_twice() -> tuple[str, str]:
    run("nft", 'add table ip somebody-else { comment "stays"; }')
    for _ in range(2):
        asyncio.run(ensure_masquerade(PODS, Mode.NFTABLES))
    return run("nft", "list", "table", "ip", "fairway-masq"), run("nft", "list", "tables")


def test_in_mode_nftables_it_is_a_table_of_its_own_made_anew_each_time() -> None:
    table, tables = in_namespaces(put_table_twice)
    assert table == (
        "table ip fairway-masq {\n"
        '\tcomment "pods to the world outside, written by fairway"\n'
        "\tchain postrouting {\n"
        "\t\ttype nat hook postrouting priority srcnat + 10; policy accept;\n"
        "\t\tip saddr 10.10.0.0/16 ip daddr != 10.10.0.0/16 fib daddr type != local masquerade fully-random "
        'comment "to those who do not know it a pod is its node"\n'
        "\t}\n"
        "}\n"
    )
    assert tables == "table ip somebody-else\ntable ip fairway-masq\n"


@contextmanager
def wire() -> Iterator[int]:
    """A node (here, 192.0.2.1) and a machine outside it (192.0.2.2 and OUTSIDE); the machine's holder's pid."""
    with network_namespace() as machine:
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far", "netns", str(machine))
        run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        with in_network_of(machine):
            run("ip", "address", "add", "192.0.2.2/24", "dev", "far")
            run("ip", "link", "set", "far", "up")
            run("ip", "route", "add", str(PODS), "via", "192.0.2.1")
            run("ip", "address", "add", OUTSIDE, "dev", "lo")
            run("ip", "address", "add", "10.10.9.9", "dev", "lo")
        run("ip", "route", "add", "default", "via", "192.0.2.2")
        run("ip", "address", "add", "10.10.1.2", "dev", "lo")  # of a pod, as far as the way out knows
        yield machine


def peer_seen_by(machine: int, address: str, source: str = "10.10.1.2") -> str:
    with in_network_of(machine):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.create_server((address, 7777), family=family)
    with server, socket.create_connection((address, 7777), timeout=5, source_address=(source, 0)):
        connection, peer = server.accept()
        connection.close()
        return str(peer[0])


def call_outside(mode: Mode) -> tuple[str, str]:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with wire() as machine:
        asyncio.run(ensure_masquerade(PODS, mode))
        return peer_seen_by(machine, OUTSIDE), peer_seen_by(machine, "10.10.9.9")


@pytest.mark.parametrize("mode", Mode)
def test_outside_a_pod_is_its_node_and_other_pods_see_it_as_it_is(mode: Mode) -> None:
    assert in_namespaces(call_outside, mode) == ("192.0.2.1", "10.10.1.2")


def rules_of_both_families(mode: Mode) -> list[str]:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for network in (PODS, PODS6):
        for _ in range(2):
            asyncio.run(ensure_masquerade(network, mode))
    if mode is Mode.NFTABLES:
        return run("nft", "list", "table", "ip6", "fairway-masq").splitlines()
    listing = run("ip6tables", "-t", "nat", "-S").splitlines()
    return [line for line in listing if not line.startswith("-P")]


def test_in_mode_nftables_each_family_has_its_table() -> None:
    assert in_namespaces(rules_of_both_families, Mode.NFTABLES)[4] == (
        "\t\tip6 saddr fd00:10:10::/56 ip6 daddr != fd00:10:10::/56 fib daddr type != local masquerade fully-random "
        'comment "to those who do not know it a pod is its node"'
    )


def test_in_mode_iptables_the_rules_of_ipv6_are_those_of_ipv4() -> None:
    assert in_namespaces(rules_of_both_families, Mode.IPTABLES) == [
        "-N IP-MASQ-AGENT",
        (
            "-A POSTROUTING -s fd00:10:10::/56 -m addrtype ! --dst-type LOCAL -m comment "
            '--comment "pods to where they are not known" -j IP-MASQ-AGENT'
        ),
        '-A IP-MASQ-AGENT -d fd00:10:10::/56 -m comment --comment "pods know each other" -j RETURN',
        '-A IP-MASQ-AGENT -m comment --comment "to others a pod is its node" -j MASQUERADE --random-fully',
    ]


def call_outside_over_ipv6(mode: Mode) -> tuple[str, str]:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with wire() as machine:
        for host, link, own in ((0, "eth0", "fd00:2::1"), (machine, "far", "fd00:2::2")):
            with in_network_of(host or os.getpid()):
                run("ip", "address", "add", f"{own}/64", "dev", link, "nodad")
        with in_network_of(machine):
            run("ip", "route", "add", str(PODS6), "via", "fd00:2::1")
            run("ip", "address", "add", "2001:db8::1/128", "dev", "lo", "nodad")
            run("ip", "address", "add", "fd00:10:10:9::9/128", "dev", "lo", "nodad")
        run("ip", "-6", "route", "add", "default", "via", "fd00:2::2")
        run("ip", "address", "add", "fd00:10:10:1::2/128", "dev", "lo")
        asyncio.run(ensure_masquerade(PODS6, mode))
        return (
            peer_seen_by(machine, "2001:db8::1", "fd00:10:10:1::2"),
            peer_seen_by(machine, "fd00:10:10:9::9", "fd00:10:10:1::2"),
        )


@pytest.mark.parametrize("mode", Mode)
def test_over_ipv6_a_pod_is_its_node_outside_and_itself_to_other_pods(mode: Mode) -> None:
    assert in_namespaces(call_outside_over_ipv6, mode) == ("fd00:2::1", "fd00:10:10:1::2")
