"""Whether what was seen of a packet is what was said of it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fairway.base.addresses import IPAddress
from fairway.cluster.verify.seen import Seen
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition, Trace
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Backend, PortName


@dataclass(slots=True)
class Memory:
    """Whom each client of a Service port has met: those that session affinity may keep it on."""

    _met: defaultdict[tuple[PortName, IPAddress], list[Backend]] = field(default_factory=lambda: defaultdict(list))

    def expected(self, evaluator: Evaluator, packet: Packet) -> list[Trace]:
        """The fates a packet may have. One who met several, by doors that lead to different backends, may meet any."""
        opening = evaluator.opening(packet)
        anew = evaluator.evaluate(packet)
        if opening is None or opening.port.affinity is None:
            return [anew]
        kept = [evaluator.evaluate(packet, remembered=each) for each in self._met[opening.port.name, packet.source]]
        return [trace for trace in kept if trace != anew] or [anew]

    def note(self, evaluator: Evaluator, packet: Packet, seen: Seen) -> None:
        """Keep whom the packet met."""
        opening = evaluator.opening(packet)
        if opening is not None and seen.disposition is Disposition.DNAT and seen.server is not None:
            self._met[opening.port.name, packet.source].append(Backend.at(*seen.server))


def is_as_expected(seen: Seen, expected: Iterable[Trace], is_own: Callable[[IPAddress], bool]) -> bool:
    """Whether one of these fates, all of one packet, is what was seen.

    What is let in past a firewall arrives where it was sent to. A packet from a link that stays on the node does not
    leave it, so that nothing rewrites its source.
    """
    return not seen.fault and any(_is_this(seen, trace, is_own) for trace in expected)


def _is_this(seen: Seen, trace: Trace, is_own: Callable[[IPAddress], bool]) -> bool:
    if trace.disposition in (Disposition.ACCEPT, Disposition.NONE):
        return seen.disposition is Disposition.NONE and seen.peer in (None, trace.packet.source)
    if seen.disposition is not trace.disposition or not trace.candidates:
        return seen.disposition is trace.disposition
    if seen.peer is None:
        return False
    for candidate in trace.candidates:
        if (candidate.address, candidate.port) == seen.server:
            leaves = trace.packet.from_node or not is_own(candidate.address)
            return is_own(seen.peer) if candidate.masquerade and leaves else seen.peer == trace.packet.source
    return False
