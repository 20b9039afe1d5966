"""What wakes the controller that tells of what the lab lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from fairway.api.resources import PODS, SERVICES, Resource
from fairway.api.types import Key
from fairway.controllers import lacking
from fairway.controllers.cache import Caches
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.writes import Write


class Told(NamedTuple):
    """An object of either kind."""

    resource: Resource
    key: Key


def _keys(change: Change, caches: Caches) -> Iterator[Told]:
    """What is new, or asks for something else than before: each thing is told once."""
    facts = partial(lacking.lacks, change.resource)
    if change.current is not None and change.differs(facts) and facts(change.current):
        yield Told(change.resource, change.key)


def _reconcile(told: Told, caches: Caches, attempt: Attempt) -> list[Write]:
    found = caches[told.resource].get(told.key)
    return lacking.reconcile(told.resource, found) if found is not None else []


LACKING = Controller(name="fairway", watches=(SERVICES, PODS), keys=_keys, reconcile=_reconcile)
