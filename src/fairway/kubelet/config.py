"""What a kubelet is told when it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fairway.base.addresses import Family, IPAddress, IPNetwork
from fairway.kubelet.dns import ClusterDns
from fairway.kubelet.images import MappedImage
from fairway.plan.options import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """effect: NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    effect: str
    value: str = ""

    def __str__(self) -> str:
        """As `kubectl taint` takes it."""
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletConfig:
    """One node.

    addresses: the node's InternalIPs, the primary one first, one a family. pod_cidrs: where its pods' addresses come
    from, in the same order; last_pod_addresses: those to treat as the last given out, so that the first pod gets the
    next. kubeconfig: of the node's own identity. spawner: the
    socket of the lab's first process. log_dir: for this node's container logs, private to it. tls_cert, tls_key: the
    serving certificate of :10250; client_ca: whose certificates its clients must have, and client_names: the common
    names that may call besides the group system:masters. hidden: paths covered in every pod, such as the lab's keys.
    pod_networks: of all nodes' pods, one a family; what they send out of them leaves under the node's address. Without
    one of its family: as it is.
    mode: what its rules for that are written with, as the agent's beside it. labels: beside the ones every node has.
    dns: what pods resolve names with. images: those that stand for software of the machine.
    skews: where faults of probes are planted (`kubelet.skew`), None for nowhere.
    """

    node_name: str
    addresses: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...]
    kubeconfig: Path
    spawner: Path
    log_dir: Path
    tls_cert: Path
    tls_key: Path
    client_ca: Path
    client_names: frozenset[str] = frozenset({"kube-apiserver-kubelet-client", "kube-apiserver"})
    last_pod_addresses: tuple[IPAddress, ...] = ()
    pod_networks: tuple[IPNetwork, ...] = ()
    mode: Mode = Mode.NFTABLES
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    hidden: tuple[str, ...] = ()
    skews: Path | None = None
    dns: ClusterDns = field(default_factory=ClusterDns)
    images: tuple[MappedImage, ...] = ()
    port: int = 10250
    healthz_port: int = 10248

    @property
    def families(self) -> tuple[Family, ...]:
        """Of the node's addresses."""
        return tuple(Family(address.version) for address in self.addresses)
