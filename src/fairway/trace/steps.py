"""The decisions that a node takes about one packet, each in words of Kubernetes. Pure.

The words follow the Plan, as `evaluate` does, and say more: names, policies, networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fairway.base.addresses import IPNetwork
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import Evaluator, Opening
from fairway.plan.model import Backends, DoorKind, Origin, Plan, Refusal, RejectReason, ServicePort, Source, Way
from fairway.trace.journey import Leg
from fairway.trace.names import join_host_port
from fairway.trace.nothing import health_check_at, health_check_words, why_nothing
from fairway.trace.outcome import duration
from fairway.trace.rules import Stage
from fairway.trace.scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """stages: of the rules that take this decision."""

    text: str
    stages: tuple[Stage, ...]
    origin: Origin | None = None
    entry: str = ""


def tell_steps(leg: Leg, evaluator: Evaluator, scene: Scene) -> Iterator[Told]:
    """The decisions of one node, in their order."""
    opening = evaluator.opening(leg.packet)
    if opening is None:
        yield _without_door(leg, evaluator, scene)
        return
    entry = str(opening)
    packet, door = leg.packet, opening.door
    yield Told(text=_at_door(packet, opening), stages=(Stage.DOOR,), origin=door.origin, entry=entry)
    if door.allowed_sources is not None:
        admitted = any(packet.source in network for network in door.allowed_sources)
        yield _ranges(packet, opening, door.allowed_sources, admitted=admitted)
        if not admitted:
            return
    source = evaluator.source_of(packet)
    way = door.ways[source]
    if isinstance(way.outcome, Refusal):
        if way.outcome.reason is RejectReason.NO_LOCAL_ENDPOINTS:
            yield Told(text=_source(packet, source, evaluator.plan), stages=(Stage.SOURCE,), entry=entry)
        yield _refusal(opening, way.outcome, entry)
        return
    yield Told(text=_source(packet, source, evaluator.plan), stages=(Stage.SOURCE,), entry=entry)
    yield _rewriting(way, evaluator.plan, entry)
    yield from _choice(leg, opening, way, way.outcome, entry)


def service_port_text(port: ServicePort) -> str:
    """`port svc-webport (9000)`, `port 9000`."""
    number = next((door.port for door in port.doors if door.kind is DoorKind.CLUSTER_IP), None)
    if not port.name.port:
        return f"port {number}" if number else "its only port"
    return f"port {port.name.port} ({number})" if number else f"port {port.name.port}"


def service_text(port: ServicePort) -> str:
    return f"Service {port.name.namespace}/{port.name.service}"


def _at_door(packet: Packet, opening: Opening) -> str:
    place = join_host_port(packet.destination, packet.port, packet.protocol)
    what = {
        DoorKind.CLUSTER_IP: "the clusterIP",
        DoorKind.NODE_PORT: "the node port",
        DoorKind.EXTERNAL_IP: "an external IP",
        DoorKind.LOAD_BALANCER_IP: "the load balancer's address",
    }[opening.door.kind]
    own = ", which every node serves itself" if opening.door.kind is DoorKind.LOAD_BALANCER_IP else ""
    port = opening.port
    return f"{place} is {what} of {service_text(port)}, {service_port_text(port)}{own}"


def _ranges(packet: Packet, opening: Opening, allowed: tuple[IPNetwork, ...], *, admitted: bool) -> Told:
    name = opening.port.name
    ranges = ", ".join(str(network) for network in allowed) or "none that can be read"
    origin = Origin(
        kind="Service",
        namespace=name.namespace,
        name=name.service,
        field="spec.loadBalancerSourceRanges",
        value=ranges,
    )
    if admitted:
        text = f"Its source {packet.source} is in the ranges that may use the load balancer's address"
        return Told(text=text, stages=(Stage.RANGES,), origin=origin, entry=str(opening))
    text = (
        f"Its source {packet.source} is in none of the ranges that may use the load balancer's address: it is dropped"
    )
    return Told(text=text, stages=(Stage.RANGES, Stage.END), origin=origin, entry=str(opening))


def _source(packet: Packet, source: Source, plan: Plan) -> str:
    networks = ", ".join(str(network) for network in plan.cluster_cidrs)
    match source:
        case Source.POD:
            links = plan.pod_links
            where = f"it is in the pod network {networks}" if networks or links is None else f"it came in by {links}"
            return f"Its source {packet.source} is a pod's: {where}"
        case Source.NODE:
            return f"Its source {packet.source} is {plan.node} itself"
        case Source.ELSEWHERE if networks:
            return (
                f"Its source {packet.source} is from elsewhere: neither in the pod network {networks} nor {plan.node}"
            )
        case Source.ELSEWHERE if plan.pod_links is not None:
            where = f"it is not {plan.node}, nor did it come in by {plan.pod_links}"
            return f"Its source {packet.source} is from elsewhere: {where}"
        case Source.ELSEWHERE:
            return (
                f"Its source {packet.source} is not {plan.node}, and which sources are pods nobody told (cluster CIDR)"
            )


def _rewriting(way: Way, plan: Plan, entry: str) -> Told:
    what = f"Its source becomes an address of {plan.node}" if way.masquerade else "It keeps its source"
    return Told(text=f"{what}: {way.origin.reason}", stages=(Stage.REWRITE,), origin=way.origin, entry=entry)


def _choice(leg: Leg, opening: Opening, way: Way, backends: Backends, entry: str) -> Iterator[Told]:
    count = len(backends.choices)
    if count == 1:
        text = f"It is sent on to {backends.choices[0]}: {backends.origin.reason}"
    else:
        text = f"It is sent on to one of {count} endpoints, each as likely as the next: {backends.origin.reason}"
    yield Told(text=text, stages=(Stage.CHOICE,), origin=backends.origin, entry=entry)
    affinity = opening.port.affinity
    if affinity is not None:
        name = opening.port.name
        origin = Origin(
            kind="Service",
            namespace=name.namespace,
            name=name.service,
            field="spec.sessionAffinity",
            value="ClientIP",
        )
        text = (
            f"The choice is kept for {leg.packet.source}: it stays with that endpoint until it has opened no "
            f"connection for {duration(affinity.timeout_s)}; every node remembers for itself"
        )
        yield Told(text=text, stages=(Stage.REMEMBER,), origin=origin, entry=entry)
    if way.masquerade:
        return
    for candidate in leg.trace.candidates:
        if candidate.masquerade:
            text = (
                f"Should the choice fall on {candidate}, which is the sender itself, its source is rewritten: else it "
                "would answer itself, and never hear of the Service again"
            )
            yield Told(text=text, stages=(Stage.HAIRPIN,), entry=entry)


def _refusal(opening: Opening, refusal: Refusal, entry: str) -> Told:
    who = service_text(opening.port)
    if refusal.reason is RejectReason.NO_ENDPOINTS:
        learns = "it is rejected, so the sender learns at once"
        text = f"{who} has no endpoint to send it to: {refusal.origin.reason}; {learns}"
    else:
        text = f"{who} has no endpoint here that may be used: {refusal.origin.reason}; it is dropped without a word"
    return Told(text=text, stages=(Stage.END,), origin=refusal.origin, entry=entry)


def _without_door(leg: Leg, evaluator: Evaluator, scene: Scene) -> Told:
    trace = leg.trace
    step = trace.steps[-1]
    stages = (Stage.DOOR, Stage.END) if trace.disposition is not Disposition.NONE else (Stage.DOOR,)
    check = health_check_at(leg.packet, evaluator)
    text = step.text
    if trace.disposition is Disposition.NONE:
        text = why_nothing(leg.packet, evaluator, scene)
    elif check is not None:
        place = join_host_port(leg.packet.destination, leg.packet.port, leg.packet.protocol)
        text = f"{health_check_words(check, place, leg.node)}; it is let in past any firewall that comes later"
    return Told(text=text[:1].upper() + text[1:], stages=stages, origin=step.origin, entry=step.entry)
