"""An explanation as a person reads it, as a program does, and as a page has it. Pure.

Names and values of objects are whatever somebody wrote: each line is one line, and Markdown's signs are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from socket import inet_ntoa
from typing import Any

from msgspec.structs import asdict

from fairway.base.addresses import IPAddress
from fairway.base.text import one_line
from fairway.flow.trace import Candidate, Disposition, Trace
from fairway.trace.explain import BackendTold, Explanation, StepTold
from fairway.trace.names import join_host_port
from fairway.trace.outcome import Remedy
from fairway.trace.rules import RuleLine

_LISTED = 12
"""Backends that a text tells one by one at most."""


@dataclass(frozen=True, slots=True)
class Line:
    """style: head, DNAT and its like, step, reason, rule, element, heading, text, command or blank."""

    style: str
    text: str
    indent: int = 0

    def __str__(self) -> str:
        return " " * self.indent + one_line(self.text) if self.text else ""


BLANK = Line("blank", "")


def headline(told: Explanation) -> str:
    """Who sends where, and whose rules decide."""
    asker, packet = told.asker, told.packet
    who = str(asker.address) if asker.name == str(asker.address) else f"{asker.name} ({asker.address})"
    place = join_host_port(packet.destination, packet.port, packet.protocol)
    target = place if told.target.text.startswith(place.partition("/")[0]) else f"{told.target.text} ({place})"
    at = "decided at" if len(told.legs) > 1 else "at"
    return f"{who} -> {target}, {at} {told.node} ({told.mode})"


def verdict(told: Explanation) -> str:
    """The fate in one line."""
    trace = told.trace
    match trace.disposition:
        case Disposition.DNAT:
            count = len(trace.candidates)
            where = f"one of {count} endpoints" if count > 1 else str(trace.candidates[0])
            return f"DNAT: it goes to {where}, {_source_words(trace, told.node)}"
        case Disposition.REJECT:
            return "REJECT: it is refused at once, with ICMP port unreachable"
        case Disposition.DROP:
            return "DROP: it vanishes; the client hears nothing, and times out"
        case Disposition.ACCEPT:
            return f"ACCEPT: it is let in to {told.node} itself"
        case Disposition.NONE:
            return "NONE: no rule of a Service takes it"


def text_lines(told: Explanation) -> Iterator[Line]:
    """The whole explanation for a terminal."""
    yield Line("head", headline(told))
    yield Line(told.trace.disposition.value, verdict(told))
    if told.because_node:
        yield Line("reason", f"It meets the rules of {told.legs[0].node} first: {told.because_node}.", 2)
    yield BLANK
    for number, step in enumerate(told.steps, 1):
        yield from _step_lines(number, step)
    yield from _backend_lines(told.backends)
    for text in told.left_out[:_LISTED]:
        yield Line("reason", f"   not  {text}", 1)
    if len(told.left_out) > _LISTED:
        yield Line("reason", f"   nor  {len(told.left_out) - _LISTED} more", 1)
    if told.peer:
        yield from _section("What the endpoint sees", (told.peer,))
    if told.way_back:
        yield from _section("The way back", told.way_back)
    if told.remedies:
        yield BLANK
        yield Line("heading", _remedies_heading(told))
        for remedy in told.remedies:
            yield Line("text", f"- {remedy.text}", 2)
            if remedy.command:
                yield Line("command", remedy.command, 6)
    if told.notes:
        yield from _section("Note", told.notes)
    if told.defect:
        yield BLANK
        yield Line("defect", _defect(told))


def as_json(told: Explanation) -> dict[str, Any]:
    """The contract of `-o json`; see docs/cli.md."""
    packet = told.packet
    return {
        **fate_json(told.trace),
        "backends": [_backend_json(backend) for backend in told.backends],
        "notChosen": list(told.left_out),
        "steps": [_step_json(step) for step in told.steps],
        "node": told.node,
        "mode": told.mode.value,
        "verdict": verdict(told),
        "from": {"name": told.asker.name, "kind": told.asker.kind.value, "address": str(told.asker.address)},
        "to": {
            "name": told.target.text,
            "address": str(packet.destination),
            "port": packet.port,
            "protocol": packet.protocol.value,
        },
        "legs": [
            {
                "node": leg.node,
                "source": str(leg.packet.source),
                "action": leg.trace.disposition.value,
                "rewritten": leg.rewritten,
            }
            for leg in told.legs
        ],
        "peer": told.peer,
        "wayBack": list(told.way_back),
        "remedies": [{"text": each.text, "command": each.command} for each in told.remedies],
        "notes": list(told.notes),
        "defect": _defect(told) if told.defect else None,
    }


def fate_json(trace: Trace) -> dict[str, Any]:
    """What each packet of many is answered with."""
    return {
        "action": trace.disposition.value,
        "backends": list(_candidates_json(trace.candidates)),
        "masquerade": trace.masquerade,
        "reason": trace.reason,
        "steps": [
            {"text": step.text, "object": asdict(step.origin) if step.origin else None, "entry": step.entry}
            for step in trace.steps
        ],
    }


def markdown(told: Explanation) -> str:
    """A section of a page."""
    lines = [f"### {escape_markdown(headline(told))}", "", f"**{escape_markdown(verdict(told))}**", ""]
    for number, step in enumerate(told.steps, 1):
        because = f" *({escape_markdown(str(step.origin))})*" if step.origin else ""
        lines.append(f"{number}. {escape_markdown(step.text)}.{because}")
        rules = [text for line in step.rules for text in _rule_texts(line)]
        if rules:
            lines += ["", *_fence(rules, "   "), ""]
    if told.backends:
        lines += ["", "| endpoint | where | chance | source |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {backend.candidate} | {escape_markdown(backend.what)} | {percent(backend.candidate.probability)} | "
            f"{'rewritten' if backend.candidate.masquerade else 'kept'} |"
            for backend in told.backends
        ]
    if told.left_out:
        lines += ["", f"Not chosen: {escape_markdown('; '.join(told.left_out))}."]
    for heading, texts in (
        ("What the endpoint sees", (told.peer,) if told.peer else ()),
        ("The way back", told.way_back),
    ):
        if texts:
            lines += ["", f"**{heading}.** {escape_markdown('. '.join(texts))}."]
    if told.remedies:
        lines += ["", f"**{_remedies_heading(told)}**", "", *_remedies_markdown(told.remedies)]
    if told.notes:
        lines += ["", *(f"> {escape_markdown(note)}." for note in told.notes)]
    if told.defect:
        lines += ["", f"> {escape_markdown(_defect(told))}"]
    return "\n".join(lines) + "\n"


def percent(probability: Fraction) -> str:
    """`33.3 %`."""
    return f"{float(probability) * 100:.3g} %"


# Text


def _source_words(trace: Trace, node: str) -> str:
    if trace.masquerade:
        return f"and its source becomes an address of {node}"
    if any(candidate.masquerade for candidate in trace.candidates):
        return "and keeps its source unless it meets itself"
    return "and keeps its source"


def _step_lines(number: int, step: StepTold) -> Iterator[Line]:
    yield Line("step", f"{number}. {step.text}.", 1)
    if step.origin is not None:
        yield Line("reason", str(step.origin), 5)
    yield from _rule_lines(step.rules, 5)


def _rule_lines(rules: tuple[RuleLine, ...], indent: int) -> Iterator[Line]:
    for rule in rules:
        if rule.text:
            yield Line("rule", f"{rule.where}: {rule.text}", indent)
        for element in rule.elements:
            yield Line("element", element, indent + 2 if rule.text else indent)


def _backend_lines(backends: tuple[BackendTold, ...]) -> Iterator[Line]:
    if not backends:
        return
    yield BLANK
    width = max(len(str(backend.candidate)) for backend in backends[:_LISTED])
    for backend in backends[:_LISTED]:
        candidate = backend.candidate
        kept = "source rewritten" if candidate.masquerade else "source kept"
        what = f"  {backend.what}" if backend.what else ""
        yield Line("backend", f"{percent(candidate.probability):>6}  {candidate!s:<{width}}  {kept}{what}", 1)
        yield from _rule_lines(backend.rules, 9)
    if len(backends) > _LISTED:
        yield Line("backend", f"and {len(backends) - _LISTED} more, each as likely", 9)


def _section(heading: str, texts: tuple[str, ...]) -> Iterator[Line]:
    yield BLANK
    yield Line("heading", heading)
    for text in texts:
        yield Line("text", f"{text}.", 2)


def _remedies_heading(told: Explanation) -> str:
    return "What would change it" if len(told.remedies) == 1 else "What would change it, any one of these"


def _defect(told: Explanation) -> str:
    return f"A defect of fairway: {told.defect}; please report it, with these objects"


# JSON


def _candidates_json(candidates: tuple[Candidate, ...]) -> Iterator[dict[str, Any]]:
    """Each candidate, whose probability is the same for all."""
    if not candidates:
        return
    probability = float(f"{float(candidates[0].probability):.4g}")
    for candidate in candidates:
        yield {
            "address": _address_text(candidate.address),
            "port": candidate.port,
            "probability": probability,
            "masquerade": candidate.masquerade,
            "local": candidate.local,
        }


def _address_text(address: IPAddress) -> str:
    """`str(address)`, for IPv4 in half the time."""
    return inet_ntoa(address.packed) if address.version == 4 else str(address)


def _backend_json(backend: BackendTold) -> dict[str, Any]:
    return {
        **next(_candidates_json((backend.candidate,))),
        "what": backend.what,
        "rules": [_rule_json(rule) for rule in backend.rules],
    }


def _step_json(step: StepTold) -> dict[str, Any]:
    return {
        "text": step.text,
        "object": asdict(step.origin) if step.origin is not None else None,
        "entry": step.entry,
        "node": step.node,
        "rules": [_rule_json(rule) for rule in step.rules],
    }


def _rule_json(rule: RuleLine) -> dict[str, Any]:
    return {"where": rule.where, "rule": rule.text, "elements": list(rule.elements)}


# Markdown

_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def escape_markdown(text: str) -> str:
    """Text of others in a page: what it holds is shown, and never markup."""
    return _SIGNS.sub(r"\\\1", one_line(text))


def _rule_texts(rule: RuleLine) -> Iterator[str]:
    if rule.text:
        yield one_line(f"{rule.where}: {rule.text}")
    yield from (one_line(f"  {element}") for element in rule.elements)


def _fence(texts: list[str], indent: str) -> list[str]:
    """A block of code whose fence no text in it can end."""
    longest = max((len(run) for text in texts for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{indent}{line}" for line in (fence, *texts, fence)]


def _remedies_markdown(remedies: tuple[Remedy, ...]) -> Iterator[str]:
    for remedy in remedies:
        yield f"- {escape_markdown(remedy.text)}."
        if remedy.command:
            yield ""
            yield from _fence([one_line(remedy.command)], "  ")
            yield ""
