"""The requests as the kernel gets them: nlmsghdr, the family's header, attributes (linux/rtnetlink.h)."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest

from fairway.fabric import rtnl
from tests.fabric.labs import in_scratch_network


def test_an_address_carries_its_broadcast_and_is_made_only_if_it_is_not_there() -> None:
    request = rtnl.address(7, IPv4Interface("172.18.0.5/16"), present=True)
    # RTM_NEWADDR, REQUEST|ACK|EXCL|CREATE; AF_INET, /16, no flags, universe, link 7; IFA_LOCAL, _ADDRESS, _BROADCAST.
    assert request.data.hex(" ", 4) == (
        "30000000 14000506 00000000 00000000 02100000 07000000 08000200 ac120005 08000100 ac120005 08000400 ac12ffff"
    )


def test_a_single_address_has_no_broadcast_and_its_removal_no_flag_to_make_it() -> None:
    request = rtnl.address(7, IPv4Interface("172.18.255.200/32"), present=False)
    assert request.data.hex(" ", 4) == (
        "28000000 15000500 00000000 00000000 02200000 07000000 08000200 ac12ffc8 08000100 ac12ffc8"
    )


def test_a_route_through_a_neighbour_is_of_the_main_table_and_static() -> None:
    request = rtnl.route(IPv4Network("10.10.1.0/24"), via=IPv4Address("172.18.0.5"))
    # RTM_NEWROUTE; AF_INET, /24, table main, proto static, scope universe, unicast; RTA_DST, RTA_GATEWAY.
    assert request.data.hex(" ", 4) == (
        "2c000000 18000506 00000000 00000000 02180000 fe040001 00000000 08000100 0a0a0100 08000500 ac120005"
    )


def test_a_route_straight_to_a_link_has_its_scope_and_its_source() -> None:
    request = rtnl.route(IPv4Network("10.10.1.1/32"), link=2, source=IPv4Address("10.10.1.9"))
    assert request.data.hex(" ", 4) == (
        "34000000 18000506 00000000 00000000 02200000 fe04fd01 00000000 "
        "08000100 0a0a0101 08000400 02000000 08000700 0a0a0109"
    )


def test_the_default_route_has_no_destination() -> None:
    request = rtnl.route(IPv4Network("0.0.0.0/0"), via=IPv4Address("172.18.0.1"))
    assert request.data.hex(" ", 4) == (
        "24000000 18000506 00000000 00000000 02000000 fe040001 00000000 08000500 ac120001"
    )


def test_an_ipv6_address_is_not_asked_for_first() -> None:
    request = rtnl.address(7, IPv6Interface("fd00:172:18::5/64"), present=True)
    # AF_INET6, /64; IFA_LOCAL, _ADDRESS, _FLAGS with IFA_F_NODAD.
    assert request.data.hex(" ", 4) == (
        "48000000 14000506 00000000 00000000 0a400000 07000000 14000200 fd000172 00180000 00000000 00000005 "
        "14000100 fd000172 00180000 00000000 00000005 08000800 02000000"
    )


def test_an_ipv6_address_to_be_called_and_not_to_call_from_is_deprecated_at_once_and_valid_for_ever() -> None:
    request = rtnl.address(7, IPv6Interface("fd00:172:18::255:200/128"), present=True, preferred=False)
    # IFA_CACHEINFO: preferred for 0 s, valid for ever.
    assert "14000600 00000000 ffffffff" in request.data.hex(" ", 4)


def test_a_route_of_ipv6_is_of_its_family() -> None:
    request = rtnl.route(IPv6Network("fd00:10:10:1::/64"), via=IPv6Address("fd00:172:18::5"))
    assert request.data.hex(" ", 4) == (
        "44000000 18000506 00000000 00000000 0a400000 fe040001 00000000 "
        "14000100 fd000010 00100001 00000000 00000000 14000500 fd000172 00180000 00000000 00000005"
    )


def test_a_link_is_taken_up_by_name() -> None:
    assert rtnl.set_link("eth0", up=True).data.hex(" ", 4) == (
        "2c000000 10000500 00000000 00000000 00000000 00000000 01000000 01000000 09000300 65746830 00000000"
    )


@pytest.mark.kernel
def test_requests_are_carried_out_in_order_and_the_first_that_fails_is_named() -> None:
    def exchange() -> object:
        with rtnl.RouteSocket() as routes:
            links = [rtnl.new_veth(f"left{number}", peer=f"right{number}") for number in range(40)]
            routes.exchange(links)
            try:
                routes.exchange(
                    [rtnl.delete_link("left0"), links[1], rtnl.delete_link("no"), rtnl.delete_link("left2")]
                )
            except rtnl.RtnlError as error:
                failure = (error.number, error.position, str(error))
            routes.exchange([rtnl.delete_link("left0")], ignore=(errno.ENODEV,))
            routes.exchange([])
            names = {name for _, name in socket.if_nameindex()}
            return failure, sorted(names & {"left0", "right0", "left1", "left2", "right2", "left39"})

    assert in_scratch_network(exchange) == repr(((errno.EEXIST, 1, "File exists"), ["left1", "left39"]))


@pytest.mark.kernel
def test_more_requests_than_a_socket_holds_answers_to_are_carried_out() -> None:
    def exchange() -> object:
        with rtnl.RouteSocket() as routes:
            network = IPv4Network("10.0.0.0/16")
            adding = [rtnl.address(1, IPv4Interface(f"{network[each]}/32"), present=True) for each in range(5000)]
            routes.exchange(adding)
            try:
                routes.exchange([rtnl.address(1, IPv4Interface("10.1.0.1/32"), present=True)] * 2 + adding)
            except rtnl.RtnlError as error:
                first = error.position
            removing = [rtnl.address(1, IPv4Interface(f"{network[each]}/32"), present=False) for each in range(5000)]
            try:
                routes.exchange([*removing, removing[0]])
            except rtnl.RtnlError as error:
                return first, error.position, error.number
            return None

    assert in_scratch_network(exchange) == repr((1, 5000, errno.EADDRNOTAVAIL))


@pytest.mark.kernel
def test_the_kernels_own_words_are_in_the_error() -> None:
    def exchange() -> object:
        with rtnl.RouteSocket() as routes:
            try:
                routes.exchange([rtnl.route(IPv4Network("10.0.0.0/8"), via=IPv4Address("192.0.2.1"))])
            except rtnl.RtnlError as error:
                return str(error)
        return None

    assert in_scratch_network(exchange) == repr("Network is unreachable: Nexthop has invalid gateway")
