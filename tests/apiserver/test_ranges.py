from __future__ import annotations

import random
from ipaddress import ip_network

import pytest

from fairway.apiserver.ranges import AddressRange, Band, PortRange, RangeError


def rng() -> random.Random:
    return random.Random(7)


def test_automatic_node_ports_leave_the_first_86_to_those_who_ask() -> None:
    ports, choice = PortRange(), rng()
    given = {ports.next(choice) for _ in range(2768 - 86)}
    assert given == set(range(30086, 32768))


def test_automatic_node_ports_fall_back_to_the_static_band_and_then_the_range_is_full() -> None:
    ports, choice = PortRange(), rng()
    for port in range(30086, 32768):
        ports.take(port)
    assert {ports.next(choice) for _ in range(86)} == set(range(30000, 30086))
    with pytest.raises(RangeError, match=r"^range is full$"):
        ports.next(choice)


@pytest.mark.parametrize("port", [29999, 32768, 0, -1])
def test_a_port_outside_is_refused_with_the_range(port: int) -> None:
    with pytest.raises(RangeError) as caught:
        PortRange().take(port)
    assert str(caught.value) == ("provided port is not in the valid range. The range of valid ports is 30000-32767")


def test_a_port_is_taken_once_until_it_is_released() -> None:
    ports = PortRange()
    ports.take(30000)
    with pytest.raises(RangeError, match=r"^provided port is already allocated$"):
        ports.take(30000)
    ports.release(30000)
    ports.take(30000)
    assert ports.used == 1


def test_a_range_of_sixteen_has_no_static_band() -> None:
    ports, choice = PortRange(30000, 30015), rng()
    assert {ports.next(choice) for _ in range(16)} == set(range(30000, 30016))


def test_addresses_of_a_24_start_in_the_upper_band_and_leave_out_network_and_broadcast() -> None:
    addresses, choice = AddressRange(ip_network("10.200.1.0/24")), rng()
    upper = {addresses.next(choice) for _ in range(254 - 16)}
    assert upper == {f"10.200.1.{last}" for last in range(17, 255)}
    lower = {addresses.next(choice) for _ in range(16)}
    assert lower == {f"10.200.1.{last}" for last in range(1, 17)}
    with pytest.raises(RangeError, match=r"^range is full$"):
        addresses.next(choice)


@pytest.mark.parametrize(
    ("ip", "why"),
    [
        ("10.201.0.1", "the provided network does not match the current range"),
        ("fd00::1", "the provided network does not match the current range"),
        (
            "10.200.1.0",
            "the provided IP (10.200.1.0) is not in the valid range. The range of valid IPs is 10.200.1.0/24",
        ),
        (
            "10.200.1.255",
            "the provided IP (10.200.1.255) is not in the valid range. The range of valid IPs is 10.200.1.0/24",
        ),
    ],
)
def test_an_address_that_cannot_be_given_is_refused(ip: str, why: str) -> None:
    with pytest.raises(RangeError) as caught:
        AddressRange(ip_network("10.200.1.0/24")).take(ip)
    assert str(caught.value) == why


def test_an_address_is_taken_once_until_it_is_released() -> None:
    addresses = AddressRange(ip_network("10.200.1.0/24"))
    addresses.take("10.200.1.10")
    with pytest.raises(RangeError, match=r"^provided IP is already allocated$"):
        addresses.take("10.200.1.10")
    addresses.release("10.200.1.10")
    assert not addresses.has("10.200.1.10")


def test_an_ipv6_range_gives_addresses_of_its_network() -> None:
    network = ip_network("fd00:10:200::/112")
    addresses, choice = AddressRange(network), rng()
    given = [addresses.next(choice) for _ in range(100)]
    assert len(set(given)) == 100
    assert all(ip.startswith("fd00:10:200::") for ip in given)


def test_claims_of_stored_objects_may_repeat_and_lie_outside() -> None:
    ports = PortRange()
    for port in (30001, 30001, 1, 65535):
        ports.claim(port)
    addresses = AddressRange(ip_network("10.200.1.0/24"))
    for ip in ("10.200.1.9", "10.200.1.9", "10.9.9.9"):
        addresses.claim(ip)
    assert (ports.used, addresses.used) == (1, 1)


def test_a_band_goes_around_from_its_random_start() -> None:
    band = Band(size=20, offset=16)
    band.taken.update({17, 18, 19})
    assert band.next(rng()) == 16
    assert band.next(rng()) in range(16)
