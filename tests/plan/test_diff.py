"""What one Plan in place of another means for doors: added, removed, changed, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.plan.diff import Change, DoorTerms, Fate, PlanDiff, diff
from fairway.plan.model import PortName, Source
from tests.plan.objects import (
    CLUSTER_IP,
    HERE,
    LOCAL_AND_REMOTE,
    NODE_PORT,
    REMOTE_ONLY,
    THERE,
    endpoint,
    endpoint_slice,
    every_door,
    plan_of,
    service,
)

BOTH = ("10.10.1.3:8080", "10.10.2.3:8080")
HERE_ONLY = ("10.10.1.3:8080",)


def told(change: PlanDiff) -> list[tuple[str, str]]:
    return [(door.change.value, door.place) for door in change.doors]


def test_a_plan_does_not_differ_from_itself() -> None:
    plan = plan_of(every_door(), LOCAL_AND_REMOTE)
    assert not diff(plan, plan)
    assert not diff(plan, plan_of(every_door(), LOCAL_AND_REMOTE))


def test_reasons_alone_are_no_difference() -> None:
    """One endpoint more that is not ready: "2 of 3 may be used" is another reason for the same outcome."""
    more = endpoint_slice(
        endpoint("10.10.1.3", HERE), endpoint("10.10.2.3", THERE), endpoint("10.10.2.9", THERE, ready=False)
    )
    assert not diff(plan_of(every_door(), LOCAL_AND_REMOTE), plan_of(every_door(), more))


def test_a_new_service_brings_its_doors_and_an_old_one_takes_them_along() -> None:
    empty, full = plan_of([]), plan_of(every_door(), LOCAL_AND_REMOTE)
    places = [
        f"clusterIP {CLUSTER_IP}:80/tcp",
        "externalIP 192.0.2.1:80/tcp",
        "loadBalancer 172.18.255.200:80/tcp",
        f"nodePort {NODE_PORT}/tcp",
    ]
    assert told(diff(empty, full)) == [("added", place) for place in places]
    assert told(diff(full, empty)) == [("removed", place) for place in places]
    (added, *_) = diff(empty, full).doors
    assert (added.before, str(added.name)) == (None, "default/web")
    assert all(fate.before is None for fate in added.fates)


def test_an_endpoint_less_is_told_for_all_who_lose_it() -> None:
    (door,) = diff(
        plan_of(service(), LOCAL_AND_REMOTE), plan_of(service(), endpoint_slice(endpoint("10.10.1.3", HERE)))
    ).doors
    assert door.change is Change.CHANGED
    assert [(fate.sources, fate.lost, fate.gained) for fate in door.fates] == [
        ((Source.POD,), ("10.10.2.3:8080",), ()),
        ((Source.NODE, Source.ELSEWHERE), ("10.10.2.3:8080",), ()),
    ]


def test_the_external_policy_changes_what_each_class_of_sources_meets() -> None:
    cluster = service(type="NodePort", ports=[{"port": 80, "nodePort": NODE_PORT}])
    local = service(type="NodePort", ports=[{"port": 80, "nodePort": NODE_PORT}], externalTrafficPolicy="Local")
    (door,) = diff(plan_of(cluster, LOCAL_AND_REMOTE), plan_of(local, LOCAL_AND_REMOTE)).doors
    assert door.place == f"nodePort {NODE_PORT}/tcp"
    assert {fate.sources: (fate.before, fate.after) for fate in door.fates} == {
        (Source.POD,): (Fate(backends=BOTH, masquerade=True), Fate(backends=BOTH)),
        (Source.ELSEWHERE,): (Fate(backends=BOTH, masquerade=True), Fate(backends=HERE_ONLY)),
    }


@pytest.mark.parametrize(
    ("policy", "slices", "expected"),
    [("Local", (REMOTE_ONLY,), "dropped"), ("Cluster", (), "rejected")],
)
def test_no_backend_is_a_refusal(policy: str, slices: tuple[Any, ...], expected: str) -> None:
    ports = [{"port": 80, "nodePort": NODE_PORT}]
    before = plan_of(service(type="NodePort", ports=ports), LOCAL_AND_REMOTE)
    after = plan_of(service(type="NodePort", ports=ports, externalTrafficPolicy=policy), *slices)
    door = next(each for each in diff(before, after).doors if each.address is None)
    elsewhere = next(fate for fate in door.fates if Source.ELSEWHERE in fate.sources)
    assert elsewhere.after == Fate(refusal=expected)
    assert elsewhere.lost == BOTH


def test_affinity_and_source_ranges_are_terms_of_the_door() -> None:
    before = plan_of(every_door(), LOCAL_AND_REMOTE)
    given = every_door(sessionAffinity="ClientIP", loadBalancerSourceRanges=["203.0.113.0/24"])
    doors = {door.kind.value: door for door in diff(before, plan_of(given, LOCAL_AND_REMOTE)).doors}
    name = PortName(namespace="default", service="web", port="", protocol=doors["nodePort"].protocol)
    assert doors["clusterIP"].after == DoorTerms(owner=name, affinity_s=10800)
    assert doors["loadBalancer"].after == DoorTerms(owner=name, affinity_s=10800, allowed=("203.0.113.0/24",))
    assert all(door.fates == () for door in doors.values())


def test_a_door_that_passes_to_another_service() -> None:
    one, other = service("one", clusterIP="10.200.1.7"), service("two", clusterIP="10.200.1.7")
    (door,) = diff(plan_of(one), plan_of(other)).doors
    assert door.change is Change.CHANGED
    assert (str(door.before and door.before.owner), str(door.name)) == ("default/one", "default/two")


def test_health_checks_that_tell_load_balancers_something_else() -> None:
    spec = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}
    here, away, none = (
        plan_of(every_door(**spec), LOCAL_AND_REMOTE),
        plan_of(every_door(**spec), REMOTE_ONLY),
        plan_of(every_door(), LOCAL_AND_REMOTE),
    )
    assert [(check.port, check.before, check.after) for check in diff(here, away).health_checks] == [
        (32000, True, False)
    ]
    assert [(check.before, check.after) for check in diff(none, here).health_checks] == [(None, True)]
    assert diff(here, here).health_checks == ()
