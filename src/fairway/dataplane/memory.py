"""The data plane that is no more than the specification: it keeps the Plan and evaluates it.

What the kernel adds to a Plan is here too, and nothing else: the choice among backends, and the memory of session
affinity. Other data planes are compared with it, and parts that need one without a kernel use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from fairway.flow.packet import IPAddress, Packet
from fairway.flow.trace import Candidate, Trace
from fairway.plan.evaluate import Evaluator, Opening
from fairway.plan.model import Backend, Backends, Plan, PortName


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one packet: its trace, and the backend it went to, None unless it was sent to one."""

    trace: Trace
    backend: Candidate | None


class MemoryDataPlane:
    """Plans applied in dicts. `random` makes the choices, so a seeded one makes them again."""

    def __init__(self, plan: Plan, *, random: Random | None = None) -> None:
        self._random = random if random is not None else Random()
        self._last_seen: dict[tuple[PortName, IPAddress], dict[Backend, float]] = {}
        self._evaluator = Evaluator(plan)

    @property
    def plan(self) -> Plan:
        return self._evaluator.plan

    def apply(self, plan: Plan) -> None:
        """Make `plan` the one in force. Affinity to backends that are no longer in it is forgotten."""
        self._evaluator = Evaluator(plan)
        backends = {port.name: {*port.cluster, *port.local} for port in plan.ports if port.affinity is not None}
        kept = {
            (name, source): {backend: at for backend, at in seen.items() if backend in backends.get(name, ())}
            for (name, source), seen in self._last_seen.items()
        }
        self._last_seen = {client: seen for client, seen in kept.items() if seen}

    def send(self, packet: Packet, *, now: float) -> Delivery:
        """Send the first packet of a connection at `now`, in seconds of any clock that only goes forward."""
        opening = self._evaluator.opening(packet)
        remembered = self._remembered(opening, packet, now) if opening is not None else None
        trace = self._evaluator.evaluate(packet, remembered=remembered)
        if opening is None or not trace.candidates:
            return Delivery(trace=trace, backend=None)
        weights = [float(candidate.probability) for candidate in trace.candidates]
        chosen = self._random.choices(trace.candidates, weights)[0]
        if opening.port.affinity is not None:
            backend = Backend.at(chosen.address, chosen.port, local=chosen.local)
            self._last_seen.setdefault((opening.port.name, packet.source), {})[backend] = now
        return Delivery(trace=trace, backend=chosen)

    def _remembered(self, opening: Opening, packet: Packet, now: float) -> Backend | None:
        """The first backend, in the order of the door's choices, that the source met within the timeout.

        Kernels keep one list of clients for each backend and ask them in that order (xt_recent), and all doors of a
        Service port share them.
        """
        affinity = opening.port.affinity
        if affinity is None:
            return None
        seen = self._last_seen.get((opening.port.name, packet.source), {})
        outcome = opening.door.ways[self._evaluator.source_of(packet)].outcome
        choices = outcome.choices if isinstance(outcome, Backends) else ()
        return next((each for each in choices if each in seen and now - seen[each] <= affinity.timeout_s), None)
