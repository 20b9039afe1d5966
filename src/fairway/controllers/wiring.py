"""All controllers with their wiring, and that of the garbage collector. Pure.

A Controller turns changes of what it watches into keys, and a key into the view that its `reconcile` judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fairway.api.resources import (
    EVENTS,
    RESOURCES,
    Resource,
)
from fairway.api.types import Key, Object, key_of
from fairway.controllers import garbage
from fairway.controllers.address_pool import AddressPool
from fairway.controllers.cache import Caches
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.objects import (
    owners,
    uid,
)
from fairway.controllers.wiring_lacking import LACKING
from fairway.controllers.wiring_namespaces import SERVICE_ACCOUNT, root_ca_publisher
from fairway.controllers.wiring_nodes import NODE_LIFECYCLE, POD_GARBAGE_COLLECTOR
from fairway.controllers.wiring_services import ENDPOINT, ENDPOINT_SLICE, ENDPOINT_SLICE_MIRRORING, load_balancer
from fairway.controllers.wiring_workloads import DAEMON_SET, DEPLOYMENT, REPLICA_SET, SCHEDULER
from fairway.controllers.writes import Write


class Ref(NamedTuple):
    """An object of any kind: the garbage collector's key."""

    resource: Resource
    key: Key


def all_controllers(pools: Sequence[AddressPool], *, root_ca: str) -> tuple[Controller, ...]:
    """Every controller of this package. pools: load balancer addresses, at most one of each family.

    root_ca: certificates (PEM) by which pods verify the API server; nothing is published where there are none.
    EndpointSlices come first: where one change gives work to several, data planes wait for them.
    """
    return (
        ENDPOINT_SLICE,
        ENDPOINT_SLICE_MIRRORING,
        ENDPOINT,
        NODE_LIFECYCLE,
        POD_GARBAGE_COLLECTOR,
        DAEMON_SET,
        DEPLOYMENT,
        REPLICA_SET,
        SCHEDULER,
        load_balancer(pools),
        SERVICE_ACCOUNT,
        *((root_ca_publisher(root_ca),) if root_ca else ()),
        LACKING,
        GARBAGE_COLLECTOR,
    )


def _garbage_keys(change: Change, caches: Caches) -> Iterator[Ref]:
    """The object itself where its owners are new; its dependents where it goes; its owners where they wait for it."""
    if change.current is not None and change.differs(owners) and owners(change.current):
        yield Ref(change.resource, change.key)
    if change.current is None or (garbage.pending(change.current) and change.differs(garbage.pending)):
        if change.current is not None:
            yield Ref(change.resource, change.key)
        for resource, cache in caches.items():
            yield from (Ref(resource, key_of(one)) for one in cache.owned_by(uid(change.states[0])))
    if change.current is None or change.differs(owners):
        for reference in owners(change.states[0]):
            owner = garbage.owner_of(reference, change.states[0])
            known = caches[owner.resource].get(owner.key) if owner and owner.resource in caches else None
            if owner is not None and known is not None and garbage.pending(known):
                yield Ref(owner.resource, owner.key)


def _reconcile_garbage(ref: Ref, caches: Caches, attempt: Attempt) -> list[Write]:
    found = caches[ref.resource].get(ref.key)
    if found is None:
        return []
    known: dict[str, Object] = {}
    for reference in owners(found):
        owner = garbage.owner_of(reference, found)
        if owner is None:
            continue
        if owner.resource not in caches:
            known[owner.uid] = {}
            continue
        obj = caches[owner.resource].get(owner.key)
        if obj is not None and uid(obj) == owner.uid:
            known[owner.uid] = obj
    dependents = [
        garbage.Dependent(resource=resource, object=one)
        for resource, cache in caches.items()
        for one in cache.owned_by(uid(found))
    ]
    view = garbage.GarbageView(resource=ref.resource, object=found, owners=known, dependents=dependents)
    return garbage.reconcile(view)


GARBAGE_COLLECTOR = Controller(
    name="garbage-collector-controller",
    watches=tuple(resource for resource in RESOURCES if resource != EVENTS),
    keys=_garbage_keys,
    reconcile=_reconcile_garbage,
    workers=10,
)
