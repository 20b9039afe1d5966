"""What the kernel is to hold: how little a step touches, and that it comes to the whole Plan all the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.agent.changes import ChangeTracker
from fairway.agent.step import Step, Target, unknown_node
from fairway.api.core import Node, Service
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.plan.compile import compile_plan
from fairway.plan.model import Plan
from fairway.watch.informer import Change
from tests.agent.test_changes import STARTED, change
from tests.plan.objects import HERE, OPTIONS, THERE, endpoint, endpoint_slice, node, service


class Cluster:
    """Objects that come and go, and the step that follows."""

    def __init__(self) -> None:
        self.objects = ChangeTracker(started=STARTED)
        self.feed = self.objects.feed()
        self.node: Node = node()
        self.target = Target()
        self._slices: dict[Key, EndpointSlice] = {}

    def service(self, current: Service | None, *, name: str) -> None:
        key = Key("default", name)
        self.objects.service_changed(change(key, self.objects.services.get(key), current))

    def slice(self, current: EndpointSlice | None, *, name: str) -> None:
        key = Key("default", name)
        self.objects.slice_changed(Change(key=key, previous=self._slices.pop(key, None), current=current))
        if current is not None:
            self._slices[key] = current

    def step(self) -> Step:
        return self.target.take_up(self.objects, self.feed.take(), node=self.node, options=OPTIONS)

    @property
    def plan(self) -> Plan:
        return self.target.assembly.plan()

    def backends(self, name: str) -> list[str]:
        return [str(backend) for port in self.plan.ports if port.name.service == name for backend in port.cluster]

    def assert_whole(self) -> None:
        """The step came to what compiling everything comes to."""
        services = self.objects.services.values()
        assert self.plan == compile_plan(services, self._slices.values(), self.node, options=OPTIONS)


@pytest.fixture
def cluster() -> Cluster:
    """Fifty Services with an endpoint each, compiled and in the kernel."""
    made = Cluster()
    for number in range(50):
        name = f"web{number}"
        made.service(service(name, clusterIP=f"10.200.1.{number + 1}"), name=name)
        address = f"10.10.1.{number + 1}"
        made.slice(endpoint_slice(endpoint(address, HERE), name=f"{name}-1", of=name), name=f"{name}-1")
    first = made.step()
    assert (first, len(made.plan.ports)) == (Step(recompiled=50, full=True), 50)
    assert made.target.dirty == set(made.objects.services)
    made.assert_whole()
    made.target.confirm()
    return made


WEB7, WEB8 = Key("default", "web7"), Key("default", "web8")


def move_endpoint(cluster: Cluster, name: str, address: str) -> None:
    cluster.slice(endpoint_slice(endpoint(address, THERE), name=f"{name}-1", of=name), name=f"{name}-1")


def test_one_changed_slice_recompiles_one_service_and_touches_no_other(cluster):
    before = dict(cluster.target.assembly.parts)
    move_endpoint(cluster, "web7", "10.10.2.7")
    assert cluster.step() == Step(recompiled=1, full=False)
    assert cluster.target.dirty == {WEB7}
    after = cluster.target.assembly.parts
    assert [key for key in after if after[key] is not before[key]] == [WEB7]
    cluster.assert_whole()


def test_nothing_changed_recompiles_nothing_and_keeps_the_very_plan(cluster):
    before = cluster.plan
    assert cluster.step() == Step(recompiled=0, full=False)
    assert cluster.plan is before
    assert not cluster.target.dirty


def test_a_change_that_comes_to_the_same_keeps_the_very_plan(cluster):
    before = cluster.plan
    labelled = service("web3", clusterIP="10.200.1.4", labels={"team": "blue"})
    cluster.service(labelled, name="web3")
    assert cluster.step().recompiled == 1
    assert cluster.plan is before
    assert not cluster.target.dirty


def test_a_service_that_went_leaves_the_plan(cluster):
    cluster.service(None, name="web3")
    assert (cluster.step().recompiled, len(cluster.plan.ports)) == (0, 49)
    assert cluster.target.dirty == {Key("default", "web3")}
    cluster.assert_whole()


def test_a_slice_before_its_service_waits_for_it(cluster):
    cluster.slice(endpoint_slice(endpoint("10.10.1.200"), name="late-1", of="late"), name="late-1")
    assert cluster.step().recompiled == 0
    cluster.service(service("late", clusterIP="10.200.1.99"), name="late")
    assert cluster.step().recompiled == 1
    assert cluster.backends("late") == ["10.10.1.200:8080"]
    cluster.assert_whole()


def test_a_slice_of_no_service_becomes_a_note(cluster):
    cluster.slice(endpoint_slice(name="stray", of=""), name="stray")
    cluster.step()
    assert [note.origin.name for note in cluster.plan.notes] == ["stray"]
    cluster.assert_whole()
    cluster.slice(None, name="stray")
    cluster.step()
    assert cluster.plan.notes == ()


def test_a_node_that_moves_to_another_zone_recompiles_all(cluster):
    cluster.node = node(zone="b")
    assert cluster.step() == Step(recompiled=50, full=True)
    cluster.assert_whole()


def test_a_node_whose_heart_beats_recompiles_nothing(cluster):
    cluster.node = node()
    assert cluster.step().recompiled == 0


def test_without_a_node_nothing_is_local():
    lone = Cluster()
    lone.node = unknown_node(THERE)
    lone.service(service(), name="web")
    lone.slice(endpoint_slice(endpoint("10.10.1.1", HERE)), name="web-1")
    lone.step()
    [port] = lone.plan.ports
    assert ([str(backend) for backend in port.cluster], port.local) == (["10.10.1.1:8080"], ())
    assert len(lone.plan.notes) == 1


def test_a_refused_service_keeps_what_worked_and_the_others_go_on(cluster):
    move_endpoint(cluster, "web7", "10.10.2.7")
    move_endpoint(cluster, "web8", "10.10.2.8")
    cluster.step()
    assert cluster.target.refuse(WEB7)
    assert (cluster.backends("web7"), cluster.backends("web8")) == (["10.10.1.8:8080"], ["10.10.2.8:8080"])
    assert cluster.target.dirty == {WEB7, WEB8}


def test_a_service_that_is_refused_even_as_it_was_is_left_out_and_then_it_is_not_its_fault(cluster):
    move_endpoint(cluster, "web7", "10.10.2.7")
    cluster.step()
    assert [cluster.target.refuse(WEB7) for _ in range(3)] == [True, True, False]
    assert len(cluster.plan.ports) == 49


def test_a_service_whose_very_part_was_in_the_kernel_is_left_out_when_it_is_refused(cluster):
    assert cluster.target.refuse(WEB7)
    assert len(cluster.plan.ports) == 49


def test_a_refused_service_that_never_worked_is_left_out(cluster):
    cluster.service(service("new", clusterIP="10.200.1.99"), name="new")
    cluster.step()
    assert cluster.target.refuse(Key("default", "new"))
    assert len(cluster.plan.ports) == 50


def test_a_refused_service_stays_held_back_until_it_is_compiled_to_something_else(cluster):
    move_endpoint(cluster, "web7", "10.10.2.7")
    cluster.step()
    cluster.target.refuse(WEB7)
    cluster.target.confirm()
    cluster.service(service("web7", clusterIP="10.200.1.8", labels={"team": "blue"}), name="web7")
    cluster.step()
    assert not cluster.target.dirty
    move_endpoint(cluster, "web7", "10.10.2.9")
    cluster.step()
    assert cluster.backends("web7") == ["10.10.2.9:8080"]
    assert not cluster.target.refused


def test_a_pardoned_service_is_tried_again_and_may_fall_back_again(cluster):
    move_endpoint(cluster, "web7", "10.10.2.7")
    cluster.step()
    cluster.target.refuse(WEB7)
    cluster.target.confirm()
    cluster.target.pardon()
    assert (cluster.backends("web7"), cluster.target.dirty) == (["10.10.2.7:8080"], {WEB7})
    cluster.target.refuse(WEB7)
    assert cluster.backends("web7") == ["10.10.1.8:8080"]


def test_what_was_left_out_of_a_write_falls_back_to_what_was_in_before_it(cluster):
    move_endpoint(cluster, "web7", "10.10.2.7")
    move_endpoint(cluster, "web8", "10.10.2.8")
    cluster.step()
    cluster.target.confirm(but=[WEB7])
    cluster.target.refuse(WEB7)
    assert (cluster.backends("web7"), cluster.backends("web8")) == (["10.10.1.8:8080"], ["10.10.2.8:8080"])
    assert cluster.target.dirty == {WEB7}


def test_a_held_back_service_stays_so_when_the_node_changes_unless_that_changes_it(cluster):
    move_endpoint(cluster, "web7", "10.10.2.7")
    cluster.step()
    cluster.target.refuse(WEB7)
    cluster.target.confirm()
    cluster.node = node(zone="b")
    assert cluster.step().full
    assert cluster.backends("web7") == ["10.10.1.8:8080"]
    assert len(cluster.plan.ports) == 50


_NAMES = st.sampled_from(["a", "b", "c"])
_ACTIONS = st.one_of(
    st.tuples(st.just("service"), _NAMES, st.sampled_from(["gone", "plain", "nodePort", "local", "affine"])),
    st.tuples(st.just("slice"), _NAMES, st.sampled_from(["gone", "", "a", "b", "c"]), st.integers(0, 3)),
    st.tuples(st.just("node"), st.sampled_from(["", "zone-a"])),
    st.tuples(st.just("step")),
    st.tuples(st.just("confirm")),
    st.tuples(st.just("refuse"), _NAMES),
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
        case ("confirm",):
            cluster.target.confirm()
        case ("refuse", name):
            cluster.step()
            cluster.target.refuse(Key("default", name))


@settings(max_examples=200, deadline=None)
@given(st.lists(_ACTIONS, max_size=25))
def test_any_history_of_changes_comes_to_the_plan_of_the_objects_as_they_are(actions):
    cluster = Cluster()
    for action in actions:
        _play(cluster, action)
    cluster.step()
    cluster.target.pardon()
    cluster.assert_whole()
