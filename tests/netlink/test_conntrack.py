"""Connection tracking's messages, read from the kernel's own bytes and written to name exactly one flow."""

from __future__ import annotations

import sys
from ipaddress import ip_address

import pytest

from fairway.base.addresses import Family
from fairway.netlink.conntrack import (
    IPPROTO_ICMP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    Flow,
    Status,
    TcpState,
    Tuple,
    Usage,
    decode_flow,
    decode_usage,
    delete_flow,
    dump_flows,
    family_of,
    get_usage,
    may_be_sent_to,
)
from fairway.netlink.nftables import GENERIC
from fairway.netlink.wire import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, attribute, nested, u8, u16, u32


def tuple_of(source: str, source_port: int, destination: str, destination_port: int) -> Tuple:
    return Tuple(ip_address(source), ip_address(destination), source_port, destination_port)


# As Linux 6.18 told them, each begun by a program on the loopback.
TCP4 = bytes.fromhex(
    "020000003400018014000180080001007f000001080002007f0000011c000280050001000600000006000200cb700000060003001f900000"
    "3400028014000180080001007f000001080002007f0000011c0002800500010006000000060002001f90000006000300cb70000008000300"
    "0000018e080008000000000008000c0057a0119708000b0000000001080007000006977f300004802c0001800500010003000000050002000a"
    "000000050003000a00000006000400230000000600050023000000"
)
UDP6 = bytes.fromhex(
    "0a0000004c0001802c000180140003000000000000000000000000000000000114000400000000000000000000000000000000011c000280"
    "050001001100000006000200a21d000006000300003500004c0002802c000180140003000000000000000000000000000000000114000400"
    "000000000000000000000000000000011c0002800500010011000000060002000035000006000300a21d0000080003000000018808000800"
    "0000000008000c005ec98a7b08000b0000000001080007000000001d"
)
DNS = Flow(
    family=Family.IPV4,
    protocol=IPPROTO_UDP,
    original=tuple_of("10.10.1.2", 40000, "10.200.0.10", 53),
    reply=tuple_of("10.10.2.3", 5353, "10.10.1.2", 40000),
)


def test_a_tcp_flow_of_ipv4() -> None:
    assert family_of(TCP4) is Family.IPV4
    flow = decode_flow(TCP4[GENERIC.size :], Family.IPV4)
    assert flow == Flow(
        family=Family.IPV4,
        protocol=IPPROTO_TCP,
        original=tuple_of("127.0.0.1", 52080, "127.0.0.1", 8080),
        reply=tuple_of("127.0.0.1", 8080, "127.0.0.1", 52080),
        status=0x18E,
        timeout_s=431999,
        state=TcpState.ESTABLISHED,
        identifier=0x57A01197,
    )
    assert flow.status & Status.ASSURED
    assert not flow.status & Status.DST_NAT
    assert str(flow.original) == "127.0.0.1:52080 -> 127.0.0.1:8080"


def test_a_udp_flow_of_ipv6() -> None:
    assert family_of(UDP6) is Family.IPV6
    assert decode_flow(UDP6[GENERIC.size :], Family.IPV6) == Flow(
        family=Family.IPV6,
        protocol=IPPROTO_UDP,
        original=tuple_of("::1", 41501, "::1", 53),
        reply=tuple_of("::1", 53, "::1", 41501),
        status=0x188,
        timeout_s=29,
        identifier=0x5EC98A7B,
    )


def test_mark_and_zone_are_told_and_a_flow_without_ports_has_none() -> None:
    echo = nested(2, u8(1, IPPROTO_ICMP), u16(4, 7), u8(5, 8), u8(6, 0))
    there = nested(1, attribute(1, bytes((10, 0, 0, 1))), attribute(2, bytes((10, 0, 0, 2))))
    back = nested(1, attribute(1, bytes((10, 0, 0, 2))), attribute(2, bytes((10, 0, 0, 1))))
    flow = decode_flow(nested(1, there, echo) + nested(2, back, echo) + u32(8, 0x4000) + u16(18, 9), Family.IPV4)
    assert flow == Flow(
        family=Family.IPV4,
        protocol=IPPROTO_ICMP,
        original=tuple_of("10.0.0.1", 0, "10.0.0.2", 0),
        reply=tuple_of("10.0.0.2", 0, "10.0.0.1", 0),
        mark=0x4000,
        zone=9,
    )


