"""What an object asks for and the lab lacks is told once, by its field, and nothing else is."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fairway.api.resources import PODS, SERVICES, Resource
from fairway.api.types import Object, key_of
from fairway.controllers.cache import Cache
from fairway.controllers.controller import Change
from fairway.controllers.lacking import lacks, reconcile
from fairway.controllers.wiring_lacking import LACKING, Told
from fairway.controllers.writes import EventType, Record
from tests.controllers.objects import pod, service

TOPOLOGY = "service.kubernetes.io/topology-mode"
CLASSED = service(spec={"type": "LoadBalancer", "loadBalancerClass": "example.com/big"})


@pytest.mark.parametrize(
    ("obj", "clauses"),
    [
        (service(), ()),
        (service(spec={"type": "LoadBalancer"}), ()),
        (
            CLASSED,
            ("spec.loadBalancerClass example.com/big (nothing here implements it: the Service gets no address)",),
        ),
        (
            service(annotations={TOPOLOGY: "Auto"}),
            (f"metadata.annotations[{TOPOLOGY}] (no hints are made of it: use spec.trafficDistribution)",),
        ),
        (service(annotations={TOPOLOGY: "Disabled"}), ()),
        (
            service(
                spec={"type": "LoadBalancer"},
                annotations={"metallb.io/address-pool": "a", "service.beta.kubernetes.io/aws-x": "nlb", "mine": "b"},
            ),
            (
                "metadata.annotations[metallb.io/address-pool] (for a load balancer that is not here)",
                "metadata.annotations[service.beta.kubernetes.io/aws-x] (for a load balancer that is not here)",
            ),
        ),
        (service(spec={"type": "NodePort"}, annotations={"metallb.io/address-pool": "a"}), ()),
    ],
)
def test_what_a_service_asks_for_in_vain_is_named(obj: Object, clauses: tuple[str, ...]) -> None:
    assert lacks(SERVICES, obj) == clauses


def waiting(**spec: Any) -> Object:
    one = pod("p", phase="Pending")
    one["spec"] = {**one["spec"], **spec}
    return one


@pytest.mark.parametrize(
    ("obj", "clauses"),
    [
        (waiting(), ()),
        (waiting(schedulerName="default-scheduler"), ()),
        (
            waiting(schedulerName="mine"),
            ("spec.schedulerName mine (there is no such scheduler here: the pod stays Pending)",),
        ),
        (waiting(schedulerName="mine", nodeName="n1"), ()),
    ],
)
def test_a_pod_that_waits_for_another_scheduler_hears_of_it(obj: Object, clauses: tuple[str, ...]) -> None:
    assert lacks(PODS, obj) == clauses


def test_it_is_one_warning_about_the_object() -> None:
    assert reconcile(SERVICES, service()) == []
    assert reconcile(SERVICES, CLASSED) == [
        Record(
            regarding=CLASSED,
            type=EventType.WARNING,
            reason="NotEnforced",
            message=f"without effect in this lab: {lacks(SERVICES, CLASSED)[0]}",
        )
    ]


def woken(resource: Resource, previous: Object | None, current: Object | None) -> list[Told]:
    caches = {SERVICES: Cache(), PODS: Cache()}
    return list(LACKING.keys(Change(resource=resource, previous=previous, current=current), caches))


def test_it_is_told_once() -> None:
    """When the object appears, and when it asks for something else; not at every change of it."""
    labelled, other = copy.deepcopy(CLASSED), copy.deepcopy(CLASSED)
    labelled["metadata"]["labels"] = {"a": "b"}
    other["spec"]["loadBalancerClass"] = "example.com/small"
    told = [Told(SERVICES, key_of(CLASSED))]
    assert woken(SERVICES, None, CLASSED) == told
    assert woken(SERVICES, CLASSED, labelled) == []
    assert woken(SERVICES, CLASSED, other) == told
    assert woken(SERVICES, CLASSED, service()) == []
    assert woken(SERVICES, service(), CLASSED) == told
    assert woken(SERVICES, None, service()) == []
    assert woken(SERVICES, CLASSED, None) == []


def test_an_object_that_is_gone_is_not_spoken_of() -> None:
    assert LACKING.reconcile(Told(SERVICES, key_of(CLASSED)), {SERVICES: Cache(), PODS: Cache()}, None) == []
