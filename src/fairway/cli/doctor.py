"""`fairway doctor`: faults of nodes and Services, each with the command that mends it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.base.text import one_line
from fairway.cli.objects import NodeFlags, node_flags, read_cluster
from fairway.cli.options import output, own_command, print_json
from fairway.cli.progress import progress
from fairway.cluster.doctor.case import CONNTRACK_PERCENT
from fairway.cluster.doctor.diagnose import Diagnosis
from fairway.cluster.doctor.examine import Objects, examine, look_here, look_into_lab
from fairway.cluster.doctor.finding import Finding, Severity
from fairway.cluster.objects import Source
from fairway.cluster.scenario import DEFAULT_LAB
from fairway.cluster.state import LabState
from fairway.plan.options import Options

FOUND = 3
"""Exit status where something was found: neither done well nor refused."""

_STYLES = {Severity.FAULT: "bold red", Severity.RISK: "bold yellow"}


@click.command()
@click.option(
    "--name", envvar="FAIRWAY_LAB", metavar="LAB", help=f"The lab whose nodes to look into. [default: {DEFAULT_LAB}]"
)
@click.option("--node", default="", metavar="NAME", help="This machine is that node: look into it, not into a lab.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --node: the cluster whose node it is. [default: none, and only the node is judged]",
)
@click.option(
    "--conntrack-percent",
    type=click.FloatRange(0, 100),
    default=CONNTRACK_PERCENT,
    show_default=True,
    metavar="N",
    help="How full the table of connections may be.",
)
@node_flags
@output
def doctor(
    name: str | None, node: str, kubeconfig: Path | None, conntrack_percent: float, flags: NodeFlags, output: str
) -> None:
    """Find the faults that cost people days, on the nodes of a lab or on this node, and in the cluster's Services.

    Each finding tells what is wrong, by what it shows, what follows, and the command that mends it. Nothing is changed.
    Exit status 3 where something was found.
    """
    if kubeconfig is not None and not node:
        raise Refused("--kubeconfig needs --node: say which node of that cluster this machine is")
    with progress("looking into this node" if node else "looking into the lab's nodes"):
        if node:
            prefix: list[str] = []
            diagnosis = _here(node, kubeconfig, flags, conntrack_percent)
        else:
            lab = name or DEFAULT_LAB
            prefix = [own_command(), "exec", *(["--name", lab] if lab != DEFAULT_LAB else [])]
            diagnosis = _lab(lab, flags, conntrack_percent)

    def command(finding: Finding) -> str:
        return finding.mend.command([*prefix, finding.mend.node, "--"] if prefix else ())

    if output == "json":
        print_json(diagnosis.to_json(command))
    else:
        _print(diagnosis, {id(finding): command(finding) for finding in diagnosis.findings})
    if diagnosis.findings:
        sys.exit(FOUND)


def _lab(name: str, flags: NodeFlags, percent: float) -> Diagnosis:
    state = LabState.of(name)
    record = state.living()
    state.credentials()
    source = Source(kubeconfig=state.kubeconfig)
    nodes = [node.metadata.name for node in read_cluster(source).view.nodes]
    return examine(
        lambda: _objects(source, flags),
        look_into_lab(state, nodes),
        clients=tuple(address for addresses in record.clients.values() for address in addresses),
        conntrack_percent=percent,
    )


def _here(node: str, kubeconfig: Path | None, flags: NodeFlags, percent: float) -> Diagnosis:
    source = Source(kubeconfig=kubeconfig)
    if kubeconfig is not None:
        read_cluster(source).view.node(node)  # a name that is none is told before anything is looked into
    return examine(
        lambda: _objects(source, flags) if kubeconfig is not None else None,
        look_here(node),
        conntrack_percent=percent,
    )


def _objects(source: Source, flags: NodeFlags) -> Objects:
    cluster = read_cluster(source)
    wanted = [flags.family] if flags.family else list(Family)

    def options_of(node: str) -> dict[Family, Options]:
        return {family: flags.options(cluster.settings, node=node, family=family) for family in wanted}

    return Objects(objects=cluster.objects, view=cluster.view, options_of=options_of)


def _print(diagnosis: Diagnosis, commands: dict[int, str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    nodes, services = len(diagnosis.nodes), diagnosis.services
    looked = f"{diagnosis.checks} checks on {_count(nodes, 'node')} and {_count(services, 'Service')}"
    if not diagnosis.findings:
        console.print(f"nothing found: {looked}")
        return
    for finding in diagnosis.findings:
        place = ", ".join(part for part in (finding.node, finding.about) if part)
        head = Text.assemble(
            (finding.severity.word, _STYLES[finding.severity]), f"  {finding.check}  {one_line(place)}"
        )
        console.print(head)
        for label, text in (
            ("", finding.what),
            ("evidence     ", finding.evidence),
            ("consequence  ", finding.consequence),
            ("mend         ", commands[id(finding)]),
        ):
            console.print(Text(f"    {label}{one_line(text)}"))
        console.print()
    console.print(f"{_count(len(diagnosis.findings), 'finding')}: {looked}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
