"""Pod addresses are given out round robin."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.base.errors import Refused, Retry
from fairway.kubelet.ipam import PodAddresses, PodNetworks

WORKER3 = IPv4Network("10.10.3.0/24")


def test_the_first_pod_gets_the_address_after_the_gateway() -> None:
    addresses = PodAddresses(WORKER3)

    assert (addresses.gateway, addresses.allocate("a")) == (IPv4Address("10.10.3.1"), IPv4Address("10.10.3.2"))


def test_a_node_may_go_on_from_a_last_address() -> None:
    addresses = PodAddresses(WORKER3, last=IPv4Address("10.10.3.3"))

    assert addresses.allocate("a") == IPv4Address("10.10.3.4")


def test_a_released_address_is_the_last_to_be_used_again() -> None:
    addresses = PodAddresses(IPv4Network("10.10.3.0/29"))
    first = addresses.allocate("a")
    addresses.release(first, "a")

    given_out = [str(addresses.allocate("b")) for _ in range(5)]

    assert given_out == ["10.10.3.3", "10.10.3.4", "10.10.3.5", "10.10.3.6", "10.10.3.2"]


def test_a_full_network_asks_to_try_again() -> None:
    addresses = PodAddresses(IPv4Network("10.10.3.0/30"))
    only = addresses.allocate("a")

    with pytest.raises(Retry, match=r"pod network 10\.10\.3\.0/30: all 1 addresses are in use"):
        addresses.allocate("b")
    addresses.release(only, "a")
    assert addresses.allocate("b") == only


def test_only_its_owner_releases_an_address() -> None:
    addresses = PodAddresses(IPv4Network("10.10.3.0/30"))
    address = addresses.allocate("a")
    addresses.release(address, "b")

    with pytest.raises(Retry):
        addresses.allocate("b")


def test_a_last_address_outside_the_network_is_refused() -> None:
    with pytest.raises(Refused, match=r"last pod address 10\.10\.2\.3: not in the node's pod network 10\.10\.3\.0/24"):
        PodAddresses(WORKER3, last=IPv4Address("10.10.2.3"))


def test_a_network_without_room_is_refused() -> None:
    with pytest.raises(Refused, match=r"10\.10\.3\.0/31: too small"):
        PodAddresses(IPv4Network("10.10.3.0/31"))


@given(st.lists(st.integers(min_value=0, max_value=7), max_size=60))
def test_no_address_is_held_twice_and_none_is_the_gateway(steps: list[int]) -> None:
    """Each step gives back what owner n holds, or takes an address for it."""
    network = IPv4Network("10.10.3.0/28")
    addresses, held = PodAddresses(network), dict[str, IPv4Address]()
    for owner in map(str, steps):
        if owner in held:
            addresses.release(held.pop(owner), owner)
        else:
            address = addresses.allocate(owner)
            assert address not in held.values()
            assert address not in (network[0], network[1], network[15])
            held[owner] = address


WORKER3_IPV6 = IPv6Network("fd00:10:10:3::/64")


def test_a_pod_gets_an_address_of_each_network_with_its_length() -> None:
    networks = PodNetworks.of([WORKER3, WORKER3_IPV6], last=[IPv6Address("fd00:10:10:3::3"), IPv4Address("10.10.3.3")])

    assert networks.allocate("a") == (IPv4Interface("10.10.3.4/24"), IPv6Interface("fd00:10:10:3::4/64"))
    assert networks.allocate("b") == (IPv4Interface("10.10.3.5/24"), IPv6Interface("fd00:10:10:3::5/64"))


def test_a_pod_that_lacks_an_address_of_one_network_holds_none_of_the_other() -> None:
    small = PodNetworks.of([WORKER3, IPv6Network("fd00::/126")])
    held = [address.ip for address in small.allocate("a")]
    for _ in range(3):
        with pytest.raises(Retry, match="pod network fd00::/126: all 1 addresses are in use"):
            small.allocate("b")

    small.release(held, "a")

    assert [str(address) for address in small.allocate("c")] == ["10.10.3.6/24", "fd00::2/126"]


def test_a_large_network_is_not_walked_through() -> None:
    addresses = PodAddresses(WORKER3_IPV6)

    assert [str(addresses.allocate(f"pod-{number}")) for number in range(2)] == ["fd00:10:10:3::2", "fd00:10:10:3::3"]
