"""The node's own addresses, as the kernel tells them."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

import pytest

from fairway.base.errors import Refused
from fairway.kubelet import network
from fairway.kubelet.network import NodeAddresses, link_addresses


def test_the_addresses_of_a_link_are_told_with_their_length() -> None:
    assert IPv4Interface("127.0.0.1/8") in link_addresses(socket.if_nametoindex("lo"))


def test_an_ipv6_address_is_told_as_well() -> None:
    assert IPv6Interface("::1/128") in link_addresses(socket.if_nametoindex("lo"))


def test_a_link_that_is_not_there_has_none() -> None:
    assert link_addresses(1 << 20) == []


async def test_an_address_of_a_whole_network_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "UPLINK", "lo")

    assert IPv4Address("127.0.0.1") not in await NodeAddresses().held()


async def test_a_link_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "UPLINK", "none0")

    with pytest.raises(Refused, match="addresses on none0: no interface with this name"):
        await NodeAddresses().held()
