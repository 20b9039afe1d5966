"""What a change of some Services comes to in the table, without looking at the others. Pure.

A Service's share of the table follows from its part of the Plan, so no share is kept: who changes a Service brings the
share it had and the one it gets. Kept is only how many Services need what several have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from fairway.dataplane.nft.chains import Settings, class_chain
from fairway.dataplane.nft.diff import Delta
from fairway.dataplane.nft.layout import DoorClass, fixed_sets
from fairway.dataplane.nft.lower import LARGE_TABLE, NOTHING, Share, class_element, count_doors, with_spares
from fairway.dataplane.nft.ruleset import Chain, SetSpec
from fairway.netlink.elements import Value

_T = TypeVar("_T")


class Change(NamedTuple):
    """Of one Service: the share it has, and the one it gets; NOTHING where it is new or goes."""

    before: Share
    after: Share


class Book:
    """How many of the Services in the kernel need each class chain and each shared element, and how many doors are."""

    def __init__(self, settings: Settings, shares: Iterable[Share] = ()) -> None:
        self._settings = settings
        self._classes: Counter[DoorClass] = Counter()
        self._shared: Counter[tuple[str, bytes]] = Counter()
        self._doors = 0
        self.accept(Change(NOTHING, share) for share in shares)

    def specs(self, changes: Iterable[Share] = ()) -> dict[str, SetSpec]:
        """The sets whose elements shares may change."""
        own = {spec.name: spec for share in changes for spec in share.sets}
        return {**fixed_sets(self._settings.family), **own}

    def delta(self, changes: Iterable[Change]) -> Delta:
        """What to send for these changes."""
        delta = Delta()
        classes: Counter[DoorClass] = Counter()
        shared: Counter[tuple[str, bytes]] = Counter()
        before_chains: dict[str, Chain] = {}
        after_chains: dict[str, Chain] = {}
        before_sets: dict[str, SetSpec] = {}
        after_sets: dict[str, SetSpec] = {}
        doors = self._doors
        for before, after in changes:
            for name in before.elements.keys() | after.elements.keys():
                delta.change_elements(name, before.elements.get(name, {}), after.elements.get(name, {}))
            for share, sign in ((before, -1), (after, 1)):
                classes.update(dict.fromkeys(share.classes, sign))
                shared.update(dict.fromkeys(share.shared, sign))
                doors += sign * count_doors(share.elements)
            before_chains |= {chain.name: chain for chain in before.chains}
            after_chains |= {chain.name: chain for chain in after.chains}
            before_sets |= {spec.name: spec for spec in before.sets}
            after_sets |= {spec.name: spec for spec in after.sets}
        self._change_shared(delta, shared)
        self._change_classes(delta, classes, doors)
        delta.new_sets += [spec for name, spec in after_sets.items() if name not in before_sets]
        delta.gone_sets += [name for name in before_sets if name not in after_sets]
        delta.new_chains += [chain for name, chain in after_chains.items() if name not in before_chains]
        delta.changed_chains += [
            chain for name, chain in after_chains.items() if name in before_chains and before_chains[name] != chain
        ]
        delta.gone_chains += [name for name in before_chains if name not in after_chains]
        return delta

    def accept(self, changes: Iterable[Change]) -> None:
        """They are in."""
        for before, after in changes:
            self._doors += count_doors(after.elements) - count_doors(before.elements)
            _recount(self._classes, before.classes, after.classes)
            _recount(self._shared, before.shared, after.shared)

    def _change_shared(self, delta: Delta, changes: Counter[tuple[str, bytes]]) -> None:
        for (name, key), change in changes.items():
            held = self._shared[name, key]
            if _comes_or_goes(held, change):
                delta.change_elements(name, {key: None} if held else {}, {} if held else {key: None})

    def _change_classes(self, delta: Delta, changes: Counter[DoorClass], doors: int) -> None:
        crosses = (doors < LARGE_TABLE) is not (self._doors < LARGE_TABLE)
        if not crosses and not any(_comes_or_goes(self._classes[each], change) for each, change in changes.items()):
            return
        before = with_spares(self._classes, self._doors)
        counted = self._classes.copy()
        counted.update(changes)
        after = with_spares((each for each, count in counted.items() if count), doors)
        for door_class in sorted(before ^ after):
            chain = class_chain(door_class, self._settings)
            name, verdict = class_element(door_class)
            element: dict[bytes, Value] = {door_class.packed: verdict}
            delta.change_elements(name, element if door_class in before else {}, element if door_class in after else {})
            if chain is not None and door_class in after:
                delta.new_chains.append(chain)
            elif chain is not None:
                delta.gone_chains.append(chain.name)


def _comes_or_goes(held: int, change: int) -> bool:
    return bool(held) is not bool(held + change)


def _recount(counts: Counter[_T], before: frozenset[_T], after: frozenset[_T]) -> None:
    """Count some no more and others in; what nobody needs is forgotten."""
    counts.update(after)
    counts.subtract(before)
    for each in before:
        if not counts[each]:
            del counts[each]
