"""What an API server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from fairway.base.addresses import IPNetwork
from fairway.base.errors import Refused

_LARGEST_IPV6 = 64
"""kube-apiserver takes no larger one of IPv6 either (its --service-cluster-ip-range)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Files are PEM, except `data`.

    data: the SQLite file; made where it does not exist. ca: who signs clients and kubelets. certificate, key: what
    the server shows. kubelet_certificate, kubelet_key: what it shows to kubelets. service_cidrs: where ClusterIPs
    come from, one network a family, the primary one first, whose first address is the `kubernetes` Service's.
    node_port_range: first and last node port. service_account_key: signs tokens of service accounts; without one there
    are none, and pods get none.
    advertise_address, advertise_port: where the cluster reaches this server, the endpoint of `kubernetes`.

    Raises Refused for service_cidrs of one family, and for one of IPv6 larger than a /64.
    """

    data: Path
    ca: Path
    certificate: Path
    key: Path
    kubelet_certificate: Path
    kubelet_key: Path
    advertise_address: IPv4Address
    advertise_port: int = 6443
    service_cidrs: tuple[IPNetwork, ...] = (IPv4Network("10.200.1.0/24"),)
    node_port_range: tuple[int, int] = (30000, 32767)
    service_account_key: Path | None = None

    def __post_init__(self) -> None:
        families = [cidr.version for cidr in self.service_cidrs]
        given = ",".join(map(str, self.service_cidrs))
        if not families or len(families) != len(set(families)):
            raise Refused(f"service_cidrs {given}: give one network, or one of each address family")
        for cidr in self.service_cidrs:
            if cidr.version == 6 and cidr.prefixlen < _LARGEST_IPV6:
                raise Refused(f"service_cidrs {given}: {cidr} is too large, give a /{_LARGEST_IPV6} or a longer prefix")
