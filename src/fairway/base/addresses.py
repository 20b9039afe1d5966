"""IP addresses and networks, read the one way everything here reads them.

Stored objects may hold forms that newer API servers refuse: leading zeros, IPv4-mapped IPv6, host bits in a network
(KEP-4858, StrictIPCIDRValidation). Agents must go on reading them as Go's `net.ParseIP` did before 1.17, kept as
`ParseIPSloppy` in k8s.io/utils/net: octets are decimal, whatever zeros they begin with.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from socket import AF_INET, inet_pton

from fairway.base.errors import Refused

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface


_LINK_LOCAL_MULTICAST: tuple[IPNetwork, ...] = (IPv4Network("224.0.0.0/24"), IPv6Network("ff02::/16"))
_SPECIAL_BEGINNINGS = (
    *("0.0.0.0", "127.", "169.254.", *(f"{first}." for first in range(224, 240))),  # noqa: S104 - compared
    *("::", "fe8", "fe9", "fea", "feb", "ff"),
)


class Family(IntEnum):
    """An address family; the value is `IPAddress.version`."""

    IPV4 = 4
    IPV6 = 6

    @property
    def api_name(self) -> str:
        """As in `ipFamilies` and an EndpointSlice's `addressType`: "IPv4", "IPv6"."""
        return f"IPv{self.value}"

    @property
    def bits(self) -> int:
        """The length of an address: 32 or 128."""
        return 32 if self is Family.IPV4 else 128


class Special(StrEnum):
    """Why an address is no machine's to be reached at by others; the value says it of the address."""

    UNSPECIFIED = "unspecified"
    LOOPBACK = "in the loopback range (127.0.0.0/8, ::1/128)"
    LINK_LOCAL = "in the link-local range (169.254.0.0/16, fe80::/10)"
    LINK_LOCAL_MULTICAST = "in the link-local multicast range (224.0.0.0/24, ff02::/16)"
    MULTICAST = "a multicast address"


def special(address: IPAddress) -> Special | None:
    """What is special about an address, None where any machine may have it."""
    if address.is_unspecified:
        return Special.UNSPECIFIED
    if address.is_loopback:
        return Special.LOOPBACK
    if address.is_link_local:
        return Special.LINK_LOCAL
    if address.is_multicast:
        near = any(address in network for network in _LINK_LOCAL_MULTICAST)
        return Special.LINK_LOCAL_MULTICAST if near else Special.MULTICAST
    return None


def may_be_special(host: str) -> bool:
    """False where `special` surely has nothing to say of the address whose one text this is; costs next to nothing."""
    return host.startswith(_SPECIAL_BEGINNINGS)


def parse_address(text: str) -> IPAddress:
    """The address that `text` means, in its one form; an IPv4-mapped IPv6 address is the IPv4 address.

    Raises Refused for anything else, also for zones ("fe80::1%eth0") and networks.
    """
    try:  # the common form, in a third of the time IPv4Address takes to read text
        return IPv4Address(inet_pton(AF_INET, text))
    except (OSError, ValueError):
        return _parse_sloppily(text)


def canonical_address(text: str, family: Family) -> str:
    """`str(parse_address(text))`, which is `text` itself where it is that already; far cheaper for the common form.

    Raises Refused as `parse_address` does, and for an address of another family.
    """
    try:
        inet_pton(AF_INET, text)  # it takes the one form alone, without leading zeros
        version = 4
    except (OSError, ValueError):
        address = _parse_sloppily(text)
        text, version = str(address), address.version
    if version != family:
        raise Refused(f"{text!r} is not an {family.api_name} address")
    return text


def parse_network(text: str) -> IPNetwork:
    """The network of a CIDR; host bits are cut off, surrounding space and leading zeros are ignored.

    Raises Refused where `text` is no CIDR, also for a single address without a prefix length.
    """
    host, slash, length = text.strip().partition("/")
    if not slash or not _is_number(length):
        raise Refused(f"{text!r} is not a network; expected an address and a prefix length such as 10.0.0.0/8")
    prefix = int(length)
    mapped = ":" in host
    address = parse_address(host)
    if mapped and address.version == 4:
        prefix -= 96
    if not 0 <= prefix <= address.max_prefixlen:
        raise Refused(f"{text!r} is not a network: its prefix length must be from 0 to {address.max_prefixlen}")
    network = IPv4Network if address.version == 4 else IPv6Network
    return network((address.packed, prefix), strict=False)


def address_of(packed: bytes) -> IPAddress:
    """The address that 4 or 16 bytes are. Raises ValueError for any other number of them."""
    return IPv4Address(packed) if len(packed) == Family.IPV4.bits // 8 else IPv6Address(packed)


def on_link(address: IPAddress, length: int | None = None) -> IPInterface:
    """An address as a link has it: with the length of its network, which is its own alone (/32, /128) if not told."""
    interface = IPv4Interface if address.version == 4 else IPv6Interface
    return interface((address.packed, address.max_prefixlen if length is None else length))


def format_host(address: IPAddress) -> str:
    """As a URL or an "address:port" carries it: IPv6 in brackets."""
    return f"[{address}]" if address.version == 6 else str(address)


def _parse_sloppily(text: str) -> IPAddress:
    stripped = text.strip()
    try:
        if ":" not in stripped:
            return IPv4Address(_without_leading_zeros(stripped))
        head, _, tail = stripped.rpartition(":")
        if "." in tail:
            stripped = f"{head}:{_without_leading_zeros(tail)}"
        address = IPv6Address(stripped)
    except ValueError:
        raise Refused(f"{text!r} is not an IP address") from None
    if address.scope_id is not None:
        raise Refused(f"{text!r} is not an IP address: zones have no meaning here")
    return address.ipv4_mapped or address


def _without_leading_zeros(dotted: str) -> str:
    octets = dotted.split(".")
    if not all(_is_number(octet) for octet in octets):
        raise ValueError(dotted)
    return ".".join(octet.lstrip("0") or "0" for octet in octets)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
