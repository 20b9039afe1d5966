"""Fairway's own nftables data plane as a bench drives it: the one place that knows its interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fairway.api.types import Key
from fairway.dataplane.nft.backend import NftBackend
from fairway.plan.assembly import Assembly
from fairway.plan.model import ServicePlan
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


def nftables_target(view: NodeView) -> Target:
    """The nftables data plane in the network namespace of the calling thread. Raises Unsupported if there is none."""
    return _Nftables(Assembly(view))


class _Nftables:
    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._backend = NftBackend()

    def put(self, part: ServicePlan) -> frozenset[Key]:
        return self._assembly.put(part)

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
        self._backend.close()
        return _Nftables(self._assembly)
