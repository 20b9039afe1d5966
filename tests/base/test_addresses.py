"""One reader for all addresses, as tolerant as agents have to be and no more."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.base.addresses import (
    Family,
    Special,
    canonical_address,
    format_host,
    may_be_special,
    parse_address,
    parse_network,
    special,
)
from fairway.base.errors import Refused

NO_ADDRESSES = """
10.0.0
10.0.0.256
10.0.0.1.2
10.0.0.-1
10.0.0.0x1
1e1.0.0.0
10. 0.0.1
10.0.0.1/32
fe80::1%eth0
fd00:::1
fd00::12345
:
web
\N{ARABIC-INDIC DIGIT ONE}0.0.0.1
::ffff:10.0.0.256
"""

NO_NETWORKS = """
10.0.0.0
10.0.0.0/
10.0.0.0/33
10.0.0.0/-1
10.0.0.0/8/8
10.0.0.0/255.0.0.0
fd00::/129
::ffff:10.0.0.0/95
/8
10.0.0/8
10.0.0.0/\N{ARABIC-INDIC DIGIT EIGHT}
"""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        (" 10.0.0.1\t", "10.0.0.1"),
        ("172.30.0.041", "172.30.0.41"),
        ("010.000.000.008", "10.0.0.8"),
        ("00000000010.0.0.1", "10.0.0.1"),
        ("fd00::1", "fd00::1"),
        ("FD00:0:0::0001", "fd00::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:010.0.0.001", "10.0.0.1"),
        ("::ffff:a00:1", "10.0.0.1"),
        ("64:ff9b::192.0.2.01", "64:ff9b::c000:201"),
    ],
)
def test_an_address_has_one_form_however_it_is_written(text, address):
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0.0.0.0", Special.UNSPECIFIED),
        ("::", Special.UNSPECIFIED),
        ("127.0.0.1", Special.LOOPBACK),
        ("127.255.255.255", Special.LOOPBACK),
        ("::1", Special.LOOPBACK),
        ("169.254.0.0", Special.LINK_LOCAL),
        ("fe80::1", Special.LINK_LOCAL),
        ("febf:ffff::1", Special.LINK_LOCAL),
        ("224.0.0.255", Special.LINK_LOCAL_MULTICAST),
        ("ff02::1", Special.LINK_LOCAL_MULTICAST),
        ("224.0.1.0", Special.MULTICAST),
        ("239.255.255.255", Special.MULTICAST),
        ("ff05::2", Special.MULTICAST),
        *((text, None) for text in ("0.0.0.1", "10.0.0.1", "128.0.0.1", "169.253.255.255", "169.255.0.0", "240.0.0.1")),
        *((text, None) for text in ("::2", "fe8::1", "fec0::1", "ff::1", "fd00::1", "64:ff9b::a00:1")),
    ],
)
def test_special_addresses_are_told_from_those_that_machines_have(text, what):
    assert special(ip_address(text)) is what


@given(st.ip_addresses())
def test_what_is_special_may_be_so_by_its_text(address):
    assert may_be_special(str(address)) or special(address) is None


@pytest.mark.parametrize("network", ["ff00::/8", "fe80::/10", "224.0.0.0/4", "127.0.0.0/8", "169.254.0.0/16"])
@given(data=st.data())
def test_the_text_of_a_special_address_shows_that_it_may_be(network, data):
    assert may_be_special(str(data.draw(st.ip_addresses(network=network))))


@pytest.mark.parametrize(
    "text",
    NO_ADDRESSES.split("\n"),
)
def test_what_is_no_address_is_refused_with_its_text(text):
    with pytest.raises(Refused, match=r"is not an IP address") as refusal:
        parse_address(text)
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 203.0.113.0/25", "203.0.113.0/25"),
        ("203.0.113.000/025", "203.0.113.0/25"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.0.0.1/32", "10.0.0.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("fd00::1/64", "fd00::/64"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
    ],
)
def test_a_network_loses_its_host_bits(text, network):
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    "text",
    NO_NETWORKS.split("\n"),
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(Refused):
        parse_network(text)


@given(st.ip_addresses(v=4), st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_leading_zeros_never_change_an_ipv4_address(address: IPv4Address, zeros: list[int]):
    octets = str(address).split(".")
    padded = ".".join("0" * count + octet for count, octet in zip(zeros, octets, strict=True))
    assert parse_address(padded) == address


@given(st.ip_addresses(v=6))
def test_every_form_of_an_ipv6_address_reads_back(address: IPv6Address):
    expected = address.ipv4_mapped or address
    assert [parse_address(text) for text in (str(address), address.exploded, str(address).upper())] == [expected] * 3


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_refused(text: str):
    try:
        address = parse_address(text)
    except Refused:
        return
    assert parse_address(str(address)) == address


def test_hosts_are_bracketed_where_they_have_colons():
    assert [format_host(ip_address(text)) for text in ("10.0.0.1", "fd00::1")] == ["10.0.0.1", "[fd00::1]"]


def test_a_family_knows_its_name_and_length():
    assert [(family.api_name, family.bits) for family in Family] == [("IPv4", 32), ("IPv6", 128)]


@given(st.ip_addresses())
def test_the_one_text_of_an_address_is_the_same_text_again(address):
    family = Family(parse_address(str(address)).version)
    text = canonical_address(str(address), family)
    assert text == str(parse_address(text))
    assert canonical_address(text, family) is text or family is Family.IPV6


@pytest.mark.parametrize(
    ("text", "family", "canonical"),
    [
        (" 010.0.0.01", Family.IPV4, "10.0.0.1"),
        ("::ffff:10.0.0.1", Family.IPV4, "10.0.0.1"),
        ("FD00:0::1", Family.IPV6, "fd00::1"),
    ],
)
def test_an_address_in_another_form_gets_its_one_text(text, family, canonical):
    assert canonical_address(text, family) == canonical


@pytest.mark.parametrize(
    ("text", "family", "message"),
    [
        ("fd00::1", Family.IPV4, "'fd00::1' is not an IPv4 address"),
        ("10.0.0.1", Family.IPV6, "'10.0.0.1' is not an IPv6 address"),
        ("web", Family.IPV4, "'web' is not an IP address"),
    ],
)
def test_an_address_of_another_family_has_no_text_in_this_one(text, family, message):
    with pytest.raises(Refused, match=f"^{message}$"):
        canonical_address(text, family)
