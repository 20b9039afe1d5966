"""Which lab: the study's cluster, with its very names and addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from fairway.base.addresses import Family, IPAddress
from fairway.fabric.topology import AddressPool, ClientSpec, NodeRole, NodeSpec, Ranges, Topology
from fairway.plan.options import Mode

STUDY = Path(__file__).with_name("study")
"""The study's manifests, and those the walk adds to it."""

API_PORT = 6443
"""kube-apiserver's port on the control plane (its --secure-port)."""

CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane:NoSchedule"
"""As kubeadm taints control planes."""

CONTROL_PLANE_LABELS = {
    "node-role.kubernetes.io/control-plane": "",
    "node.kubernetes.io/exclude-from-external-load-balancers": "",
}
"""As kubeadm labels control planes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A lab to be brought up, and what the walk has to know of it.

    last_pod_addresses: by node, the addresses its networks gave out last before the lab began; pods get the next ones.
    manifests: files whose objects are made once the nodes are Ready. bare_pods: the names of the pods in them.
    mode: what its nodes' rules are written with.
    """

    topology: Topology
    mode: Mode = Mode.NFTABLES
    last_pod_addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    manifests: tuple[Path, ...] = ()
    bare_pods: tuple[str, ...] = ()

    def named(self, name: str) -> Scenario:
        """The same lab under another name."""
        return replace(self, topology=replace(self.topology, name=name))

    def in_mode(self, mode: Mode) -> Scenario:
        """The same lab with rules of another kind."""
        return replace(self, mode=mode)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names, the control plane first."""
        return tuple(node.name for node in self.topology.nodes)

    @property
    def control_plane(self) -> str:
        return next(node.name for node in self.topology.nodes if node.role is NodeRole.CONTROL_PLANE)

    @property
    def workers(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.topology.nodes if node.role is NodeRole.WORKER)

    @property
    def families(self) -> tuple[Family, ...]:
        """Those its networks have, the primary one first."""
        return self.topology.families

    @property
    def node_addresses(self) -> dict[str, str]:
        return self.node_addresses_of(Family.IPV4)

    def node_addresses_of(self, family: Family) -> dict[str, str]:
        """By node. Raises KeyError for a family that the lab has not."""
        return {node.name: _of(family, node.addresses) for node in self.topology.nodes}

    @property
    def client(self) -> str:
        return self.topology.clients[0].name

    @property
    def client_address(self) -> str:
        return self.client_address_of(Family.IPV4)

    def client_address_of(self, family: Family) -> str:
        """Raises KeyError for a family that the lab has not."""
        return _of(family, self.topology.clients[0].addresses)

    @property
    def api_address(self) -> str:
        """Where the API server listens inside the lab."""
        return self.node_addresses[self.control_plane]


def _of(family: Family, addresses: Iterable[IPAddress]) -> str:
    return {Family(address.version): str(address) for address in addresses}[family]


def _node(name: str, address: str, pod_cidr: str, role: NodeRole = NodeRole.WORKER) -> NodeSpec:
    return NodeSpec(name=name, address=IPv4Address(address), pod_cidr=IPv4Network(pod_cidr), role=role)


STUDY_LAB = Scenario(
    topology=Topology(
        name="myk8s",
        network=IPv4Network("172.18.0.0/16"),
        gateway=IPv4Address("172.18.0.1"),
        pod_cidr=IPv4Network("10.10.0.0/16"),
        service_cidr=IPv4Network("10.200.1.0/24"),
        nodes=(
            _node("myk8s-control-plane", "172.18.0.3", "10.10.0.0/24", NodeRole.CONTROL_PLANE),
            _node("myk8s-worker", "172.18.0.5", "10.10.1.0/24"),
            _node("myk8s-worker2", "172.18.0.2", "10.10.2.0/24"),
            _node("myk8s-worker3", "172.18.0.4", "10.10.3.0/24"),
        ),
        clients=(ClientSpec(name="mypc", address=IPv4Address("172.18.0.100")),),
        load_balancers=AddressPool(first=IPv4Address("172.18.255.200"), last=IPv4Address("172.18.255.250")),
    ),
    # Other pods had come and gone when the study began: net-pod got 10.10.0.5, worker3's first pod 10.10.3.4.
    last_pod_addresses={"myk8s-control-plane": ("10.10.0.4",), "myk8s-worker3": ("10.10.3.3",)},
    manifests=(STUDY / "pods.yaml",),
    bare_pods=("net-pod", "webpod1", "webpod2"),
)
"""The four-node cluster of the study."""

_NODE_NUMBERS = {"myk8s-control-plane": 3, "myk8s-worker": 5, "myk8s-worker2": 2, "myk8s-worker3": 4}

DUAL_STACK_LAB = replace(
    STUDY_LAB,
    topology=replace(
        STUDY_LAB.topology,
        nodes=tuple(
            replace(
                node,
                address6=IPv6Address(f"fd00:172:18::{_NODE_NUMBERS[node.name]}"),
                pod_cidr6=IPv6Network(f"fd00:10:10:{index}::/64"),
            )
            for index, node in enumerate(STUDY_LAB.topology.nodes)
        ),
        clients=(replace(STUDY_LAB.topology.clients[0], address6=IPv6Address("fd00:172:18::100")),),
        ipv6=Ranges(
            network=IPv6Network("fd00:172:18::/64"),
            gateway=IPv6Address("fd00:172:18::1"),
            pod_cidr=IPv6Network("fd00:10:10::/56"),
            service_cidr=IPv6Network("fd00:10:200:1::/112"),
            load_balancers=AddressPool(
                first=IPv6Address("fd00:172:18::255:200"), last=IPv6Address("fd00:172:18::255:250")
            ),
        ),
    ),
    last_pod_addresses={
        "myk8s-control-plane": ("10.10.0.4", "fd00:10:10::4"),
        "myk8s-worker3": ("10.10.3.3", "fd00:10:10:3::3"),
    },
)
"""The same with IPv6 beside IPv4: unique local addresses (RFC 4193) that read like the IPv4 ones."""


def study_lab(*, dual_stack: bool) -> Scenario:
    """The study's cluster, with one address family or two."""
    return DUAL_STACK_LAB if dual_stack else STUDY_LAB
