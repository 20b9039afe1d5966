"""Typed iptables rules: what `lower` writes, `text` prints and reads, and `run` executes. Pure.

Only the matches and targets kube-proxy uses; a rule with anything else is foreign and stays text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from ipaddress import IPv4Network, IPv6Network

from fairway.base.addresses import Family, IPAddress, IPNetwork
from fairway.flow.packet import Protocol
from fairway.flow.trace import Origin
from fairway.plan.model import Links, PortName

XT_MAX_COMMENT_LEN = 256
"""With the closing NUL: linux/netfilter/xt_comment.h."""
STATISTIC_ONE = 0x80000000
"""Probability 1 in xt_statistic's 31 bit fixed point: libxt_statistic.c."""


RECENT_MASK: Mapping[Family, str] = {
    Family.IPV4: "255.255.255.255",
    Family.IPV6: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
}
"""As libxt_recent prints that all of an address counts."""
REJECT_WITH: Mapping[Family, str] = {
    Family.IPV4: "icmp-port-unreachable",
    Family.IPV6: "icmp6-port-unreachable",
}
"""libipt_REJECT.c, libip6t_REJECT.c."""


class Table(StrEnum):
    """Tables we write to, in the order they are sent."""

    MANGLE = "mangle"
    FILTER = "filter"
    NAT = "nat"


BUILTIN_CHAINS: Mapping[Table, tuple[str, ...]] = {
    Table.MANGLE: ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    Table.FILTER: ("INPUT", "FORWARD", "OUTPUT"),
    Table.NAT: ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}
"""In the order iptables-save prints them."""


@dataclass(frozen=True, slots=True)
class Address:
    """`-s` or `-d`: a network, or with `negated` everything outside it."""

    network: IPNetwork
    negated: bool = False

    def holds(self, address: IPAddress) -> bool:
        """True where `address` passes."""
        return (address in self.network) is not self.negated


@dataclass(frozen=True, slots=True)
class Interface:
    """`-i`: the packet came in by one of these links, or with `negated` by none of them, as what the node sends."""

    links: Links
    negated: bool = False

    def holds(self, interface: str) -> bool:
        """True where a packet that came in by `interface` passes; "" is no link."""
        return self.links.holds(interface) is not self.negated


@dataclass(frozen=True, slots=True)
class Comment:
    """`-m comment`. Only printable ASCII, at most 255 characters: use `comment` for text that is not ours.

    Raises ValueError for anything else, so that no text can end the line it stands in.
    """

    text: str

    def __post_init__(self) -> None:
        if not _fits(self.text):
            raise ValueError(f"not a comment iptables can hold: {self.text!r}")


def comment(text: str) -> Comment:
    """A Comment of any text: what is not printable ASCII becomes "?", what is too long is cut."""
    if _fits(text):
        return Comment(text)
    printable = "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
    return Comment(printable[: XT_MAX_COMMENT_LEN - 1])


def _fits(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) < XT_MAX_COMMENT_LEN


@dataclass(frozen=True, slots=True)
class Transport:
    """`-m tcp` and its like, with the destination port if any."""

    protocol: Protocol
    destination_port: int | None = None


class State(StrEnum):
    """Connection states, in the order libxt_conntrack prints them."""

    INVALID = "INVALID"
    NEW = "NEW"
    RELATED = "RELATED"
    ESTABLISHED = "ESTABLISHED"
    UNTRACKED = "UNTRACKED"
    SNAT = "SNAT"
    DNAT = "DNAT"


@dataclass(frozen=True, slots=True)
class Conntrack:
    """`-m conntrack --ctstate`."""

    states: frozenset[State]
    negated: bool = False


class Side(StrEnum):
    """Which address of the packet an `addrtype` match asks about."""

    SOURCE = "src"
    DESTINATION = "dst"


@dataclass(frozen=True, slots=True)
class AddrTypeLocal:
    """`-m addrtype --src-type LOCAL` or `--dst-type LOCAL`: the address is one of this machine."""

    side: Side


