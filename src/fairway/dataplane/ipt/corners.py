"""Where kube-proxy's iptables rules are not the specification. Pure.

Ours are kube-proxy's line for line, so these packets meet what kube-proxy makes of them, and not what `evaluate` says.
"""

from __future__ import annotations

from fairway.flow.packet import Packet
from fairway.plan.evaluate import Evaluator, Opening
from fairway.plan.model import DoorKind, Plan, Refusal, RejectReason

REFUSED_EVERYWHERE = (
    "kube-proxy refuses a node port without backends at every local address, also where node ports are not open"
)
REFUSED_TO_ALL = (
    "without any endpoint kube-proxy rejects also those whom loadBalancerSourceRanges keeps out: they learn sooner"
)
NOT_REFUSED_ON_THE_WAY_OUT = (
    "KUBE-EXTERNAL-SERVICES is not called from OUTPUT, so what a node itself sends to an external address without "
    "backends is refused only where that address is its own, and else leaves"
)


def corner(evaluator: Evaluator, packet: Packet) -> str | None:
    """Why the rules may do something else to this packet than `evaluator` says; None where they do the same."""
    opening = evaluator.opening(packet)
    if opening is None:
        refused = evaluator.is_own(packet.destination) and _has_refused_node_port(evaluator.plan, packet)
        return REFUSED_EVERYWHERE if refused else None
    door = opening.door
    refused = isinstance(door.ways[evaluator.source_of(packet)].outcome, Refusal)
    if refused and packet.from_node and door.kind is not DoorKind.CLUSTER_IP:
        return NOT_REFUSED_ON_THE_WAY_OUT if not evaluator.is_own(packet.destination) else None
    return REFUSED_TO_ALL if door.allowed_sources is not None and _has_no_endpoints(opening) else None


def _has_refused_node_port(plan: Plan, packet: Packet) -> bool:
    return any(
        isinstance(way.outcome, Refusal)
        for port in plan.ports
        for door in port.doors
        if (door.kind, door.port, door.protocol) == (DoorKind.NODE_PORT, packet.port, packet.protocol)
        for way in door.ways.values()
    )


def _has_no_endpoints(opening: Opening) -> bool:
    return all(
        isinstance(way.outcome, Refusal) and way.outcome.reason is RejectReason.NO_ENDPOINTS
        for way in opening.door.ways.values()
    )
