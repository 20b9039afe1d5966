"""Fairway's own nftables data plane as a bench drives it: the one place that knows its interface."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fairway.api.types import Key
from fairway.base.errors import Unsupported
from fairway.plan.compile import ServicePlan
from fairway.plan.options import NodeView


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one apply sent to the kernel, and the seconds its two parts took."""

    elements: int
    messages: int
    bytes: int
    build_s: float
    commit_s: float


class Target(Protocol):
    """A data plane and the assembled parts it programs, in the network namespace it was made in."""

    def put(self, part: ServicePlan) -> frozenset[Key]:
        """Take in what was compiled of one Service; the keys of the Services that changed by it."""

    def apply(self, changed: frozenset[Key] | None) -> Sent:
        """Make the kernel agree; changed: Services to look at, None for all, and for a look at the kernel."""

    def restarted(self) -> Target:
        """The same parts under a data plane that has just begun and knows nothing of the kernel."""


MakeTarget = Callable[[NodeView], Target]


def is_available() -> bool:
    """Whether this Fairway has the data plane."""
    try:
        importlib.import_module("fairway.dataplane.nft.backend")
        importlib.import_module("fairway.plan.assembly")
    except ModuleNotFoundError:
        return False
    return True


def nftables_target(view: NodeView) -> Target:
    """The nftables data plane in the network namespace of the calling thread. Raises Unsupported if there is none."""
    if not is_available():
        raise Unsupported("this Fairway has no nftables data plane yet, so there is nothing of it to measure")
    assembly = importlib.import_module("fairway.plan.assembly").Assembly(view)
    return _Nftables(assembly)


class _Nftables:
    def __init__(self, assembly: Any) -> None:
        self._assembly = assembly
        self._backend = importlib.import_module("fairway.dataplane.nft.backend").NftBackend()

    def put(self, part: ServicePlan) -> frozenset[Key]:
        changed: frozenset[Key] = self._assembly.put(part)
        return changed

    def apply(self, changed: frozenset[Key] | None) -> Sent:
        result = self._backend.apply(self._assembly, changed)
        return Sent(
            elements=result.elements,
            messages=result.messages,
            bytes=result.bytes,
            build_s=result.build_s,
            commit_s=result.commit_s,
        )

    def restarted(self) -> Target:
        return _Nftables(self._assembly)
