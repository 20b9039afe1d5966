"""The garbage collector: what goes when its owners go. Pure (`pkg/controller/garbagecollector/garbagecollector.go`).

An object with owner references goes when all its owners are gone. An owner that is deleted in the foreground (finalizer
`foregroundDeletion`) stays until the dependents that block it are gone; one that is deleted with `orphan` leaves its
dependents behind, without the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from fairway.api.resources import BY_KIND, Resource
from fairway.api.types import Key, Object, key_of
from fairway.controllers.objects import changed, is_terminating, meta, namespace, owners, uid
from fairway.controllers.writes import Delete, Owner, Propagation, Update, Write

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """An object with the kind it is of."""

    resource: Resource
    object: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageView:
    """An object, its owners as the caches know them (by uid; absent where they do not), and its dependents."""

    resource: Resource
    object: Object
    owners: Mapping[str, Object]
    dependents: Sequence[Dependent]


class _Tie(Enum):
    """What an owner reference is worth."""

    SOLID = "solid"
    DANGLING = "dangling"
    WAITING = "waiting"
    """The owner is being deleted in the foreground and waits for this object."""


def owner_of(reference: Object, dependent: Object) -> Owner | None:
    """The owner a reference means, in the dependent's namespace or in none; None for a kind we do not know."""
    resource = BY_KIND.get((str(reference.get("apiVersion")), str(reference.get("kind"))))
    if resource is None:
        return None
    where = namespace(dependent) if resource.namespaced else ""
    return Owner(
        resource=resource, key=Key(where, str(reference.get("name") or "")), uid=str(reference.get("uid") or "")
    )


def pending(obj: Object) -> tuple[str, ...]:
    """The finalizers by which the object's own deletion waits for the collector."""
    if not is_terminating(obj):
        return ()
    return tuple(one for one in meta(obj).get("finalizers") or () if one in (FOREGROUND_FINALIZER, ORPHAN_FINALIZER))


def reconcile(view: GarbageView) -> list[Write]:
    """The next step for one object, as owner or as dependent."""
    if pending(view.object):
        return _as_owner(view)
    if owners(view.object) and not is_terminating(view.object):
        return _as_dependent(view)
    return []


def _as_owner(view: GarbageView) -> list[Write]:
    """Let the dependents go, then take the finalizer off."""
    finalizers = meta(view.object).get("finalizers") or ()
    if ORPHAN_FINALIZER in finalizers:
        writes: list[Write] = [
            Update(resource=one.resource, body=_without_owners(one.object, {uid(view.object)}))
            for one in view.dependents
        ]
        return [*writes, _without_finalizer(view, ORPHAN_FINALIZER)]
    if any(_blocks(one.object, view.object) for one in view.dependents):
        return []
    return [_without_finalizer(view, FOREGROUND_FINALIZER)]


def _blocks(dependent: Object, owner: Object) -> bool:
    return any(one.get("uid") == uid(owner) and one.get("blockOwnerDeletion") for one in owners(dependent))


def _as_dependent(view: GarbageView) -> list[Write]:
    ties = {str(one.get("uid")): _tie(one, view) for one in owners(view.object)}
    loose = {owner for owner, tie in ties.items() if tie is not _Tie.SOLID}
    if not loose:
        return []
    if len(loose) < len(ties):
        return [Update(resource=view.resource, body=_without_owners(view.object, loose))]
    waiting = any(tie is _Tie.WAITING for tie in ties.values())
    # In the foreground the whole tree goes leaf by leaf: a dependent with dependents waits for them in its turn.
    propagation = Propagation.FOREGROUND if waiting and view.dependents else Propagation.BACKGROUND
    gone = tuple(
        owner
        for one in owners(view.object)
        if ties[str(one.get("uid"))] is _Tie.DANGLING and (owner := owner_of(one, view.object)) is not None
    )
    return [
        Delete(
            resource=view.resource,
            key=key_of(view.object),
            uid=uid(view.object),
            propagation=propagation,
            unless=gone,
        )
    ]


def _tie(reference: Object, view: GarbageView) -> _Tie:
    if owner_of(reference, view.object) is None:
        # Nobody here can tell whether an owner of a kind we do not serve still exists.
        return _Tie.SOLID
    owner = view.owners.get(str(reference.get("uid")))
    if owner is None:
        return _Tie.DANGLING
    finalizers = meta(owner).get("finalizers") or ()
    return _Tie.WAITING if is_terminating(owner) and FOREGROUND_FINALIZER in finalizers else _Tie.SOLID


def _without_owners(obj: Object, gone: set[str]) -> Object:
    body = changed(obj)
    left = [one for one in owners(obj) if one.get("uid") not in gone]
    if left:
        body["metadata"]["ownerReferences"] = left
    else:
        body["metadata"].pop("ownerReferences", None)
    return body


def _without_finalizer(view: GarbageView, finalizer: str) -> Update:
    body = changed(view.object)
    body["metadata"]["finalizers"] = [one for one in meta(view.object).get("finalizers") or () if one != finalizer]
    return Update(resource=view.resource, body=body)
