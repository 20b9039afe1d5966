"""The study's cluster, as golden objects have it, for tests that ask what happens in it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from fairway.api.codec import ClusterView, decode_cluster
from fairway.api.manifest import parse_objects
from fairway.base.addresses import Family, IPAddress
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import Mode, Options, parse_options
from fairway.trace.explain import Explanation, Question, explain
from fairway.trace.names import parse_sender, parse_target
from fairway.trace.scene import Scene

RULES = Path(__file__).parent.parent / "golden" / "rules"
MYPC: dict[str, tuple[IPAddress, ...]] = {"mypc": (ip_address("172.18.0.100"), ip_address("fd00:172:18::100"))}


def objects_of(scenario: str) -> Path:
    return RULES / scenario / "objects.json"


def view_of(scenario: str) -> ClusterView:
    path = objects_of(scenario)
    return decode_cluster(parse_objects(path.read_text(), source=path.name))


def scene_of(
    view: ClusterView, mode: Mode = Mode.NFTABLES, clients: dict[str, tuple[IPAddress, ...]] | None = None
) -> Scene:
    """The cluster of the study, or another one with its networks."""

    def options(_node: str, family: Family) -> Options:
        return parse_options(
            family=family,
            mode=mode,
            cluster_cidrs=["10.10.0.0/16", "fd00:10::/56"],
            service_cidrs=["10.200.1.0/24", "fd00:200::/112"],
        )

    return Scene(view, options, MYPC if clients is None else clients)


def told_of(scenario: str, sender: str, target: str, *, mode: Mode = Mode.NFTABLES, node: str = "") -> Explanation:
    """What is explained of one packet in a recorded scenario."""
    scene = scene_of(view_of(scenario), mode)
    return explain(Question(sender=parse_sender(sender, scene), target=parse_target(target, scene), node=node), scene)


def evaluators_of(view: ClusterView, mode: Mode = Mode.IPTABLES) -> dict[str, Evaluator]:
    options = parse_options(cluster_cidrs=["10.10.0.0/16"], service_cidrs=["10.200.1.0/24"], mode=mode)
    return {
        node.metadata.name: Evaluator(compile_plan(view.services, view.slices, node, options=options))
        for node in view.nodes
    }
