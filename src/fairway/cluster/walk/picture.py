"""One packet's way, drawn with the addresses and ports of a call that was just made. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.base.addresses import format_host, parse_address
from fairway.base.text import pad
from fairway.cluster.walk.conntrack import Connection
from fairway.cluster.walk.language import Language

_WIDTH = 74


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A call through a node port: who called, which node was entered, which pod on which node answered."""

    client: str
    entered: str
    pod: str
    pod_node: str
    connection: Connection


def draw(way: Way, language: Language = Language.ENGLISH) -> str:
    """The way there on the left, the way back on the right, one line an event; plain text, 76 columns."""
    tell = language.tell
    original, reply = way.connection.original, way.connection.reply
    client, pod = (_place(each.source, each.source_port) for each in (original, reply))
    door, node = (_place(each.destination, each.destination_port) for each in (original, reply))
    lines = [
        _box(tell("client {client}", client=way.client), [client]),
        _arrows(f"{client} -> {door}", f"{door} -> {client}"),
        _box(
            tell("{node}  (the node entered)", node=way.entered),
            [
                tell("DNAT  {before}  becomes  {after}", before=door, after=pod),
                tell("SNAT  {before}  becomes  {after}", before=client, after=node),
                tell("conntrack remembers both and undoes them for the reply"),
            ],
        ),
        _arrows(f"{node} -> {pod}", f"{pod} -> {node}"),
        _box(f"{way.pod_node}", [tell("routes to pod {pod}", pod=way.pod)]) if way.pod_node != way.entered else "",
        _arrows(f"{node} -> {pod}", f"{pod} -> {node}") if way.pod_node != way.entered else "",
        _box(
            tell("pod {pod}", pod=way.pod),
            [tell("{place}   sees its peer as {peer}", place=pod, peer=reply.destination)],
        ),
    ]
    return "\n".join(line for line in lines if line)


def _place(address: str, port: int) -> str:
    return f"{format_host(parse_address(address))}:{port}"


def _box(title: str, lines: list[str]) -> str:
    top = pad(f"┌─ {title} ", _WIDTH + 1, "─") + "┐"
    body = [pad(f"│  {line}", _WIDTH + 1) + "│" for line in lines]
    return "\n".join([top, *body, "└" + "─" * _WIDTH + "┘"])


def _arrows(there: str, back: str) -> str:
    return "\n".join((f"   │  {there}", "   ▼".ljust(_WIDTH - len(back) - 5) + f"{back}  ▲"))
