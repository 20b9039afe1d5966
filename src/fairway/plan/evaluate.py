"""What a Plan does to a packet: the specification that every data plane must agree with."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from ipaddress import IPv4Address

from fairway.base.addresses import IPAddress, IPNetwork, format_host
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Candidate, Disposition, Step, Trace
from fairway.plan.model import (
    Backend,
    Backends,
    Door,
    DoorKind,
    HealthCheck,
    Origin,
    Plan,
    Refusal,
    RejectReason,
    ServicePort,
    Source,
    Way,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A door and the Service port it belongs to."""

    port: ServicePort
    door: Door

    def __str__(self) -> str:
        """As Step.entry names it: "default/web:http nodePort 30080/tcp"."""
        place = f"{format_host(self.door.address)}:" if self.door.address is not None else ""
        return f"{self.port.name} {self.door.kind.value} {place}{self.door.port}/{self.door.protocol}"


class Evaluator:
    """A Plan indexed by its doors; each packet then costs a few look-ups, whatever the size of the Plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._own_addresses = frozenset(plan.node_addresses)
        self._by_address: dict[tuple[IPAddress, Protocol, int], Opening] = {}
        self._by_node_port: dict[tuple[Protocol, int], Opening] = {}
        self._users: dict[IPAddress, Opening] = {}
        self._cluster_ips: dict[IPAddress, Opening] = {}
        for port in plan.ports:
            for door in port.doors:
                opening = Opening(port=port, door=door)
                if door.address is None:
                    self._by_node_port.setdefault((door.protocol, door.port), opening)
                else:
                    self._by_address.setdefault((door.address, door.protocol, door.port), opening)
                    self._users.setdefault(door.address, opening)
                    if door.kind is DoorKind.CLUSTER_IP:
                        self._cluster_ips.setdefault(door.address, opening)
        self._health_checks = {check.port: check for check in plan.health_checks}

    def opening(self, packet: Packet) -> Opening | None:
        """The door that `packet` is sent to. Addresses of Services come before node ports, as in kube-proxy's rules."""
        opening = self._by_address.get((packet.destination, packet.protocol, packet.port))
        if opening is None and self.takes_node_ports(packet.destination):
            opening = self._by_node_port.get((packet.protocol, packet.port))
        return opening

    def is_own(self, address: IPAddress) -> bool:
        """Whether it is one of this node's addresses; loopback always is."""
        return address in self._own_addresses or address.is_loopback

    def takes_node_ports(self, address: IPAddress) -> bool:
        """Whether node ports are open at `address` on this node."""
        if not self.is_own(address):
            return False
        if address.is_loopback and (address.version == 6 or not self.plan.localhost_node_ports):
            return False
        networks = self.plan.node_port_addresses
        if networks is None:
            return True
        # Of loopback a node has one address, or a few, and answers at all the others without having them.
        has = not address.is_loopback or address == _LOCALHOST or address in self._own_addresses
        return has and any(address in network for network in networks)

    def source_of(self, packet: Packet) -> Source:
        """The class of the packet's source. That it is a pod's decides first: a node's own address may lie among them.

        What the node itself sends came in by no link, whatever the packet says.
        """
        links = self.plan.pod_links
        if links is not None and not packet.from_node and links.holds(packet.interface):
            return Source.POD
        if any(packet.source in network for network in self.plan.cluster_cidrs):
            return Source.POD
        if packet.from_node or self.is_own(packet.source):
            return Source.NODE
        return Source.ELSEWHERE

    def evaluate(self, packet: Packet, *, remembered: Backend | None = None) -> Trace:
        """The fate of `packet`.

        remembered: the backend that session affinity has kept for the packet's source and the Service port it is sent
        to; it counts where the port has affinity and the backend is still among the choices.
        """
        opening = self.opening(packet)
        if opening is None:
            return self._without_door(packet)
        door = opening.door
        steps = [Step(text=f"it is sent to {_place(packet)}", origin=door.origin, entry=str(opening))]
        if door.allowed_sources is not None and not any(packet.source in network for network in door.allowed_sources):
            return _end(packet, Disposition.DROP, steps, _outside_ranges(opening, packet))
        source = self.source_of(packet)
        way = door.ways[source]
        steps.append(Step(text=self._source_text(packet, source), entry=str(opening)))
        if isinstance(way.outcome, Refusal):
            return _refuse(packet, way.outcome, opening, steps)
        steps.append(_masquerade_step(way, opening))
        return _choose(packet, way, way.outcome, opening, remembered, steps)

    def _source_text(self, packet: Packet, source: Source) -> str:
        links = self.plan.pod_links
        if links is None or source is Source.NODE:
            return f"its source {packet.source} is {_SOURCE_TEXT[source]}"
        way = f"by the link {packet.interface}" if packet.interface else "by a link that is not told"
        if source is Source.POD:
            return f"it comes in {way}, and what comes by {links} is from pods"
        return f"its source {packet.source} is not this node, and it comes in {way}, not by {links} as from a pod"

    def _without_door(self, packet: Packet) -> Trace:
        if self.is_own(packet.destination):
            check = self._health_checks.get(packet.port) if packet.protocol is Protocol.TCP else None
            if check is not None and self.plan.admits_health_checks:
                return _end(packet, Disposition.ACCEPT, [], _health_check_step(check, packet))
        else:
            guard = self._cluster_ips.get(packet.destination) if self.plan.guards_cluster_ips else None
            if guard is not None:
                return _end(packet, Disposition.REJECT, [], _guarded_step(guard, packet))
            network = next((each for each in self.plan.service_cidrs if packet.destination in each), None)
            if network is not None:
                return _end(packet, Disposition.DROP, [], _unallocated_step(network, packet))
        return _end(packet, Disposition.NONE, [], Step(text=self._why_no_door(packet)))

    def _why_no_door(self, packet: Packet) -> str:
        place = _place(packet)
        if packet.destination.version != self.plan.family:
            return f"this is the Plan for {self.plan.family.api_name}, and {packet.destination} is of the other family"
        user = self._users.get(packet.destination)
        if user is not None:
            place = f"{packet.port}/{packet.protocol}"
            return f"{packet.destination} is an address of {_service(user)}, but nothing is open at {place}"
        node_port = self._by_node_port.get((packet.protocol, packet.port))
        if node_port is None:
            return f"no Service has {place}"
        what = f"{packet.port}/{packet.protocol} is a node port of {node_port.port.name}"
        if self.is_own(packet.destination):
            return f"{what}, but node ports are not open at {packet.destination}"
        return f"{what}, but {packet.destination} is not an address of {self.plan.node}"


