"""The parts of a Plan, joined as they change. Pure.

No two doors of a Plan are in one place. Where several Services claim one, the oldest has it, of equally old ones the
first by name, for every data plane alike, and the others get a Note: kube-proxy lets the order of its maps decide anew
at each sync. Age decides, so that who makes a Service takes nothing from those that were there before (CVE-2020-8554).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from types import MappingProxyType

from msgspec.structs import replace

from fairway.api.types import Key
from fairway.flow.packet import Protocol
from fairway.plan.model import Door, Note, Plan, PortName, ServicePlan, ServicePort
from fairway.plan.options import NodeView

_Place = tuple[int, Protocol, int]
"""Address, protocol and port of a door. The address as a number, which is hashed and compared at once, and -1 for a
node port; all are of one family."""


class Assembly:
    """The parts of one node's Plan: one changed Service costs what it is, not what the Plan is.

    parts: by Service, as the Plan has them: with the doors that are the Service's own, and a Note for each that is
    another's. It is a view of what is there now.
    """

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._notes: tuple[Note, ...] = ()
        self._claims: dict[Key, ServicePlan] = {}
        self._owners: dict[_Place, Key] = {}
        self._rivals: dict[_Place, set[Key]] = {}
        """All who claim a place that several do."""
        self._doubled: set[Key] = set()
        """Services that claim a place twice."""
        self._parts: dict[Key, ServicePlan] = {}
        self._order: list[Key] | None = None
        self._plan: Plan | None = None
        self.parts: Mapping[Key, ServicePlan] = MappingProxyType(self._parts)

    @property
    def view(self) -> NodeView:
        """The node it is for; of another one everything is compiled anew."""
        return self._view

    @property
    def notes(self) -> tuple[Note, ...]:
        """Those of no part: what was said of the node, and what `set_notes` was given."""
        return (*self._view.notes, *self._notes)

    def claimed(self, key: Key) -> ServicePlan | None:
        """The part as it was put, with all the doors that the Service claims."""
        return self._claims.get(key)

    def put(self, part: ServicePlan) -> frozenset[Key]:
        """What compile says of one Service from now on; gives the keys of `parts` that are not what they were.

        Besides the Service's own these are others that gain or lose a door by it.
        """
        return self._change(part.key, part)

    def drop(self, key: Key) -> frozenset[Key]:
        """Forget a Service; gives what `put` gives."""
        return self._change(key, None)

    def set_notes(self, notes: Iterable[Note]) -> None:
        """What is to be said of objects that belong to no Service."""
        self._notes = tuple(notes)
        self._plan = None

    def plan(self) -> Plan:
        """All of it. Costs what the Plan is, once for as long as nothing changes."""
        if self._plan is None:
            self._plan = self._join()
        return self._plan

    def _change(self, key: Key, part: ServicePlan | None) -> frozenset[Key]:
        former = self._claims.get(key)
        if part == former:
            return frozenset()
        before, after = _places(former), _places(part)
        had = self._names_of_others(key, before | after)
        if part is None:
            del self._claims[key]
        else:
            self._claims[key] = part
        if part is not None and len(after) < sum([len(port.doors) for port in part.ports]):
            self._doubled.add(key)
        else:
            self._doubled.discard(key)
        if former is not None and part is not None and former.created_s != part.created_s:
            self._move(key, before, frozenset())  # it was made anew, and starts behind those who waited
            before = frozenset()
        if before != after:
            self._move(key, before, after)
        # All who claim a place have a Note that names its owner, so they are met where that is another one now. Only
        # there, as thousands may claim one place.
        touched = {key}
        for place, name in had.items():
            owner = self._owners.get(place)
            if owner is not None and self._name_at(place, owner) != name:
                touched |= self._rivals.get(place) or {owner}
        return frozenset([each for each in touched if self._settle(each)])

    def _names_of_others(self, key: Key, places: Set[_Place]) -> Mapping[_Place, PortName]:
        """Who has those of the places that others than this Service claim too."""
        return {
            place: self._name_at(place, owner)
            for place in places
            if (owner := self._owners.get(place)) is not None and (owner != key or place in self._rivals)
        }

    def _move(self, key: Key, before: Set[_Place], after: Set[_Place]) -> None:
        for place in before - after:
            self._release(place, key)
        for place in after - before:
            self._claim(place, key)

    def _claim(self, place: _Place, key: Key) -> None:
        owner = self._owners.setdefault(place, key)
        if owner != key:
            self._rivals.setdefault(place, {owner}).add(key)
            self._owners[place] = min(owner, key, key=self._rank)

    def _release(self, place: _Place, key: Key) -> None:
        rivals = self._rivals.get(place)
        if rivals is None:
            del self._owners[place]
            return
        rivals.remove(key)
        if self._owners[place] == key:
            self._owners[place] = min(rivals, key=self._rank)
        if len(rivals) == 1:
            del self._rivals[place]

    def _rank(self, key: Key) -> tuple[float, Key]:
        """The least of those who claim a place has it."""
        return self._claims[key].created_s, key

    def _settle(self, key: Key) -> bool:
        """Bring a Service's part up to date; tells whether that changed it."""
        claimed, former = self._claims.get(key), self._parts.get(key)
        part = self._own(claimed) if claimed is not None else None
        if part == former:
            return False
        if part is None:
            del self._parts[key]
        else:
            self._parts[key] = part
        if part is None or former is None:
            self._order = None
        self._plan = None
        return True

    def _own(self, claimed: ServicePlan) -> ServicePlan:
        """The part with the doors that nobody before it claims; the very same one where that is all of them."""
        if not self._rivals and claimed.key not in self._doubled:
            return claimed
        taken: dict[_Place, PortName] = {}
        ports: list[ServicePort] = []
        notes: list[Note] = []
        for port in claimed.ports:
            kept: list[Door] = []
            for door in port.doors:
                place = _place(door)
                owner = self._owners[place]
                name = taken.get(place) if owner == claimed.key else self._name_at(place, owner)
                if name is None:
                    taken[place] = port.name
                    kept.append(door)
                else:
                    notes.append(_not_its_own(door, name, None if owner == claimed.key else owner))
            ports.append(port if len(kept) == len(port.doors) else replace(port, doors=tuple(kept)))
        return replace(claimed, ports=tuple(ports), notes=(*claimed.notes, *notes)) if notes else claimed

    def _name_at(self, place: _Place, owner: Key) -> PortName:
        """The port with which a Service owns a place: the first that claims it."""
        return next(
            port.name for port in self._claims[owner].ports if any(_place(door) == place for door in port.doors)
        )

    def _join(self) -> Plan:
        if self._order is None:
            self._order = sorted(self._parts)
        parts = [self._parts[key] for key in self._order]
        notes = [*self.notes, *(note for part in parts for note in part.notes)]
        view = self._view
        return Plan(
            node=view.name,
            family=view.family,
            node_addresses=view.node_addresses,
            cluster_cidrs=view.cluster_cidrs,
            node_port_addresses=view.node_port_addresses,
            localhost_node_ports=view.localhost_node_ports,
            service_cidrs=view.service_cidrs,
            guards_cluster_ips=view.guards_cluster_ips,
            admits_health_checks=view.admits_health_checks,
            pod_links=view.pod_links,
            ports=tuple([port for part in parts for port in part.ports]),
            health_checks=tuple([part.health_check for part in parts if part.health_check is not None]),
            notes=tuple(sorted(notes, key=_note_order)),
        )


def assemble_plan(parts: Iterable[ServicePlan], view: NodeView, *, notes: Iterable[Note] = ()) -> Plan:
    """The Plan of all these parts; their order does not matter."""
    assembly = Assembly(view)
    assembly.set_notes(notes)
    for part in sorted(parts, key=_rank_of):  # so that who has a door keeps it
        assembly.put(part)
    return assembly.plan()


def _rank_of(part: ServicePlan) -> tuple[float, Key]:
    return part.created_s, part.key


def _places(part: ServicePlan | None) -> Set[_Place]:
    return {_place(door) for port in part.ports for door in port.doors} if part is not None else frozenset()


def _place(door: Door) -> _Place:
    return int(door.address) if door.address is not None else -1, door.protocol, door.port


def _not_its_own(door: Door, owner: PortName, taken_by: Key | None) -> Note:
    place = f"{door.address or 'node port'} {door.port}/{door.protocol}"
    message = f"{place} is already {owner}'s, so it stays with that one"
    return Note(origin=door.origin, message=message, taken_by=taken_by)


def _note_order(note: Note) -> tuple[str, str, str, str, str]:
    origin = note.origin
    return origin.kind, origin.namespace, origin.name, origin.field, note.message
