"""A wire for given packets to one node: nobody calls who shares a place with it, and whoever may be met has a server.

A place costs more than all packets that its host sends: the kernel takes long to make a network namespace and to let it
go. So those who are only called share one, and so do those who only call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_network

from fairway.base.addresses import Family, IPAddress, IPNetwork
from fairway.cluster.verify.wire import Wire, wire
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Trace
from fairway.plan.evaluate import Evaluator

_WORLD: dict[Family, IPNetwork] = {
    Family.IPV4: ip_network("198.18.0.0/15"),
    Family.IPV6: ip_network("2001:2::/48"),
}
"""Of them is where the node's default route leads, an address that nobody else has (RFC 2544, RFC 5180)."""


@contextmanager
def staged(evaluator: Evaluator, packets: Sequence[Packet]) -> Iterator[Wire]:
    """For the block: the node of `evaluator`, which has an address, with whatever these packets need around it."""
    plan = evaluator.plan
    traces = [evaluator.evaluate(packet) for packet in packets]
    gateway = str(plan.node_addresses[0])
    with wire(plan.family) as node:
        for address in plan.node_addresses:
            if not address.is_loopback:
                node.own(str(address))
        senders = _senders(packets)
        met = {candidate.address for trace in traces for candidate in trace.candidates}
        called = {*met, *(packet.destination for packet in packets)}
        for source, interface in senders.items():
            if interface or source in called:
                node.link(str(source), gateway, interface=interface)
        backends = sorted(address for address in met - senders.keys() if not evaluator.is_own(address))
        if backends:
            node.link([str(each) for each in backends], gateway)
        known = {*senders, *backends, *plan.node_addresses}
        world = str(_unknown(_WORLD[plan.family], known | called))
        callers = [str(source) for source, interface in senders.items() if not interface and source not in called]
        node.link([world, *callers], gateway)
        node.route_all_to(world)
        for address, port, protocol in _servers(traces, evaluator, known):
            node.serve(str(address), port, protocol)
        yield node


def _senders(packets: Iterable[Packet]) -> dict[IPAddress, str]:
    """All but the node itself, with the link that each comes in by: one, even where not each packet names it."""
    found: dict[IPAddress, str] = {}
    for packet in packets:
        if not packet.from_node:
            found[packet.source] = packet.interface or found.get(packet.source, "")
    return found


def _servers(
    traces: Iterable[Trace], evaluator: Evaluator, known: Iterable[IPAddress]
) -> Iterator[tuple[IPAddress, int, Protocol]]:
    """Every backend, and wherever a packet would arrive that no rule touches, said or not."""
    owners = set(known)
    for trace in traces:
        packet = trace.packet
        for candidate in trace.candidates:
            yield candidate.address, candidate.port, packet.protocol
        if packet.destination in owners or evaluator.is_own(packet.destination):
            yield packet.destination, packet.port, packet.protocol


def _unknown(network: IPNetwork, known: set[IPAddress]) -> IPAddress:
    return next(address for address in network if address not in known)
