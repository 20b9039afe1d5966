"""Host ports: ports of a node that lead to one pod of it, as the CNI plugin portmap has them.

A call of a node's address and that port is the pod's, wherever it comes from: other machines, pods, and the node
itself, on 127.0.0.1 too. The pod sees who calls; where it could not answer, which is when it calls itself and when the
node calls from its loopback address, it sees the node (containernetworking/plugins `plugins/meta/portmap`).

The rules are nf_tables' in every mode, in a table of their own that whoever writes the Services' never sees.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.netlink.expressions import (
    REG_1,
    Cmp,
    CmpOp,
    Dnat,
    Expression,
    FibType,
    Immediate,
    ImmediateVerdict,
    Masquerade,
    Meta,
    MetaKey,
    Payload,
    PayloadBase,
    jump,
)
from fairway.netlink.nftables import (
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    ChainInfo,
    Hook,
    Request,
    delete_table,
    new_chain,
    new_rule,
    new_table,
)
from fairway.netlink.userdata import COMMENT_LIMIT, comment_record

TABLE = "fairway-hostport"

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
"""IPPROTO_* of linux/in.h by the API's names."""

_PORTS_CHAIN = "hostports"
_DNAT_PRIORITY = -100
"""NF_IP_PRI_NAT_DST, as portmap's. Services and host ports do not overlap, so that their order is no matter."""
_SNAT_PRIORITY = 100
"""NF_IP_PRI_NAT_SRC: before the pods' masquerade, which has no word on packets to pods."""

_RTN_LOCAL = 2
"""linux/rtnetlink.h: the address is this machine's."""

_REG_2 = 2
"""NFT_REG_2: after the sixteen bytes that an address may take."""

_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - compared
_LOOPBACK = bytes((127, 0, 0, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """One of a pod's. address: the only one of the node's it is open on; None for all. families: of callers."""

    port: int
    container_port: int
    protocol: str = "TCP"
    address: IPAddress | None = None
    families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)

    def collides(self, other: HostPort) -> bool:
        """Whether one node cannot have both."""
        return (
            (self.port, self.protocol) == (other.port, other.protocol)
            and not set(self.families).isdisjoint(other.families)
            and (self.address is None or other.address is None or self.address == other.address)
        )

    def __str__(self) -> str:
        where = f"{self.address}:" if self.address is not None else ""
        return f"{where}{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A host port and the pod's address that it leads to."""

    host: HostPort
    target: IPAddress
    pod: str

    @property
    def family(self) -> Family:
        return Family(self.target.version)


def parse_host_ports(spec: Mapping[str, Any]) -> tuple[HostPort, ...]:
    """Those of a pod's spec; a pod on the node's network has none to be forwarded."""
    if spec.get("hostNetwork"):
        return ()
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return tuple(
        _host_port(port) for container in containers for port in container.get("ports") or () if port.get("hostPort")
    )


def _host_port(port: Mapping[str, Any]) -> HostPort:
    given = port.get("hostIP") or ""
    families = (Family(parse_address(given).version),) if given else (Family.IPV4, Family.IPV6)
    return HostPort(
        port=int(port["hostPort"]),
        container_port=int(port["containerPort"]),
        protocol=port.get("protocol") or "TCP",
        address=None if given in _ANY else parse_address(given),
        families=families,
    )


def forwards(pod: str, ports: Iterable[HostPort], addresses: Sequence[IPAddress]) -> list[Forward]:
    """What a pod's host ports come to, for each of its addresses whose family may be called."""
    return [
        Forward(host=port, target=address, pod=pod)
        for port in ports
        for address in addresses
        if Family(address.version) in port.families
    ]


def table(family: Family, wanted: Sequence[Forward]) -> list[Request]:
    """The transaction that makes the family's table anew, or takes it away when nothing is wanted."""
    protocol = NFPROTO_IPV4 if family is Family.IPV4 else NFPROTO_IPV6
    requests = [new_table(protocol, TABLE), delete_table(protocol, TABLE)]  # it must be there to be deleted
    mine = sorted(
        (one for one in wanted if one.family is family),
        # One of an address of its own goes before one of all.
        key=lambda one: (one.host.address is None, one.host.port, one.host.protocol, str(one.host.address)),
    )
    if not mine:
        return requests
    requests.append(new_table(protocol, TABLE, comment_record("host ports of pods, written by fairway")))
    requests.append(new_chain(protocol, ChainInfo(TABLE, _PORTS_CHAIN)))
    requests += [_rule(protocol, _PORTS_CHAIN, _dnat(one, protocol), one.pod) for one in mine]
    local = (FibType(source=False), Cmp(CmpOp.EQ, _RTN_LOCAL.to_bytes(4, sys.byteorder)))
    for hook in (Hook.PREROUTING, Hook.OUTPUT):
        name = hook.name.lower()
        requests.append(new_chain(protocol, ChainInfo(TABLE, name, int(hook), _DNAT_PRIORITY, kind="nat")))
        requests.append(_rule(protocol, name, (*local, ImmediateVerdict(jump(_PORTS_CHAIN))), ""))
    name = Hook.POSTROUTING.name.lower()
    requests.append(new_chain(protocol, ChainInfo(TABLE, name, int(Hook.POSTROUTING), _SNAT_PRIORITY, kind="nat")))
    for target in dict.fromkeys(one.target for one in mine):
        for source in _unanswerable(family, target):
            expressions = (*_address(family, source, own=True), *_address(family, target.packed, own=False))
            requests.append(_rule(protocol, name, (*expressions, Masquerade()), "could not be answered otherwise"))
    return requests


def _rule(protocol: int, chain: str, expressions: tuple[Expression, ...], comment: str) -> Request:
    return new_rule(
        protocol, TABLE, chain, expressions, comment_record(comment[: COMMENT_LIMIT - 1]) if comment else b""
    )


def _unanswerable(family: Family, target: IPAddress) -> list[bytes]:
    """Sources a pod must not see: itself, and the loopback address (IPv6 never lets that one leave the node)."""
    return [target.packed, *([_LOOPBACK] if family is Family.IPV4 else [])]


def _dnat(one: Forward, protocol: int) -> tuple[Expression, ...]:
    host = one.host
    where = () if host.address is None else _address(one.family, host.address.packed, own=False)
    return (
        *where,
        Meta(MetaKey.L4PROTO),
        Cmp(CmpOp.EQ, bytes((PROTOCOLS[host.protocol],))),
        Payload(PayloadBase.TRANSPORT, 2, 2),
        Cmp(CmpOp.EQ, host.port.to_bytes(2, "big")),
        Immediate(one.target.packed, REG_1),
        Immediate(host.container_port.to_bytes(2, "big"), _REG_2),
        Dnat(protocol, REG_1, _REG_2),
    )


def _address(family: Family, value: bytes, *, own: bool) -> tuple[Expression, ...]:
    """The packet's source (own) or destination is this (RFC 791, section 3.1; RFC 8200, section 3)."""
    offset = {Family.IPV4: (16, 12), Family.IPV6: (24, 8)}[family][own]
    return Payload(PayloadBase.NETWORK, offset, len(value)), Cmp(CmpOp.EQ, value)