def test_the_zone_of_a_tuple_is_the_flows_where_only_one_direction_has_it() -> None:
    protocol = nested(2, u8(1, IPPROTO_UDP), u16(2, 1), u16(3, 2))
    addresses = nested(1, attribute(1, bytes(4)), attribute(2, bytes(4)))
    body = nested(1, addresses, protocol, u16(3, 5)) + nested(2, addresses, protocol)
    assert decode_flow(body, Family.IPV4).zone == 5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        TCP4[GENERIC.size : 60],  # no reply
        TCP4[GENERIC.size : 100],  # cut inside the reply
        nested(1, nested(1)) + nested(2, nested(1)),
        nested(1, nested(1, attribute(1, bytes(3)), attribute(2, bytes(4))), nested(2, u8(1, 6))),
    ],
)
def test_a_broken_flow_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode_flow(body, Family.IPV4)


@pytest.mark.parametrize("data", [b"", bytes((0, 0, 0, 0)), bytes((7, 0, 0, 0))])
def test_a_flow_of_no_ip_family_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="neither IPv4 nor IPv6"):
        family_of(data)


def test_a_dump_asks_for_one_family() -> None:
    request = dump_flows(Family.IPV6)
    assert (request.kind, request.flags) == (0x101, NLM_F_REQUEST | NLM_F_DUMP)
    assert request.body == bytes((10, 0, 0, 0))


def test_a_dump_of_one_protocol_has_the_kernel_choose() -> None:
    request = dump_flows(Family.IPV4, IPPROTO_UDP)
    flags = attribute(1, (8).to_bytes(4, sys.byteorder))  # CTA_PROTO_NUM alone, in the order of the machine
    assert request.body == bytes((2, 0, 0, 0)) + nested(25, flags) + nested(1, nested(2, u8(1, 17)))


def test_a_deletion_names_the_flow_by_its_original_tuple_its_zone_and_its_number() -> None:
    flow = Flow(
        family=Family.IPV6,
        protocol=IPPROTO_UDP,
        original=tuple_of("fd00::1", 40000, "fd00::10", 53),
        reply=tuple_of("fd00::2", 5353, "fd00::1", 40000),
        zone=3,
        identifier=77,
    )
    request = delete_flow(flow)
    addresses = nested(1, attribute(3, ip_address("fd00::1").packed), attribute(4, ip_address("fd00::10").packed))
    ports = nested(2, u8(1, 17), u16(2, 40000), u16(3, 53))
    assert (request.kind, request.flags) == (0x102, NLM_F_REQUEST | NLM_F_ACK)
    assert request.body == bytes((10, 0, 0, 0)) + nested(1, addresses, ports) + u16(18, 3) + u32(12, 77)
    assert str(request.about) == "flow [fd00::1]:40000 -> [fd00::10]:53"


def test_a_deletion_always_has_a_tuple() -> None:
    """The kernel takes one without for a wish to delete everything."""
    addresses = nested(1, attribute(1, bytes((10, 10, 1, 2))), attribute(2, bytes((10, 200, 0, 10))))
    ports = nested(2, u8(1, 17), u16(2, 40000), u16(3, 53))
    assert delete_flow(DNS).body == bytes((2, 0, 0, 0)) + nested(1, addresses, ports)


def test_a_flow_that_has_no_ports_cannot_be_deleted() -> None:
    ping = Flow(family=Family.IPV4, protocol=IPPROTO_ICMP, original=DNS.original, reply=DNS.reply)
    with pytest.raises(ValueError, match="protocol 1 cannot be named"):
        delete_flow(ping)


@pytest.mark.parametrize(
    ("message", "port", "expected"),
    [
        (TCP4, 8080, True),
        (TCP4, 52080, False),  # where it comes from
        (UDP6, 53, True),
        (UDP6, 41501, False),
    ],
)
def test_most_flows_to_other_ports_are_told_apart_unread(message: bytes, port: int, *, expected: bool) -> None:
    assert may_be_sent_to(message[GENERIC.size :], family_of(message), {port, 1}) is expected


@pytest.mark.parametrize("cut", [0, 10, 47])
def test_a_flow_that_is_not_as_the_kernel_writes_it_may_be_sent_anywhere(cut: int) -> None:
    assert may_be_sent_to(TCP4[GENERIC.size :][:cut], Family.IPV4, {1})
    assert may_be_sent_to(UDP6[GENERIC.size :], Family.IPV4, {1})


@pytest.mark.parametrize(
    ("body", "expected"),
    [(u32(1, 12) + u32(2, 262144), Usage(12, 262144)), (u32(1, 12), Usage(12, 0))],
)
def test_usage(body: bytes, expected: Usage) -> None:
    assert decode_usage(body) == expected


def test_usage_is_asked_of_the_whole_namespace() -> None:
    assert (get_usage().kind, get_usage().body) == (0x105, bytes(4))
