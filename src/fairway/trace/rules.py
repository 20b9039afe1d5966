"""Which rules and elements decide, in the mode of the node: the Plan lowered, and run by that data plane's interpreter.

The interpreters answer by themselves; `disagreement` compares what they say with what the Plan says. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from fractions import Fraction

from fairway.base.addresses import Family, IPAddress, format_host
from fairway.dataplane.ipt import ruleset as ipt
from fairway.dataplane.ipt.corners import corner as iptables_corner
from fairway.dataplane.ipt.lower import lower as lower_to_iptables
from fairway.dataplane.ipt.run import Visit as IptablesVisit
from fairway.dataplane.ipt.run import run as run_iptables
from fairway.dataplane.ipt.text import format_rule as format_iptables_rule
from fairway.dataplane.nft import chains, layout
from fairway.dataplane.nft.corners import corner as nftables_corner
from fairway.dataplane.nft.lower import lower as lower_to_nftables
from fairway.dataplane.nft.phrase import format_rule as format_nftables_rule
from fairway.dataplane.nft.ruleset import Ruleset as NftablesRuleset
from fairway.dataplane.nft.run import Visit as NftablesVisit
from fairway.dataplane.nft.run import run as run_nftables
from fairway.dataplane.nft.text import table_name
from fairway.dataplane.nft.words import format_element
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition, Trace
from fairway.netlink.expressions import DROP, Dnat, ImmediateVerdict, Masquerade, MetaKey, MetaSet, Reject, Update
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Plan
from fairway.plan.options import Mode

_TOLERANCE = Fraction(1, 1_000_000)
"""xt_statistic keeps a probability in 31 bits, of ten decimals."""


class Stage(Enum):
    """What a rule decides."""

    DOOR = auto()
    RANGES = auto()
    SOURCE = auto()
    REWRITE = auto()
    CHOICE = auto()
    REMEMBER = auto()
    """Session affinity: who was where before."""
    HAIRPIN = auto()
    """The source rewritten for a pod that is sent to itself."""
    END = auto()
    """Refused, dropped, or let in for good."""
    ASIDE = auto()
    """It was passed, and decided nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLine:
    """A rule that the packet met. where: `ip fairway services`, `iptables nat`. elements: those its look-ups found.

    text: "" where the elements alone are told, and the rule elsewhere.
    """

    stage: Stage
    where: str
    text: str
    elements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way through the rules: how likely, to where, and what was met."""

    probability: Fraction
    disposition: Disposition
    destination: tuple[IPAddress, int] | None
    masquerade: bool
    lines: tuple[RuleLine, ...]


def run_rules(evaluator: Evaluator, packet: Packet, mode: Mode) -> tuple[Run, ...]:
    """All ways of the packet through the rules that its node has for the Services which may have a say in it.

    Raises ValueError where the data plane has no such rules.
    """
    plan = _of_interest(evaluator.plan, packet)
    return tuple(_nftables(plan, packet, evaluator) if mode is Mode.NFTABLES else _iptables(plan, packet, evaluator))


def disagreement(runs: tuple[Run, ...], trace: Trace) -> str:
    """How what the rules do differs from what the Plan says, "" where it does not."""
    fates = {run.disposition for run in runs}
    if fates != {trace.disposition}:
        return f"the rules say {_listed(sorted(fates))}, the Plan says {trace.disposition}"
    by_rules: dict[tuple[IPAddress, int], tuple[Fraction, bool]] = {}
    for run in runs:
        if run.destination is not None:
            chance, _ = by_rules.get(run.destination, (Fraction(0), False))
            by_rules[run.destination] = chance + run.probability, run.masquerade
    by_plan = {(each.address, each.port): (each.probability, each.masquerade) for each in trace.candidates}
    for place in sorted(by_rules.keys() ^ by_plan.keys(), key=str):
        who = "the rules" if place in by_rules else "the Plan"
        return f"only {who} may send it to {format_host(place[0])}:{place[1]}"
    for place, (chance, masquerade) in by_plan.items():
        told, rewritten = by_rules[place]
        if abs(told - chance) > _TOLERANCE or rewritten is not masquerade:
            return f"the rules and the Plan differ about {format_host(place[0])}:{place[1]}"
    return ""


def known_corner(evaluator: Evaluator, packet: Packet, mode: Mode) -> str:
    """Why the rules of a mode are known to do something else to this packet; "" where they are to do the same."""
    corner = nftables_corner if mode is Mode.NFTABLES else iptables_corner
    return corner(evaluator, packet) or ""


def _listed(fates: list[Disposition]) -> str:
    return " or ".join(fates)


def _of_interest(plan: Plan, packet: Packet) -> Plan:
    """The Plan with the Services alone that have a door the packet could be at; rules for others it never meets."""
    if len(plan.ports) <= 1:
        return plan
    keys = {
        (port.name.namespace, port.name.service)
        for port in plan.ports
        for door in port.doors
        if door.address == packet.destination or (door.address is None and door.port == packet.port)
    }
    checks = tuple(check for check in plan.health_checks if check.port == packet.port)
    keys |= {(check.namespace, check.service) for check in checks}
    ports = tuple(port for port in plan.ports if (port.name.namespace, port.name.service) in keys)
    return replace(plan, ports=ports, health_checks=checks)


# nftables


def _nftables(plan: Plan, packet: Packet, evaluator: Evaluator) -> Iterator[Run]:
    ruleset = lower_to_nftables(plan)
    for branch in run_nftables(ruleset, packet, is_own=evaluator.is_own):
        yield Run(
            probability=branch.probability,
            disposition=branch.disposition,
            destination=branch.destination,
            masquerade=branch.masquerade,
            lines=tuple(_nftables_line(visit, ruleset, rewritten=branch.masquerade) for visit in branch.visits),
        )


def _nftables_line(visit: NftablesVisit, ruleset: NftablesRuleset, *, rewritten: bool) -> RuleLine:
    elements = []
    for found in visit.found:
        spec = ruleset.sets[found.set]
        elements.append(f"@{found.set} {{ {format_element(spec, found.key, found.value)} }}")
    return RuleLine(
        stage=_nftables_stage(visit, rewritten=rewritten),
        where=f"{table_name(ruleset.family)} {visit.chain}",
        text=format_nftables_rule(visit.rule, ruleset.family, ruleset.sets),
        elements=tuple(elements),
    )


_DOOR_CHAINS = {"nat-prerouting", "nat-output", chains.DISPATCH, "sticky", "nodeport-sticky"}
_SHORT_CUTS = {chains.SHORT_CUT, chains.NODEPORT_SHORT_CUT}


def _nftables_stage(visit: NftablesVisit, *, rewritten: bool) -> Stage:
    expressions = visit.rule.expressions
    drops = any(found.value == DROP for found in visit.found)
    if drops or any(isinstance(each, Reject) or each == ImmediateVerdict(DROP) for each in expressions):
        return Stage.END
    if any(isinstance(each, Masquerade) for each in expressions):
        found = {each.set for each in visit.found}
        return Stage.HAIRPIN if layout.HAIRPINS in found else Stage.REWRITE
    if visit.chain == "nat-postrouting":
        return Stage.REWRITE if rewritten else Stage.ASIDE
    if visit.chain in _DOOR_CHAINS or visit.chain == chains.SERVICES_CHAIN:
        return Stage.DOOR
    if visit.chain in _SHORT_CUTS:
        return Stage.SOURCE
    if any(isinstance(each, Update) for each in expressions):
        return Stage.REMEMBER
    if any(isinstance(each, Dnat) for each in expressions) or visit.chain.startswith("affinity-"):
        return Stage.CHOICE
    verdicts = [each.verdict.chain or "" for each in expressions if isinstance(each, ImmediateVerdict)]
    if verdicts:
        return Stage.CHOICE if verdicts[0].startswith("affinity-") and len(expressions) == 1 else Stage.SOURCE
    if any(isinstance(each, MetaSet) and each.key is MetaKey.MARK for each in expressions):
        return Stage.REWRITE
    return Stage.ASIDE


# iptables


def _iptables(plan: Plan, packet: Packet, evaluator: Evaluator) -> Iterator[Run]:
    ruleset = lower_to_iptables(plan)
    program = "iptables" if plan.family is Family.IPV4 else "ip6tables"
    for branch in run_iptables(ruleset, packet, is_own=evaluator.is_own):
        lines: list[RuleLine] = []
        for visit in branch.visits:
            before = lines[-1].stage if lines else Stage.DOOR
            stage = _iptables_stage(visit, before, rewritten=branch.masquerade)
            text = f"-A {visit.chain} {format_iptables_rule(visit.rule)}"
            lines.append(RuleLine(stage=stage, where=f"{program} {visit.table}", text=text))
        yield Run(
            probability=branch.probability,
            disposition=branch.disposition,
            destination=branch.destination,
            masquerade=branch.masquerade,
            lines=tuple(lines),
        )


def _iptables_stage(visit: IptablesVisit, before: Stage, *, rewritten: bool) -> Stage:
    rule, chain = visit.rule, visit.chain
    if visit.table is ipt.Table.FILTER:
        ends = rule.target is ipt.Verdict.DROP or isinstance(rule.target, ipt.Reject)
        return Stage.END if ends or (rule.target is ipt.Verdict.ACCEPT and chain == "KUBE-NODEPORTS") else Stage.ASIDE
    if chain in ("PREROUTING", "OUTPUT", "KUBE-SERVICES", "KUBE-NODEPORTS"):
        return Stage.DOOR
    if chain in ("POSTROUTING", "KUBE-POSTROUTING"):
        return Stage.REWRITE if rewritten else Stage.ASIDE
    if chain in ("KUBE-MARK-MASQ", "KUBE-MASQ-NOT-POD"):
        return before
    if chain.startswith(("KUBE-FW-", "KUBE-EXT-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-")):
        return _service_stage(rule, chain.split("-")[1])
    return Stage.ASIDE


def _service_stage(rule: ipt.Rule, kind: str) -> Stage:
    marks = rule.target in (ipt.Jump("KUBE-MARK-MASQ"), ipt.Jump("KUBE-MASQ-NOT-POD"))
    match kind:
        case "FW":
            return Stage.RANGES if rule.target is not None else Stage.ASIDE
        case "SEP":
            return Stage.HAIRPIN if marks else Stage.CHOICE
        case _ if marks:
            return Stage.REWRITE
        case "EXT" if (
            rule.source is not None
            or rule.interface is not None
            or any(isinstance(each, ipt.AddrTypeLocal) for each in rule.matches)
        ):
            return Stage.SOURCE
        case _ if any(isinstance(each, ipt.RecentCheck) for each in rule.matches):
            return Stage.REMEMBER
        case _:
            return Stage.CHOICE
