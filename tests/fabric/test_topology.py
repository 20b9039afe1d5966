from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from fairway.base.addresses import Family, parse_address
from fairway.base.errors import Refused
from fairway.fabric.topology import AddressPool, pod_gateway
from tests.fabric.topologies import client, dual_stack_topology, ipv6_ranges, node, study_topology, topology


def test_the_study_is_a_valid_topology_and_lists_its_nodes_before_its_clients() -> None:
    assert [machine.name for machine in study_topology().machines] == [
        "myk8s-control-plane",
        "myk8s-worker",
        "myk8s-worker2",
        "myk8s-worker3",
        "mypc",
    ]


def test_a_node_gives_its_pods_the_first_address_of_their_network_as_gateway() -> None:
    assert pod_gateway(IPv4Network("10.10.1.0/24")) == IPv4Address("10.10.1.1")


def pool(first: str, last: str) -> AddressPool:
    return AddressPool(first=parse_address(first), last=parse_address(last))


ALPHA = node("alpha", "172.18.0.3", "10.10.0.0/24")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Lab_1"}, "its name must be lower case letters, digits and '-', at most 32 characters"),
        ({"name": "a" * 33}, "its name must be lower case letters, digits and '-', at most 32 characters"),
        ({"nodes": ()}, "it has no node"),
        (
            {"clients": (client("my.pc", "172.18.0.9"),)},
            "'my.pc' is no host name: a-z, 0-9 and '-', at most 63 characters",
        ),
        ({"clients": (client("beta", "172.18.0.9"),)}, "two hosts are named beta"),
        (
            {"service_cidr": IPv4Network("10.10.200.0/24")},
            "pod_cidr 10.10.0.0/16 and service_cidr 10.10.200.0/24 overlap",
        ),
        (
            {"pod_cidr": IPv4Network("172.18.128.0/17")},
            "network 172.18.0.0/16 and pod_cidr 172.18.128.0/17 overlap",
        ),
        (
            {"nodes": (node("alpha", "172.18.0.3", "10.11.0.0/24"),)},
            "node alpha: pod_cidr 10.11.0.0/24 is not inside 10.10.0.0/16",
        ),
        (
            {"nodes": (node("alpha", "172.18.0.3", "10.10.0.0/31"),)},
            "node alpha: pod_cidr 10.10.0.0/31 has no room for a gateway and a pod",
        ),
        (
            {"nodes": (ALPHA, node("beta", "172.18.0.4", "10.10.0.128/25"))},
            "nodes alpha and beta: pod_cidr 10.10.0.0/24 and 10.10.0.128/25 overlap",
        ),
        ({"gateway": IPv4Address("172.19.0.1")}, "gateway 172.19.0.1 is no host address of 172.18.0.0/16"),
        (
            {"clients": (client("mypc", "172.18.255.255"),)},
            "mypc's address 172.18.255.255 is no host address of 172.18.0.0/16",
        ),
        ({"clients": (client("mypc", "172.18.0.3"),)}, "the address 172.18.0.3 is given twice"),
        ({"clients": (client("mypc", "172.18.0.1"),)}, "the address 172.18.0.1 is given twice"),
        (
            {"load_balancers": pool("172.18.0.100", "172.18.0.110")},
            "the address 172.18.0.100 is in load_balancers 172.18.0.100-172.18.0.110",
        ),
        (
            {"load_balancers": pool("172.18.9.2", "172.18.9.1")},
            "load_balancers 172.18.9.2-172.18.9.1 ends before it begins",
        ),
        (
            {"load_balancers": pool("172.18.9.2", "172.19.9.1")},
            "load_balancers' last 172.19.9.1 is no host address of 172.18.0.0/16",
        ),
    ],
)
def test_a_topology_that_cannot_be_is_refused_and_the_reason_named(changes: dict[str, Any], problem: str) -> None:
    name = changes.get("name", "test")
    with pytest.raises(Refused) as refused:
        topology(**changes)
    assert str(refused.value) == f"lab {name!r}: {problem}"


def test_a_pool_holds_both_of_its_ends() -> None:
    addresses = pool("172.18.9.1", "172.18.9.3")
    tried = [IPv4Address(f"172.18.9.{last}") for last in range(5)]
    assert [address in addresses for address in tried] == [False, True, True, True, False]


def test_a_lab_has_one_family_or_two_and_ipv4_is_the_primary_one() -> None:
    assert topology().families == (Family.IPV4,)
    dual = dual_stack_topology()
    assert dual.families == (Family.IPV4, Family.IPV6)
    assert [str(address) for address in dual.nodes[1].addresses] == ["172.18.0.5", "fd00:172:18::5"]
    assert [str(cidr) for cidr in dual.nodes[1].pod_cidrs] == ["10.10.1.0/24", "fd00:10:10:1::/64"]


DUAL = dual_stack_topology()
ALPHA6, BETA6 = DUAL.nodes


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"clients": (client("mypc", "172.18.0.100"),)}, "mypc has no address6, and the lab is dual-stack"),
        (
            {"nodes": (replace(ALPHA6, pod_cidr6=None), BETA6)},
            "alpha has no pod_cidr6, and the lab is dual-stack",
        ),
        ({"ipv6": None}, "alpha has address6 fd00:172:18::3, and the lab has no ipv6"),
        (
            {"ipv6": ipv6_ranges(pod_cidr=IPv4Network("10.11.0.0/16"))},
            "ipv6.pod_cidr 10.11.0.0/16 is no IPv6",
        ),
        (
            {"ipv6": ipv6_ranges(load_balancers=pool("172.18.9.1", "172.18.9.2"))},
            "ipv6.load_balancers' first 172.18.9.1 is no IPv6",
        ),
        (
            {"ipv6": ipv6_ranges(service_cidr=IPv6Network("fd00:10:10:1:2::/112"))},
            "pod_cidr fd00:10:10::/56 and service_cidr fd00:10:10:1:2::/112 overlap",
        ),
        (
            {"nodes": (ALPHA6, replace(BETA6, pod_cidr6=IPv6Network("fd00:10:11::/64")))},
            "node beta: pod_cidr fd00:10:11::/64 is not inside fd00:10:10::/56",
        ),
        (
            {"nodes": (ALPHA6, replace(BETA6, pod_cidr6=IPv6Network("fd00:10:10:0:1::/80")))},
            "nodes alpha and beta: pod_cidr fd00:10:10::/64 and fd00:10:10:0:1::/80 overlap",
        ),
        (
            {"nodes": (ALPHA6, replace(BETA6, address6=IPv6Address("fd00:172:19::5")))},
            "beta's address fd00:172:19::5 is no host address of fd00:172:18::/64",
        ),
        (
            {"nodes": (ALPHA6, replace(BETA6, address6=IPv6Address("fd00:172:18::3")))},
            "the address fd00:172:18::3 is given twice",
        ),
        (
            {"nodes": (ALPHA6, replace(BETA6, address6=IPv6Address("fd00:172:18::255:201")))},
            "the address fd00:172:18::255:201 is in load_balancers fd00:172:18::255:200-fd00:172:18::255:250",
        ),
    ],
)
def test_a_dual_stack_topology_that_cannot_be_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(Refused) as refused:
        dual_stack_topology(**changes)
    assert str(refused.value) == f"lab 'test': {problem}"


def test_a_pool_holds_addresses_of_its_own_family_alone() -> None:
    assert IPv4Address("0.0.0.5") not in pool("::1", "::9")
    assert IPv6Address("::5") in pool("::1", "::9")
