from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from fairway.api.types import Key
from fairway.controllers.garbage import Dependent, GarbageView, owner_of, reconcile
from fairway.controllers.writes import Delete, Owner, Propagation, Update, Write
from tests.controllers.objects import LONG_AGO, controlled_by, deployment, pod, replica_set

OWNER = replica_set("rs")
OTHER = replica_set("other")
FOREGROUND = {"deletionTimestamp": LONG_AGO, "finalizers": ["foregroundDeletion", "mine"]}
OWNED = pod("p", owner=OWNER)


def going(**fields: Any) -> dict[str, Any]:
    return replica_set("rs", **FOREGROUND | fields)


def writes(obj: dict[str, Any], *known: dict[str, Any], dependents: Any = (), resource: Any = PODS) -> list[Write]:
    view = GarbageView(
        resource=resource,
        object=obj,
        owners={one["metadata"]["uid"]: one for one in known},
        dependents=[Dependent(resource=PODS, object=one) for one in dependents],
    )
    return reconcile(view)


def owned_by(*owners: dict[str, Any]) -> dict[str, Any]:
    return pod("p", ownerReferences=[controlled_by(one) for one in owners])


def test_an_object_whose_owner_is_gone_goes_if_the_api_says_so_too() -> None:
    assert writes(OWNED) == [
        Delete(
            resource=PODS,
            key=Key("default", "p"),
            uid="uid-p",
            propagation=Propagation.BACKGROUND,
            unless=(Owner(resource=REPLICA_SETS, key=Key("default", "rs"), uid="uid-rs"),),
        )
    ]


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (OWNED, "its owner is there"),
        (pod("p"), "it has no owner"),
        (pod("p", owner=OWNER, terminating=True), "it goes already"),
    ],
)
def test_an_object_stays_while_there_is_reason(obj: dict[str, Any], why: str) -> None:
    assert writes(obj, OWNER) == [], why


def test_an_owner_of_an_unknown_kind_keeps_its_dependents() -> None:
    reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u"}
    obj = pod("p", ownerReferences=[reference])
    assert owner_of(reference, obj) is None
    assert writes(obj) == []


def test_of_several_owners_only_those_gone_are_taken_off() -> None:
    obj = owned_by(OWNER, OTHER)
    [update] = writes(obj, OTHER)
    assert isinstance(update, Update)
    assert update.body["metadata"]["ownerReferences"] == [controlled_by(OTHER)]


def test_a_dependent_of_an_owner_deleted_in_the_foreground_goes_before_it() -> None:
    [delete] = writes(OWNED, going())
    assert delete == Delete(resource=PODS, key=Key("default", "p"), uid="uid-p", propagation=Propagation.BACKGROUND)


def test_in_the_foreground_a_dependent_with_dependents_waits_for_them() -> None:
    deploy = deployment()
    deploy["metadata"] |= FOREGROUND
    middle = replica_set("rs", ownerReferences=[controlled_by(deploy)])
    [delete] = writes(middle, deploy, dependents=[OWNED], resource=REPLICA_SETS)
    assert isinstance(delete, Delete)
    assert delete.propagation is Propagation.FOREGROUND


def test_an_owner_in_the_foreground_waits_for_those_that_block_it() -> None:
    assert writes(going(), dependents=[OWNED], resource=REPLICA_SETS) == []
    unblocking = pod("p", ownerReferences=[controlled_by(OWNER) | {"blockOwnerDeletion": False}])
    for dependents in ([], [unblocking]):
        [update] = writes(going(), dependents=dependents, resource=REPLICA_SETS)
        assert isinstance(update, Update)
        assert update.body["metadata"]["finalizers"] == ["mine"]


def test_an_owner_that_orphans_lets_its_dependents_live() -> None:
    orphaning = going(finalizers=["orphan"])
    [release, update] = writes(orphaning, dependents=[owned_by(OWNER, OTHER)], resource=REPLICA_SETS)
    assert isinstance(release, Update)
    assert release.body["metadata"]["ownerReferences"] == [controlled_by(OTHER)]
    assert isinstance(update, Update)
    assert update.body["metadata"]["finalizers"] == []
    assert "ownerReferences" not in writes(orphaning, dependents=[OWNED], resource=REPLICA_SETS)[0].body["metadata"]


def test_an_owner_is_looked_for_where_its_kind_lives() -> None:
    obj = pod("p")
    node = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}
    owner = owner_of(node, obj)
    assert owner is not None
    assert owner.key == Key("", "n")
    owner = owner_of(controlled_by(deployment()), obj)
    assert owner == Owner(resource=DEPLOYMENTS, key=Key("default", "web"), uid="uid-web")
