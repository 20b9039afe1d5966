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


def peer_of(leg: Leg, asker: Asker, opening: Opening | None, evaluator: Evaluator, places: Places) -> str:
    """Whom the endpoint takes for its peer."""
    if leg.trace.disposition is not Disposition.DNAT or opening is None:
        return ""
    source, node = leg.packet.source, leg.node
    way = opening.door.ways[evaluator.source_of(leg.packet)]
    if not way.masquerade:
        other = f", not the pod's own {asker.address}" if leg.rewritten else ""
        return f"The endpoint sees {_who(source, places)} as its peer{other}"
    primary = evaluator.plan.node_addresses[0] if evaluator.plan.node_addresses else None
    normally = f", normally {primary}" if primary else ""
    remote = any(not candidate.local for candidate in leg.trace.candidates)
    local = any(candidate.local for candidate in leg.trace.candidates)
    own_link = f"the address {node} has on the link to that pod"
    if not remote:
        what = f"an address of {node}: {own_link}"
    elif local:
        what = f"an address of {node}{normally}; an endpoint on {node} itself sees {own_link}"
    else:
        what = f"an address of {node}{normally}"
    lost = "" if asker.address == primary else f". {asker.address} itself it never learns"
    return f"The endpoint sees {what}{lost}"


def way_back(legs: tuple[Leg, ...], asker: Asker, evaluator: Evaluator, places: Places) -> tuple[str, ...]:
    """How the answer comes back, and who puts the addresses right on its way."""
    leg = legs[-1]
    if leg.trace.disposition is not Disposition.DNAT:
        return ()
    return tuple(_way_back(legs, asker, evaluator, places))


def _way_back(legs: tuple[Leg, ...], asker: Asker, evaluator: Evaluator, places: Places) -> Iterator[str]:
    leg = legs[-1]
    packet, node = leg.packet, leg.node
    place = join_host_port(packet.destination, packet.port, packet.protocol).rpartition("/")[0]
    candidates = leg.trace.candidates
    if leg.trace.masquerade:
        yield (
            f"The endpoint answers {node}, whose address it saw; there conntrack undoes both rewritings, and the "
            f"answer goes on from {place} to {packet.source}"
        )
    elif packet.from_node or _is_pod_here(leg, asker, evaluator, places):
        yield (
            f"The endpoint answers {packet.source}, which is on {node}: there conntrack puts {place} back as the "
            "answer's source"
        )
    else:
        yield from _straight_back(candidates, packet.source, node, place)
    if leg.rewritten:
        first = places.node_at(packet.source) or legs[0].node
        yield f"{first} in turn puts {asker.address} back as its destination, for the pod"


def _is_pod_here(leg: Leg, asker: Asker, evaluator: Evaluator, places: Places) -> bool:
    """A pod's packets meet the rules of its own node; of one that nobody knows that is assumed."""
    if evaluator.source_of(leg.packet) is not Source.POD:
        return asker.node == leg.node
    return places.runs_on(leg.packet.source) in ("", leg.node)


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


def notes_of(
    legs: tuple[Leg, ...], asker: Asker, opening: Opening | None, evaluator: Evaluator, pod_source: PodSource
) -> tuple[str, ...]:
    """What was assumed, and what is not in the rules."""
    return tuple(_notes(legs, asker, opening, evaluator, pod_source))


def _notes(
    legs: tuple[Leg, ...], asker: Asker, opening: Opening | None, evaluator: Evaluator, pod_source: PodSource
) -> Iterator[str]:
    last = legs[-1]
    if asker.kind is AskerKind.OUTSIDE and opening is not None and opening.door.kind is DoorKind.CLUSTER_IP:
        yield (
            "Nothing outside the cluster has a route to a clusterIP: this is what happens if such a packet is routed "
            f"to {last.node} all the same"
        )
    if last.rewritten:
        yield (
            "That the network plugin rewrites what leaves the pod network is assumed, as most do; where it does not, "
            "say --pod-source pod"
        )
    elif len(legs) > 1 and asker.kind is AskerKind.POD and pod_source is PodSource.NODE:
        yield "The destination is in the pod network, so the pod keeps its address on its way"
    if opening is not None and not evaluator.plan.tells_pods and not last.packet.from_node:
        yield "No pod network is known, so pods are told from nobody; if the proxy has one, say --cluster-cidr CIDR"


def _who(address: IPAddress, places: Places) -> str:
    name = places.name(address)
    return f"{address} ({name})" if name else str(address)
