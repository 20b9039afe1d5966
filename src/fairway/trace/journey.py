"""Whose rules a packet meets: those of its sender's own node first, and of the node it is sent to next. Pure.

A pod that calls another node's port leaves its own node before the port's rules see it. Network plugins rewrite the
source of what leaves the pod network to the node's own address, since machines outside know no way back to pods
(kindnet, flannel, Calico's natOutgoing, ip-masq-agent): to the node that is entered the pod is then its node, and so
neither a pod nor itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fairway.base.addresses import IPAddress
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition, Trace
from fairway.plan.evaluate import Evaluator


class AskerKind(StrEnum):
    """What sends a packet."""

    POD = "pod"
    NODE = "node"
    """A process in the node's own network, as a pod with hostNetwork is one."""
    OUTSIDE = "outside"


class PodSource(StrEnum):
    """Whose address a pod's packet has when it comes to another node from outside the pod network's routes."""

    NODE = "node"
    """Its node's: the network plugin masquerades what leaves the pod network, as most do."""
    POD = "pod"
    """Its own: pods are routed everywhere, as with natOutgoing off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who sends.

    node: where it runs, "" for what is outside the cluster. interface: the link by which its packets come in to that
    node's rules, "" where it does not matter or the node itself sends.
    """

    name: str
    kind: AskerKind
    node: str
    address: IPAddress
    interface: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What the rules of one node do. rewritten: the node before put its own address in the place of the source."""

    node: str
    packet: Packet
    trace: Trace
    rewritten: bool = False


def follow(
    asker: Asker,
    destination: IPAddress,
    port: int,
    protocol: Protocol,
    evaluators: Mapping[str, Evaluator],
    *,
    enters: str = "",
    pod_source: PodSource = PodSource.NODE,
) -> tuple[Leg, ...]:
    """The nodes whose rules the packet meets, in order; the last one settles its fate.

    evaluators: by node. enters: the node to which what comes from outside is sent, where its address does not tell.
    Raises KeyError for a node without an Evaluator.
    """
    owner = owner_of(destination, evaluators)
    first = asker.node or enters or owner
    packet = Packet(
        source=asker.address,
        destination=destination,
        port=port,
        protocol=protocol,
        from_node=asker.kind is AskerKind.NODE and first == asker.node,
        interface=link_of(asker, evaluators[first]) if first == asker.node else "",
    )
    leg = Leg(node=first, packet=packet, trace=evaluators[first].evaluate(packet))
    if leg.trace.disposition is not Disposition.NONE or owner in ("", first):
        return (leg,)
    source = source_abroad(asker, destination, evaluators, pod_source)
    abroad = Packet(source=source, destination=destination, port=port, protocol=protocol)
    trace = evaluators[owner].evaluate(abroad)
    return leg, Leg(node=owner, packet=abroad, trace=trace, rewritten=source != asker.address)


def link_of(asker: Asker, evaluator: Evaluator) -> str:
    """The link by which a pod's packet comes in to its own node; one that is a pod's there, where nobody named it."""
    links = evaluator.plan.pod_links
    if asker.kind is not AskerKind.POD or asker.interface or links is None:
        return asker.interface
    return f"{links.name}0" if links.is_prefix else links.name


def owner_of(address: IPAddress, evaluators: Mapping[str, Evaluator]) -> str:
    """The node whose own address it is, "" for none; loopback is everybody's, so nobody's."""
    if address.is_loopback:
        return ""
    return next((name for name, each in evaluators.items() if address in each.plan.node_addresses), "")


def source_abroad(
    asker: Asker, destination: IPAddress, evaluators: Mapping[str, Evaluator], pod_source: PodSource
) -> IPAddress:
    """The source with which a packet comes to another node than its sender's."""
    if asker.kind is not AskerKind.POD or pod_source is PodSource.POD:
        return asker.address
    plan = evaluators[asker.node].plan
    if not plan.node_addresses or any(destination in network for network in plan.cluster_cidrs):
        return asker.address
    return plan.node_addresses[0]
