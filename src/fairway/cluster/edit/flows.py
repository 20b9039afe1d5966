"""Connections that live now, and those of them whose backend an edit takes away. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from fairway.base.addresses import IPAddress, format_host, parse_address
from fairway.flow.packet import Packet, Protocol
from fairway.netlink.conntrack import IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, Flow, TcpState
from fairway.plan.evaluate import Evaluator, Opening
from fairway.plan.model import Backends

PROTOCOLS = {IPPROTO_TCP: Protocol.TCP, IPPROTO_UDP: Protocol.UDP, IPPROTO_SCTP: Protocol.SCTP}
_LIVING = frozenset({TcpState.SYN_SENT, TcpState.SYN_RECV, TcpState.ESTABLISHED, TcpState.SYN_SENT2})
"""States of TCP in which both ends still may send; the others wait to be forgotten."""


class LiveFlow(Struct, frozen=True, kw_only=True, order=True):
    """One connection, as a node sees it, in the form in which it travels from there."""

    protocol: str
    client: str
    client_port: int
    address: str
    port: int
    backend: str
    backend_port: int


class LostFlow(Struct, frozen=True, kw_only=True, order=True):
    """A connection whose backend is none any more. door: as an Opening names it. cut: it is ended at once.

    Only UDP's are: the agent deletes them, so that the next packet goes to another backend. TCP and SCTP keep theirs
    for as long as they last, since nobody tells the client to begin anew.
    """

    door: str
    protocol: str
    client: str
    backend: str
    cut: bool


def live_flow(flow: Flow) -> LiveFlow | None:
    """What matters of a flow; None where nobody chose a backend for it, or where it has ended."""
    protocol = PROTOCOLS.get(flow.protocol)
    if protocol is None or (flow.state is not None and flow.state not in _LIVING):
        return None
    sent, answered = flow.original, flow.reply
    if (sent.destination, sent.destination_port) == (answered.source, answered.source_port):
        return None
    return LiveFlow(
        protocol=protocol.value,
        client=str(sent.source),
        client_port=sent.source_port,
        address=str(sent.destination),
        port=sent.destination_port,
        backend=str(answered.source),
        backend_port=answered.source_port,
    )


def lost_flows(flows: Iterable[LiveFlow], before: Evaluator, after: Evaluator) -> Iterator[LostFlow]:
    """Of a node's flows those whose backend would not be chosen for their client any more.

    An Evaluator knows one family, and flows of the other have no door there.
    """
    for flow in flows:
        packet = _packet(flow, before)
        opening = before.opening(packet)
        backend = parse_address(flow.backend), flow.backend_port
        if opening is None or backend not in _choices(opening, packet, before):
            continue  # no Service's, or begun under rules that are no more
        then = after.opening(packet)
        if then is not None and backend in _choices(then, packet, after):
            continue
        yield LostFlow(
            door=str(opening),
            protocol=flow.protocol,
            client=f"{format_host(packet.source)}:{flow.client_port}",
            backend=f"{format_host(backend[0])}:{backend[1]}",
            cut=flow.protocol == Protocol.UDP and not (then is not None and _still_answers(then, backend)),
        )


def _packet(flow: LiveFlow, evaluator: Evaluator) -> Packet:
    source = parse_address(flow.client)
    return Packet(
        source=source,
        destination=parse_address(flow.address),
        port=flow.port,
        protocol=Protocol(flow.protocol),
        from_node=evaluator.is_own(source),
    )


def _choices(opening: Opening, packet: Packet, evaluator: Evaluator) -> set[tuple[IPAddress, int]]:
    """The backends for the flow's client; for anybody where pods are told by links, which a flow does not name."""
    ways = opening.door.ways
    by_link = evaluator.plan.pod_links is not None
    asked = ways.values() if by_link else (ways[evaluator.source_of(packet)],)
    return {
        (backend.address, backend.port)
        for way in asked
        if isinstance(way.outcome, Backends)
        for backend in way.outcome.choices
    }


def _still_answers(opening: Opening, backend: tuple[IPAddress, int]) -> bool:
    """Whether the agent lets a UDP flow be: the backend still serves somebody who comes to the Service."""
    port = opening.port
    return any((each.address, each.port) == backend for each in (*port.cluster, *port.local, *port.answering))