@dataclass(frozen=True, slots=True)
class Mark:
    """`-m mark`: the packet's mark under `mask` is `value`."""

    value: int
    mask: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Statistic:
    """`-m statistic --mode random`; `threshold` of STATISTIC_ONE packets match."""

    threshold: int

    @classmethod
    def one_in(cls, count: int) -> Statistic:
        """Probability 1/count, by way of the ten decimals kube-proxy writes."""
        return cls.of(float(f"{1 / count:.10f}"))

    @classmethod
    def of(cls, probability: float) -> Statistic:
        """As the kernel keeps it."""
        return cls(round(probability * STATISTIC_ONE))

    @property
    def probability(self) -> float:
        return self.threshold / STATISTIC_ONE


@dataclass(frozen=True, slots=True)
class RecentSet:
    """`-m recent --set`: put the packet's source into the list `name`; always matches."""

    name: str
    family: Family = Family.IPV4


@dataclass(frozen=True, slots=True)
class RecentCheck:
    """`-m recent --rcheck --seconds --reap`: the source entered the list within `seconds`."""

    name: str
    seconds: int
    family: Family = Family.IPV4


@dataclass(frozen=True, slots=True)
class Nfacct:
    """`-m nfacct`: count the packet in a named counter; always matches."""

    name: str


Match = Comment | Transport | Conntrack | AddrTypeLocal | Mark | Statistic | RecentSet | RecentCheck | Nfacct


@dataclass(frozen=True, slots=True)
class Jump:
    """`-j` to a chain of the same table."""

    chain: str


@dataclass(frozen=True, slots=True)
class Dnat:
    """`-j DNAT --to-destination`."""

    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class SetXmark:
    """`-j MARK --set-xmark`: clear the bits of `mask`, then flip those of `value`."""

    value: int
    mask: int


@dataclass(frozen=True, slots=True)
class Masquerade:
    """`-j MASQUERADE`."""

    random_fully: bool = True


@dataclass(frozen=True, slots=True)
class Reject:
    """`-j REJECT`, which answers with the port unreachable of the family's ICMP, as iptables does by default."""

    family: Family = Family.IPV4


class Verdict(Enum):
    """Targets without arguments."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"
    RETURN = "RETURN"


Target = Jump | Dnat | SetXmark | Masquerade | Reject | Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; all its matches must hold.

    matches: in the order they are printed. target: None counts packets and does nothing else.
    origin, owner: the object and field it stands for, and the Service port; None where it belongs to the frame. No
    part of equality.
    """

    target: Target | None
    matches: tuple[Match, ...] = ()
    source: Address | None = None
    destination: Address | None = None
    interface: Interface | None = None
    protocol: Protocol | None = None
    origin: Origin | None = field(default=None, compare=False)
    owner: PortName | None = field(default=None, compare=False)

    def canonical(self) -> Rule:
        """The same rule for every order of matches and every habit of a version of iptables.

        A bare `-m tcp` says no more than `-p tcp`, and versions differ in whether they print it.
        """
        told = (
            match for match in self.matches if not (isinstance(match, Transport) and match.destination_port is None)
        )
        return replace(self, matches=tuple(sorted(told, key=repr)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinJump:
    """A rule that must stand somewhere in a builtin chain.

    shared: the kubelet ensures it too, so it is not ours to remove where one runs.
    """

    table: Table
    chain: str
    rule: Rule
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """All that we want of iptables for one address family; IPv6 has the same chains, written by ip6tables.

    chains: our own chains with their rules, by table. jumps: each missing one is put first in its builtin chain, in
    this order, so that a fresh chain holds them in reverse.
    """

    chains: Mapping[Table, Mapping[str, tuple[Rule, ...]]]
    jumps: tuple[BuiltinJump, ...]


LOOPBACK: Mapping[Family, IPNetwork] = {
    Family.IPV4: IPv4Network("127.0.0.0/8"),
    Family.IPV6: IPv6Network("::1/128"),
}
