from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import PODS, REPLICA_SETS
from fairway.controllers.ownership import Claim, claim
from fairway.controllers.writes import Update
from tests.controllers.objects import controlled_by, pod, replica_set

OWNER = replica_set()
STRANGER = replica_set("other")
OTHER_LABELS = {"app": "db"}


def claimed(candidate: dict[str, Any], owner: dict[str, Any] = OWNER) -> Claim:
    return claim(owner, REPLICA_SETS, [candidate], PODS)


def test_an_object_it_controls_that_matches_is_owned() -> None:
    mine = pod("p", owner=OWNER)
    assert claimed(mine) == Claim(owned=(mine,), writes=())


def test_a_matching_orphan_is_adopted_beside_its_other_owners() -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"}
    orphan = pod("p", ownerReferences=[other])
    adopted = {**orphan, "metadata": {**orphan["metadata"], "ownerReferences": [other, controlled_by(OWNER)]}}
    assert claimed(orphan) == Claim(owned=(), writes=(Update(resource=PODS, body=adopted),))


def test_an_object_that_no_longer_matches_is_released() -> None:
    lost = pod("p", owner=OWNER, labels=OTHER_LABELS)
    released = {**lost, "metadata": {**lost["metadata"], "ownerReferences": []}}
    assert claimed(lost) == Claim(owned=(), writes=(Update(resource=PODS, body=released),))


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (pod("p", owner=STRANGER), "another controls it"),
        (pod("p", labels=OTHER_LABELS), "an orphan that does not match"),
        (pod("p", terminating=True), "an orphan on its way out"),
        (pod("p", owner=OWNER, labels=OTHER_LABELS, terminating=True), "no match, but on its way out"),
    ],
)
def test_what_is_not_its_business_is_left_alone(candidate: dict[str, Any], why: str) -> None:
    assert claimed(candidate) == Claim(owned=(), writes=()), why


def test_an_owner_on_its_way_out_adopts_and_releases_nothing() -> None:
    going = replica_set(deletionTimestamp="2025-06-01T12:00:00Z")
    assert claimed(pod("p"), going) == Claim(owned=(), writes=())
    lost = pod("p", owner=going, labels=OTHER_LABELS)
    assert claimed(lost, going) == Claim(owned=(lost,), writes=())
