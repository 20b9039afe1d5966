"""A controller as the manager runs it: which changes it wants, what they give it to do, and how it does it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from fairway.api.resources import Resource
from fairway.api.types import Key, Object, key_of
from fairway.controllers.cache import Caches
from fairway.controllers.writes import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object of a resource appeared (previous None), changed, or went (current None).

    news: False for the echo of a write whose answer is in the cache already.
    """

    resource: Resource
    previous: Object | None
    current: Object | None
    news: bool = True

    @property
    def states(self) -> tuple[Object, ...]:
        """Before and after, as far as there is one."""
        return tuple(one for one in (self.previous, self.current) if one is not None)

    @property
    def key(self) -> Key:
        return key_of(self.states[-1])

    def differs(self, facts: Callable[[Object], object]) -> bool:
        """Whether these facts changed; always, where the object appeared or went."""
        return self.previous is None or self.current is None or facts(self.previous) != facts(self.current)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a reconcile gets besides the caches.

    since: when this key first came up of what its reconcile still waits for (`Recheck`); now, where it waits for
    nothing. failure: why the last attempt at this key could not do what it wanted, as (reason, message).
    """

    now: datetime
    random: Random
    since: datetime
    failure: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A reconcile with its wiring.

    name: the component in its events. keys: what a change gives it to do; the caches have the change already.
    workers: how many keys it may work on at a time; 1 where keys compete for the same nodes or addresses.
    """

    name: str
    watches: tuple[Resource, ...]
    keys: Callable[[Change, Caches], Iterable[Hashable]]
    reconcile: Callable[[Any, Caches, Attempt], list[Write]]
    workers: int = 5
