"""One sync step: the objects and the Services that changed -> the Plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from fairway.agent.changes import ChangeTracker
from fairway.api.core import Node
from fairway.api.meta import ObjectMeta
from fairway.api.types import Key
from fairway.plan.assembly import assemble_plan
from fairway.plan.compile import compile_service, group_slices
from fairway.plan.model import Note, Plan, ServicePlan
from fairway.plan.options import NodeView, Options, view_node


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A Plan and the parts it was joined from, for the next step to reuse.

    recompiled: how many Services this step compiled. full: all of them, as the node itself changed.
    """

    view: NodeView
    parts: Mapping[Key, ServicePlan]
    orphan_notes: tuple[Note, ...]
    plan: Plan
    recompiled: int
    full: bool


def compile_step(
    previous: Compiled | None,
    objects: ChangeTracker,
    changed: Set[Key],
    *,
    node: Node,
    options: Options,
) -> Compiled:
    """Compile the Services in `changed`, or all of them at first and where what the Plan knows of the node changed.

    Where nothing of the Plan changed, `plan` is the very object of `previous`.
    """
    view = view_node(node, options)
    full = previous is None or previous.view != view
    parts = {} if previous is None or full else dict(previous.parts)
    recompiled = 0
    for key in objects.services if full else changed:
        service = objects.services.get(key)
        if service is None:
            parts.pop(key, None)
            continue
        parts[key] = compile_service(service, tuple(objects.slices_of(key).values()), view)
        recompiled += 1
    _, orphan_notes = group_slices(objects.orphans.values())
    if previous is not None and not full and parts == previous.parts and orphan_notes == previous.orphan_notes:
        plan = previous.plan
    else:
        plan = assemble_plan(parts.values(), view, notes=orphan_notes)
    return Compiled(view=view, parts=parts, orphan_notes=orphan_notes, plan=plan, recompiled=recompiled, full=full)


def plan_around(compiled: Compiled, refused: Mapping[Key, ServicePlan], working: Mapping[Key, ServicePlan]) -> Plan:
    """The Plan with what the kernel refused left out, so that one Service does not keep the others back.

    refused: by Service, what was refused; one that was compiled to something else since gets its chance. working: what
    the kernel holds; a refused Service keeps what it had.
    """
    held = {key for key, part in refused.items() if compiled.parts.get(key) == part}
    if not held:
        return compiled.plan
    parts = {key: part for key, part in compiled.parts.items() if key not in held}
    parts |= {key: working[key] for key in held if key in working}
    return assemble_plan(parts.values(), compiled.view, notes=compiled.orphan_notes)


def unknown_node(name: str) -> Node:
    """Stands in for a Node that was never seen: nothing is known of it but its name."""
    return Node(metadata=ObjectMeta(name=name))
