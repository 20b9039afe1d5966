"""Many packets, a line of JSON each: the fate of every one as it enters a node. Pure.

Packets of one class of sources that are sent to one door meet the same; only their own address differs in the answer,
so it is put into what was answered before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct, field

from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.base.errors import Refused
from fairway.base.text import one_line
from fairway.flow.packet import Packet, Protocol
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Source
from fairway.trace.names import parse_sender, parse_target
from fairway.trace.scene import Scene
from fairway.trace.sentences import fate_json

_MARK = "\ue000".encode()
"""Of Unicode's private use: stands where the source does, and is in no object's text that gets here."""
_LEAD = "its source "
"""How the words of a trace begin where they name the source."""


class PacketLine(Struct, frozen=True, kw_only=True):
    """A packet as it is asked about.

    sender, to: an address, or a name as `--from` and the host of `--to` have it. from_node: the node itself sends it;
    None where that follows from its source being the node's own. interface: the link it comes in by. node: whose rules
    it meets, "" for the one that was named for all.
    """

    sender: str = field(name="from")
    to: str
    port: int
    protocol: str = "tcp"
    interface: str = ""
    from_node: bool | None = field(default=None, name="fromNode")
    node: str = ""


_Class = tuple[str, IPAddress, int, Protocol, Source, bool]


class Answers:
    """Answers lines of one scene. node: where packets enter that name no node; "" for where their addresses tell."""

    def __init__(self, scene: Scene, node: str = "") -> None:
        self._scene = scene
        self._node = node
        self._decoder = msgspec.json.Decoder(PacketLine)
        self._addresses: dict[str, IPAddress] = {}
        self._known: dict[_Class, tuple[frozenset[int], list[bytes]]] = {}

    def answer(self, number: int, line: bytes) -> tuple[bytes, bool]:
        """A line of JSON for a line of JSON, and whether it was one; for a bad one, {"line", "error"}.

        number: of the line, from 1.
        """
        try:
            return self._answer(self._read(line)), True
        except Refused as error:
            return msgspec.json.encode({"line": number, "error": f"line {number}: {error}"}), False

    def _read(self, line: bytes) -> PacketLine:
        try:
            return self._decoder.decode(line)
        except msgspec.ValidationError as error:
            text, _, where = str(error).replace("`", "").partition(" - at $.")
            raise Refused(f"{where}: {text}" if where else text) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(f"it is no JSON object of a packet: {error}") from None

    def _answer(self, line: PacketLine) -> bytes:
        if not 1 <= line.port <= 65535:
            raise Refused(f"port: there is no port {line.port}; ports are from 1 to 65535")
        protocol = _PROTOCOLS.get(line.protocol) or _PROTOCOLS.get(line.protocol.lower())
        if protocol is None:
            raise Refused(f"protocol: {one_line(line.protocol)!r} is none; those of Services are tcp, udp and sctp")
        destination = self._destination(line)
        source = self._source(line, Family(destination.version))
        evaluator = self._scene.whole(self._entered(line, source, destination), Family(destination.version))
        packet = Packet(
            source=source,
            destination=destination,
            port=line.port,
            protocol=protocol,
            from_node=evaluator.is_own(source) if line.from_node is None else line.from_node,
            interface=line.interface,
        )
        return self._fate(packet, evaluator)

    def _fate(self, packet: Packet, evaluator: Evaluator) -> bytes:
        opening = evaluator.opening(packet)
        if opening is None or evaluator.plan.pod_links is not None:  # whose words name more than the source
            return msgspec.json.encode(fate_json(evaluator.evaluate(packet)))
        allowed = opening.door.allowed_sources
        admitted = allowed is None or any(packet.source in network for network in allowed)
        source_class = evaluator.source_of(packet)
        key = (
            evaluator.plan.node,
            packet.destination,
            packet.port,
            packet.protocol,
            source_class,
            admitted,
        )
        known = self._known.get(key)
        if known is not None and int(packet.source) not in known[0]:
            return str(packet.source).encode().join(known[1])
        trace = evaluator.evaluate(packet)
        answer = fate_json(trace)
        places = frozenset([int(candidate.address) for candidate in trace.candidates])
        if int(packet.source) in places:
            return msgspec.json.encode(answer)
        source = str(packet.source)
        answer["reason"] = _marked(answer["reason"], source)
        for step in answer["steps"]:
            step["text"] = _marked(step["text"], source)
        parts = msgspec.json.encode(answer).split(_MARK)
        self._known[key] = places, parts
        return source.encode().join(parts)

    def _destination(self, line: PacketLine) -> IPAddress:
        address = self._address(line.to)
        if address is not None:
            return address
        try:
            return parse_target(f"{line.to}:{line.port}", self._scene, flag="to").addresses[0]
        except Refused as error:
            raise Refused(f"to: {str(error).removeprefix('to ')}") from None

    def _source(self, line: PacketLine, family: Family) -> IPAddress:
        address = self._address(line.sender)
        if address is None:
            address = parse_sender(line.sender, self._scene, flag="from").asker(family).address
        if address.version != family:
            raise Refused(f"from: {address} and the destination are of different families")
        return address

    def _address(self, text: str) -> IPAddress | None:
        address = self._addresses.get(text)
        if address is None:
            try:
                address = self._addresses[text] = parse_address(text)
            except Refused:
                return None
        return address

    def _entered(self, line: PacketLine, source: IPAddress, destination: IPAddress) -> str:
        if line.node or self._node:
            return line.node or self._node
        places, names = self._scene.places, self._scene.node_names
        node = places.node_at(destination) or places.runs_on(source)
        if node or len(names) == 1:
            return node or names[0]
        raise Refused('it does not follow which node it enters; say "node" here, or --node')


_PROTOCOLS: Mapping[str, Protocol] = {protocol.value: protocol for protocol in Protocol}


def answers(lines: Iterable[bytes], scene: Scene, node: str = "") -> Iterator[tuple[bytes, bool]]:
    """For every line that is not blank what `Answers.answer` gives."""
    answering = Answers(scene, node)
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield answering.answer(number, line)


def _marked(text: str, source: str) -> str:
    """Words of a trace with a mark in the place of the source, where they begin with it."""
    return (
        f"{_LEAD}{_MARK.decode()}{text[len(_LEAD) + len(source) :]}" if text.startswith(f"{_LEAD}{source} ") else text
    )
