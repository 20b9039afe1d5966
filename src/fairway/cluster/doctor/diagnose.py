"""All checks, and what they come to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.cluster.doctor import check_kernel, check_ports, check_rules, check_services
from fairway.cluster.doctor.case import Case
from fairway.cluster.doctor.finding import Finding

Check = Callable[[Case], Iterator[Finding]]

OF_NODES: tuple[Check, ...] = (
    check_kernel.forwarding,
    check_kernel.reverse_path,
    check_kernel.conntrack,
    check_kernel.route_localnet,
    check_kernel.bridge_calls,
    check_kernel.ephemeral,
    check_ports.listeners,
    check_ports.agents,
    check_ports.names,
    check_ports.health_checks,
    check_ports.addresses,
    check_rules.foreign,
    check_rules.proxies,
    check_rules.drift,
)
OF_SERVICES: tuple[Check, ...] = (
    check_services.selectors,
    check_services.endpoints,
    check_services.target_ports,
    check_services.local_policies,
    check_services.source_ranges,
    check_services.unusable,
)
CHECKS = OF_NODES + OF_SERVICES

UNSETTLED = frozenset({"drift", "health-check", "agent"})
"""Checks that compare two things read one after the other: what they find counts where it is found twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """findings: the worst first. nodes: those that were looked into."""

    findings: tuple[Finding, ...]
    nodes: tuple[str, ...]
    services: int
    checks: int = len(CHECKS)

    def to_json(self, commands: Callable[[Finding], str]) -> dict[str, Any]:
        """As `-o json` prints it. commands: how a finding's mend is typed here."""
        return {
            "nodes": list(self.nodes),
            "services": self.services,
            "checks": self.checks,
            "findings": [_json(finding, commands(finding)) for finding in self.findings],
        }


def diagnose(case: Case) -> Diagnosis:
    """Every check on all that is known."""
    findings = sorted((finding for check in CHECKS for finding in check(case)), key=_order)
    return Diagnosis(findings=tuple(findings), nodes=tuple(sorted(case.facts)), services=len(case.services))


def is_settled(diagnosis: Diagnosis) -> bool:
    """Whether one look was enough."""
    return not any(finding.check in UNSETTLED for finding in diagnosis.findings)


def confirmed(first: Diagnosis, second: Diagnosis) -> Diagnosis:
    """The second look, without what both looks did not find of what may change between two readings."""
    known = {finding.identity for finding in first.findings}
    kept: Iterable[Finding] = (
        finding for finding in second.findings if finding.check not in UNSETTLED or finding.identity in known
    )
    return Diagnosis(findings=tuple(kept), nodes=second.nodes, services=second.services)


def _order(finding: Finding) -> tuple[object, ...]:
    return finding.order


def _json(finding: Finding, command: str) -> Mapping[str, Any]:
    return {
        "check": finding.check,
        "severity": finding.severity.word,
        "node": finding.node or None,
        "about": finding.about,
        "what": finding.what,
        "evidence": finding.evidence,
        "consequence": finding.consequence,
        "mend": command,
    }
