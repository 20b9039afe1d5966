"""What the kernel is to hold, kept up to date step by step: one changed Service costs what it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

from fairway.agent.changes import ChangeTracker, Pending
from fairway.api.core import Node
from fairway.api.meta import ObjectMeta
from fairway.api.types import Key
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service, group_slices
from fairway.plan.model import ServicePlan
from fairway.plan.options import NodeView, Options, view_node


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """recompiled: how many Services it compiled. full: all of them, as the node itself changed or was new."""

    recompiled: int
    full: bool


class Target:
    """Every Service as it was compiled last; those that the kernel refused as it held them, or not at all.

    A refused Service is tried again when it is compiled to something else, and after `pardon`.
    dirty: whose parts changed since the kernel was last known to hold them; read-only for others.
    refused: by Service, what of it was refused; read-only for others.
    """

    def __init__(self) -> None:
        self._assembly: Assembly | None = None
        self._before: Assembly | None = None
        """What was known to be in the kernel when the node changed, until all of the new one is."""
        self._held: dict[Key, ServicePlan | None] = {}
        """What the kernel holds of Services that changed since; None where nothing."""
        self._dirty: set[Key] = set()
        self._refused: dict[Key, ServicePlan] = {}
        self._viewed: tuple[Node, Options, NodeView] | None = None
        self.dirty: Set[Key] = self._dirty
        self.refused: Mapping[Key, ServicePlan] = MappingProxyType(self._refused)

    @property
    def assembly(self) -> Assembly:
        """There is one after the first step."""
        assert self._assembly is not None
        return self._assembly

    def take_up(self, objects: ChangeTracker, pending: Pending, *, node: Node, options: Options) -> Step:
        """Compile the Services that changed, or all at first and where what the Plan knows of the node changed."""
        view = self._view(node, options)
        full = self._assembly is None or self._assembly.view != view
        if full:
            self._begin(view)
        recompiled = 0
        # All by name, so that who has a door keeps it; it is also how they were listed, and so how they lie in memory.
        for key in sorted({*objects.services, *pending.services}) if full else pending.services:
            service = objects.services.get(key)
            if service is None:
                self._want(key, None, full=full)
                continue
            self._want(key, compile_service(service, objects.slices_of(key).values(), view), full=full)
            recompiled += 1
        if full or pending.orphans:
            _, notes = group_slices(objects.orphans.values())
            self.assembly.set_notes(notes)
        return Step(recompiled=recompiled, full=full)

    def refuse(self, key: Key) -> bool:
        """The kernel does not take a Service as it is here: leave it as it was, and out where that is refused too.

        False where it is out already: then the Service cannot be what is in the way.
        """
        part = self.assembly.claimed(key)
        if part is None:
            return False
        held = self._as_held(key) if key not in self._refused else None
        self._refused.setdefault(key, part)
        self._put(key, held if held != part else None)
        return True

    def pardon(self) -> None:
        """Try the refused Services again: whatever was in their way may be gone."""
        refused = dict(self._refused)
        self._refused.clear()
        for key, part in refused.items():
            self._put(key, part)

    def confirm(self, *, but: Iterable[Key] = ()) -> None:
        """The kernel holds all of it now, of the Services in `but` what it held before."""
        held = {key: self._as_held(key) for key in but}
        self._held = held
        self._before = None
        self._dirty.clear()

    def _view(self, node: Node, options: Options) -> NodeView:
        known = self._viewed
        if known is not None and known[0] is node and known[1] == options:
            return known[2]
        view = view_node(node, options)
        self._viewed = node, options, view
        return view

    def _begin(self, view: NodeView) -> None:
        former = self._assembly or Assembly(view)
        self._before = self._before or former
        self._dirty.update(former.parts)
        self._assembly = Assembly(view)

    def _want(self, key: Key, part: ServicePlan | None, *, full: bool) -> None:
        """Take up what was compiled, unless it is what was refused; in a new assembly that starts as it was held."""
        if key in self._refused:
            if part == self._refused[key]:
                if full:
                    self._put(key, self._as_held(key))
                return
            del self._refused[key]
        self._put(key, part)

    def _put(self, key: Key, part: ServicePlan | None) -> None:
        if self._before is None and key not in self._held:
            self._held[key] = self.assembly.claimed(key)
        self._dirty.update(self.assembly.put(part) if part is not None else self.assembly.drop(key))

    def _as_held(self, key: Key) -> ServicePlan | None:
        if key in self._held:
            return self._held[key]
        return (self._before or self.assembly).claimed(key)


def unknown_node(name: str) -> Node:
    """Stands in for a Node that was never seen: nothing is known of it but its name."""
    return Node(metadata=ObjectMeta(name=name))
