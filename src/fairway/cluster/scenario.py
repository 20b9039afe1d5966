"""Which lab: the study's cluster, with its very names and addresses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from fairway.fabric.topology import AddressPool, ClientSpec, NodeRole, NodeSpec, Topology
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

    last_pod_addresses: by node, the address its network gave out last before the lab began; pods get the next ones.
    manifests: files whose objects are made once the nodes are Ready. bare_pods: the names of the pods in them.
    mode: what its nodes' rules are written with.
    """

    topology: Topology
    mode: Mode = Mode.NFTABLES
    last_pod_addresses: Mapping[str, str] = field(default_factory=dict)
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
    def node_addresses(self) -> dict[str, str]:
        return {node.name: str(node.address) for node in self.topology.nodes}

    @property
    def client(self) -> str:
        return self.topology.clients[0].name

    @property
    def client_address(self) -> str:
        return str(self.topology.clients[0].address)

    @property
    def api_address(self) -> str:
        """Where the API server listens inside the lab."""
        return self.node_addresses[self.control_plane]


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
    last_pod_addresses={"myk8s-control-plane": "10.10.0.4", "myk8s-worker3": "10.10.3.3"},
    manifests=(STUDY / "pods.yaml",),
    bare_pods=("net-pod", "webpod1", "webpod2"),
)
"""The four-node cluster of the study."""
