"""Which host ports a pod has, and which of them one node cannot have twice; the kernel's part is in tests/kernel."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from fairway.base.addresses import Family
from fairway.kubelet.hostport import Forward, HostPort, forwards, parse_host_ports

FOUR, SIX = ip_address("10.10.1.2"), ip_address("fd00::2")


def host_port(**port: Any) -> HostPort:
    (parsed,) = parse_host_ports({"containers": [{"ports": [{"containerPort": 80, "hostPort": 8080, **port}]}]})
    return parsed


def test_ports_of_all_containers_are_read_and_those_without_a_host_port_are_not() -> None:
    spec = {
        "initContainers": [{"ports": [{"containerPort": 1, "hostPort": 2}]}],
        "containers": [
            {},
            {"ports": [{"containerPort": 80}, {"containerPort": 53, "hostPort": 54, "protocol": "UDP"}]},
        ],
    }
    assert parse_host_ports(spec) == (
        HostPort(port=2, container_port=1),
        HostPort(port=54, container_port=53, protocol="UDP"),
    )
    assert parse_host_ports({**spec, "hostNetwork": True}) == ()


@pytest.mark.parametrize(
    ("given", "address", "families"),
    [
        ("", None, (Family.IPV4, Family.IPV6)),
        ("0.0.0.0", None, (Family.IPV4,)),
        ("::", None, (Family.IPV6,)),
        ("192.0.2.1", ip_address("192.0.2.1"), (Family.IPV4,)),
    ],
)
def test_a_host_ip_says_where_the_port_is_open(given: str, address: Any, families: tuple[Family, ...]) -> None:
    expected = HostPort(port=8080, container_port=80, address=address, families=families)
    assert host_port(hostIP=given) == expected


@pytest.mark.parametrize(
    ("other", "collides"),
    [
        ({}, True),
        ({"containerPort": 81}, True),
        ({"hostPort": 8081}, False),
        ({"protocol": "UDP"}, False),
        ({"hostIP": "192.0.2.1"}, True),
        ({"hostIP": "::"}, True),
    ],
)
def test_one_open_on_all_addresses_leaves_no_room(other: dict[str, Any], collides: bool) -> None:
    assert host_port().collides(host_port(**other)) is collides
    assert host_port(**other).collides(host_port()) is collides


def test_ports_of_different_addresses_or_families_are_different() -> None:
    mine = host_port(hostIP="192.0.2.1")
    assert not mine.collides(host_port(hostIP="192.0.2.2"))
    assert not mine.collides(host_port(hostIP="::"))
    assert mine.collides(host_port(hostIP="0.0.0.0"))


def test_a_port_leads_to_the_pods_address_of_each_family_it_is_open_to() -> None:
    both, four = host_port(), host_port(hostIP="0.0.0.0", hostPort=1)
    assert forwards("default/web", [both, four], [FOUR, SIX]) == [
        Forward(host=both, target=FOUR, pod="default/web"),
        Forward(host=both, target=SIX, pod="default/web"),
        Forward(host=four, target=FOUR, pod="default/web"),
    ]
