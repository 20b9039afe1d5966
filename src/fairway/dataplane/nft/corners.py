"""Where the nf_tables rules are not the specification. Pure."""

from __future__ import annotations

from fairway.flow.packet import Packet
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Backends, DoorKind

FAR_HAIRPIN = (
    "the set of hairpins holds only this node's endpoints for clusterIPs, since pods of other nodes meet their own "
    "node's rules: an endpoint of another node that calls itself by way of this one keeps its address"
)


def corner(evaluator: Evaluator, packet: Packet) -> str | None:
    """Why the rules may do something else to this packet than `evaluator` says; None where they do the same."""
    opening = evaluator.opening(packet)
    if opening is None or opening.door.kind is not DoorKind.CLUSTER_IP:
        return None
    way = opening.door.ways[evaluator.source_of(packet)]
    if way.masquerade or not isinstance(way.outcome, Backends):
        return None
    is_far = any(choice.address == packet.source and not choice.local for choice in way.outcome.choices)
    return FAR_HAIRPIN if is_far else None
