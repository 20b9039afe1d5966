"""`fairway explain`: what happens to a packet, and why."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from fairway.api.types import Key
from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.base.text import one_line
from fairway.cli.objects import Cluster, NodeFlags, lab_clients, node_flags, objects_source, read_cluster, tell_ignored
from fairway.cli.options import print_json
from fairway.cluster.objects import Source, without_collector
from fairway.plan.model import Note
from fairway.plan.options import Options
from fairway.trace.explain import Question
from fairway.trace.explain import explain as explain_packet
from fairway.trace.journey import PodSource
from fairway.trace.names import find_service, parse_sender, parse_target
from fairway.trace.packets import answers
from fairway.trace.picture import draw
from fairway.trace.scene import OptionsOf, Scene
from fairway.trace.sentences import Line, as_json, markdown, text_lines
from fairway.trace.service import service_cells, summary_of
from fairway.trace.table import Matrix, legend_of, markdown_table, matrix_json, matrix_of, parts_of, text_table

_OUTPUTS = ("text", "json", "markdown", "svg")
_WIDTH = 100
"""Of prose that goes to no terminal."""

_STYLES = {
    "head": "bold",
    "DNAT": "bold green",
    "ACCEPT": "bold green",
    "REJECT": "bold yellow",
    "DROP": "bold red",
    "NONE": "bold",
    "rule": "cyan",
    "element": "cyan",
    "reason": "dim",
    "heading": "bold",
    "command": "green",
    "defect": "bold red",
}
_NUMBERED = re.compile(r"\d+\. |- ")
_PROSE = {"step", "text", "reason", "head", *("DNAT", "ACCEPT", "REJECT", "DROP", "NONE"), "defect"}
"""Lines that may be broken; rules, elements and commands are for copying."""


@click.command()
@click.argument("service", required=False)
@objects_source
@click.option("--node", metavar="NAME", help="The node it enters. [default: as the two ends tell]")
@click.option("--from", "sender", metavar="WHO", help="An IP, a client (mypc), a node, pod/NAME, or outside.")
@click.option("--to", "target", metavar="WHERE", help="IP:PORT[/PROTOCOL], NODE:PORT, svc/NAME[:PORT] or POD:PORT.")
@click.option("--packets", metavar="FILE", help="Many packets, a line of JSON each; - is standard input.")
@click.option("--matrix", is_flag=True, help="Who meets what by which door of SERVICE.")
@click.option(
    "--pod-source",
    type=click.Choice([each.value for each in PodSource]),
    default=PodSource.NODE.value,
    show_default=True,
    help="Whose address a pod has at other nodes' addresses: its node's, as most network plugins have it, or its own.",
)
@node_flags
@click.option(
    "-o",
    "--output",
    type=click.Choice(_OUTPUTS),
    default="text",
    show_default=True,
    help="Output format; svg: a matrix.",
)
def explain(
    service: str | None,
    source: Source,
    node: str | None,
    sender: str | None,
    target: str | None,
    packets: str | None,
    matrix: bool,
    pod_source: str,
    flags: NodeFlags,
    output: str,
) -> None:
    """The fate of a packet, step by step: the object and field that decide, and the rules and elements that do it.

    A packet is named by --from and --to, many by --packets. With SERVICE (svc/NAME) it is a matrix of who meets what by
    which of its doors. Only what Services do is told: network policies, firewalls and routes of machines are their own.
    """
    _check_usage(service, sender, target, packets, matrix=matrix, output=output)
    cluster = read_cluster(source)
    tell_ignored(cluster.view)
    scene = Scene(cluster.view, _options_of(cluster, flags, node), lab_clients(source))
    if node:
        cluster.view.node(node)
    if packets:
        sys.exit(_answer_all(packets, scene, node or ""))
    if service:
        found = _matrix(service, scene, flags.family, PodSource(pod_source))
        _print_matrix(found, output)
        return
    assert sender is not None
    assert target is not None
    question = Question(
        sender=parse_sender(sender, scene),
        target=parse_target(target, scene),
        node=node or "",
        family=flags.family,
        pod_source=PodSource(pod_source),
    )
    told = explain_packet(question, scene)
    _tell_notes(told.warnings)
    if output == "json":
        print_json(as_json(told))
    elif output == "markdown":
        click.echo(markdown(told), nl=False)
    else:
        _print_lines(text_lines(told))
    if told.defect:
        sys.exit(1)


def _check_usage(
    service: str | None, sender: str | None, target: str | None, packets: str | None, *, matrix: bool, output: str
) -> None:
    """Raises UsageError where the command line asks for nothing, or for several things."""
    if matrix and not service:
        raise click.UsageError("--matrix needs a SERVICE, as in: fairway explain svc/NAME --matrix")
    one_packet = sender is not None or target is not None
    if [bool(service), bool(packets), one_packet].count(True) > 1:
        raise click.UsageError("ask one thing: SERVICE with --matrix, or --from and --to, or --packets")
    if one_packet and (sender is None or target is None):
        raise click.UsageError(f"{'--to' if target is None else '--from'} is missing: a packet has two ends")
    if not (service or packets or one_packet):
        raise click.UsageError("say which packet: --from WHO --to WHERE; or SERVICE --matrix; or --packets FILE")
    if output == "svg" and not service:
        raise click.UsageError("-o svg draws a matrix: name a SERVICE")
    if packets and output not in ("text", "json"):
        raise click.UsageError("--packets answers in lines of JSON")


def _options_of(cluster: Cluster, flags: NodeFlags, node: str | None) -> OptionsOf:
    """--node-address tells the addresses of the node that --node names; of all, where it names none."""
    others = replace(flags, node_addresses=())

    def options(name: str, family: Family) -> Options:
        own = flags if not node or name == node else others
        return own.options(cluster.settings, node=name, family=family)

    return options


def _answer_all(file: str, scene: Scene, node: str) -> int:
    """The exit status: 1 where a line was none."""
    bad = total = 0
    write = sys.stdout.buffer.write
    with without_collector():
        for answer, good in answers(_lines(file), scene, node):
            write(answer + b"\n")
            total += 1
            bad += not good
    sys.stdout.buffer.flush()
    if bad:
        click.echo(f"fairway: {bad} of {total} lines are no packet; their answers say why", err=True)
    return 1 if bad else 0


def _lines(file: str) -> Iterable[bytes]:
    try:
        return sys.stdin.buffer if file == "-" else Path(file).read_bytes().splitlines()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None


def _matrix(text: str, scene: Scene, family: Family | None, pod_source: PodSource) -> Matrix:
    service = find_service(text, scene, one_line(text))
    key: Key = service.metadata.key
    found = service_cells(key, scene, family, pod_source)
    return matrix_of(key, summary_of(service, scene), found)


def _print_matrix(matrix: Matrix, output: str) -> None:
    if output == "json":
        print_json(matrix_json(matrix))
    elif output == "markdown":
        click.echo(markdown_table(matrix), nl=False)
    elif output == "svg":
        click.echo(draw(matrix), nl=False)
    else:
        _print_lines(_matrix_lines(matrix))


def _matrix_lines(matrix: Matrix) -> Iterator[Line]:
    yield Line("head", f"Service {matrix.service}")
    for text in matrix.summary:
        yield Line("text", f"{text}.")
    yield Line("blank", "")
    for name, part in parts_of(matrix):
        if name:
            yield Line("head", name)
        for number, row in enumerate(text_table(part)):
            yield Line("heading" if number < 2 else "row", row)
        yield Line("blank", "")
    for sign, text in legend_of(matrix):
        yield Line("legend", f"{sign:<12} {text}", 1)


def _print_lines(lines: Iterable[Line]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    width = console.width if console.is_terminal else _WIDTH
    for line in lines:
        for part in _broken(line, width):
            console.print(Text(part, _STYLES.get(line.style, "")))


def _broken(line: Line, width: int) -> list[str]:
    text = str(line)
    if line.style not in _PROSE or len(text) <= width:
        return [text]
    numbered = _NUMBERED.match(line.text)
    hanging = line.indent + (len(numbered[0]) if numbered else 0 if line.style == "text" else 2)
    return textwrap.wrap(text, width, subsequent_indent=" " * hanging, break_long_words=False, break_on_hyphens=False)


def _tell_notes(notes: Iterable[Note]) -> None:
    for note in notes:
        click.echo(f"fairway: {one_line(f'{note.origin}: {note.message}')}", err=True)
