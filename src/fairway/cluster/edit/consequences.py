"""What an edit means on every node: doors, rules, connections. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fairway.api.codec import ClusterView
from fairway.api.core import Node
from fairway.api.discovery import SERVICE_NAME_LABEL
from fairway.api.types import Key, key_of
from fairway.base.addresses import Family
from fairway.cluster.edit.flows import LiveFlow, LostFlow, lost_flows
from fairway.cluster.edit.objects import Edit, ObjectChange
from fairway.cluster.edit.rules import RuleChanges, rule_changes
from fairway.plan.compile import compile_plan
from fairway.plan.diff import DoorChange, HealthCheckChange, diff
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Note, Plan
from fairway.plan.options import Mode, Options


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConsequences:
    """Of one node, in all families it has. mode: of its rules. notes: what its agent would newly say of objects."""

    node: str
    mode: Mode
    doors: tuple[DoorChange, ...] = ()
    health_checks: tuple[HealthCheckChange, ...] = ()
    rules: RuleChanges = field(default_factory=RuleChanges)
    lost: tuple[LostFlow, ...] | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Consequences:
    """by_door: each change of a door with the nodes it is the same on, in their order."""

    edit: Edit
    nodes: tuple[NodeConsequences, ...]

    def __bool__(self) -> bool:
        return bool(self.edit.changes)

    @property
    def by_door(self) -> list[tuple[DoorChange, list[str]]]:
        found: dict[DoorChange, list[str]] = {}
        for each in self.nodes:
            for change in each.doors:
                found.setdefault(change, []).append(each.node)
        return sorted(found.items(), key=lambda pair: (pair[0].name, pair[0].place, pair[1]))

    def causes(self, change: DoorChange) -> list[ObjectChange]:
        """The changed objects that a door depends on: its Service first, then that Service's slices."""
        names = {Key(terms.owner.namespace, terms.owner.service) for terms in (change.before, change.after) if terms}
        return [each for name in sorted(names) for each in self._changed_for.get(name, ())]

    @cached_property
    def _changed_for(self) -> Mapping[Key, list[ObjectChange]]:
        """The changed objects by the Service whose they are."""
        owners = {
            key_of(obj): Key(key_of(obj).namespace, (obj["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL, ""))
            for obj in (*self.edit.before, *self.edit.after)
            if obj.get("kind") == "EndpointSlice"
        }
        found: dict[Key, list[ObjectChange]] = {}
        for change in sorted(self.edit.changes, key=lambda each: each.kind, reverse=True):
            owner = owners.get(change.key) if change.kind == "EndpointSlice" else change.key
            if owner is not None and change.kind != "Node":
                found.setdefault(owner, []).append(change)
        return found


def consequences(
    edit: Edit,
    before: ClusterView,
    after: ClusterView,
    options_of: Callable[[str], Sequence[Options]],
    *,
    only: str = "",
    flows: Mapping[str, Sequence[LiveFlow]] | None = None,
) -> Consequences:
    """Node by node. options_of: of a node's proxy, one a family. only: the name of the one node to look at.

    flows: of the nodes that were asked for theirs, by name.
    """
    old = {node.metadata.name: node for node in before.nodes}
    new = {node.metadata.name: node for node in after.nodes}
    names = [name for name in sorted(old.keys() & new.keys()) if only in ("", name)]
    return Consequences(
        edit=edit,
        nodes=tuple(
            _on_node(name, _plans(before, old[name], options), _plans(after, new[name], options), options, flows)
            for name in names
            for options in [options_of(name)]
        ),
    )


def _plans(view: ClusterView, node: Node, options: Iterable[Options]) -> list[Plan]:
    return [compile_plan(view.services, view.slices, node, options=each) for each in options]


def _on_node(
    name: str,
    before: list[Plan],
    after: list[Plan],
    options: Sequence[Options],
    flows: Mapping[str, Sequence[LiveFlow]] | None,
) -> NodeConsequences:
    pairs = list(zip(before, after, options, strict=True))
    diffs = [diff(old, new) for old, new, _ in pairs]
    counted = [rule_changes(old, new, each.mode) for old, new, each in pairs]
    living = flows.get(name) if flows is not None else None
    lost = None
    if living is not None:
        lost = tuple(
            sorted(each for old, new, _ in pairs for each in lost_flows(living, Evaluator(old), Evaluator(new)))
        )
    known = {(note.origin, note.message) for plan in before for note in plan.notes}
    return NodeConsequences(
        node=name,
        mode=options[0].mode,
        doors=tuple(change for each in diffs for change in each.doors),
        health_checks=tuple(change for each in diffs for change in each.health_checks),
        rules=_sum(counted),
        lost=lost,
        notes=tuple(
            note
            for plan in after
            for note in plan.notes
            if (note.origin, note.message) not in known and not _is_unallocated(note)
        ),
    )


def _is_unallocated(note: Note) -> bool:
    """The Edit tells of it, and of node ports too."""
    return (note.origin.field, note.origin.value) == ("spec.clusterIP", "")


def _sum(counted: Iterable[RuleChanges]) -> RuleChanges:
    fields = RuleChanges.__struct_fields__
    every = list(counted)
    return RuleChanges(**{name: sum(getattr(each, name) for each in every) for name in fields})


def families(view: ClusterView) -> tuple[Family, ...]:
    """Those that Services of the cluster have addresses of, IPv4 at least."""
    texts = [text for service in view.services for text in (*service.spec.cluster_ips, service.spec.cluster_ip)]
    return (Family.IPV4, Family.IPV6) if any(":" in text for text in texts) else (Family.IPV4,)
