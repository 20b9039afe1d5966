"""Host ports in the kernel: real calls of a node's ports from outside, from the node and from pods."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from threading import Thread

import pytest

from fairway.api.types import Key
from fairway.base.addresses import IPInterface
from fairway.base.errors import Refused
from fairway.kubelet.hostport import HostPort
from fairway.kubelet.network import NodeNetwork
from tests.kernel.namespaces import in_namespaces, in_network_of, network_namespace

pytestmark = pytest.mark.kernel

WEB, OTHER = Key("default", "web"), Key("default", "other")
NODE, NODE6, MACHINE = "192.0.2.1", "2001:db8::1", "192.0.2.2"
WEB_LINKS: tuple[IPInterface, ...] = (IPv4Interface("10.10.1.2/24"), IPv6Interface("fd00:10:10:1::2/64"))
OTHER_LINKS: tuple[IPInterface, ...] = (IPv4Interface("10.10.1.3/24"), IPv6Interface("fd00:10:10:1::3/64"))
TIMEOUT_S = 5.0


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@contextmanager
def node() -> Iterator[tuple[int, int, int]]:
    """A node (here), a machine outside it, and two pods' namespaces to be attached: their holders' pids."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        run("sysctl", "-qw", f"{key}=1")
    with network_namespace() as machine, network_namespace() as web, network_namespace() as other:
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far", "netns", str(machine))
        for host, link, addresses in ((os.getpid(), "eth0", (NODE, NODE6)), (machine, "far", (MACHINE, "2001:db8::2"))):
            with in_network_of(host):
                for address, length in zip(addresses, (24, 64), strict=True):
                    run("ip", "address", "add", f"{address}/{length}", "dev", link, *(["nodad"] * (length == 64)))
                run("ip", "link", "set", link, "up")
        run("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")  # another address of the node
        run("ip", "link", "set", "lo", "up")
        yield machine, web, other


def serve(pid: int, protocol: int = socket.SOCK_STREAM) -> None:
    """Answer each call of port 80 with the caller's address."""
    with in_network_of(pid):
        server = socket.socket(socket.AF_INET6, protocol)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 80))

    def answer() -> None:
        while True:
            if protocol == socket.SOCK_DGRAM:
                _, peer = server.recvfrom(100)
                server.sendto(_plain(peer[0]).encode(), peer)
                continue
            connection, peer = server.accept()
            connection.sendall(_plain(peer[0]).encode())
            connection.close()

    if protocol == socket.SOCK_STREAM:
        server.listen()
    Thread(target=answer, daemon=True).start()


def _plain(address: str) -> str:
    found = ip_address(address)
    return str(getattr(found, "ipv4_mapped", None) or found)


def call(pid: int, address: str, port: int) -> str:
    """Whom the pod saw; "" where nobody answered."""
    try:
        with in_network_of(pid), socket.create_connection((address, port), timeout=TIMEOUT_S) as connection:
            return connection.recv(100).decode()
    except ConnectionRefusedError:
        return ""


def attach(network: NodeNetwork, pod: Key, pid: int, links: tuple[IPInterface, ...], *ports: HostPort) -> None:
    asyncio.run(network.attach(pod, pid, links, ports))


def calls() -> dict[str, str]:
    with node() as (machine, web, other):
        network = NodeNetwork()
        attach(network, WEB, web, WEB_LINKS, HostPort(port=8080, container_port=80))
        attach(network, OTHER, other, OTHER_LINKS)
        serve(web)
        here = os.getpid()
        seen = {
            "outside": call(machine, NODE, 8080),
            "outside, IPv6": call(machine, NODE6, 8080),
            "node": call(here, NODE, 8080),
            "node, loopback": call(here, "127.0.0.1", 8080),
            "another pod": call(other, NODE, 8080),
            "itself": call(web, NODE, 8080),
            "another port": call(machine, NODE, 8081),
        }
        asyncio.run(network.detach(WEB))
        seen["gone"] = call(machine, NODE, 8080)
        seen["tables"] = run("nft", "list", "tables")
        return seen


def test_a_host_port_is_the_pods_from_everywhere_and_goes_with_it() -> None:
    assert in_namespaces(calls) == {
        "outside": MACHINE,
        "outside, IPv6": "2001:db8::2",
        "node": NODE,
        "node, loopback": "10.10.1.1",
        "another pod": "10.10.1.3",
        "itself": "10.10.1.1",
        "another port": "",
        "gone": "",
        "tables": "",
    }


def calls_by_address() -> tuple[str, str, str, str]:
    with node() as (machine, web, other):
        network = NodeNetwork()
        one = HostPort(port=8080, container_port=80, address=ip_address("192.0.2.77"))
        attach(network, WEB, web, WEB_LINKS, one)
        serve(web)
        seen = call(machine, "192.0.2.77", 8080), call(machine, NODE, 8080)
        problem = ""
        try:
            attach(network, OTHER, other, OTHER_LINKS, HostPort(port=8080, container_port=80))
        except Refused as refused:
            problem = str(refused)
        return *seen, problem, run("ip", "-o", "link", "show", "type", "veth").count("veth").__str__()


def test_a_host_ip_opens_the_port_on_that_address_and_a_taken_port_is_refused() -> None:
    assert in_namespaces(calls_by_address) == (
        MACHINE,
        "",
        "host port 8080/TCP is taken on this node by pod default/web",
        "1",  # the link of the second pod is not left behind
    )


def call_udp() -> tuple[str, str]:
    with node() as (machine, web, other):
        network = NodeNetwork()
        serve(web, socket.SOCK_DGRAM)
        serve(other, socket.SOCK_DGRAM)
        port = HostPort(port=5300, container_port=80, protocol="UDP")
        with in_network_of(machine):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(TIMEOUT_S)
        client.connect((NODE, 5300))
        answers = []
        for pod, pid, links in ((WEB, web, WEB_LINKS), (OTHER, other, OTHER_LINKS)):
            attach(network, pod, pid, links, port)
            client.send(b"who")
            answers.append(client.recv(100).decode())
            asyncio.run(network.detach(pod))
        return answers[0], answers[1]


def test_a_udp_flow_moves_to_the_next_pod_that_has_the_port() -> None:
    """Its flow is one flow to the kernel, which would send it to the pod that is gone."""
    assert in_namespaces(call_udp) == (MACHINE, MACHINE)


def listed() -> str:
    with node() as (_, web, _other):
        network = NodeNetwork()
        ports = (
            HostPort(port=8080, container_port=80),
            HostPort(port=53, container_port=5353, protocol="UDP", address=ip_address(NODE)),
        )
        attach(network, WEB, web, WEB_LINKS[:1], *ports)
        before = run("nft", "list", "table", "ip", "fairway-hostport")
        NodeNetwork()  # another life of the kubelet
        return before + run("nft", "list", "tables")


def test_the_rules_are_a_table_of_their_own_that_another_life_takes_away() -> None:
    assert (
        in_namespaces(listed)
        == """table ip fairway-hostport {
	comment "host ports of pods, written by fairway"
	chain hostports {
		ip daddr 192.0.2.1 udp dport 53 dnat to 10.10.1.2:5353 comment "default/web"
		tcp dport 8080 dnat to 10.10.1.2:80 comment "default/web"
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump hostports
	}

	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local jump hostports
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.10.1.2 ip daddr 10.10.1.2 masquerade fully-random comment "could not be answered otherwise"
		ip saddr 127.0.0.1 ip daddr 10.10.1.2 masquerade fully-random comment "could not be answered otherwise"
	}
}
"""
    )
