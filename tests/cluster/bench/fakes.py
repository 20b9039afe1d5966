"""A data plane that counts and takes time by its own clock; nothing is measured with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fairway.api.types import Key
from fairway.cluster.bench.program_target import Sent, Target
from fairway.plan.compile import ServicePlan
from fairway.plan.options import NodeView

T = TypeVar("T")


class FakeTarget:
    """One element for each backend that is put, one message for each Service that is applied."""

    def __init__(self, view: NodeView, parts: dict[Key, ServicePlan] | None = None) -> None:
        self.view = view
        self.parts: dict[Key, ServicePlan] = {} if parts is None else parts
        self.applied: list[frozenset[Key] | None] = []
        self.kernel: dict[Key, ServicePlan] = {}

    def put(self, part: ServicePlan) -> frozenset[Key]:
        self.parts[part.key] = part
        return frozenset({part.key})

    def apply(self, changed: frozenset[Key] | None) -> Sent:
        self.applied.append(changed)
        looked_at = self.parts if changed is None else {key: self.parts[key] for key in changed}
        sent = {key: part for key, part in looked_at.items() if self.kernel.get(key) != part}
        self.kernel |= sent
        elements = sum(len(port.cluster) for part in sent.values() for port in part.ports)
        return Sent(elements=elements, messages=len(sent), bytes=40 * elements, build_s=0.25, commit_s=0.5)

    def restarted(self) -> Target:
        again = FakeTarget(self.view, self.parts)
        again.kernel = self.kernel
        return again


def here(function: Callable[[], Any]) -> Any:
    """In place of a scratch namespace, for what touches no kernel."""
    return function()
