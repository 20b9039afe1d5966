"""`fairway verify`: real packets through the rules that nodes would have, beside what `explain` says of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import click
from click.core import ParameterSource

from fairway.api.codec import ClusterView
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.base.errors import Refused
from fairway.cli.objects import Cluster, NodeFlags, lab_clients, node_flags, objects_source, read_cluster, tell_ignored
from fairway.cli.options import output, print_json
from fairway.cli.progress import progress
from fairway.cluster.objects import Source
from fairway.cluster.tools import lacks_for
from fairway.cluster.verify.jobs import Job, cluster_jobs, packet_job, random_jobs
from fairway.cluster.verify.probes import SENT, Probe
from fairway.cluster.verify.report import Found, Report, report_json, text_lines
from fairway.cluster.verify.reproduce import reproduce, run_jobs
from fairway.flow.packet import Packet, Protocol
from fairway.plan.options import Mode, Options, view_node

REPRODUCED = 3
"""For so many differences the least objects are looked for; each takes seconds, and more are mostly the same."""

_DEFAULT_NAMESPACE = "default"


@click.command()
@click.argument("services", nargs=-1, metavar="[svc/NAME]...")
@objects_source
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="Only this node's rules. [default: every node's]")
@node_flags
@click.option("--from", "sender", metavar="IP", help="One packet only: who sends it; with --to and one --node.")
@click.option("--to", "target", metavar="IP:PORT[/PROTOCOL]", help="One packet only: where it is sent.")
@click.option("--interface", default="", metavar="LINK", help="One packet only: the link it comes in by.")
@click.option(
    "--random", "count", type=click.IntRange(min=1), metavar="N", help="N generated clusters in place of objects."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first of them.")
@output
def verify(
    services: tuple[str, ...],
    source: Source,
    nodes: tuple[str, ...],
    flags: NodeFlags,
    sender: str | None,
    target: str | None,
    interface: str,
    count: int | None,
    seed: int,
    output: str,
) -> None:
    """Prove on this machine that packets meet what `fairway explain` says of them.

    For each node there is a scratch network namespace with the rules that its agent would write, of either mode
    and family unless --mode and --family say which. Each sender (a pod of each node, the nodes, somebody outside) calls
    each door of each Service, or of svc/NAME alone, with real packets; where these come out, from which source, and
    what their senders are told is compared. Nothing outside those namespaces is touched. Ends with status 1 where
    something is not as explained.
    """
    if count is None and click.get_current_context().get_parameter_source("seed") is not ParameterSource.DEFAULT:
        raise click.UsageError("--seed is of generated clusters: it goes with --random")
    if (sender is None) != (target is None):
        raise click.UsageError("--from and --to go together")
    if interface and sender is None:
        raise click.UsageError("--interface is of one packet: it goes with --from and --to")
    modes = [flags.mode] if flags.mode is not None else list(_possible_modes())
    if count is not None:
        told = replace(flags, mode=None, family=None) != NodeFlags()
        if services or source.files or nodes or sender is not None or told:
            raise click.UsageError("--random makes its own objects: it goes with --seed, --mode and --family alone")
        families = [flags.family] if flags.family is not None else list(Family)
        jobs = _random_jobs(range(seed, seed + count), modes, families)
        report = Report(clusters=count)
    else:
        told_packet = sender, target, interface
        jobs = _jobs_of_objects(read_cluster(source), services, nodes, flags, modes, told_packet, lab_clients(source))
        report = Report()
    with progress("preparing") as tell:
        _run(jobs, report, tell)
    if output == "json":
        print_json(report_json(report))
    else:
        for line in text_lines(report):
            click.echo(line)
    sys.exit(1 if report.found else 0)


def _run(jobs: Iterable[Job], report: Report, tell: Callable[[str], None]) -> None:
    for job, findings in run_jobs(jobs):
        where = f"generated cluster {job.seed}" if job.seed is not None else job.node
        tell(f"{where}, {job.options.mode.value}, {job.options.family.api_name}: {findings.packets} packets")
        for found in report.add(job, findings):
            report.found.append(_reproduced(found, tell) if len(report.found) < REPRODUCED else found)


def _reproduced(found: Found, tell: Callable[[str], None]) -> Found:
    tell("a difference: looking for the least objects that show it")
    return replace(found, reproduction=reproduce(found.job, found.difference))


def _possible_modes() -> Iterator[Mode]:
    """Those that this machine has the programs for; what is left out is said."""
    for mode in Mode:
        lack = lacks_for(mode)
        if lack:
            click.echo(f"fairway: mode {mode.value} is left out: {lack}", err=True)
        else:
            yield mode


def _random_jobs(seeds: Iterable[int], modes: Sequence[Mode], families: Sequence[Family]) -> Iterator[Job]:
    return (job for seed in seeds for job in random_jobs(seed, modes, families))


def _jobs_of_objects(
    cluster: Cluster,
    services: Sequence[str],
    nodes: Sequence[str],
    flags: NodeFlags,
    modes: Sequence[Mode],
    packet: tuple[str | None, str | None, str],
    clients: Mapping[str, tuple[IPAddress, ...]],
) -> Iterator[Job]:
    view = cluster.view
    tell_ignored(view)
    for name in nodes:
        view.node(name)
    if not view.nodes:
        raise Refused("there is no Node among the objects, and rules are always a node's; add one")
    if flags.node_addresses and len(nodes) != 1:
        raise click.UsageError("--node-address is of one node: name it with --node")
    sender, target, interface = packet
    if sender is not None and target is not None:
        if len(nodes) != 1:
            raise click.UsageError("a packet meets one node's rules: name it with --node")
        probe = _probe(sender, target, interface)
        family = Family(probe.packet.source.version)
        for mode in modes:
            options = flags.options(cluster.settings, family=family, mode=mode)
            yield packet_job(
                cluster.objects, view, options, node=nodes[0], probe=_as_sent(probe, view, options, nodes[0])
            )
        return
    families = [flags.family] if flags.family is not None else _families(view)
    options_of = [flags.options(cluster.settings, family=family, mode=mode) for family in families for mode in modes]
    keys = [_find_service(text, view) for text in services]
    yield from cluster_jobs(cluster.objects, view, options_of, nodes=nodes, services=keys, clients=clients)


def _families(view: ClusterView) -> list[Family]:
    """Those in which any Service has a clusterIP."""
    texts = [text for each in view.services for text in (*each.spec.cluster_ips, each.spec.cluster_ip) if text]
    return [
        family for family in Family if any((":" in text) is (family is Family.IPV6) for text in texts if text != "None")
    ] or [Family.IPV4]


def _find_service(text: str, view: ClusterView) -> Key:
    name = text.removeprefix("svc/").removeprefix("service/")
    namespace, _, last = name.rpartition("/")
    key = Key(namespace or _DEFAULT_NAMESPACE, last)
    if all(each.metadata.key != key for each in view.services):
        names = ", ".join(f"svc/{each.metadata.key}" for each in view.services[:8]) or "none"
        raise Refused(f"there is no Service {key}; there are: {names}")
    return key


def _probe(sender: str, target: str, interface: str) -> Probe:
    place, _, protocol = target.partition("/")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise Refused(f"--to {target}: expected an address and a port from 1 to 65535, such as 10.96.0.1:443/tcp")
    if protocol and protocol not in SENT:
        raise Refused(f"--to {target}: packets are sent over {' and '.join(SENT)}, not {protocol}")
    source, destination = parse_address(sender), parse_address(host.removeprefix("[").removesuffix("]"))
    if source.version != destination.version:
        raise Refused(f"--from {sender} and --to {target} are of two address families")
    packet = Packet(
        source=source,
        destination=destination,
        port=int(port),
        protocol=Protocol(protocol or "tcp"),
        interface=interface,
    )
    return Probe(label=f"{sender} -> {target}", packet=packet)


def _as_sent(probe: Probe, view: ClusterView, options: Options, node: str) -> Probe:
    """What has an address of the node itself is sent by it."""
    own = view_node(view.node(node), options).node_addresses
    source = probe.packet.source
    return replace(probe, packet=replace(probe.packet, from_node=source in own or source.is_loopback))
