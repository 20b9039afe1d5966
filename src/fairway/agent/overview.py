"""What is told of all Services together, counted Service by Service as they change. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from fairway.api.types import Key
from fairway.plan.model import DoorKind, HealthCheck, Note, Refusal, RejectReason, ServicePlan, ServicePort


class Overview:
    """The health checks of the parts it was shown, and how many Service ports lack local endpoints.

    health_checks: by the names of their Services. no_local: Service ports with a Local policy and endpoints, but none
    here, at clusterIPs and at the other doors.
    """

    def __init__(self) -> None:
        self._checks: dict[Key, HealthCheck] = {}
        self._lacking: dict[Key, tuple[int, int]] = {}
        self.health_checks: tuple[HealthCheck, ...] = ()
        self.no_local: tuple[int, int] = (0, 0)

    def update(self, parts: Mapping[Key, ServicePlan], changed: Iterable[Key]) -> None:
        """Look at the parts that changed, gone ones among them."""
        checks_changed = False
        internal, external = self.no_local
        for key in changed:
            part = parts.get(key)
            former_internal, former_external = self._lacking.pop(key, (0, 0))
            lacking = _lacking(part)
            if any(lacking):
                self._lacking[key] = lacking
            internal += lacking[0] - former_internal
            external += lacking[1] - former_external
            check = part.health_check if part is not None else None
            if check != self._checks.get(key):
                checks_changed = True
                if check is None:
                    del self._checks[key]
                else:
                    self._checks[key] = check
        self.no_local = internal, external
        if checks_changed:
            self.health_checks = tuple(self._checks[key] for key in sorted(self._checks))


class NoteBook:
    """Which Notes stand, so that each is told once for as long as it does."""

    def __init__(self) -> None:
        self._general: frozenset[Note] = frozenset()
        self._of_parts: dict[Key, tuple[Note, ...]] = {}

    def general(self, notes: Collection[Note]) -> list[Note]:
        """Those of no Service that are new among all that there are."""
        standing = self._general
        self._general = frozenset(notes)
        return [note for note in dict.fromkeys(notes) if note not in standing]

    def of_parts(self, parts: Mapping[Key, ServicePlan], changed: Iterable[Key]) -> list[tuple[Key, Note]]:
        """Those that are new of the parts that changed, gone ones among them."""
        new: list[tuple[Key, Note]] = []
        for key in changed:
            part = parts.get(key)
            notes = part.notes if part is not None else ()
            standing = self._of_parts.pop(key, ())
            if notes:
                self._of_parts[key] = notes
                new += [(key, note) for note in notes if note not in standing]
        return new


def _lacking(part: ServicePlan | None) -> tuple[int, int]:
    internal = external = 0
    for port in part.ports if part is not None else ():
        internal += _lacks_local(port, internal=True)
        external += _lacks_local(port, internal=False)
    return internal, external


def _lacks_local(port: ServicePort, *, internal: bool) -> bool:
    for door in port.doors:
        if (door.kind is DoorKind.CLUSTER_IP) is internal:
            for way in door.ways.values():
                if isinstance(way.outcome, Refusal) and way.outcome.reason is RejectReason.NO_LOCAL_ENDPOINTS:
                    return True
    return False
