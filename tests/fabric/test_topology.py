from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from fairway.base.errors import Refused
from fairway.fabric.topology import AddressPool, pod_gateway
from tests.fabric.topologies import client, node, study_topology, topology


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
    return AddressPool(first=IPv4Address(first), last=IPv4Address(last))


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
