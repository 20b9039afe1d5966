"""What a node agent is told besides the objects, and what the two together say of one node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fairway.api.core import ZONE_LABEL, Node
from fairway.base.addresses import Family, IPAddress, IPNetwork, parse_address, parse_network
from fairway.base.errors import Refused
from fairway.plan.links import Links, parse_links
from fairway.plan.model import Note, Origin

PRIMARY = "primary"
"""In place of networks: only the node's primary address of each family takes node ports (KEP-4180)."""


class Mode(StrEnum):
    """Which of kube-proxy's modes decides where the two differ: `mode` of a KubeProxyConfiguration."""

    NFTABLES = "nftables"
    IPTABLES = "iptables"


MODE_ANNOTATION = "fairway.dev/proxy-mode"
"""Annotation of a Node: the Mode of its agent. A lab's nodes have it; elsewhere all agents of a cluster share one."""


class LocalMode(StrEnum):
    """How pods of this cluster are told from other sources: `detectLocalMode` of a KubeProxyConfiguration."""

    CLUSTER_CIDR = "ClusterCIDR"
    """By the pod network of the cluster; without one they cannot be told."""
    NODE_CIDR = "NodeCIDR"
    """By the pod networks of this node alone, as its Node tells: other nodes' pods are then as clients outside."""
    BRIDGE_INTERFACE = "BridgeInterface"
    """By the bridge that this node's pods are on."""
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"
    """By how the names of the links to this node's pods begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of KubeProxyConfiguration that change what happens to packets; each holds both families.

    cluster_cidrs: the pod network; empty means that pods cannot be told from others. local_mode: how they are told;
    cluster_cidrs count in its mode ClusterCIDR alone. pod_links: of its two modes that look at links, None else.
    node_port_addresses: networks whose local addresses take node ports; empty means all. primary_node_port_address:
    only the primary address takes them, whatever node_port_addresses says. node_addresses: the node's own addresses,
    its primary one first; empty means those its Node tells. masquerade_all: rewrite the source of everything sent to a
    clusterIP.
    localhost_node_ports: node ports answer on 127.0.0.0/8 too; mode nftables cannot, whatever this says.
    service_cidrs: where clusterIPs are allocated; mode nftables drops what is sent to one that no Service has.
    external_ips: externalIPs are served, as kube-proxy's feature gate AllowServiceExternalIPs has it (KEP-5707).
    """

    family: Family = Family.IPV4
    cluster_cidrs: tuple[IPNetwork, ...] = ()
    node_port_addresses: tuple[IPNetwork, ...] = ()
    primary_node_port_address: bool = False
    node_addresses: tuple[IPAddress, ...] = ()
    masquerade_all: bool = False
    localhost_node_ports: bool = True
    mode: Mode = Mode.IPTABLES
    service_cidrs: tuple[IPNetwork, ...] = ()
    local_mode: LocalMode = LocalMode.CLUSTER_CIDR
    pod_links: Links | None = None
    external_ips: bool = True


