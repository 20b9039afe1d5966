"""What a scheduling decision looks at: a pod, the nodes, and the pods that have one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from fairway.api.types import Object
from fairway.controllers.objects import name, spec
from fairway.controllers.pods import is_finished, node_of


def priority(pod: Object) -> int:
    """0 where it says none."""
    return int(spec(pod).get("priority") or 0)


class Domain(NamedTuple):
    """All nodes whose label `key` has this value: a host, a zone."""

    key: str
    value: str


@dataclass(frozen=True, kw_only=True)
class SchedulingView:
    """A pod without a node, all nodes, and all pods that have one.

    bound: also pods for whom others make way (`status.nominatedNodeName`), as if they were there already, if these are
    no less important than this one.
    services: of the pod's namespace. namespaces: labels by name, for terms that choose namespaces by label.
    """

    pod: Object
    nodes: Sequence[Object]
    bound: Sequence[Object]
    services: Sequence[Object] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def by_node(self) -> Mapping[str, Sequence[Object]]:
        """Pods that take room, by the name of their node; finished ones take none."""
        found: dict[str, list[Object]] = {}
        for one in self.bound:
            if not is_finished(one):
                found.setdefault(node_of(one), []).append(one)
        return found

    def on(self, node: Object) -> Sequence[Object]:
        return self.by_node.get(name(node), ())

    def placed(self) -> Iterator[tuple[Object, Object]]:
        """Each node with each pod there."""
        return ((node, pod) for node in self.nodes for pod in self.on(node))
