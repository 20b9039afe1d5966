"""The addresses of generated clusters, and of both families. Pure.

They tell what they are: 10.10.N.x pods of node N, 172.18.0.N nodes, 10.200.1.x clusterIPs, 172.18.255.x load balancers,
198.51.100.x external IPs, 203.0.113.x and 192.168.10.x clients. An address of IPv6 is the same in its last 32 bits.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from fairway.base.addresses import Family

NODES = ("node-1", "node-2", "node-3")
NODE = NODES[0]
"""Whose rules are looked at."""
NODE_ADDRESSES = ("172.18.0.1", "192.168.7.1", "10.10.1.1")
"""Of NODE: its primary one, one of a second network, and the gateway of its pods, which lies in the pod network."""
OTHER_NODES = ("172.18.0.2", "172.18.0.3")
PODS = tuple(f"10.10.{node}.{pod}" for node in (1, 2, 3) for pod in (2, 3))
BRIDGE, LINK_PREFIX = "cni0", "veth"
POD_LINKS = {PODS[0]: BRIDGE, PODS[1]: f"{LINK_PREFIX}3"}
"""By which of NODE's links its pods come in: one of a bridge, one of its own."""
CLIENTS = ("203.0.113.7", "192.168.10.9")
LOAD_BALANCERS = ("172.18.255.1", "172.18.255.2")
EXTERNALS = ("198.51.100.1", "198.51.100.2")
CLUSTER_IPS = ("10.200.1.1", "10.200.1.2", "10.200.1.3")
NOBODYS = ("10.200.1.9", "192.0.2.77")
"""An address of the network of Services that none has, and one of no network at all."""
LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}

PORTS = (80, 443)
TARGET_PORTS = (8080, 8443)
NODE_PORTS = (30080, 30443, 30053)
HEALTH_PORT = 31990
"""Of the first Service; the next have the next ones."""

_PREFIX = int(IPv6Address("fd00::"))
_MORE_BITS = Family.IPV6.bits - Family.IPV4.bits


def address_in(family: Family, text: str) -> str:
    """An address of IPv4 as it is in this family."""
    return text if family is Family.IPV4 else str(IPv6Address(_PREFIX + int(IPv4Address(text))))


def network_in(family: Family, text: str) -> str:
    """A network of IPv4 as it is in this family; everything stays everything."""
    if family is Family.IPV4:
        return text
    address, _, length = text.partition("/")
    return "::/0" if length == "0" else f"{address_in(family, address)}/{_MORE_BITS + int(length)}"


def networks(*texts: str) -> list[str]:
    """These networks in both families."""
    return [network_in(family, text) for family in Family for text in texts]


def node_of(address: str) -> str:
    """The node that an endpoint's IPv4 address is on."""
    octets = address.split(".")
    return f"node-{octets[2] if address.startswith('10.10.') else octets[3]}"
