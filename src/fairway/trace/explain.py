"""A question about one packet, answered: each step with its reason and with the rules that do it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from fairway.base.addresses import Family, IPAddress
from fairway.base.errors import Refused
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Candidate, Trace
from fairway.plan.evaluate import Evaluator, Opening
from fairway.plan.model import Note, Origin
from fairway.plan.options import Mode
from fairway.trace.journey import Asker, AskerKind, Leg, PodSource, follow, owner_of, source_abroad
from fairway.trace.leftout import left_out
from fairway.trace.names import Sender, Target, join_host_port
from fairway.trace.outcome import Remedy, Setting, notes_of, peer_of, way_back
from fairway.trace.remedies import remedies_for
from fairway.trace.rules import RuleLine, Run, Stage, disagreement, known_corner, run_rules
from fairway.trace.scene import Scene
from fairway.trace.steps import Told, tell_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who sends where. node: where the packet enters, "" where that follows from the two."""

    sender: Sender
    target: Target
    node: str = ""
    family: Family | None = None
    pod_source: PodSource = PodSource.NODE
    rules: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTold:
    """One decision. node: whose. origin: the object and field that decide it. rules: those that do it."""

    node: str
    text: str
    origin: Origin | None
    entry: str
    rules: tuple[RuleLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTold:
    """Where it may be sent. what: the pod there, and its node. rules: those of this choice alone."""

    candidate: Candidate
    what: str
    rules: tuple[RuleLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The fate of a packet.

    legs: of the nodes whose rules it meets; `trace` is the last one's. opening: the door it came to, if any.
    because_node: why it enters where it does, if nobody said so. left_out, peer, way_back: "" and empty unless it is
    sent on.
    defect: how the rules and the Plan differ; "" as they never should.
    """

    asker: Asker
    target: Target
    mode: Mode
    legs: tuple[Leg, ...]
    trace: Trace
    opening: Opening | None
    because_node: str
    steps: tuple[StepTold, ...]
    backends: tuple[BackendTold, ...]
    left_out: tuple[str, ...]
    peer: str
    way_back: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    notes: tuple[str, ...]
    warnings: tuple[Note, ...]
    defect: str

    @property
    def node(self) -> str:
        """The node whose rules settle it."""
        return self.legs[-1].node

    @property
    def packet(self) -> Packet:
        """As that node meets it."""
        return self.legs[-1].packet


def explain(question: Question, scene: Scene) -> Explanation:
    """The fate of the question's packet.

    Raises Refused where sender and destination have no family in common, and where it does not follow which node it
    enters.
    """
    destination, family = _destination(question)
    target, asker = question.target, _asker(question, destination, family)
    evaluators = scene.about(scene.concerned(destination, target.port), family)
    node, because = _entered(question, asker, destination, evaluators)
    legs = _legs(question, asker, node, destination, evaluators)
    last = legs[-1]
    evaluator = evaluators[last.node]
    mode = scene.mode_of(last.node)
    runs = run_rules(evaluator, last.packet, mode) if question.rules else ()
    opening = evaluator.opening(last.packet)
    differs = disagreement(runs, last.trace) if question.rules else ""
    setting = Setting(asker, opening, evaluator, scene.places, question.pod_source)
    notes = list(notes_of(legs, setting))
    known = known_corner(evaluator, last.packet, mode) if differs else ""
    if known:
        notes.append(f"In mode {mode} {differs}: {known}")
        differs = ""
    return Explanation(
        asker=asker,
        target=target,
        mode=mode,
        legs=legs,
        trace=last.trace,
        opening=opening,
        because_node=because,
        steps=tuple(_steps(legs, evaluators, runs, scene)),
        backends=tuple(_backends(last.trace, runs, scene)),
        left_out=left_out(last, opening, evaluator, scene),
        peer=peer_of(last, setting),
        way_back=way_back(legs, setting),
        remedies=remedies_for(asker, legs, evaluators, scene),
        notes=tuple(notes),
        warnings=evaluator.plan.notes,
        defect=differs,
    )


def _destination(question: Question) -> tuple[IPAddress, Family]:
    """The destination's first address of a family that the sender has too, and that was asked for."""
    senders = {address.version for address in question.sender.addresses}
    for address in question.target.addresses:
        family = Family(address.version)
        if family in senders and question.family in (None, family):
            return address, family
    wanted = f" of {question.family.api_name}" if question.family else ""
    theirs = ", ".join(str(each) for each in question.sender.addresses)
    ours = ", ".join(str(each) for each in question.target.addresses)
    raise Refused(
        f"--from {question.sender.name} ({theirs}) and --to {question.target.text} ({ours}) have no family{wanted} in "
        "common; give addresses of one family"
    )


def _asker(question: Question, destination: IPAddress, family: Family) -> Asker:
    """What a node sends to loopback it sends from there too, whatever addresses it has."""
    asker = question.sender.asker(family)
    if asker.kind is AskerKind.NODE and destination.is_loopback:
        return replace(asker, address=destination)
    return asker


def _entered(
    question: Question, asker: Asker, destination: IPAddress, evaluators: Mapping[str, Evaluator]
) -> tuple[str, str]:
    """The first node whose rules the packet meets, and why it is that one where nobody said so."""
    if question.node:
        return question.node, ""
    if asker.node:
        return asker.node, "the packet starts there" if asker.kind is AskerKind.NODE else "the pod runs there"
    owner = owner_of(destination, evaluators)
    if owner:
        return owner, f"{destination} is its address"
    if len(evaluators) == 1:
        return next(iter(evaluators)), "it is the only node"
    names = ", ".join(evaluators) or "none"
    raise Refused(f"it does not follow which node the packet enters; say --node NAME; the nodes are: {names}")


def _legs(
    question: Question, asker: Asker, node: str, destination: IPAddress, evaluators: Mapping[str, Evaluator]
) -> tuple[Leg, ...]:
    """A node that was named with an address as the source meets just that packet; else the way is followed."""
    port, protocol = question.target.port, question.target.protocol
    owner = owner_of(destination, evaluators)
    if node == asker.node or not asker.node or (node == owner and not question.sender.literal):
        return follow(asker, destination, port, protocol, evaluators, enters=node, pod_source=question.pod_source)
    source = asker.address
    if not question.sender.literal:
        source = source_abroad(asker, destination, evaluators, question.pod_source)
    packet = Packet(source=source, destination=destination, port=port, protocol=protocol)
    trace = evaluators[node].evaluate(packet)
    return (Leg(node=node, packet=packet, trace=trace, rewritten=source != asker.address),)


def _steps(
    legs: tuple[Leg, ...], evaluators: Mapping[str, Evaluator], runs: tuple[Run, ...], scene: Scene
) -> Iterator[StepTold]:
    last = legs[-1]
    if len(legs) > 1:
        first = legs[0]
        place = join_host_port(first.packet.destination, first.packet.port, first.packet.protocol)
        text = (
            f"No rule of {first.node} is for {place}, which is {last.node}'s: it is routed there, and {last.node}'s "
            "rules decide"
        )
        yield StepTold(node=first.node, text=text, origin=None, entry="", rules=())
    if last.rewritten:
        came_from = scene.places.node_at(last.packet.source) or legs[0].node
        text = (
            f"As it leaves the pod network, the network plugin of {came_from} rewrites its source to "
            f"{last.packet.source}: to {last.node} it comes from a node, not from a pod"
        )
        yield StepTold(node=came_from, text=text, origin=None, entry="", rules=())
    told = list(tell_steps(last, evaluators[last.node], scene))
    rules = _common_rules(runs, told)
    for step in told:
        yield StepTold(
            node=last.node,
            text=step.text,
            origin=step.origin,
            entry=step.entry,
            rules=tuple(line for stage in step.stages for line in rules.get(stage, ())),
        )


def _common_rules(runs: tuple[Run, ...], told: Iterable[Told]) -> Mapping[Stage, tuple[RuleLine, ...]]:
    """By stage, in the order they are met; of the choice those rules that every way meets, others stand by backend."""
    stages = {stage for step in told for stage in step.stages}
    shared = _shared_rules(runs)
    found: dict[Stage, dict[RuleLine, None]] = {}
    for run in runs:
        for line in run.lines:
            stage = line.stage
            if stage is Stage.REWRITE and Stage.HAIRPIN in stages:
                stage = Stage.HAIRPIN  # nobody else is rewritten here: this follows a hairpin's mark
            if stage not in _OF_BACKENDS:
                found.setdefault(stage, {})[line] = None
            elif (line.where, line.text) in shared:
                found.setdefault(stage, {})[replace(line, elements=())] = None
    return {stage: tuple(lines) for stage, lines in found.items()}


_OF_BACKENDS = (Stage.CHOICE, Stage.REMEMBER)
"""Stages whose rules, or the elements they find, differ from backend to backend."""


def _shared_rules(runs: tuple[Run, ...]) -> frozenset[tuple[str, str]]:
    """The rules that all ways meet, none where there is but one."""
    if len(runs) < 2:
        return frozenset()
    by_run = [frozenset((line.where, line.text) for line in run.lines) for run in runs]
    return frozenset.intersection(*by_run)


def _backends(trace: Trace, runs: tuple[Run, ...], scene: Scene) -> Iterator[BackendTold]:
    shared = _shared_rules(runs)
    by_place = {run.destination: run for run in runs if run.destination is not None}
    for candidate in trace.candidates:
        run = by_place.get((candidate.address, candidate.port))
        own = [line for line in run.lines if line.stage in _OF_BACKENDS] if run is not None else []
        lines = [replace(line, text="") if (line.where, line.text) in shared else line for line in own]
        rules = tuple(line for line in lines if line.text or line.elements)
        yield BackendTold(candidate=candidate, what=scene.places.name(candidate.address), rules=rules)


def packet_of(source: IPAddress, destination: IPAddress, port: int, protocol: Protocol, evaluator: Evaluator) -> Packet:
    """A packet at a node: what has one of its own addresses as its source is its own."""
    return Packet(
        source=source,
        destination=destination,
        port=port,
        protocol=protocol,
        from_node=evaluator.is_own(source),
    )
