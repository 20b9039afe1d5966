"""Why Services have nothing to say of a packet, and where it goes instead. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.api.core import SERVICE_PROXY_NAME_LABEL, IPMode, Service
from fairway.base.addresses import Family, IPAddress
from fairway.flow.packet import Packet, Protocol
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import HealthCheck
from fairway.trace.names import join_host_port
from fairway.trace.scene import Scene, addresses_of

_SILENT = {
    Protocol.TCP: "refuses the connection",
    Protocol.UDP: "answers with ICMP port unreachable",
    Protocol.SCTP: "refuses the association",
}
"""What a kernel does with a packet for a port that no socket has (RFC 9293 3.10.7.1, RFC 1122 4.1.3.1)."""


def why_nothing(packet: Packet, evaluator: Evaluator, scene: Scene) -> str:
    """One sentence without its full stop: why no door, and where the packet is routed."""
    place = join_host_port(packet.destination, packet.port, packet.protocol)
    check = health_check_at(packet, evaluator)
    if check is not None:
        return f"{health_check_words(check, place, evaluator.plan.node)}; no rule is needed for that"
    return f"{_why(packet, place, evaluator, scene)}; {where_routed(packet, evaluator, scene)}"


def health_check_at(packet: Packet, evaluator: Evaluator) -> HealthCheck | None:
    """The health check node port that the packet is sent to."""
    if packet.protocol is not Protocol.TCP or not evaluator.is_own(packet.destination):
        return None
    return next((check for check in evaluator.plan.health_checks if check.port == packet.port), None)


def health_check_words(check: HealthCheck, place: str, node: str) -> str:
    """What is there and what it answers."""
    count = check.local_endpoints
    answer = "200, so that load balancers use it" if count else "503, so that load balancers leave it out"
    endpoints = f"{count or 'no'} ready endpoint{'' if count == 1 else 's'}"
    name = f"Service {check.namespace}/{check.service}"
    return f"{place} is the health check node port of {name}: {node} has {endpoints}, and its agent answers {answer}"


def where_routed(packet: Packet, evaluator: Evaluator, scene: Scene) -> str:
    """What becomes of a packet that no Service takes."""
    address, node, places = packet.destination, evaluator.plan.node, scene.places
    listens = f"{packet.port}/{packet.protocol}"
    if evaluator.is_own(address):
        unheard = _SILENT[packet.protocol]
        return f"it is for {node} itself: a process that listens at {listens} there gets it, and else it {unheard}"
    owner = places.node_at(address)
    if owner:
        return f"it is routed to node {owner}, whose own rules decide there"
    pod = places.pod_at(address)
    if pod is not None:
        where = f" on {pod.node}" if pod.node else ""
        return f"it is routed to pod {pod.key}{where} as it is, which gets it if it listens at {listens}"
    runs_on = places.runs_on(address)
    if runs_on and runs_on != places.network_of(address):
        return f"it is routed as it is to the endpoint that has the address, on {runs_on}"
    if runs_on:
        return f"it is routed as it is to {runs_on}, which has that part of the pod network"
    if any(address in network for network in evaluator.plan.cluster_cidrs):
        return (
            "it is in the pod network, where nobody is known to have it: it is routed to the node of that part, if any"
        )
    if any(address in network for network in evaluator.plan.service_cidrs) or address in set(_service_addresses(scene)):
        return f"no machine has such an address: it follows the default route of {node}, and nobody answers"
    client = places.client_at(address)
    if client:
        return f"it is routed to {client}, which is no part of the cluster"
    return f"nobody in the cluster has the address: it follows the routes of {node}, most likely its default route"


def open_ports(evaluator: Evaluator, address: IPAddress) -> tuple[str, ...]:
    """What is open at a Service's address: `9000/tcp`."""
    return tuple(
        f"{door.port}/{door.protocol}"
        for port in evaluator.plan.ports
        for door in port.doors
        if door.address == address
    )


def _why(packet: Packet, place: str, evaluator: Evaluator, scene: Scene) -> str:
    if packet.destination.version != evaluator.plan.family:
        return f"{place} is of the other family than these rules"
    opened = open_ports(evaluator, packet.destination)
    owner = next(_owners(packet.destination, scene), None)
    if opened and owner is not None:
        there = ", ".join(opened)
        return f"{packet.destination} is an address of Service {owner.metadata.key}, but open there is only {there}"
    if owner is not None:
        reason = _why_left_alone(owner, packet.destination)
        return f"{packet.destination} is an address of Service {owner.metadata.key}, but {reason}"
    node_port = _node_port(packet, evaluator)
    if node_port and packet.destination.is_loopback:
        return f"{packet.port}/{packet.protocol} is {node_port}, but {_on_loopback(evaluator)}"
    if node_port and evaluator.is_own(packet.destination):
        taken = ", ".join(str(each) for each in evaluator.plan.node_addresses if evaluator.takes_node_ports(each))
        only = f"only at {taken}" if taken else "at no address"
        return f"{packet.port}/{packet.protocol} is {node_port}, but node ports are open {only} (nodePortAddresses)"
    if node_port and not scene.places.node_at(packet.destination):
        return f"{packet.port}/{packet.protocol} is {node_port}, but {packet.destination} is no address of a node"
    return f"No Service has {place}"


def _on_loopback(evaluator: Evaluator) -> str:
    plan = evaluator.plan
    if plan.family is Family.IPV6:
        return "node ports are never open on the loopback address of IPv6"
    if plan.localhost_node_ports:
        return "node ports are not open at this loopback address (nodePortAddresses)"
    if plan.guards_cluster_ips:  # mode nftables
        return "mode nftables opens node ports on no loopback address"
    return "node ports are not open on loopback addresses (iptables.localhostNodePorts)"


def _node_port(packet: Packet, evaluator: Evaluator) -> str:
    for port in evaluator.plan.ports:
        for door in port.doors:
            if door.address is None and (door.port, door.protocol) == (packet.port, packet.protocol):
                return f"the node port of Service {port.name.namespace}/{port.name.service}"
    return ""


def _owners(address: IPAddress, scene: Scene) -> Iterator[Service]:
    for service in scene.view.services:
        if address in set(addresses_of(service)):
            yield service


def _service_addresses(scene: Scene) -> Iterator[IPAddress]:
    for service in scene.view.services:
        yield from addresses_of(service)


def _why_left_alone(service: Service, address: IPAddress) -> str:
    if SERVICE_PROXY_NAME_LABEL in service.metadata.labels:
        return f"its label {SERVICE_PROXY_NAME_LABEL} leaves it to another proxy"
    for ingress in service.status.load_balancer.ingress:
        if ingress.ip_mode is IPMode.PROXY and ingress.ip == str(address):
            return "its ipMode is Proxy, so nodes leave the address to the load balancer"
    return "none of its ports is programmed"
