"""The study's cluster, as golden objects have it, for tests that ask what happens in it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from fairway.api.codec import ClusterView, decode_cluster
from fairway.api.manifest import parse_objects
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import Mode, parse_options

RULES = Path(__file__).parent.parent / "golden" / "rules"
MYPC = {"mypc": ip_address("172.18.0.100")}


def objects_of(scenario: str) -> Path:
    return RULES / scenario / "objects.json"


def view_of(scenario: str) -> ClusterView:
    path = objects_of(scenario)
    return decode_cluster(parse_objects(path.read_text(), source=path.name))


def evaluators_of(view: ClusterView, mode: Mode = Mode.IPTABLES) -> dict[str, Evaluator]:
    options = parse_options(cluster_cidrs=["10.10.0.0/16"], service_cidrs=["10.200.1.0/24"], mode=mode)
    return {
        node.metadata.name: Evaluator(compile_plan(view.services, view.slices, node, options=options))
        for node in view.nodes
    }
