"""`fairway diff`: what an edit would do, before it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from fairway.api.codec import decode_cluster
from fairway.base.errors import Refused
from fairway.base.text import one_line
from fairway.cli.objects import NodeFlags, node_flags, read_cluster
from fairway.cli.options import output, print_json
from fairway.cluster.edit.consequences import Consequences, NodeConsequences, consequences, families
from fairway.cluster.edit.flows import LiveFlow, LostFlow
from fairway.cluster.edit.liveflows import flows_here, flows_in_lab
from fairway.cluster.edit.objects import ObjectChange, applied, replaced
from fairway.cluster.kubeadm import settings_of
from fairway.cluster.objects import Source, read_files
from fairway.plan.diff import Change, DoorChange, DoorTerms, Fate, FateChange
from fairway.plan.model import Source as Sender
from fairway.plan.options import Mode, Options

_SIGNS = {Change.ADDED: ("+", "green"), Change.REMOVED: ("-", "red"), Change.CHANGED: ("~", "yellow")}
_SENDERS = {Sender.POD: "pods", Sender.NODE: "the node itself", Sender.ELSEWHERE: "everybody else"}
_MOST = 20
"""Connections of one node to list; of more the number says enough."""


@click.command()
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="The objects as they are to be, JSON or YAML; - is standard input. Repeat for several files.",
)
@click.option(
    "--old",
    "old",
    multiple=True,
    metavar="FILE",
    help="The whole state before, in place of the cluster's; -f is then the whole state after.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The cluster that -f would be applied to. [default: as kubectl]",
)
@click.option("--node", default="", metavar="NAME", help="Only this node. [default: all]")
@click.option("--here", is_flag=True, help="This machine is --node: look at its live connections.")
@node_flags
@output
def diff(
    files: tuple[str, ...],
    old: tuple[str, ...],
    kubeconfig: Path | None,
    node: str,
    here: bool,
    flags: NodeFlags,
    output: str,
) -> None:
    """Tell what `kubectl apply -f FILE` would do to doors, backends, rules and live connections. Nothing is changed.

    Connections are looked at in a lab, and with --here on this machine.
    """
    if here and not node:
        raise Refused("--here needs --node: say which node this machine is")
    if old and kubeconfig is not None:
        raise Refused("--old and --kubeconfig exclude each other: the state before is in files, or in the cluster")
    source = Source(files=old, kubeconfig=kubeconfig)
    cluster = read_cluster(source)
    given = read_files(files)
    edit = replaced(cluster.objects, given) if old else applied(cluster.objects, given)
    view = decode_cluster(edit.after)
    settings = settings_of(edit.after, view.service_cidrs) if old else cluster.settings
    wanted = [flags.family] if flags.family else families(view)
    if node:
        view.node(node)
    names = [node] if node else [each.metadata.name for each in cluster.view.nodes]

    def options_of(name: str) -> list[Options]:
        return [flags.options(settings, node=name, family=family) for family in wanted]

    flows = _flows(source, names, here=here)
    told = consequences(edit, cluster.view, view, options_of, only=node, flows=flows)
    ignored = edit.ignored or {kind: count for kind, count in view.ignored.items() if old}
    if ignored:
        counted = ", ".join(f"{count} {one_line(kind)}" for kind, count in sorted(ignored.items()))
        click.echo(f"fairway: not interpreted, since agents do not read them: {counted}", err=True)
    if output == "json":
        print_json(_json(told))
    else:
        _print(told)


def _flows(source: Source, nodes: Sequence[str], *, here: bool) -> Mapping[str, list[LiveFlow]] | None:
    """None where no node can be asked."""
    if here:
        return {nodes[0]: flows_here()}
    lab = source.lab()
    return flows_in_lab(lab, nodes) if lab is not None else None


# -- text


def _print(told: Consequences) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not told:
        console.print("no change: the objects are as they were")
        return
    for change in told.edit.changes:
        for text in _object_lines(change):
            console.print(text)
    every = [node.node for node in told.nodes]
    for door, nodes in told.by_door:
        console.print()
        for text in _door_lines(told, door, _where(nodes, every)):
            console.print(text)
    _print_nodes(console, told)
    for note in _notes(told):
        console.print(Text(f"note: {note}"))


def _object_lines(change: ObjectChange) -> Iterator[Text]:
    name = one_line(f"{change.kind} {change.key}")
    if change.change != "changed":
        yield Text(f"{name} is {change.change}")
    for path, before, after in change.fields[:_MOST]:
        yield Text(one_line(f"{name}: {path}: {_value(before)} -> {_value(after)}"))
    if len(change.fields) > _MOST:
        yield Text(f"{name}: and {len(change.fields) - _MOST} more fields")


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _where(nodes: list[str], every: list[str]) -> str:
    return "on every node" if nodes == every and len(every) > 1 else f"on {', '.join(nodes)}"


def _door_lines(told: Consequences, door: DoorChange, where: str) -> Iterator[Text]:
    sign, style = _SIGNS[door.change]
    yield Text.assemble((sign, style), (f" {one_line(str(door.name))}  {door.place}", "bold"), f"  {where}")
    for text in _terms(door.before, door.after):
        yield Text(one_line(f"    {text}"))
    for fate in door.fates:
        yield Text(f"    {_who(fate.sources)}: {_fate_words(fate)}")
        for backend in fate.lost:
            yield Text(f"      - {backend}", "red")
        for backend in fate.gained:
            yield Text(f"      + {backend}", "green")
    causes = [path for change in told.causes(door) for path in _paths(change)]
    if causes:
        more = len(causes) - 3
        yield Text(one_line(f"    because of {', '.join(causes[:3])}{f' and {more} more' if more > 0 else ''}"), "dim")


def _paths(change: ObjectChange) -> list[str]:
    name = f"{change.kind} {change.key}"
    return [f"{name}: {path}" for path, _, _ in change.fields] or [f"{name}, which is {change.change}"]


def _terms(before: DoorTerms | None, after: DoorTerms | None) -> Iterator[str]:
    if before is None or after is None:
        return
    if before.owner != after.owner:
        yield f"it was {before.owner}'s and becomes {after.owner}'s"
    if before.affinity_s != after.affinity_s:
        yield f"session affinity: {_seconds(before.affinity_s)} -> {_seconds(after.affinity_s)}"
    if before.allowed != after.allowed:
        yield f"allowed sources: {_ranges(before.allowed)} -> {_ranges(after.allowed)}"


def _seconds(value: int | None) -> str:
    return "none" if value is None else f"{value} s"


def _ranges(value: tuple[str, ...] | None) -> str:
    return "all" if value is None else ", ".join(value) or "nobody"


def _who(sources: tuple[Sender, ...]) -> str:
    return "all" if len(sources) == len(Sender) else " and ".join(_SENDERS[source] for source in sources)


def _fate_words(fate: FateChange) -> str:
    before, after = fate.before, fate.after
    if before is None or after is None:
        return _state(after or before)
    words = []
    if before.refusal != after.refusal or bool(before.backends) is not bool(after.backends):
        return f"{_state(before)} -> {_state(after)}"
    if before.backends != after.backends:
        words.append(f"{len(before.backends)} -> {_count(len(after.backends), 'backend')}")
    if before.masquerade != after.masquerade:
        words.append("their address is rewritten from now on" if after.masquerade else "they keep their address")
    return ", ".join(words)


def _state(fate: Fate | None) -> str:
    assert fate is not None
    if fate.refusal:
        return fate.refusal
    return f"{_count(len(fate.backends), 'backend')}{', address rewritten' if fate.masquerade else ''}"


def _print_nodes(console: Console, told: Consequences) -> None:
    console.print()
    for node in told.nodes:
        rules = node.rules
        what = "elements" if node.mode is Mode.NFTABLES else "rules"
        changed = f", {rules.replaced} changed" if node.mode is Mode.NFTABLES else ""
        line = f"{node.node}: {what} +{rules.added} -{rules.removed}{changed}"
        line += f"; chains +{rules.chains_added} -{rules.chains_removed}, {rules.chains_changed} changed"
        if not rules:
            line = f"{node.node}: no rule changes"
        console.print(Text(line))
        for check in node.health_checks:
            told_name = one_line(check.name)
            console.print(Text(f"    health check {check.port} of {told_name}: {_check(check.before, check.after)}"))
        for text in _lost_lines(node):
            console.print(text)


def _check(before: bool | None, after: bool | None) -> str:
    words = {None: "none", True: "200, use this node", False: "503, leave this node out"}
    return f"{words[before]} -> {words[after]}"


def _lost_lines(node: NodeConsequences) -> Iterator[Text]:
    if not node.lost:
        return
    yield Text(f"    {_count(len(node.lost), 'live connection')} would lose the backend:", "yellow")
    for flow in node.lost[:_MOST]:
        yield Text(f"      {flow.client} at {one_line(flow.door)} -> {flow.backend}: {_end(flow)}")
    if len(node.lost) > _MOST:
        yield Text(f"      and {len(node.lost) - _MOST} more")


def _end(flow: LostFlow) -> str:
    if flow.protocol != "udp":
        return "it stays there until it ends"
    return "cut at once, its next packet goes elsewhere" if flow.cut else "it stays there, since the backend serves"


def _notes(told: Consequences) -> list[str]:
    notes = dict.fromkeys(told.edit.notes)
    notes |= dict.fromkeys(f"{note.origin}: {note.message}" for node in told.nodes for note in node.notes)
    if any(node.lost is None for node in told.nodes):
        notes["live connections were not looked at: that is done in a lab, and with --here on this machine"] = None
    return [one_line(note) for note in notes]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# -- JSON


def _json(told: Consequences) -> dict[str, Any]:
    return {
        "objects": [_object_json(change) for change in told.edit.changes],
        "doors": [_door_json(told, door, nodes) for door, nodes in told.by_door],
        "nodes": [
            {
                "node": node.node,
                "mode": node.mode,
                **node.rules.to_json(node.mode),
                "healthChecks": [
                    {"service": check.name, "port": check.port, "before": check.before, "after": check.after}
                    for check in node.health_checks
                ],
                "lostConnections": None if node.lost is None else [_lost_json(flow) for flow in node.lost],
            }
            for node in told.nodes
        ],
        "notes": _notes(told),
    }


def _object_json(change: ObjectChange) -> dict[str, Any]:
    fields = [{"path": path, "before": before, "after": after} for path, before, after in change.fields]
    return {"object": f"{change.kind} {change.key}", "change": change.change, "fields": fields}


def _door_json(told: Consequences, door: DoorChange, nodes: list[str]) -> dict[str, Any]:
    return {
        "change": door.change.value,
        "servicePort": str(door.name),
        "door": door.place,
        "nodes": nodes,
        "before": _terms_json(door.before),
        "after": _terms_json(door.after),
        "ways": [
            {
                "sources": [source.value for source in fate.sources],
                "before": _fate_json(fate.before),
                "after": _fate_json(fate.after),
                "lost": list(fate.lost),
                "gained": list(fate.gained),
            }
            for fate in door.fates
        ],
        "because": [path for change in told.causes(door) for path in _paths(change)],
    }


def _terms_json(terms: DoorTerms | None) -> dict[str, Any] | None:
    if terms is None:
        return None
    allowed = None if terms.allowed is None else list(terms.allowed)
    return {"servicePort": str(terms.owner), "affinitySeconds": terms.affinity_s, "allowedSources": allowed}


def _fate_json(fate: Fate | None) -> dict[str, Any] | None:
    if fate is None:
        return None
    return {"backends": list(fate.backends), "masquerade": fate.masquerade, "refusal": fate.refusal or None}


def _lost_json(flow: LostFlow) -> dict[str, Any]:
    return {
        "door": flow.door,
        "protocol": flow.protocol,
        "client": flow.client,
        "backend": flow.backend,
        "cutAtOnce": flow.cut,
    }
