"""What there is to prove: for each node, mode and family the rules it would have and the packets to send to it. Pure.

A job is of the objects of a cluster, or of generated ones; a seed gives the same ones in every mode and family.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairway.api.codec import ClusterView, decode_cluster
from fairway.api.types import Key, Object
from fairway.base.addresses import Family, IPAddress
from fairway.cluster.verify.draw import RandomDraw
from fairway.cluster.verify.generate import draw_case
from fairway.cluster.verify.packets import Aims
from fairway.cluster.verify.plane import NODE
from fairway.cluster.verify.probes import Probe, probes
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service, group_slices
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import Mode, Options, parse_options, view_node

PACKETS = 40
"""How many are drawn for a generated cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One node's rules in one mode and family, and what to send to it.

    objects: of which `assembly` is, as the API carries them. seed: of generated ones.
    """

    node: str
    options: Options
    objects: Sequence[Object]
    assembly: Assembly
    probes: Sequence[Probe]
    seed: int | None = None


def assemble(view: ClusterView, node: str, options: Options) -> Assembly:
    """What the agent of a node would apply. Raises Refused for a node that is not there."""
    node_view = view_node(view.node(node), options)
    assembly = Assembly(node_view)
    by_service, notes = group_slices(view.slices)
    assembly.set_notes(notes)
    for service in view.services:
        assembly.put(compile_service(service, by_service.get(service.metadata.key, ()), node_view))
    return assembly


def cluster_jobs(
    objects: Sequence[Object],
    view: ClusterView,
    options: Iterable[Options],
    *,
    nodes: Collection[str] = (),
    services: Collection[Key] = (),
    clients: Mapping[str, tuple[IPAddress, ...]] | None = None,
) -> Iterator[Job]:
    """For each of these options and each node that has an address of their family.

    objects: what `view` is of. nodes, services: the only ones to look at; none for all.
    """
    keys = services or [service.metadata.key for service in view.services]
    names = [node.metadata.name for node in view.nodes]
    for each in options:
        assemblies = {name: assemble(view, name, each) for name in names}
        evaluators = {
            name: Evaluator(assembly.plan()) for name, assembly in assemblies.items() if assembly.view.node_addresses
        }
        found = probes(view, evaluators, keys, clients)
        for name in evaluators:
            if not nodes or name in nodes:
                yield Job(node=name, options=each, objects=objects, assembly=assemblies[name], probes=found[name])


def packet_job(objects: Sequence[Object], view: ClusterView, options: Options, *, node: str, probe: Probe) -> Job:
    """One packet to one node."""
    return Job(node=node, options=options, objects=objects, assembly=assemble(view, node, options), probes=[probe])


def random_jobs(seed: int, modes: Iterable[Mode], families: Iterable[Family]) -> Iterator[Job]:
    """One generated cluster, in these modes and families; it has packets in each family of its own."""
    draw = RandomDraw(seed)
    case = draw_case(draw)
    view = decode_cluster(case.objects)
    for family in families:
        for mode in modes:
            options = parse_options(**case.settings, mode=mode, family=family)
            assembly = assemble(view, NODE, options)
            aims = Aims(Evaluator(assembly.plan()))
            of_packets = RandomDraw(seed)
            drawn = [aims.draw(of_packets) for _ in range(PACKETS)]
            sent = [Probe(label=_label(packet.from_node), packet=packet) for packet in drawn]
            yield Job(node=NODE, options=options, objects=case.objects, assembly=assembly, probes=sent, seed=seed)


def _label(from_node: bool) -> str:
    return "the node itself" if from_node else "drawn"
