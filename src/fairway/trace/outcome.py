"""What follows for the two ends: whom the endpoint sees, how its answer comes back, and what else to know. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fairway.base.addresses import IPAddress
from fairway.flow.trace import Candidate, Disposition
from fairway.plan.evaluate import Evaluator, Opening
from fairway.plan.model import DoorKind, Source
from fairway.trace.journey import Asker, AskerKind, Leg, PodSource
from fairway.trace.names import join_host_port
from fairway.trace.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What would have to change for another fate. command: one that changes or shows it, "" where none does."""

    text: str
    command: str = ""


def duration(seconds: int) -> str:
    """`3 h`, `90 s`."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


@dataclass(frozen=True, slots=True)
class Setting:
    """What decides beside the packet: who sends, at which door, and what is known of the cluster."""

    asker: Asker
    opening: Opening | None
    evaluator: Evaluator
    places: Places
    pod_source: PodSource

    def leaves_pod_network(self, leg: Leg, candidate: Candidate) -> bool:
        """Whether the network plugin of the pod's node rewrites the source behind the Services' rules."""
        plan = self.evaluator.plan
        return (
            self.pod_source is PodSource.NODE
            and not candidate.masquerade
            and any(leg.packet.source in network for network in plan.cluster_cidrs)
            and not any(candidate.address in network for network in plan.cluster_cidrs)
            and not self.evaluator.is_own(candidate.address)
        )


def peer_of(leg: Leg, setting: Setting) -> str:
    """Whom the endpoint takes for its peer."""
    if leg.trace.disposition is not Disposition.DNAT or setting.opening is None:
        return ""
    asker, evaluator, node = setting.asker, setting.evaluator, leg.node
    way = setting.opening.door.ways[evaluator.source_of(leg.packet)]
    if not way.masquerade:
        return _peer_of_kept(leg, setting)
    primary = evaluator.plan.node_addresses[0] if evaluator.plan.node_addresses else None
    normally = f", normally {primary}" if primary else ""
    own_link = f"the address {node} has on the link to that pod"
    local = [each for each in leg.trace.candidates if each.local and not evaluator.is_own(each.address)]
    if len(local) == len(leg.trace.candidates):
        what = f"an address of {node}: {own_link}"
    elif local:
        what = f"an address of {node}{normally}; an endpoint on {node} itself sees {own_link}"
    else:
        what = f"an address of {node}{normally}"
    lost = "" if asker.address == primary else f". It never learns {asker.address}"
    return f"The endpoint sees {what}{lost}"


def _peer_of_kept(leg: Leg, setting: Setting) -> str:
    source, candidates = leg.packet.source, leg.trace.candidates
    abroad = [str(each.address) for each in candidates if setting.leaves_pod_network(leg, each)]
    plugin = f"the network plugin of {leg.node} rewrites the source of what leaves the pod network"
    if abroad and len(abroad) == len(candidates):
        return f"The endpoint sees an address of {leg.node} as its peer: it is outside the pod network, and {plugin}"
    other = f", not the pod's own {setting.asker.address}" if leg.rewritten else ""
    seen = f"The endpoint sees {_who(source, setting.places)} as its peer{other}"
    return f"{seen}; {', '.join(abroad)} sees an address of {leg.node}, since {plugin}" if abroad else seen


def way_back(legs: tuple[Leg, ...], setting: Setting) -> tuple[str, ...]:
    """How the answer comes back, and who puts the addresses right on its way."""
    leg = legs[-1]
    if leg.trace.disposition is not Disposition.DNAT:
        return ()
    return tuple(_way_back(legs, setting))


def _way_back(legs: tuple[Leg, ...], setting: Setting) -> Iterator[str]:
    leg = legs[-1]
    packet, node = leg.packet, leg.node
    place = join_host_port(packet.destination, packet.port, packet.protocol).rpartition("/")[0]
    candidates = leg.trace.candidates
    if leg.trace.masquerade or all(setting.leaves_pod_network(leg, each) for each in candidates):
        yield (
            f"The endpoint answers {node}, whose address it saw; there conntrack undoes both rewritings, and the "
            f"answer goes on from {place} to {packet.source}"
        )
    elif packet.from_node or _is_pod_here(leg, setting):
        yield (
            f"The endpoint answers {packet.source}, which is on {node}: there conntrack puts {place} back as the "
            "answer's source"
        )
    else:
        yield from _straight_back(candidates, packet.source, node, place)
    if leg.rewritten:
        first = setting.places.node_at(packet.source) or legs[0].node
        yield f"{first} in turn puts {setting.asker.address} back as its destination, for the pod"


def _is_pod_here(leg: Leg, setting: Setting) -> bool:
    """A pod's packets meet the rules of its own node; of one that nobody knows that is assumed."""
    if setting.evaluator.source_of(leg.packet) is not Source.POD:
        return setting.asker.node == leg.node
    return setting.places.runs_on(leg.packet.source) in ("", leg.node)


def _straight_back(candidates: tuple[Candidate, ...], source: IPAddress, node: str, place: str) -> Iterator[str]:
    """The answer is sent to the client itself, and only by way of the node that was entered is it put right."""
    if all(candidate.local for candidate in candidates):
        what = "the endpoint runs" if len(candidates) == 1 else "the endpoints run"
        yield (
            f"The answer goes to {source} by way of {node}, since {what} there: conntrack puts {place} back as its "
            "source"
        )
        return
    yield (
        f"An endpoint on another node answers {source} straight, past {node}, which alone could put {place} back as "
        f"the answer's source: unless its way leads by {node}, {source} does not know the answer for its own"
    )


def notes_of(legs: tuple[Leg, ...], setting: Setting) -> tuple[str, ...]:
    """What was assumed, and what is not in the rules."""
    return tuple(_notes(legs, setting))


def _notes(legs: tuple[Leg, ...], setting: Setting) -> Iterator[str]:
    asker, opening, evaluator = setting.asker, setting.opening, setting.evaluator
    last = legs[-1]
    if asker.kind is AskerKind.OUTSIDE and opening is not None and opening.door.kind is DoorKind.CLUSTER_IP:
        yield (
            "Nothing outside the cluster has a route to a clusterIP: this is what happens if such a packet is routed "
            f"to {last.node} all the same"
        )
    if last.rewritten or any(setting.leaves_pod_network(last, each) for each in last.trace.candidates):
        yield (
            "That the network plugin rewrites what leaves the pod network is assumed, as most do; where it does not, "
            "say --pod-source pod"
        )
    elif len(legs) > 1 and asker.kind is AskerKind.POD and setting.pod_source is PodSource.NODE:
        yield "The destination is in the pod network, so the pod keeps its address on its way"
    if opening is not None and not evaluator.plan.tells_pods and not last.packet.from_node:
        yield "No pod network is known, so pods are told from nobody; if the proxy has one, say --cluster-cidr CIDR"


def _who(address: IPAddress, places: Places) -> str:
    name = places.name(address)
    return f"{address} ({name})" if name else str(address)
