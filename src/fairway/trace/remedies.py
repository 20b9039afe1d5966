"""What would have to change for a packet that is not sent on. Pure.

Commands name objects whose names anybody may have written, so they are quoted for a shell.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping

from fairway.api.core import Service, ServiceType
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, format_host
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import Evaluator, Opening
from fairway.plan.model import DoorKind, Refusal, RejectReason
from fairway.trace.journey import Asker, AskerKind, Leg
from fairway.trace.nothing import health_check_at, open_ports
from fairway.trace.outcome import Remedy
from fairway.trace.scene import Scene, addresses_of

_LISTED = 6
_NEAR_ADDRESS = 0.85
"""One or two digits of an address differ."""


def remedies_for(
    asker: Asker, legs: tuple[Leg, ...], evaluators: Mapping[str, Evaluator], scene: Scene
) -> tuple[Remedy, ...]:
    """Any one of them changes the fate; empty where the packet is sent on."""
    leg = legs[-1]
    evaluator = evaluators[leg.node]
    opening = evaluator.opening(leg.packet)
    match leg.trace.disposition:
        case Disposition.DNAT | Disposition.ACCEPT:
            return ()
        case Disposition.DROP | Disposition.REJECT if opening is not None:
            return tuple(_refused(asker, leg, opening, evaluators, scene))
        case Disposition.DROP | Disposition.REJECT:
            return tuple(_guarded(leg.packet, evaluator, scene))
        case _:
            return tuple(_nothing(leg.packet, evaluator, scene))


def _refused(
    asker: Asker, leg: Leg, opening: Opening, evaluators: Mapping[str, Evaluator], scene: Scene
) -> Iterator[Remedy]:
    key = Key(opening.port.name.namespace, opening.port.name.service)
    allowed = opening.door.allowed_sources
    if allowed is not None and not any(leg.packet.source in network for network in allowed):
        yield from _admit(leg.packet, scene.service(key))
        return
    outcome = opening.door.ways[evaluators[leg.node].source_of(leg.packet)].outcome
    assert isinstance(outcome, Refusal)
    if outcome.reason is RejectReason.NO_ENDPOINTS:
        yield from _endpoints(key, Family(leg.packet.destination.version), scene)
    elif opening.door.kind is DoorKind.CLUSTER_IP:
        yield _patch(key, {"internalTrafficPolicy": "Cluster"}, "Let pods and nodes reach endpoints of every node")
        yield _run_here(leg.node)
    else:
        yield from _not_local(asker, leg, opening, evaluators, scene)


# No endpoint here, under Local


def _not_local(
    asker: Asker, leg: Leg, opening: Opening, evaluators: Mapping[str, Evaluator], scene: Scene
) -> Iterator[Remedy]:
    key = Key(opening.port.name.namespace, opening.port.name.service)
    service = scene.service(key)
    if asker.kind is not AskerKind.OUTSIDE:
        cluster_ip = next((each for each in opening.port.doors if each.kind is DoorKind.CLUSTER_IP), None)
        if cluster_ip is not None and cluster_ip.address is not None:
            place = f"{format_host(cluster_ip.address)}:{cluster_ip.port}"
            yield Remedy(
                text=f"Inside the cluster, call the clusterIP, {place}: the external policy is not asked there"
            )
    nodes = list(_nodes_that_answer(leg.packet, opening, evaluators))
    if nodes and opening.door.kind is DoorKind.NODE_PORT:
        yield Remedy(text=f"Send it to a node with an endpoint: {_some(nodes)}")
    elif nodes:
        check = service.spec.health_check_node_port
        how = f" (its health checks ask for that at port {check} of each node)" if check else ""
        yield Remedy(text=f"Have the load balancer send it to a node with an endpoint{how}: {_some(nodes)}")
    lost = "Let every node send to every endpoint; endpoints then see a node's address, not the client's"
    yield _patch(key, {"externalTrafficPolicy": "Cluster"}, lost)
    yield _run_here(leg.node)


def _nodes_that_answer(packet: Packet, opening: Opening, evaluators: Mapping[str, Evaluator]) -> Iterator[str]:
    """Of the same packet, sent to another node."""
    for name, evaluator in evaluators.items():
        destination: IPAddress | None = packet.destination
        if opening.door.address is None:
            destination = next(filter(evaluator.takes_node_ports, evaluator.plan.node_addresses), None)
        if destination is None:
            continue
        same = Packet(source=packet.source, destination=destination, port=packet.port, protocol=packet.protocol)
        if evaluator.evaluate(same).disposition is Disposition.DNAT:
            place = f" ({format_host(destination)}:{packet.port})" if opening.door.address is None else ""
            yield f"{name}{place}"


def _run_here(node: str) -> Remedy:
    return Remedy(text=f"Run an endpoint on {node}: more replicas, or a DaemonSet")


# No endpoint anywhere


def _endpoints(key: Key, family: Family, scene: Scene) -> Iterator[Remedy]:
    slices = [
        each
        for each in scene.view.slices
        if Key(each.metadata.namespace, each.service_name) == key and each.address_type == family.api_name
    ]
    endpoints = [endpoint for each in slices for endpoint in each.endpoints]
    namespace, name = shlex.quote(key.namespace), shlex.quote(key.name)
    if not endpoints:
        what = (
            "Give it pods: none with an address is among its endpoints; compare the selector with the pods' labels, "
            "and where they match, see whether the endpoint slice controller runs"
        )
        yield Remedy(
            text=what,
            command=f"kubectl -n {namespace} get service {name} -o wide; kubectl -n {namespace} get pods --show-labels",
        )
        yield Remedy(
            text="If there ought to be pods, see whether they are scaled to none",
            command=f"kubectl -n {namespace} get deployments,replicasets,statefulsets",
        )
        return
    unready = [endpoint.addresses[0] for endpoint in endpoints if endpoint.addresses and not endpoint.ready]
    if unready:
        yield Remedy(
            text=f"Make one ready: its readiness probe has to succeed; {_some(map(scene.places.title, unready), '; ')}",
            command=f"kubectl -n {namespace} get pods -o wide; kubectl -n {namespace} describe pods",
        )
        return
    yield from _port_names(key, slices, scene.service(key))


def _port_names(key: Key, slices: Iterable[EndpointSlice], service: Service) -> Iterator[Remedy]:
    theirs = sorted({f"{port.name or 'no name'} {port.protocol}" for each in slices for port in each.ports})
    ours = sorted({f"{port.name or 'no name'} {port.protocol}" for port in service.spec.ports})
    text = f"the Service's are {', '.join(ours)}, its EndpointSlices' {', '.join(theirs) or 'none'}"
    selector = f"kubernetes.io/service-name={shlex.quote(key.name)}"
    yield Remedy(
        text=f"Name the ports alike: {text}",
        command=f"kubectl -n {shlex.quote(key.namespace)} get endpointslices -l {selector} -o yaml",
    )


# Source ranges, and addresses with nothing at that port


def _admit(packet: Packet, service: Service) -> Iterator[Remedy]:
    bits = packet.source.max_prefixlen
    ranges = [*service.spec.load_balancer_source_ranges, f"{packet.source}/{bits}"]
    yield _patch(service.metadata.key, {"loadBalancerSourceRanges": ranges}, "Admit the source")
    if any(port.node_port for port in service.spec.ports) and service.spec.type is ServiceType.LOAD_BALANCER:
        ports = ", ".join(str(port.node_port) for port in service.spec.ports if port.node_port)
        guarded = "the ranges guard the load balancer's address alone"
        yield Remedy(text=f"Know that {guarded}: the node port {ports} is open to everybody who reaches a node")


def _guarded(packet: Packet, evaluator: Evaluator, scene: Scene) -> Iterator[Remedy]:
    opened = open_ports(evaluator, packet.destination)
    if opened:
        yield Remedy(text=f"Call a port that is open at {packet.destination}: {', '.join(opened)}")
    else:
        yield from _near_address(packet.destination, scene)
        yield Remedy(text="Look the Service's address up", command="kubectl get services --all-namespaces")


# Nothing at all


def _nothing(packet: Packet, evaluator: Evaluator, scene: Scene) -> Iterator[Remedy]:
    opened = open_ports(evaluator, packet.destination)
    if opened:
        yield Remedy(text=f"Call a port that is open at {packet.destination}: {', '.join(opened)}")
        return
    if health_check_at(packet, evaluator) is not None:
        return
    if not evaluator.is_own(packet.destination):
        if not scene.places.name(packet.destination):
            yield from _near_address(packet.destination, scene)
        return
    node_ports = list(_node_ports(scene))
    for service, number, port, protocol in node_ports:
        if port == packet.port and protocol is packet.protocol:
            where = f"{port} is the port of Service {service} at its clusterIP, and {number} its node port"
            yield Remedy(text=f"Call {evaluator.plan.node}:{number}: {where}")
            return
    for service, number, _, protocol in node_ports:
        if number == packet.port and protocol is not packet.protocol:
            yield Remedy(text=f"Send it over {protocol}: {number}/{protocol} is the node port of Service {service}")
            return
        if number == packet.port:
            taken = [str(each) for each in evaluator.plan.node_addresses if evaluator.takes_node_ports(each)]
            if taken and packet.destination.is_loopback:
                yield Remedy(text=f"Send it to {_some(taken)}")
            elif taken:
                other = (
                    f"open node ports at {packet.destination} too, by nodePortAddresses of the proxies' configuration"
                )
                yield Remedy(text=f"Send it to {_some(taken)}, or {other}")
            return
    yield from _other_ports(packet, [(service, number) for service, number, _, _ in node_ports])


def _near_address(address: IPAddress, scene: Scene) -> Iterator[Remedy]:
    """The address of a Service or node that a slip of the hand makes this one."""
    there = {
        str(each): f"Service {service.metadata.key}"
        for service in scene.view.services
        for each in addresses_of(service)
    }
    there |= {str(each): f"node {name}" for name, addresses in scene.places.nodes.items() for each in addresses}
    near = difflib.get_close_matches(str(address), there, n=1, cutoff=_NEAR_ADDRESS)
    if near:
        yield Remedy(text=f"Did you mean {near[0]}, an address of {there[near[0]]}?")


def _other_ports(packet: Packet, node_ports: list[tuple[Key, int]]) -> Iterator[Remedy]:
    texts = {str(number): service for service, number in node_ports}
    near = difflib.get_close_matches(str(packet.port), texts, n=1, cutoff=0.7)
    if near:
        yield Remedy(text=f"Did you mean {near[0]}, the node port of Service {texts[near[0]]}?")
    elif texts:
        yield Remedy(
            text=f"Call a node port that there is: {_some(f'{port} ({name})' for port, name in texts.items())}"
        )
    else:
        yield Remedy(text="No Service here has a node port; a Service gets one by type NodePort or LoadBalancer")


def _node_ports(scene: Scene) -> Iterator[tuple[Key, int, int, Protocol]]:
    for service in scene.view.services:
        for port in service.spec.ports:
            if port.node_port:
                yield service.metadata.key, port.node_port, port.port, Protocol(port.protocol.lower())


# Words


def _patch(key: Key, spec: Mapping[str, object], text: str) -> Remedy:
    patch = shlex.quote(json.dumps({"spec": spec}, separators=(",", ":")))
    command = f"kubectl -n {shlex.quote(key.namespace)} patch service {shlex.quote(key.name)} -p {patch}"
    return Remedy(text=text, command=command)


def _some(names: Iterable[str], between: str = ", ") -> str:
    there = list(names)
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return between.join(there[:_LISTED]) + more
