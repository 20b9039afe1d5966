"""What a kubelet is told when it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from fairway.kubelet.dns import ClusterDns
from fairway.plan.options import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """effect: NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    effect: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletConfig:
    """One node.

    address: the node's InternalIP. pod_cidr: where its pods' addresses come from; last_pod_address: the one to treat
    as the last given out, so that the first pod gets the next. kubeconfig: of the node's own identity. spawner: the
    socket of the lab's first process. log_dir: for this node's container logs, private to it. tls_cert, tls_key: the
    serving certificate of :10250; client_ca: whose certificates its clients must have, and client_names: the common
    names that may call besides the group system:masters. hidden: paths covered in every pod, such as the lab's keys.
    pod_network: of all nodes' pods; what they send out of it leaves under the node's address. None: as it is.
    mode: what its rules for that are written with, as the agent's beside it. labels: beside the ones every node has.
    dns: what pods resolve names with.
    """

    node_name: str
    address: IPv4Address
    pod_cidr: IPv4Network
    kubeconfig: Path
    spawner: Path
    log_dir: Path
    tls_cert: Path
    tls_key: Path
    client_ca: Path
    client_names: frozenset[str] = frozenset({"kube-apiserver-kubelet-client", "kube-apiserver"})
    last_pod_address: IPv4Address | None = None
    pod_network: IPv4Network | None = None
    mode: Mode = Mode.NFTABLES
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    hidden: tuple[str, ...] = ()
    dns: ClusterDns = field(default_factory=ClusterDns)
    port: int = 10250
    healthz_port: int = 10248
