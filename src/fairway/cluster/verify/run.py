"""One node's rules in a scratch namespace, and packets sent through them: what was seen beside what was said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fairway.agent.dataplane import Dataplane, IptablesDataplane, NftDataplane
from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.cluster.verify.compare import Memory, is_as_expected
from fairway.cluster.verify.places import write_settings
from fairway.cluster.verify.probes import Probe
from fairway.cluster.verify.seen import Seen
from fairway.cluster.verify.stage import staged
from fairway.cluster.verify.wire import Wire
from fairway.dataplane.ipt.backend import Variant
from fairway.dataplane.ipt.corners import corner as iptables_corner
from fairway.dataplane.nft.corners import corner as nftables_corner
from fairway.flow.packet import Packet
from fairway.flow.trace import Trace
from fairway.plan.assembly import Assembly
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import Mode

MOST_CALLS = 4
"""How often one packet is sent whose backend is left to chance: each answer must be one of those that may be."""

Planes = Mapping[Mode, Callable[[Family], Dataplane]]
"""How the data plane of each mode is made, for a family; called in the namespace it is for."""

AGENTS: Planes = {
    Mode.NFTABLES: NftDataplane,
    Mode.IPTABLES: lambda family: IptablesDataplane(Variant.AUTO, family),
}
"""Those of the agent."""

_CORNERS: Mapping[Mode, Callable[[Evaluator, Packet], str | None]] = {
    Mode.NFTABLES: nftables_corner,
    Mode.IPTABLES: iptables_corner,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A packet of which something else was seen than was said. expected: all fates it might have had."""

    probe: Probe
    expected: tuple[Trace, ...]
    seen: Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What came of the packets to one node.

    packets: how many were sent. corners: by reason, how many were not as `evaluate` says where a data plane is known
    not to be.
    """

    packets: int = 0
    differences: tuple[Difference, ...] = ()
    corners: Mapping[str, int] = field(default_factory=dict)


def proof(
    assembly: Assembly, mode: Mode, probes: Sequence[Probe], *, planes: Planes = AGENTS
) -> Callable[[], Findings]:
    """What sends these packets under the rules that `assembly` becomes in this mode, and compares.

    To be called in a scratch namespace. Raises Unsupported where the machine lacks something, Refused where the kernel
    takes not all of the rules.
    """
    evaluator = Evaluator(assembly.plan())

    def work() -> Findings:
        with staged(evaluator, [probe.packet for probe in probes]) as node:
            plane = planes[mode](assembly.view.family)
            applied = plane.apply(assembly, None)
            if applied.refused:
                key, why = next(iter(applied.refused.items()))
                raise Refused(f"the kernel does not take the rules of Service {key}: {why}")
            write_settings(plane.sysctls(assembly.view))
            return _send_all(node, evaluator, mode, probes)

    return work


def _send_all(node: Wire, evaluator: Evaluator, mode: Mode, probes: Sequence[Probe]) -> Findings:
    memory = Memory()
    differences: list[Difference] = []
    corners: dict[str, int] = {}
    packets = 0
    for probe in probes:
        known = _CORNERS[mode](evaluator, probe.packet)
        for _ in range(_calls(evaluator, probe.packet)):
            expected = memory.expected(evaluator, probe.packet)
            seen = node.send(probe.packet)
            packets += 1
            memory.note(evaluator, probe.packet, seen)
            if is_as_expected(seen, expected, evaluator.is_own):
                continue
            if known is not None:
                corners[known] = corners.get(known, 0) + 1
            else:
                differences.append(Difference(probe=probe, expected=tuple(expected), seen=seen))
            break
    return Findings(packets=packets, differences=tuple(differences), corners=corners)


def _calls(evaluator: Evaluator, packet: Packet) -> int:
    return min(len(evaluator.evaluate(packet).candidates) or 1, MOST_CALLS)
