"""A pod is its node to those outside the pod network; kube-proxy's chains and foreign rules stay as they are."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

import pytest

from fairway.kubelet.masquerade import ensure_masquerade
from fairway.plan.options import Mode
from tests.kernel.namespaces import in_namespaces, in_network_of, network_namespace

pytestmark = pytest.mark.kernel

PODS = IPv4Network("10.10.0.0/16")
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


def peer_seen_by(machine: int, address: str) -> str:
    with in_network_of(machine):
        server = socket.create_server((address, 7777))
    with server, socket.create_connection((address, 7777), timeout=5, source_address=("10.10.1.2", 0)):
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
