"""Which objects a controller's object owns: adopt matching orphans, release what no longer matches. Pure.

Rules: `pkg/controller/controller_ref_manager.go`. An object with another controller is never touched; nothing is
adopted by, or adopted while, being deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairway.api.resources import Resource
from fairway.api.types import Object
from fairway.controllers.objects import (
    changed,
    controller_of,
    controller_reference,
    is_terminating,
    labels,
    owners,
    selects,
    spec,
    uid,
)
from fairway.controllers.writes import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """owned: what the owner has now. writes: adoptions and releases; with any of these, look again after them."""

    owned: tuple[Object, ...]
    writes: tuple[Update, ...]


def claim(owner: Object, owner_resource: Resource, candidates: Iterable[Object], resource: Resource) -> Claim:
    """Sort candidates of the owner's namespace by its `spec.selector`.

    owner_resource: the kind of the owner; resource: the kind of the candidates.
    """
    owned: list[Object] = []
    writes: list[Update] = []
    selector = spec(owner).get("selector")
    for candidate in candidates:
        controller = controller_of(candidate)
        matches = selects(selector, labels(candidate))
        if controller is not None and controller.get("uid") == uid(owner):
            if matches or is_terminating(owner):
                owned.append(candidate)
            elif not is_terminating(candidate):
                writes.append(Update(resource=resource, body=_released(candidate, owner)))
        elif controller is None and matches and not is_terminating(owner) and not is_terminating(candidate):
            writes.append(Update(resource=resource, body=_adopted(candidate, owner, owner_resource)))
    return Claim(owned=tuple(owned), writes=tuple(writes))


def _released(obj: Object, owner: Object) -> Object:
    body = changed(obj)
    body["metadata"]["ownerReferences"] = [one for one in owners(obj) if one.get("uid") != uid(owner)]
    return body


def _adopted(obj: Object, owner: Object, resource: Resource) -> Object:
    body = changed(obj)
    others = [one for one in owners(obj) if one.get("uid") != uid(owner)]
    body["metadata"]["ownerReferences"] = [*others, controller_reference(owner, resource)]
    return body
