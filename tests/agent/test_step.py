"""One sync step: how much is compiled, and that it comes to the whole Plan all the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.agent.changes import ChangeTracker
from fairway.agent.step import Compiled, compile_step, plan_around, unknown_node
from fairway.api.core import Node, Service
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.plan.compile import compile_plan
from fairway.watch.informer import Change
from tests.agent.test_changes import STARTED, change
from tests.plan.objects import HERE, OPTIONS, THERE, endpoint, endpoint_slice, node, service


class Cluster:
    """Objects that come and go, and the step that follows."""

    def __init__(self) -> None:
        self.objects = ChangeTracker(started=STARTED)
        self.node: Node = node()
        self.compiled: Compiled | None = None
        self._slices: dict[Key, EndpointSlice] = {}

    def service(self, current: Service | None, *, name: str) -> None:
        key = Key("default", name)
        self.objects.service_changed(change(key, self.objects.services.get(key), current))

    def slice(self, current: EndpointSlice | None, *, name: str) -> None:
        key = Key("default", name)
        self.objects.slice_changed(Change(key=key, previous=self._slices.pop(key, None), current=current))
        if current is not None:
            self._slices[key] = current

    def step(self) -> Compiled:
        self.compiled = compile_step(
            self.compiled, self.objects, self.objects.take().services, node=self.node, options=OPTIONS
        )
        return self.compiled

    def assert_whole(self) -> None:
        """The step came to what compiling everything comes to."""
        assert self.compiled is not None
        services = self.objects.services.values()
        assert self.compiled.plan == compile_plan(services, self._slices.values(), self.node, options=OPTIONS)


@pytest.fixture
def cluster() -> Cluster:
    """Fifty Services with an endpoint each, compiled."""
    made = Cluster()
    for number in range(50):
        name = f"web{number}"
        made.service(service(name, clusterIP=f"10.200.1.{number + 1}"), name=name)
        address = f"10.10.1.{number + 1}"
        made.slice(endpoint_slice(endpoint(address, HERE), name=f"{name}-1", of=name), name=f"{name}-1")
    first = made.step()
    assert (first.recompiled, first.full, len(first.plan.ports)) == (50, True, 50)
    made.assert_whole()
    return made


def test_one_changed_slice_recompiles_one_service(cluster):
    cluster.slice(endpoint_slice(endpoint("10.10.2.7", THERE), name="web7-1", of="web7"), name="web7-1")
    step = cluster.step()
    assert (step.recompiled, step.full) == (1, False)
    cluster.assert_whole()


def test_nothing_changed_recompiles_nothing_and_keeps_the_very_plan(cluster):
    before = cluster.compiled
    step = cluster.step()
    assert step.recompiled == 0
    assert step.plan is before.plan


def test_a_change_that_comes_to_the_same_keeps_the_very_plan(cluster):
    before = cluster.compiled
    labelled = service("web3", clusterIP="10.200.1.4", labels={"team": "blue"})
    cluster.service(labelled, name="web3")
    step = cluster.step()
    assert step.recompiled == 1
    assert step.plan is before.plan


def test_a_service_that_went_leaves_the_plan(cluster):
    cluster.service(None, name="web3")
    step = cluster.step()
    assert (step.recompiled, len(step.plan.ports)) == (0, 49)
    cluster.assert_whole()


def test_a_slice_before_its_service_waits_for_it(cluster):
    cluster.slice(endpoint_slice(endpoint("10.10.1.200"), name="late-1", of="late"), name="late-1")
    assert cluster.step().recompiled == 0
    cluster.service(service("late", clusterIP="10.200.1.99"), name="late")
    step = cluster.step()
    assert step.recompiled == 1
    assert [str(backend) for port in step.plan.ports if port.name.service == "late" for backend in port.cluster] == [
        "10.10.1.200:8080"
    ]
    cluster.assert_whole()


def test_a_slice_of_no_service_becomes_a_note(cluster):
    cluster.slice(endpoint_slice(name="stray", of=""), name="stray")
    step = cluster.step()
    assert [note.origin.name for note in step.plan.notes] == ["stray"]
    cluster.assert_whole()


def test_a_node_that_moves_to_another_zone_recompiles_all(cluster):
    cluster.node = node(zone="b")
    step = cluster.step()
    assert (step.recompiled, step.full) == (50, True)
    cluster.assert_whole()


def test_a_node_whose_heart_beats_recompiles_nothing(cluster):
    cluster.node = node()
    assert cluster.step().recompiled == 0


def test_without_a_node_nothing_is_local():
    lone = Cluster()
    lone.node = unknown_node(THERE)
    lone.service(service(), name="web")
    lone.slice(endpoint_slice(endpoint("10.10.1.1", HERE)), name="web-1")
    [port] = lone.step().plan.ports
    assert ([str(backend) for backend in port.cluster], port.local) == (["10.10.1.1:8080"], ())
    assert len(lone.step().plan.notes) == 1


def test_a_refused_service_keeps_what_worked_and_the_others_go_on(cluster):
    working = dict(cluster.compiled.parts)
    cluster.slice(endpoint_slice(endpoint("10.10.2.7", THERE), name="web7-1", of="web7"), name="web7-1")
    cluster.slice(endpoint_slice(endpoint("10.10.2.8", THERE), name="web8-1", of="web8"), name="web8-1")
    step = cluster.step()
    web7 = Key("default", "web7")
    around = plan_around(step, {web7: step.parts[web7]}, working)
    backends = {port.name.service: [str(backend) for backend in port.cluster] for port in around.ports}
    assert (backends["web7"], backends["web8"]) == (["10.10.1.8:8080"], ["10.10.2.8:8080"])
    assert len(around.ports) == 50


def test_a_refused_service_that_never_worked_is_left_out(cluster):
    cluster.service(service("new", clusterIP="10.200.1.99"), name="new")
    step = cluster.step()
    new = Key("default", "new")
    around = plan_around(step, {new: step.parts[new]}, {})
    assert [port.name.service for port in around.ports].count("new") == 0
    assert len(around.ports) == 50


def test_a_refused_service_that_changed_since_gets_its_chance(cluster):
    step = cluster.step()
    web7 = Key("default", "web7")
    refused = {web7: step.parts[web7]}
    cluster.slice(endpoint_slice(endpoint("10.10.2.7", THERE), name="web7-1", of="web7"), name="web7-1")
    step = cluster.step()
    assert plan_around(step, refused, {}) is step.plan


_NAMES = st.sampled_from(["a", "b", "c"])
_ACTIONS = st.one_of(
    st.tuples(st.just("service"), _NAMES, st.sampled_from(["gone", "plain", "nodePort", "local", "affine"])),
    st.tuples(st.just("slice"), _NAMES, st.sampled_from(["gone", "", "a", "b", "c"]), st.integers(0, 3)),
    st.tuples(st.just("node"), st.sampled_from(["", "zone-a"])),
    st.tuples(st.just("step")),
)
_SPECS = {
    "plain": {},
    "nodePort": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]},
    "local": {"internalTrafficPolicy": "Local"},
    "affine": {"sessionAffinity": "ClientIP"},
}


def _play(cluster: Cluster, action: tuple) -> None:
    match action:
        case ("service", name, shape):
            address = f"10.200.1.{ord(name)}"
            current = None if shape == "gone" else service(name, clusterIP=address, **_SPECS[shape])
            cluster.service(current, name=name)
        case ("slice", name, owner, count):
            endpoints = [endpoint(f"10.10.1.{number + 1}", HERE if number % 2 else THERE) for number in range(count)]
            current = None if owner == "gone" else endpoint_slice(*endpoints, name=f"s-{name}", of=owner)
            cluster.slice(current, name=f"s-{name}")
        case ("node", zone):
            cluster.node = node(zone=zone)
        case ("step",):
            cluster.step()


@settings(max_examples=200, deadline=None)
@given(st.lists(_ACTIONS, max_size=25))
def test_any_history_of_changes_comes_to_the_plan_of_the_objects_as_they_are(actions):
    cluster = Cluster()
    for action in actions:
        _play(cluster, action)
    cluster.step()
    cluster.assert_whole()
