"""What must change for one table to become another. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from fairway.dataplane.nft.ruleset import Chain, Elements, Ruleset, SetSpec
from fairway.netlink.elements import CATCHALL, Value
from fairway.netlink.nftables import VERDICT_DATA, SetInfo

_NONE: Elements = {}


class Observed(Struct, frozen=True):
    """What the kernel holds of our table.

    elements: of sets that only we fill, those that packets fill are empty. flags: of the table, which has none of ours.
    """

    comment: str
    sets: Mapping[str, SetInfo]
    chains: Mapping[str, Chain]
    elements: Mapping[str, Elements]
    flags: int = 0


@dataclass(slots=True, kw_only=True)
class Delta:
    """Changes, in no order: `encode` gives them one.

    start_over: the table that is there is to be deleted first, with all in it. new_table: there is none to begin with.
    new_chains: to be made, rules and all. changed_chains: to get other rules. remove, add: elements by set; one with
    another value is in both.
    """

    start_over: bool = False
    new_table: bool = False
    new_sets: list[SetSpec] = field(default_factory=list)
    new_chains: list[Chain] = field(default_factory=list)
    changed_chains: list[Chain] = field(default_factory=list)
    gone_chains: list[str] = field(default_factory=list)
    gone_sets: list[str] = field(default_factory=list)
    remove: dict[str, dict[bytes, Value]] = field(default_factory=dict)
    add: dict[str, dict[bytes, Value]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.start_over
            or self.new_table
            or self.new_sets
            or self.new_chains
            or self.changed_chains
            or self.gone_chains
            or self.gone_sets
            or self.remove
            or self.add
        )

    @property
    def elements(self) -> int:
        """How many elements it adds and removes."""
        return sum(len(some) for some in (*self.add.values(), *self.remove.values()))

    def change_elements(self, name: str, before: Elements, after: Elements) -> None:
        """Let the elements of a set become others."""
        if before == after:
            return
        removed = {key: value for key, value in before.items() if key not in after or after[key] != value}
        added = {key: value for key, value in after.items() if key not in before or before[key] != value}
        if removed:
            self.remove.setdefault(name, {}).update(removed)
        if added:
            self.add.setdefault(name, {}).update(added)


def diff(observed: Observed | None, desired: Ruleset) -> Delta:
    """From what the kernel holds, None for no table, to what it should.

    What cannot be mended in place is made anew with all else, in the same transaction: a set of another make, a base
    chain at another hook, a table that sleeps, and what somebody added that could not go without being known better.
    """
    if observed is None or _is_alien(observed, desired):
        return _everything(desired, start_over=observed is not None)
    delta = Delta(
        new_sets=[spec for name, spec in desired.sets.items() if name not in observed.sets],
        new_chains=[chain for name, chain in desired.chains.items() if name not in observed.chains],
        changed_chains=[
            chain
            for name, chain in desired.chains.items()
            if name in observed.chains and observed.chains[name].rules != chain.rules
        ],
        gone_chains=[name for name in observed.chains if name not in desired.chains],
        gone_sets=[name for name in observed.sets if name not in desired.sets],
    )
    for name, spec in desired.sets.items():
        if not spec.is_dynamic:
            delta.change_elements(name, observed.elements.get(name, _NONE), desired.elements.get(name, _NONE))
    return delta


def _everything(desired: Ruleset, *, start_over: bool) -> Delta:
    return Delta(
        start_over=start_over,
        new_table=True,
        new_sets=list(desired.sets.values()),
        new_chains=list(desired.chains.values()),
        add={name: dict(elements) for name, elements in desired.elements.items() if elements},
    )


def _is_alien(observed: Observed, desired: Ruleset) -> bool:
    if observed.comment != desired.comment or observed.flags or _is_entangled(observed, desired):
        return True
    sets = any(
        name in observed.sets and not same_make(observed.sets[name], spec.info) for name, spec in desired.sets.items()
    )
    return sets or any(
        name in observed.chains
        and (observed.chains[name].hook, observed.chains[name].comment) != (chain.hook, chain.comment)
        for name, chain in desired.chains.items()
    )


def _is_entangled(observed: Observed, desired: Ruleset) -> bool:
    """Whether there is a strange map that keeps chains in use, or an element for every key."""
    strange = (info for name, info in observed.sets.items() if name not in desired.sets)
    return any(info.data_type == VERDICT_DATA for info in strange) or any(
        CATCHALL in elements for elements in observed.elements.values()
    )


def same_make(observed: SetInfo, desired: SetInfo) -> bool:
    """The kernel says of verdicts how large they are in its memory, which is nothing we told it."""
    if observed.data_type == VERDICT_DATA == desired.data_type:
        return _without_length(observed) == _without_length(desired)
    return observed == desired


def _without_length(info: SetInfo) -> tuple[object, ...]:
    return info.name, info.flags, info.key_type, info.key_length, info.size, info.timeout_ms, info.userdata