def evaluate(plan: Plan, packet: Packet, *, remembered: Backend | None = None) -> Trace:
    """The fate of one packet; for many packets keep an `Evaluator`."""
    return Evaluator(plan).evaluate(packet, remembered=remembered)


_LOCALHOST = IPv4Address("127.0.0.1")

_SOURCE_TEXT = {
    Source.POD: "in the pod network",
    Source.NODE: "this node itself",
    Source.ELSEWHERE: "neither in the pod network nor this node",
}

_VERDICT = {
    RejectReason.NO_ENDPOINTS: (Disposition.REJECT, "rejected, so that the sender learns at once"),
    RejectReason.NO_LOCAL_ENDPOINTS: (Disposition.DROP, "dropped, so that a load balancer tries another node"),
}


def _place(packet: Packet) -> str:
    return f"{format_host(packet.destination)}:{packet.port}/{packet.protocol}"


def _end(packet: Packet, disposition: Disposition, steps: list[Step], last: Step) -> Trace:
    return Trace(packet=packet, disposition=disposition, steps=(*steps, last), reason=last.text)


def _refuse(packet: Packet, refusal: Refusal, opening: Opening, steps: list[Step]) -> Trace:
    disposition, verdict = _VERDICT[refusal.reason]
    text = f"{opening.port.name} {refusal.reason.value}: {refusal.origin.reason}; it is {verdict}"
    return _end(packet, disposition, steps, Step(text=text, origin=refusal.origin, entry=str(opening)))


