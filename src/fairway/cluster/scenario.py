"""Which lab: what is to be brought up, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fairway.base.addresses import Family, IPAddress
from fairway.fabric.topology import NodeRole, NodeSpec, Topology
from fairway.kubelet.config import Taint
from fairway.kubelet.images import MappedImage
from fairway.plan.options import Mode

STUDY = Path(__file__).with_name("study")
"""The study's manifests, and those the walk adds to it."""

API_PORT = 6443
"""kube-apiserver's port on the control plane (its --secure-port)."""

DEFAULT_LAB = "myk8s"
"""The name of the study's cluster, and of a lab that has no other."""

ZONE_LABEL = "topology.kubernetes.io/zone"

CONTROL_PLANE_TAINT = Taint(key="node-role.kubernetes.io/control-plane", effect="NoSchedule")
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
    mode: what its nodes' rules are written with; modes: by node, where one has another. labels: by node, beside those
    its role brings. taints: by node, in the place of its role's own. images: those that stand for software of the
    machine.
    """

    topology: Topology
    mode: Mode = Mode.NFTABLES
    last_pod_addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    manifests: tuple[Path, ...] = ()
    bare_pods: tuple[str, ...] = ()
    modes: Mapping[str, Mode] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    taints: Mapping[str, tuple[Taint, ...]] = field(default_factory=dict)
    images: tuple[MappedImage, ...] = ()

    def named(self, name: str) -> Scenario:
        """The same lab under another name."""
        return replace(self, topology=replace(self.topology, name=name))

    def in_mode(self, mode: Mode) -> Scenario:
        """The same lab with rules of another kind, but for the nodes that have their own."""
        return replace(self, mode=mode)

    def mode_of(self, node: str) -> Mode:
        """What the rules of a node are written with."""
        return self.modes.get(node, self.mode)

    def labels_of(self, node: NodeSpec) -> dict[str, str]:
        """Those its Node has besides the ones every node has."""
        of_role = CONTROL_PLANE_LABELS if node.role is NodeRole.CONTROL_PLANE else {}
        return {**of_role, **self.labels.get(node.name, {})}

    def taints_of(self, node: NodeSpec) -> tuple[Taint, ...]:
        of_role = (CONTROL_PLANE_TAINT,) if node.role is NodeRole.CONTROL_PLANE else ()
        return self.taints.get(node.name, of_role)

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
