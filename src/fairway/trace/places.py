"""Whose address it is: nodes, pods, and clients outside, as far as objects tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fairway.api.codec import ClusterView
from fairway.api.core import Node, Pod
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, IPNetwork, canonical_address, parse_address, parse_network
from fairway.base.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlace:
    """A pod that has a network of its own, or its node's (host_network). node: "" before it is scheduled."""

    key: Key
    addresses: tuple[IPAddress, ...]
    node: str
    host_network: bool


class Places:
    """The addresses of a cluster, and of the clients that are known beside it."""

    def __init__(self, view: ClusterView, clients: Mapping[str, tuple[IPAddress, ...]] | None = None) -> None:
        self.clients: Mapping[str, tuple[IPAddress, ...]] = dict(clients or {})
        self.nodes: Mapping[str, tuple[IPAddress, ...]] = {
            node.metadata.name: tuple(_node_addresses(node)) for node in view.nodes
        }
        self.pods: Mapping[Key, PodPlace] = {pod.metadata.key: _place(pod) for pod in view.pods if not pod.is_over}
        self._view = view
        self._node_at = {address: name for name, addresses in self.nodes.items() for address in addresses}
        self._pod_at = {address: pod for pod in self.pods.values() if not pod.host_network for address in pod.addresses}
        self._client_at = {address: name for name, addresses in self.clients.items() for address in addresses}
        self._networks = [
            (network, node.metadata.name)
            for node in view.nodes
            for family in Family
            for network in pod_networks(node, family)
        ]
        self._endpoint_node: dict[str, str] | None = None

    def node_at(self, address: IPAddress) -> str:
        """The node whose own address it is, "" for none."""
        return self._node_at.get(address, "")

    def pod_at(self, address: IPAddress) -> PodPlace | None:
        return self._pod_at.get(address)

    def client_at(self, address: IPAddress) -> str:
        """The client outside whose address it is, "" for none."""
        return self._client_at.get(address, "")

    def runs_on(self, address: IPAddress) -> str:
        """The node on which the pod, endpoint or node of that address is, "" where no object tells.

        Of a pod that nobody knows it is the one whose part of the pod network holds the address.
        """
        pod = self._pod_at.get(address)
        if pod is not None:
            return pod.node
        return self.node_at(address) or self._endpoint_node_at(address) or self.network_of(address)

    def network_of(self, address: IPAddress) -> str:
        """The node that has this part of the pod network, "" for none."""
        return next((name for network, name in self._networks if address in network), "")

    def name(self, address: IPAddress) -> str:
        """What is there, in words: "pod default/web-1 on worker", "node worker", "mypc"; "" where nobody is known."""
        pod = self._pod_at.get(address)
        if pod is not None:
            return f"pod {pod.key}" + (f" on {pod.node}" if pod.node else "")
        node = self.node_at(address)
        if node:
            return f"node {node}"
        node = self._endpoint_node_at(address)
        return f"on {node}" if node else self.client_at(address)

    def title(self, text: str) -> str:
        """An endpoint's address as it is written, and what is there if that is known."""
        address = _address(text)
        name = self.name(address) if address is not None else ""
        return f"{text}, {name}" if name else text

    def _endpoint_node_at(self, address: IPAddress) -> str:
        return self._endpoints().get(str(address), "")

    def _endpoints(self) -> dict[str, str]:
        """Nodes by the texts of endpoints' addresses; read when asked for first: there may be a hundred thousand."""
        if self._endpoint_node is None:
            self._endpoint_node = {}
            for endpoint_slice in self._view.slices:
                for endpoint in endpoint_slice.endpoints:
                    if endpoint.node_name and endpoint.addresses:
                        text = _canonical(endpoint.addresses[0])
                        self._endpoint_node.setdefault(text, endpoint.node_name)
        return self._endpoint_node


def pod_networks(node: Node, family: Family) -> tuple[IPNetwork, ...]:
    """The parts of the pod network that a node has, of one family; what is no network is left out."""
    found = []
    for text in node.spec.pod_networks:
        try:
            found.append(parse_network(text))
        except Refused:
            continue
    return tuple(network for network in found if network.version == family)


def of_family(addresses: tuple[IPAddress, ...], family: Family) -> IPAddress | None:
    """The first of a family."""
    return next((address for address in addresses if address.version == family), None)


def _node_addresses(node: Node) -> Iterator[IPAddress]:
    """Its InternalIPs, then what else it is reached by."""
    for kind in ("InternalIP", "ExternalIP"):
        for entry in node.status.addresses:
            address = _address(entry.address) if entry.type == kind else None
            if address is not None:
                yield address


def _place(pod: Pod) -> PodPlace:
    addresses = [address for text in pod.addresses if (address := _address(text)) is not None]
    return PodPlace(
        key=pod.metadata.key,
        addresses=tuple(addresses),
        node=pod.spec.node_name,
        host_network=pod.spec.host_network,
    )


def _canonical(text: str) -> str:
    try:
        return canonical_address(text, Family.IPV6 if ":" in text else Family.IPV4)
    except Refused:
        return text


def _address(text: str) -> IPAddress | None:
    try:
        return parse_address(text)
    except Refused:
        return None
