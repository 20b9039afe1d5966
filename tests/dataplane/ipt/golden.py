"""The recorded rules of kube-proxy 1.36.2, and the one form in which rules are compared with them.

Aside are left: the order of chains, nfacct counting (not every kernel has it), and the order of Services within the
chains they share, which in kube-proxy is that of a Go map.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fairway.api.codec import decode_cluster
from fairway.plan.compile import compile_plan
from fairway.plan.model import Plan
from fairway.plan.options import parse_options

RULES = Path(__file__).parents[2] / "golden" / "rules"
POD_NETWORK = "10.10.0.0/16"
SHARED_CHAINS = frozenset({"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES"})

Normal = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Rules without their "-A CHAIN ", by table and chain."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One scenario on one node."""

    scenario: str
    node: str

    def __str__(self) -> str:
        return f"{self.scenario}-{self.node}"

    @property
    def objects(self) -> Path:
        return RULES / self.scenario / "objects.json"

    def text(self) -> str:
        """What iptables-save printed: *nat, then *filter."""
        directory = RULES / self.scenario
        return "".join((directory / f"{self.node}.iptables.{table}").read_text() for table in ("nat", "filter"))

    def plan(self) -> Plan:
        cluster = decode_cluster(json.loads(self.objects.read_text())["items"])
        options = parse_options(cluster_cidrs=[POD_NETWORK])
        return compile_plan(cluster.services, cluster.slices, cluster.node(self.node), options=options)


RECORDED = tuple(
    Recorded(path.parent.name, path.name.removesuffix(".iptables.nat"))
    for path in sorted(RULES.glob("*/*.iptables.nat"))
)
SCENARIOS = tuple(sorted({recorded.scenario for recorded in RECORDED}))


def normal(text: str) -> Normal:
    """iptables-save's text in the form to compare."""
    tables: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            chains[line[1:].split()[0]] = []
        elif line.startswith("-A") and "localhost_nps_accepted_pkts" not in line:
            _, chain, rule = line.split(" ", 2)
            chains[chain].append(re.sub(r" -m nfacct --nfacct-name +\S+", "", rule))
    return {
        table: {
            chain: tuple(sorted(rules, key=_services_then_last)) if chain in SHARED_CHAINS else tuple(rules)
            for chain, rules in chains.items()
        }
        for table, chains in tables.items()
    }


def _services_then_last(rule: str) -> tuple[bool, str]:
    return "this must be the last rule in this chain" in rule, rule
