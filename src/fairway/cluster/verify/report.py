"""What a proof came to: counts, differences with the way back to each, and the corners that are known. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.base.addresses import Family, format_host
from fairway.cluster.verify.jobs import Job
from fairway.cluster.verify.reproduce import Reproduction, command, manifest
from fairway.cluster.verify.run import Difference, Findings
from fairway.flow.packet import Packet
from fairway.flow.trace import Trace
from fairway.plan.options import Mode

END = "END"
"""Of a document on standard input, as shells have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A difference and the job it showed in. reproduction: None where nobody looked for one."""

    job: Job
    difference: Difference
    reproduction: Reproduction | None = None


@dataclass(slots=True, kw_only=True)
class Report:
    """Of all jobs so far. clusters: how many were generated."""

    packets: int = 0
    nodes: dict[str, None] = field(default_factory=dict)
    modes: dict[Mode, None] = field(default_factory=dict)
    families: dict[Family, None] = field(default_factory=dict)
    clusters: int = 0
    found: list[Found] = field(default_factory=list)
    corners: Counter[tuple[Mode, str]] = field(default_factory=Counter)

    def add(self, job: Job, findings: Findings) -> list[Found]:
        """Take a job's findings in; its differences, of which none is reproduced yet."""
        self.packets += findings.packets
        self.nodes[job.node] = None
        self.modes[job.options.mode] = None
        self.families[job.options.family] = None
        for reason, count in findings.corners.items():
            self.corners[job.options.mode, reason] += count
        return [Found(job=job, difference=each) for each in findings.differences]

    @property
    def summary(self) -> str:
        """ "4 nodes, 2 modes, IPv4: 352 packets, all as explained"."""
        what = _count(self.clusters, "generated cluster") if self.clusters else _count(len(self.nodes), "node")
        families = " and ".join(family.api_name for family in self.families)
        known = sum(self.corners.values())
        if self.found:
            verdict = f"{len(self.found)} not as explained"
        elif known:
            verdict = "all others as explained"
        else:
            verdict = "all as explained"
        corners = f", {known} in known corners" if known else ""
        return f"{what}, {_count(len(self.modes), 'mode')}, {families}: {self.packets} packets{corners}, {verdict}"


def text_lines(report: Report) -> Iterator[str]:
    """For a person: each difference, the known corners that were met, and the summary at the end."""
    for found in report.found:
        yield from _found_lines(found)
        yield ""
    for (mode, reason), count in sorted(report.corners.items()):
        yield f"known corner of mode {mode.value}, {_count(count, 'packet')}: {reason}"
    yield report.summary


def _found_lines(found: Found) -> Iterator[str]:
    job, difference = found.job, found.difference
    packet = difference.probe.packet
    seed = f" of seed {job.seed}" if job.seed is not None else ""
    yield f"{job.node}{seed}, {job.options.mode.value}, {job.options.family.api_name}: {difference.probe.label}"
    yield f"  packet     {_packet_text(packet)}"
    for trace in difference.expected:
        yield f"  explained  {trace_text(trace)}"
    yield f"  seen       {difference.seen}"
    if found.reproduction is None:
        return
    if not found.reproduction.alone:
        yield "  It does not show with this packet alone, only after those that were sent before it."
        return
    yield "  It shows again with:"
    again = command(found.reproduction, job.node, packet, "-")
    yield f"fairway {shlex.join(again)} <<'{END}'"
    yield from manifest(found.reproduction).splitlines()
    yield END


def report_json(report: Report) -> dict[str, Any]:
    """As documented in docs/cli.md."""
    return {
        "packets": report.packets,
        "nodes": list(report.nodes),
        "modes": [mode.value for mode in report.modes],
        "families": [family.api_name for family in report.families],
        "clusters": report.clusters,
        "differences": [_found_json(found) for found in report.found],
        "corners": [
            {"mode": mode.value, "reason": reason, "packets": count}
            for (mode, reason), count in sorted(report.corners.items())
        ],
    }


def _found_json(found: Found) -> dict[str, Any]:
    job, difference, again = found.job, found.difference, found.reproduction
    packet, seen = difference.probe.packet, difference.seen
    reproduced: Mapping[str, Any] = {}
    if again is not None and again.alone:
        reproduced = {
            "objects": list(again.objects),
            "command": ["fairway", *command(again, job.node, packet, "-")],
        }
    return {
        "node": job.node,
        "mode": job.options.mode.value,
        "family": job.options.family.api_name,
        **({"seed": job.seed} if job.seed is not None else {}),
        "what": difference.probe.label,
        "packet": {
            "from": str(packet.source),
            "to": str(packet.destination),
            "port": packet.port,
            "protocol": packet.protocol.value,
            "fromNode": packet.from_node,
            "interface": packet.interface,
        },
        "expected": [
            {"action": trace.disposition.value, "backends": _backends(trace), "reason": trace.reason}
            for trace in difference.expected
        ],
        "seen": {
            "action": seen.disposition.value,
            "server": f"{format_host(seen.server[0])}:{seen.server[1]}" if seen.server is not None else None,
            "source": str(seen.peer) if seen.peer is not None else None,
            "fault": seen.fault,
        },
        **reproduced,
    }


def trace_text(trace: Trace) -> str:
    """What `evaluate` says, on one line."""
    backends = ", ".join(
        f"{candidate}, from {'an address of the node' if candidate.masquerade else trace.packet.source}"
        for candidate in trace.candidates
    )
    to = f" to {backends}" if backends else ""
    return f"{trace.disposition}{to}: {trace.reason}"


def _backends(trace: Trace) -> list[dict[str, Any]]:
    return [
        {"address": str(each.address), "port": each.port, "masquerade": each.masquerade} for each in trace.candidates
    ]


def _packet_text(packet: Packet) -> str:
    place = f"{format_host(packet.destination)}:{packet.port}/{packet.protocol}"
    way = ", sent by the node itself" if packet.from_node else ""
    link = f", by the link {packet.interface}" if packet.interface else ""
    return f"from {packet.source} to {place}{way}{link}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