def parse_options(
    *,
    family: Family = Family.IPV4,
    cluster_cidrs: Iterable[str] = (),
    node_port_addresses: Iterable[str] = (),
    node_addresses: Iterable[str] = (),
    masquerade_all: bool = False,
    localhost_node_ports: bool = True,
    mode: Mode = Mode.IPTABLES,
    service_cidrs: Iterable[str] = (),
    detect_local_mode: str = "",
    bridge_interface: str = "",
    interface_name_prefix: str = "",
    external_ips: bool = True,
) -> Options:
    """Options from the texts of flags or of a configuration file; each text may be a list with commas.

    Without node_port_addresses all of the node's addresses take node ports in mode iptables, only the primary one in
    mode nftables. detect_local_mode: a LocalMode, "" for ClusterCIDR. bridge_interface and interface_name_prefix: for
    the mode of that name, ignored in others.

    Raises Refused, naming the flag, for what is no address, network, mode or link, and for "primary" beside networks.
    """
    local_mode = _parse_local_mode(detect_local_mode)
    node_ports = _split(node_port_addresses)
    if PRIMARY in node_ports and len(node_ports) > 1:
        raise Refused(f'--nodeport-addresses: "{PRIMARY}" stands alone; leave out the networks, or leave it out')
    if not node_ports and mode is Mode.NFTABLES:
        node_ports = [PRIMARY]
    primary = node_ports == [PRIMARY]
    return Options(
        family=family,
        cluster_cidrs=_parse_networks("--cluster-cidr", _split(cluster_cidrs)),
        node_port_addresses=() if primary else _parse_networks("--nodeport-addresses", node_ports),
        primary_node_port_address=primary,
        node_addresses=_parse_addresses("--node-address", _split(node_addresses)),
        masquerade_all=masquerade_all,
        localhost_node_ports=localhost_node_ports,
        mode=mode,
        service_cidrs=_parse_networks("--service-cidr", _split(service_cidrs)),
        local_mode=local_mode,
        pod_links=_parse_pod_links(local_mode, bridge_interface, interface_name_prefix),
        external_ips=external_ips,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """Everything compile has to know of the node it compiles for, in one address family.

    zone: "" where the Node has no zone. node_port_addresses: None means every local address. ranges_come_first: source
    ranges hold at a load balancer's address also where it is one of the externalIPs; kube-proxy's iptables rules let
    everybody in there, as that of the external address is the first. Other fields as in Plan and Options.
    """

    name: str
    family: Family
    zone: str
    node_addresses: tuple[IPAddress, ...]
    cluster_cidrs: tuple[IPNetwork, ...]
    node_port_addresses: tuple[IPNetwork, ...] | None
    localhost_node_ports: bool
    masquerade_all: bool
    service_cidrs: tuple[IPNetwork, ...] = ()
    guards_cluster_ips: bool = False
    admits_health_checks: bool = True
    notes: tuple[Note, ...] = ()
    pod_links: Links | None = None
    external_ips: bool = True
    ranges_come_first: bool = False

    @property
    def tells_pods(self) -> bool:
        """Whether pods can be told from others at all."""
        return bool(self.cluster_cidrs) or self.pod_links is not None


def view_node(node: Node, options: Options) -> NodeView:
    """What `node` is to Services of the options' family; what its Node lacks becomes a Note."""
    notes: list[Note] = []
    nftables = options.mode is Mode.NFTABLES
    addresses = tuple(address for address in options.node_addresses if address.version == options.family)
    if not addresses:
        addresses = _internal_addresses(node, options.family, notes)
    return NodeView(
        name=node.metadata.name,
        family=options.family,
        zone=node.metadata.labels.get(ZONE_LABEL, ""),
        node_addresses=addresses,
        cluster_cidrs=_pod_networks(node, options, notes),
        node_port_addresses=_node_port_networks(options, addresses),
        localhost_node_ports=options.localhost_node_ports and not nftables,
        masquerade_all=options.masquerade_all,
        service_cidrs=_in_order(_of_family(options.service_cidrs, options.family)) if nftables else (),
        guards_cluster_ips=nftables,
        admits_health_checks=not nftables,
        notes=tuple(notes),
        pod_links=options.pod_links,
        external_ips=options.external_ips,
        ranges_come_first=nftables,
    )


def _pod_networks(node: Node, options: Options, notes: list[Note]) -> tuple[IPNetwork, ...]:
    match options.local_mode:
        case LocalMode.CLUSTER_CIDR:
            return _of_family(options.cluster_cidrs, options.family)
        case LocalMode.NODE_CIDR:
            return _node_pod_networks(node, options.family, notes)
        case LocalMode.BRIDGE_INTERFACE | LocalMode.INTERFACE_NAME_PREFIX:
            return ()


def _node_pod_networks(node: Node, family: Family, notes: list[Note]) -> tuple[IPNetwork, ...]:
    networks: list[IPNetwork] = []
    field = "spec.podCIDRs" if node.spec.pod_cidrs else "spec.podCIDR"
    for text in node.spec.pod_networks:
        try:
            networks.append(parse_network(text))
        except Refused as error:
            notes.append(Note(origin=_of(node, field, text), message=f"{error}; it is left out"))
    found = _of_family(tuple(networks), family)
    if not found:
        message = (
            f"it has no pod network of {family.api_name} for detectLocalMode NodeCIDR to compare with, so pods cannot "
            "be told from other sources; have it allocated, or choose another detectLocalMode"
        )
        notes.append(Note(origin=_of(node, field), message=message))
    return found


def internal_addresses(node: Node) -> tuple[IPAddress, ...]:
    """Its InternalIPs of both families, in their order; what is no address is left out."""
    found: list[IPAddress] = []
    for entry in node.status.addresses:
        if entry.type == "InternalIP":
            try:
                found.append(parse_address(entry.address))
            except Refused:
                continue
    return tuple(found)


def _node_port_networks(options: Options, addresses: tuple[IPAddress, ...]) -> tuple[IPNetwork, ...] | None:
    """None for all. A family that no network names takes node ports on all of its addresses, as in kube-proxy.

    Where only the primary address may and none is known yet, nothing does: opening all would be more than was asked.
    """
    if options.primary_node_port_address:
        return (parse_network(f"{addresses[0]}/{options.family.bits}"),) if addresses else ()
    networks = _of_family(options.node_port_addresses, options.family)
    if not networks or any(network.prefixlen == 0 for network in networks):
        return None
    return networks


def _in_order(networks: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
    """Each once, by address: each is a rule, and where one heard of a network first must not make another chain."""
    return tuple(sorted(set(networks), key=lambda each: (int(each.network_address), each.prefixlen)))


def _of_family(networks: tuple[IPNetwork, ...], family: Family) -> tuple[IPNetwork, ...]:
    return tuple(network for network in networks if network.version == family)


def _internal_addresses(node: Node, family: Family, notes: list[Note]) -> tuple[IPAddress, ...]:
    found: dict[IPAddress, None] = {}
    for index, entry in enumerate(node.status.addresses):
        if entry.type != "InternalIP":
            continue
        try:
            address = parse_address(entry.address)
        except Refused as error:
            field = f"status.addresses[{index}].address"
            notes.append(Note(origin=_of(node, field, entry.address), message=str(error)))
            continue
        if address.version == family:
            found[address] = None
    if not found:
        message = f"it has no InternalIP of {family.api_name}, so it is unknown which address is its primary one"
        notes.append(Note(origin=_of(node, "status.addresses"), message=message))
    return tuple(found)


def _of(node: Node, field: str, value: str = "") -> Origin:
    return Origin(kind="Node", namespace="", name=node.metadata.name, field=field, value=value)


def _split(texts: Iterable[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def _parse_local_mode(text: str) -> LocalMode:
    try:
        return LocalMode(text) if text else LocalMode.CLUSTER_CIDR
    except ValueError:
        known = ", ".join(LocalMode)
        raise Refused(f"--detect-local-mode: {text!r} is none of the ways to tell pods from others: {known}") from None


def _parse_pod_links(mode: LocalMode, bridge: str, prefix: str) -> Links | None:
    match mode:
        case LocalMode.BRIDGE_INTERFACE:
            return parse_links("--pod-bridge-interface", bridge, is_prefix=False)
        case LocalMode.INTERFACE_NAME_PREFIX:
            return parse_links("--pod-interface-name-prefix", prefix, is_prefix=True)
        case LocalMode.CLUSTER_CIDR | LocalMode.NODE_CIDR:
            return None


def _parse_networks(flag: str, texts: list[str]) -> tuple[IPNetwork, ...]:
    try:
        return tuple(parse_network(text) for text in texts)
    except Refused as error:
        raise Refused(f"{flag}: {error}") from None


def _parse_addresses(flag: str, texts: list[str]) -> tuple[IPAddress, ...]:
    try:
        return tuple(parse_address(text) for text in texts)
    except Refused as error:
        raise Refused(f"{flag}: {error}") from None
