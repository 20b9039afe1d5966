"""What is sent to a node: each cell of the matrix whose packet meets its rules, and what should meet no door. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from fairway.api.codec import ClusterView
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, IPNetwork, format_host
from fairway.flow.packet import Packet, Protocol
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Plan
from fairway.trace.journey import Asker, AskerKind, link_of
from fairway.trace.matrix import Cell, askers, cells, entries

SENT = (Protocol.TCP, Protocol.UDP)
"""What a real packet can be of here; of SCTP there are doors, and nothing that the kernel of every machine sends."""

NOBODYS = {Family.IPV4: ip_address("192.0.2.77"), Family.IPV6: ip_address("2001:db8:ffff::77")}
"""An address that nobody owns (RFC 5737, RFC 3849)."""
LOOPBACK = {Family.IPV4: ip_address("127.0.0.1"), Family.IPV6: ip_address("::1")}
_WRONG_PORT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A packet to be sent. label: who calls what, as one would say it."""

    label: str
    packet: Packet


def probes(
    view: ClusterView,
    evaluators: Mapping[str, Evaluator],
    keys: Iterable[Key],
    clients: Mapping[str, tuple[IPAddress, ...]] | None = None,
) -> dict[str, list[Probe]]:
    """By node, what to send to it. evaluators: by node, of one family and mode. keys: the Services that are called.

    No packet is twice in a node's list: many cells of another node's port are one packet to this one's rules.
    """
    who = askers(view, evaluators, clients)
    found: dict[str, dict[Packet, Probe]] = {node: {} for node in evaluators}
    for key in keys:
        ways = [entry for entry in entries(key, evaluators) if entry.protocol in SENT]
        for cell in cells(who, ways, evaluators):
            for node, probe in _of_cell(cell):
                found[node].setdefault(probe.packet, probe)
    outside = next(asker for asker in who if asker.kind is AskerKind.OUTSIDE)
    for node, evaluator in evaluators.items():
        pod = next((each for each in who if each.kind is AskerKind.POD and each.node == node), outside)
        called = [probe.packet for probe in found[node].values()]
        for probe in _without_door(evaluator, called, dict.fromkeys([outside, pod])):
            found[node].setdefault(probe.packet, probe)
    return {node: list(by_packet.values()) for node, by_packet in found.items()}


def _of_cell(cell: Cell) -> Iterator[tuple[str, Probe]]:
    for leg in cell.legs:
        label = f"{cell.asker.name} -> {cell.entry.label}/{cell.entry.protocol}"
        if leg.rewritten:
            label += f", as {leg.packet.source}"
        yield leg.node, Probe(label=label, packet=leg.packet)


def _without_door(evaluator: Evaluator, called: list[Packet], who: Iterable[Asker]) -> Iterator[Probe]:
    """Another port of each address that was called; the node's ports where they are not open; nobody's addresses."""
    plan = evaluator.plan
    used = {(packet.destination, packet.port, packet.protocol) for packet in called}
    addresses = dict.fromkeys(packet.destination for packet in called)
    node_ports = {(door.port, door.protocol) for port in plan.ports for door in port.doors if door.address is None}
    called_ports = sorted({(packet.port, packet.protocol) for packet in called} & node_ports)
    closed = [address for address in plan.node_addresses if not evaluator.takes_node_ports(address)]
    for asker in who:
        for address in addresses:
            for protocol in SENT:
                if (address, _WRONG_PORT, protocol) not in used:
                    yield from _calls(asker, evaluator, address, _WRONG_PORT, protocol)
        for address in _nobodys(plan, addresses):
            yield from _calls(asker, evaluator, address, _WRONG_PORT, Protocol.TCP)
        for port, protocol in called_ports:
            for address in closed:
                yield from _calls(asker, evaluator, address, port, protocol)
    own = LOOPBACK[plan.family]
    for port, protocol in called_ports:
        packet = Packet(source=own, destination=own, port=port, protocol=protocol, from_node=True)
        yield _probe(plan.node, packet)


def _nobodys(plan: Plan, taken: Iterable[IPAddress]) -> Iterator[IPAddress]:
    """One of no network at all, and one of each network of Services that none has."""
    yield NOBODYS[plan.family]
    owned = {door.address for port in plan.ports for door in port.doors} | set(taken)
    for network in plan.service_cidrs:
        address = _free(network, owned)
        if address is not None:
            yield address


def _free(network: IPNetwork, owned: set[IPAddress | None]) -> IPAddress | None:
    """The last one that is not owned, of the last few."""
    few = range(2, min(network.num_addresses, 258))
    return next((network[-step] for step in few if network[-step] not in owned), None)


def _calls(asker: Asker, evaluator: Evaluator, address: IPAddress, port: int, protocol: Protocol) -> Iterator[Probe]:
    """Unless that is itself: then nothing leaves."""
    if asker.address != address:
        link = link_of(asker, evaluator)
        packet = Packet(source=asker.address, destination=address, port=port, protocol=protocol, interface=link)
        yield _probe(asker.name, packet)


def _probe(name: str, packet: Packet) -> Probe:
    return Probe(label=f"{name} -> {format_host(packet.destination)}:{packet.port}/{packet.protocol}", packet=packet)