def _outside_ranges(opening: Opening, packet: Packet) -> Step:
    origin = Origin(
        kind="Service",
        namespace=opening.port.name.namespace,
        name=opening.port.name.service,
        field="spec.loadBalancerSourceRanges",
        value=", ".join(str(network) for network in opening.door.allowed_sources or ()),
        reason="only sources in these ranges may use the load balancer's address",
    )
    text = f"its source {packet.source} is in none of the source ranges of {opening.port.name}; it is dropped"
    return Step(text=text, origin=origin, entry=str(opening))


def _health_check_step(check: HealthCheck, packet: Packet) -> Step:
    origin = Origin(
        kind="Service",
        namespace=check.namespace,
        name=check.service,
        field="spec.healthCheckNodePort",
        value=str(check.port),
        reason="load balancers ask here whether this node has ready endpoints",
    )
    text = f"{_place(packet)} is the health check node port of {check.namespace}/{check.service}; it is let in"
    return Step(text=text, origin=origin, entry=f"{check.namespace}/{check.service} healthCheckNodePort {check.port}")


def _guarded_step(guard: Opening, packet: Packet) -> Step:
    text = (
        f"{packet.destination} is the clusterIP of {_service(guard)}, but nothing is open at "
        f"{packet.port}/{packet.protocol}; it is rejected, so that the sender learns at once"
    )
    return Step(text=text, origin=guard.door.origin, entry=str(guard))


def _unallocated_step(network: IPNetwork, packet: Packet) -> Step:
    reason = "addresses in it are Services', and no machine's to answer for"
    origin = Origin(
        kind="ServiceCIDR", namespace="", name=str(network), field="spec.cidrs", value=str(network), reason=reason
    )
    return Step(text=f"{packet.destination} is in {network}, but no Service has it; it is dropped", origin=origin)


def _service(opening: Opening) -> str:
    return f"{opening.port.name.namespace}/{opening.port.name.service}"


def _masquerade_step(way: Way, opening: Opening) -> Step:
    what = "its source becomes an address of this node" if way.masquerade else "it keeps its source"
    return Step(text=f"{what}: {way.origin.reason}", origin=way.origin, entry=str(opening))


def _choose(
    packet: Packet, way: Way, backends: Backends, opening: Opening, remembered: Backend | None, steps: list[Step]
) -> Trace:
    choices = backends.choices
    reason = f"{opening.port.name} sends it to {_one_of(choices)}: {backends.origin.reason}"
    steps.append(Step(text=reason, origin=backends.origin, entry=str(opening)))
    kept = _kept(opening.port, choices, remembered)
    if kept is not None:
        choices = (kept,)
        reason = f"session affinity keeps {packet.source} on {kept}"
        steps.append(Step(text=reason, origin=_affinity_origin(opening.port), entry=str(opening)))
    probability = Fraction(1, len(choices))
    candidates = tuple(_candidate(backend, packet, way, probability) for backend in choices)
    steps += (
        Step(
            text=f"{candidate} is its own source: the address is rewritten, or its answer would not come back this way"
        )
        for candidate in candidates
        if candidate.masquerade and not way.masquerade
    )
    return Trace(packet=packet, disposition=Disposition.DNAT, steps=tuple(steps), reason=reason, candidates=candidates)


def _candidate(backend: Backend, packet: Packet, way: Way, probability: Fraction) -> Candidate:
    address = backend.address
    return Candidate(
        address=address,
        port=backend.port,
        probability=probability,
        masquerade=way.masquerade or address == packet.source,
        local=backend.local,
    )


def _kept(port: ServicePort, choices: tuple[Backend, ...], remembered: Backend | None) -> Backend | None:
    if port.affinity is None or remembered is None:
        return None
    place = remembered.address, remembered.port
    return next((choice for choice in choices if (choice.address, choice.port) == place), None)


def _affinity_origin(port: ServicePort) -> Origin:
    return Origin(
        kind="Service",
        namespace=port.name.namespace,
        name=port.name.service,
        field="spec.sessionAffinity",
        value="ClientIP",
        reason="a client stays with the backend it met last",
    )


def _one_of(choices: tuple[Backend, ...]) -> str:
    return str(choices[0]) if len(choices) == 1 else f"one of {len(choices)} endpoints"
