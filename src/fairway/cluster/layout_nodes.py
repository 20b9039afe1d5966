"""The nodes of a lab file one by one: role, name, zone, labels, taints. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from fairway.apiserver.validation import names
from fairway.cluster.labfields import WrongField
from fairway.cluster.labfile import ClientEntry, NodeEntry
from fairway.cluster.scenario import ZONE_LABEL
from fairway.kubelet.config import Taint

MAX_NODES = 250
"""As many as have a /24 each in the default network of pods, and then some; each takes some 25 MB."""

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Entry:
    """One node of the lab. path: where the file has it."""

    path: str
    name: str
    entry: NodeEntry


def entries_of(nodes: int | Sequence[NodeEntry], zones: int | Sequence[str], *, lab: str) -> list[Entry]:
    """One for each node, in the file's order, each with a name, a role and, if there are zones, a zone.

    lab: its name, from which those of nodes without one are made. Raises WrongField for numbers of nodes and zones that
    are none, fields of one node where there are several, more than one control plane or none, and names given twice.
    """
    return _with_zones(_named(_roles(_counted(nodes)), lab), zones)


def _counted(nodes: int | Sequence[NodeEntry]) -> list[Entry]:
    """One for each node, their names as given."""
    if isinstance(nodes, int):
        _check_count("nodes", nodes)
        return [Entry("nodes", "", NodeEntry()) for _ in range(nodes)]
    found: list[Entry] = []
    for index, entry in enumerate(nodes):
        path = f"nodes[{index}]"
        _check_count(f"{path}.count", entry.count)
        of_one = {"address": entry.address, "podCIDR": entry.pod_cidr, "lastPodAddress": entry.last_pod_address}
        for field in (field for field, value in of_one.items() if value and entry.count > 1):
            problem = f"it is of one node, and count is {entry.count}; list the nodes one by one"
            raise WrongField(f"{path}.{field}", problem)
        numbers = range(1, entry.count + 1)
        found += [Entry(path, _numbered(entry.name, number) if entry.name else "", entry) for number in numbers]
    _check_count("nodes", len(found))
    return found


def _check_count(path: str, count: int) -> None:
    if not 1 <= count <= MAX_NODES:
        raise WrongField(path, f"{count} is no number of nodes; a lab has from 1 to {MAX_NODES}")


def _numbered(name: str, number: int) -> str:
    """worker, worker2, worker3: as kind names nodes."""
    return name if number == 1 else f"{name}{number}"


def _roles(entries: list[Entry]) -> list[Entry]:
    """With one control plane: the first node that may be it, if none is told to be."""
    told = [each for each in entries if each.entry.role == "control-plane"]
    if len(told) > 1:
        raise WrongField(
            f"{told[1].path}.role", "a lab has one control plane, and this is the second; make it a worker"
        )
    if told:
        return entries
    index = next((index for index, each in enumerate(entries) if not each.entry.role), None)
    if index is None:
        raise WrongField("nodes", "all are workers; a lab needs one node with role: control-plane")
    chosen = entries[index]
    # A cluster of one node runs pods there: kind, too, leaves the taint out.
    alone = {"taints": ()} if len(entries) == 1 and chosen.entry.taints is None else {}
    entry = msgspec.structs.replace(chosen.entry, role="control-plane", **alone)
    return [*entries[:index], replace(chosen, entry=entry), *entries[index + 1 :]]


def _named(entries: Iterable[Entry], lab: str) -> list[Entry]:
    """With a name each."""
    named: list[Entry] = []
    workers = 0
    for each in entries:
        name = each.name
        if not name and each.entry.role == "control-plane":
            name = f"{lab}-control-plane"
        elif not name:
            workers += 1
            name = _numbered(f"{lab}-worker", workers)
        named.append(replace(each, name=name))
    return named


def check_names(entries: Iterable[Entry], clients: Sequence[ClientEntry]) -> None:
    """Raises WrongField for a name that no host can have, and for one that two machines have."""
    taken: dict[str, str] = {}
    machines = [(each.path, each.name, each.entry.count) for each in entries]
    machines += [(f"clients[{index}]", client.name, 1) for index, client in enumerate(clients)]
    for path, name, count in machines:
        counted = f" (count {count} makes names of it)" if count > 1 else ""
        if names.dns_label(name):
            problem = f"{name!r} is no host name; use a-z, 0-9 and '-', at most 63 characters"
            raise WrongField(f"{path}.name", problem + counted)
        if name in taken:
            raise WrongField(f"{path}.name", f"the name {name} is given twice{counted}; {taken[name]} has it")
        taken[name] = path + counted


def _with_zones(entries: Sequence[Entry], zones: int | Sequence[str]) -> list[Entry]:
    """The zones in turn to the nodes that have none of their own."""
    if isinstance(zones, int):
        if not 0 <= zones <= MAX_NODES:
            raise WrongField("zones", f"{zones} is no number of zones; give from 1 to {MAX_NODES}, or their names")
        zones = [f"zone-{number}" for number in range(1, zones + 1)]
    for index, zone in enumerate(zones):
        _check_zone(f"zones[{index}]", zone)
    for each in entries:
        _check_zone(f"{each.path}.zone", each.entry.zone)
    turn = iter(range(len(entries)))
    return [
        replace(each, entry=msgspec.structs.replace(each.entry, zone=zones[next(turn) % len(zones)]))
        if zones and not each.entry.zone and ZONE_LABEL not in each.entry.labels
        else each
        for each in entries
    ]


def _check_zone(path: str, zone: str) -> None:
    for problem in names.label_value(zone):
        raise WrongField(path, f"{zone!r} cannot be a zone, which is a label: {problem}")


def labels_of(each: Entry) -> dict[str, str]:
    """Raises WrongField for what the API server would not take."""
    labels = dict(each.entry.labels)
    for cause in names.labels(f"{each.path}.labels", labels):
        raise WrongField(cause.field, cause.message)
    if each.entry.zone:
        labels[ZONE_LABEL] = each.entry.zone
    return labels


def taints_of(each: Entry) -> tuple[Taint, ...]:
    """Raises WrongField for a text that is no taint, and for one given twice."""
    found = tuple(_taint(f"{each.path}.taints[{index}]", text) for index, text in enumerate(each.entry.taints or ()))
    for (key, effect), count in Counter((taint.key, taint.effect) for taint in found).items():
        if count > 1:
            raise WrongField(f"{each.path}.taints", f"{key} with {effect} is given twice; give it once")
    return found


def _taint(path: str, text: str) -> Taint:
    """KEY[=VALUE]:EFFECT, as `kubectl taint` reads it."""
    left, _, effect = text.rpartition(":")
    key, _, value = left.partition("=")
    wrong = [*names.qualified_name(key), *names.label_value(value)]
    if not left or effect not in _EFFECTS or wrong:
        effects = ", ".join(_EFFECTS)
        raise WrongField(path, f"{text!r} is no taint; write KEY=VALUE:EFFECT, the effect one of {effects}")
    return Taint(key=key, value=value, effect=effect)
