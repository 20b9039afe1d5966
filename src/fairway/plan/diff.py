"""What becomes of a node's doors when one Plan takes the place of another. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from msgspec import Struct

from fairway.base.addresses import IPAddress, format_host
from fairway.flow.packet import Protocol
from fairway.plan.model import (
    Affinity,
    Door,
    DoorKind,
    HealthCheck,
    Plan,
    PortName,
    Refusal,
    RejectReason,
    ServicePort,
    Source,
    Way,
)


class Change(Enum):
    """What happens to a door."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Fate(Struct, frozen=True, kw_only=True, order=True):
    """What one class of sources meets at a door, without the reasons.

    refusal: "rejected" or "dropped"; "" where there are backends, which are told by their texts, sorted.
    """

    backends: tuple[str, ...] = ()
    masquerade: bool = False
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FateChange:
    """The same change for these classes of sources. before, after: None where there is no door."""

    sources: tuple[Source, ...]
    before: Fate | None
    after: Fate | None

    @property
    def lost(self) -> tuple[str, ...]:
        """The backends that get no new connections any more."""
        return _without(self.before, self.after)

    @property
    def gained(self) -> tuple[str, ...]:
        return _without(self.after, self.before)


class DoorTerms(Struct, frozen=True, kw_only=True):
    """What holds for all who come to a door. allowed: None for everybody."""

    owner: PortName
    affinity_s: int | None = None
    allowed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorChange:
    """One door that is not what it was.

    address: None for a node port. before, after: its terms; None where there is no such door. fates: those that differ,
    each for the sources it differs for.
    """

    change: Change
    kind: DoorKind
    address: IPAddress | None
    port: int
    protocol: Protocol
    before: DoorTerms | None
    after: DoorTerms | None
    fates: tuple[FateChange, ...]

    @property
    def name(self) -> PortName:
        """The Service port whose door it is, or was where it is gone."""
        terms = self.after or self.before
        assert terms is not None
        return terms.owner

    @property
    def place(self) -> str:
        """ "clusterIP 10.96.0.10:53/udp", "nodePort 30080/tcp"."""
        host = f"{format_host(self.address)}:" if self.address is not None else ""
        return f"{self.kind.value} {host}{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckChange:
    """A health check node port. before, after: whether load balancers are told to use the node; None for no port."""

    name: str
    port: int
    before: bool | None
    after: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """doors: sorted by Service port and place."""

    doors: tuple[DoorChange, ...]
    health_checks: tuple[HealthCheckChange, ...]

    def __bool__(self) -> bool:
        return bool(self.doors or self.health_checks)


_Place = tuple[IPAddress | None, Protocol, int]
_Held = tuple[ServicePort, Door]


def diff(before: Plan, after: Plan) -> PlanDiff:
    """What differs between two Plans of one node and family; reasons alone are no difference."""
    old, new = _doors(before), _doors(after)
    changes = [
        change
        for place in old.keys() | new.keys()
        if (change := _change(place, old.get(place), new.get(place))) is not None
    ]
    return PlanDiff(doors=tuple(sorted(changes, key=_order)), health_checks=tuple(_health_checks(before, after)))


def fate_of(way: Way) -> Fate:
    """A Way without its reasons."""
    if isinstance(way.outcome, Refusal):
        return Fate(refusal="rejected" if way.outcome.reason is RejectReason.NO_ENDPOINTS else "dropped")
    return Fate(backends=tuple(map(str, way.outcome.choices)), masquerade=way.masquerade)


def _doors(plan: Plan) -> dict[_Place, _Held]:
    return {(door.address, door.protocol, door.port): (port, door) for port in plan.ports for door in port.doors}


def _change(place: _Place, old: _Held | None, new: _Held | None) -> DoorChange | None:
    if old is not None and new is not None and old[1].ways is new[1].ways and old == new:
        return None
    fates = tuple(_fates(old, new))
    before, after = _terms(old), _terms(new)
    if not fates and before == after:
        return None
    held = new or old
    assert held is not None
    return DoorChange(
        change=Change.ADDED if old is None else Change.REMOVED if new is None else Change.CHANGED,
        kind=held[1].kind,
        address=place[0],
        protocol=place[1],
        port=place[2],
        before=before,
        after=after,
        fates=fates,
    )


def _terms(held: _Held | None) -> DoorTerms | None:
    if held is None:
        return None
    port, door = held
    allowed = None if door.allowed_sources is None else tuple(map(str, door.allowed_sources))
    return DoorTerms(owner=port.name, affinity_s=_timeout(port.affinity), allowed=allowed)


def _timeout(affinity: Affinity | None) -> int | None:
    return affinity.timeout_s if affinity is not None else None


def _fates(old: _Held | None, new: _Held | None) -> Iterator[FateChange]:
    by_change: dict[tuple[Fate | None, Fate | None], list[Source]] = {}
    for source in Source:
        before = fate_of(old[1].ways[source]) if old is not None else None
        after = fate_of(new[1].ways[source]) if new is not None else None
        if before != after:
            by_change.setdefault((before, after), []).append(source)
    for (before, after), sources in by_change.items():
        yield FateChange(sources=tuple(sources), before=before, after=after)


def _without(some: Fate | None, others: Fate | None) -> tuple[str, ...]:
    known = set(others.backends) if others is not None else set()
    return tuple(each for each in some.backends if each not in known) if some is not None else ()


def _health_checks(before: Plan, after: Plan) -> Iterator[HealthCheckChange]:
    old, new = _checks(before), _checks(after)
    for key in sorted(old.keys() | new.keys()):
        told, tells = _is_used(old.get(key)), _is_used(new.get(key))
        if told is not tells:
            yield HealthCheckChange(name=key[0], port=key[1], before=told, after=tells)


def _checks(plan: Plan) -> Mapping[tuple[str, int], HealthCheck]:
    return {(f"{check.namespace}/{check.service}", check.port): check for check in plan.health_checks}


def _is_used(check: HealthCheck | None) -> bool | None:
    return check.local_endpoints > 0 if check is not None else None


def _order(change: DoorChange) -> tuple[PortName, str]:
    return change.name, change.place
