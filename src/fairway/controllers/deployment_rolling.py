"""How many replicas each ReplicaSet of a Deployment should have next. Pure.

Rules: `pkg/controller/deployment/{rolling,recreate,sync}.go` and `util/deployment_util.go`, with one difference: pods
that a ReplicaSet still reports count against maxSurge too, so that also the pods there are, not only those asked for,
stay within `replicas + maxSurge`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from fairway.api.types import Object
from fairway.controllers.objects import annotations_of, created, name, spec, status
from fairway.controllers.replicaset import replicas

DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
"""Annotation of a ReplicaSet: the Deployment's `spec.replicas` when it was last scaled."""
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
"""Annotation of a ReplicaSet: that plus maxSurge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """The numbers that bound a rollout.

    surge, unavailable: pods above and below `replicas`, resolved from percentages. rolling: False for Recreate.
    """

    replicas: int
    rolling: bool
    surge: int
    unavailable: int

    @classmethod
    def of(cls, deployment: Object) -> Self:
        wanted = replicas(deployment)
        strategy = spec(deployment).get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return cls(replicas=wanted, rolling=False, surge=0, unavailable=0)
        rolling = strategy.get("rollingUpdate") or {}
        surge, unavailable = fenceposts(rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%"), wanted)
        return cls(replicas=wanted, rolling=True, surge=surge, unavailable=min(unavailable, wanted))

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def fewest_available(self) -> int:
        return self.replicas - self.unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledSet:
    """A ReplicaSet, as scaling sees it.

    desired: `spec.replicas`. actual: pods it reports. available: those it reports available, never more than desired,
    since a report may be older than the last change of `spec.replicas`. max_before: MAX_REPLICAS, 0 where unset.
    """

    name: str
    created: tuple[datetime, str]
    desired: int
    actual: int
    available: int
    max_before: int

    @classmethod
    def of(cls, replica_set: Object) -> Self:
        desired = replicas(replica_set)
        reported = status(replica_set)
        return cls(
            name=name(replica_set),
            created=created(replica_set),
            desired=desired,
            actual=int(reported.get("replicas") or 0),
            available=min(desired, int(reported.get("availableReplicas") or 0)),
            max_before=_number(annotations_of(replica_set).get(MAX_REPLICAS)),
        )


def fenceposts(surge: int | str, unavailable: int | str, wanted: int) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (rounded down) of so many replicas; never both 0."""
    above, below = resolve(surge, wanted, up=True), resolve(unavailable, wanted, up=False)
    return above, below or (1 if above == 0 else 0)


def resolve(value: int | str, total: int, *, up: bool) -> int:
    """An IntOrString: a number, or a percentage of `total`; anything else counts as 0, the API server refuses it."""
    if isinstance(value, int):
        return value
    percent = _number(value.removesuffix("%"))
    return math.ceil(total * percent / 100) if up else math.floor(total * percent / 100)


def new_set_replicas(strategy: Strategy, new_desired: int, everyone: Iterable[ScaledSet]) -> int:
    """What the new ReplicaSet may have now, given all of them (itself too, once it exists)."""
    if new_desired >= strategy.replicas or not strategy.rolling:
        return strategy.replicas
    pods = sum(max(one.desired, one.actual) for one in everyone)
    return new_desired + max(0, min(strategy.most - pods, strategy.replicas - new_desired))


def old_sets_replicas(strategy: Strategy, new: ScaledSet | None, old: Sequence[ScaledSet]) -> dict[str, int]:
    """What old ReplicaSets should shrink to in a rolling update; those that stay are left out.

    Replicas that are not available go first, as far as the new ReplicaSet's own missing ones allow; then available
    ones down to the fewest that must serve, oldest ReplicaSet first.
    """
    everyone = [*old, new] if new else [*old]
    new_missing = new.desired - new.available if new else 0
    room = sum(one.desired for one in everyone) - strategy.fewest_available - new_missing
    left = {one.name: one.desired for one in old}
    if room <= 0:
        return {}
    for one in sorted(old, key=lambda one: one.created):
        gone = min(room, one.desired - one.available)
        left[one.name] -= gone
        room -= gone
    spare = sum(one.available for one in everyone) - strategy.fewest_available
    for one in sorted(old, key=lambda one: one.created):
        gone = max(0, min(left[one.name], spare))
        left[one.name] -= gone
        spare -= gone
    return {one.name: left[one.name] for one in old if left[one.name] != one.desired}


def proportional(strategy: Strategy, new: ScaledSet | None, old: Sequence[ScaledSet], reported: int) -> dict[str, int]:
    """What all ReplicaSets should have when the Deployment is scaled, by name; each keeps its share of a rollout.

    With one active ReplicaSet it takes everything. reported: the Deployment's `status.replicas`, the size before where
    a ReplicaSet does not tell.
    """
    everyone = [*old, new] if new else [*old]
    active = [one for one in everyone if one.desired > 0]
    if len(active) <= 1:
        only = active[0] if active else new or max(old, key=lambda one: one.created, default=None)
        return {only.name: strategy.replicas} if only else {}
    if new is not None and new.desired == strategy.replicas == new.available:
        return {one.name: 0 for one in old if one.desired}
    if not strategy.rolling:
        return {one.name: one.desired for one in active}
    allowed = strategy.most if strategy.replicas > 0 else 0
    to_add = allowed - sum(one.desired for one in active)
    # Larger first; among equals, growing starts at the newest and shrinking at the oldest.
    active.sort(key=lambda one: one.created, reverse=to_add > 0)
    active.sort(key=lambda one: -one.desired)
    sizes: dict[str, int] = {}
    added = 0
    for one in active:
        share = _share(strategy, one, to_add, added, reported) if to_add else 0
        sizes[one.name] = one.desired + share
        added += share
    largest = active[0].name
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _share(strategy: Strategy, one: ScaledSet, to_add: int, added: int, reported: int) -> int:
    allowed = to_add - added
    if strategy.replicas == 0:
        fraction = -one.desired
    else:
        before = one.max_before or reported or strategy.most
        fraction = round(one.desired * strategy.most / before) - one.desired
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _number(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0
