"""What a node agent is told besides the objects, and what the two together say of one node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fairway.api.core import ZONE_LABEL, Node
from fairway.base.addresses import Family, IPAddress, IPNetwork, parse_address, parse_network
from fairway.base.errors import Refused
from fairway.plan.model import Note, Origin

PRIMARY = "primary"
"""In place of networks: only the node's primary address of each family takes node ports (KEP-4180)."""


class Mode(StrEnum):
    """Which of kube-proxy's modes decides where the two differ: `mode` of a KubeProxyConfiguration."""

    NFTABLES = "nftables"
    IPTABLES = "iptables"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of KubeProxyConfiguration that change what happens to packets; each holds both families.

    cluster_cidrs: the pod network; empty means that pods cannot be told from others. node_port_addresses: networks
    whose local addresses take node ports; empty means all. primary_node_port_address: only the primary address takes
    them, whatever node_port_addresses says. node_addresses: the node's own addresses, its primary one first; empty
    means those its Node tells. masquerade_all: rewrite the source of everything sent to a clusterIP.
    localhost_node_ports: node ports answer on 127.0.0.0/8 too; mode nftables cannot, whatever this says.
    service_cidrs: where clusterIPs are allocated; mode nftables drops what is sent to one that no Service has.
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
) -> Options:
    """Options from the texts of flags or of a configuration file; each text may be a list with commas.

    Without node_port_addresses all of the node's addresses take node ports in mode iptables, only the primary one in
    mode nftables.

    Raises Refused, naming the flag, for what is no address or network, and for "primary" beside networks.
    """
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
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """Everything compile has to know of the node it compiles for, in one address family.

    zone: "" where the Node has no zone. node_port_addresses: None means every local address. Other fields as in Plan.
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
        cluster_cidrs=_of_family(options.cluster_cidrs, options.family),
        node_port_addresses=_node_port_networks(options, addresses),
        localhost_node_ports=options.localhost_node_ports and not nftables,
        masquerade_all=options.masquerade_all,
        service_cidrs=_of_family(options.service_cidrs, options.family) if nftables else (),
        guards_cluster_ips=nftables,
        admits_health_checks=not nftables,
        notes=tuple(notes),
    )


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
