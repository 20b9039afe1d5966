from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from fairway.api.resources import (
    BY_KIND,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    RESOURCES,
    SERVICES,
)
from fairway.api.types import Key, key_of
from fairway.controllers.cache import Cache
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.wiring import Ref, all_controllers
from fairway.controllers.wiring_nodes import Arrival
from tests.controllers.objects import (
    LONG_AGO,
    NOW,
    controlled_by,
    deployment,
    metadata,
    node,
    pod,
    replica_set,
    service,
)
from tests.controllers.simulation import POOL, ROOT_CA

BY_NAME: dict[str, Controller] = {one.name: one for one in all_controllers(POOL, root_ca=ROOT_CA)}

DEPLOYMENT = deployment(strategy={"type": "Recreate"})
REPLICA_SET = replica_set(ownerReferences=[controlled_by(DEPLOYMENT)])
POD = pod("p", node="n1", ip="10.10.1.3", ready=True, owner=REPLICA_SET)
SERVICE = service()
BALANCED = service("lb", spec={"type": "LoadBalancer", "selector": {"app": "db"}})
WAITING = pod("w", phase="Pending", labels={"app": "db"})
SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": metadata(
        "lb-x",
        labels={
            "kubernetes.io/service-name": "lb",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        },
    ),
}
WORLD = (DEPLOYMENT, REPLICA_SET, POD, WAITING, SERVICE, BALANCED, SLICE, node("n1"))


def resource_of(obj: dict[str, Any]) -> Any:
    return BY_KIND[obj["apiVersion"], obj["kind"]]


def changed(obj: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    after = copy.deepcopy(obj)
    change(after)
    return after


def woken(
    controller: str, previous: dict[str, Any] | None, current: dict[str, Any] | None, *, news: bool = True
) -> set[Any]:
    """The keys a controller gets from a change in WORLD."""
    caches = {resource: Cache() for resource in RESOURCES if resource != EVENTS}
    for obj in WORLD:
        caches[resource_of(obj)].observe(key_of(obj), None, obj)
    resource = resource_of(current or previous or {})
    key = key_of(current or previous or {})
    caches[resource].observe(key, previous, current)
    found = BY_NAME[controller].keys(Change(resource=resource, previous=previous, current=current, news=news), caches)
    return {key.key.name if isinstance(key, Ref) else key.name for key in found}


def set_ready(status: str) -> Callable[[dict[str, Any]], None]:
    return lambda obj: obj["status"]["conditions"][0].update(status=status)


def set_field(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(obj: dict[str, Any]) -> None:
        for part in path[:-1]:
            obj = obj.setdefault(part, {})
        obj[path[-1]] = to

    return change


NODE = node("n1")
UNREADY = changed(POD, set_ready("False"))
NOISE = changed(POD, set_field("status", "containerStatuses", to=[{"restartCount": 1}]))
HEARTBEAT = changed(
    NODE, set_field("status", "conditions", to=[{"type": "Ready", "status": "True", "lastHeartbeatTime": "t"}])
)
NOT_READY = changed(NODE, set_ready("False"))
CORDONED = changed(NODE, set_field("spec", "unschedulable", to=True))
ZONED = changed(NODE, set_field("metadata", "labels", "topology.kubernetes.io/zone", to="z"))
GIVEN = changed(BALANCED, set_field("status", "loadBalancer", to={"ingress": [{"ip": "172.18.255.200"}]}))
FINISHED = changed(POD, set_field("status", "phase", to="Succeeded"))
OTHER_LABELS = changed(POD, set_field("metadata", "labels", to={"app": "db"}))
ORPHAN = pod("o", node="n1")

DEPLOY, SETS, SCHEDULER = "deployment-controller", "replicaset-controller", "default-scheduler"
SLICES, ENDPOINTS_OF, BALANCER = "endpoint-slice-controller", "endpoint-controller", "service-controller"


@pytest.mark.parametrize(
    ("controller", "previous", "current", "keys", "why"),
    [
        (DEPLOY, None, DEPLOYMENT, {"web"}, "it is new"),
        (DEPLOY, REPLICA_SET, REPLICA_SET, {"web"}, "its ReplicaSet changed"),
        (DEPLOY, None, replica_set("orphan"), {"web"}, "a ReplicaSet may be adopted"),
        (DEPLOY, POD, UNREADY, set(), "the ReplicaSet tells of that"),
        (DEPLOY, POD, None, {"web"}, "Recreate waits for the end of pods"),
        (DEPLOY, POD, FINISHED, {"web"}, "finished is an end, too"),
        (DEPLOY, NODE, None, {"web"}, "pods of a node that is gone hold nothing up"),
        (SETS, POD, UNREADY, {"web-abc"}, "one of its pods"),
        (SETS, POD, None, {"web-abc"}, "one of its pods is gone"),
        (SETS, None, ORPHAN, {"web-abc"}, "a pod may be adopted"),
        (SETS, None, WAITING, set(), "no pod of anybody"),
        (SCHEDULER, None, WAITING, {"w"}, "a pod waits"),
        (SCHEDULER, POD, UNREADY, set(), "a pod that has a node"),
        (SCHEDULER, POD, None, {"w"}, "a place is free"),
        (SCHEDULER, POD, FINISHED, {"w"}, "a place is free"),
        (SCHEDULER, NODE, HEARTBEAT, set(), "nothing but a heartbeat"),
        (SCHEDULER, NODE, NOT_READY, {"w"}, "a node changed its mind"),
        (SCHEDULER, NODE, CORDONED, {"w"}, "a node was cordoned"),
        (SCHEDULER, None, node("n2"), {"w"}, "a new node"),
        (SLICES, None, SERVICE, {"web"}, "it is new"),
        (SLICES, POD, UNREADY, {"web"}, "a pod behind it changed"),
        (SLICES, POD, NOISE, set(), "nothing that endpoints depend on"),
        (SLICES, POD, OTHER_LABELS, {"web", "lb"}, "a pod left one Service for another"),
        (SLICES, POD, None, {"web"}, "a pod is gone"),
        (SLICES, SLICE, None, {"lb"}, "somebody deleted a slice"),
        (SLICES, NODE, HEARTBEAT, set(), "nothing but a heartbeat"),
        (SLICES, NODE, ZONED, {"web", "lb"}, "a node moved to another zone"),
        (SLICES, None, node("n2"), {"web", "lb"}, "pods may have waited for this node"),
        (ENDPOINTS_OF, POD, UNREADY, {"web"}, "a pod behind it changed"),
        (ENDPOINTS_OF, SERVICE, None, {"web"}, "its Service is gone"),
        (BALANCER, None, BALANCED, {"lb"}, "it is new"),
        (BALANCER, GIVEN, None, {"lb"}, "its address is free again"),
        (BALANCER, NODE, HEARTBEAT, set(), "nothing but a heartbeat"),
        (BALANCER, NODE, NOT_READY, {"lb"}, "a node may hold nothing any more"),
        (BALANCER, None, SLICE, {"lb"}, "endpoints changed"),
    ],
)
def test_a_change_wakes_those_it_concerns(
    controller: str, previous: Any, current: Any, keys: set[str], why: str
) -> None:
    assert woken(controller, previous, current) == keys, why


def test_a_service_without_an_address_hears_of_one_that_comes_free() -> None:
    other = service("other", spec={"type": "LoadBalancer"}, status=GIVEN["status"])
    assert woken(BALANCER, other, None) == {"other", "lb"}


def test_the_echo_of_its_own_write_wakes_no_endpoint_controller() -> None:
    assert woken(SLICES, SLICE, SLICE) == {"lb"}
    assert woken(SLICES, SLICE, SLICE, news=False) == set()
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata("web")}
    assert woken(ENDPOINTS_OF, None, endpoints) == {"web"}
    assert woken(ENDPOINTS_OF, None, endpoints, news=False) == set()


COLLECTOR = "garbage-collector-controller"
FOREGROUND = changed(
    REPLICA_SET, lambda one: one["metadata"].update(deletionTimestamp=LONG_AGO, finalizers=["foregroundDeletion"])
)


@pytest.mark.parametrize(
    ("previous", "current", "keys", "why"),
    [
        (None, POD, {"p"}, "it may have been born an orphan"),
        (POD, UNREADY, set(), "its owners are the same"),
        (REPLICA_SET, None, {"p"}, "an owner is gone"),
        (REPLICA_SET, FOREGROUND, {"web-abc", "p"}, "an owner waits for its dependents"),
        (None, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("c")}, set(), "nobody owns it"),
    ],
)
def test_the_collector_looks_at_new_dependents_and_at_owners_that_go(
    previous: Any, current: Any, keys: set[str], why: str
) -> None:
    assert woken(COLLECTOR, previous, current) == keys, why


def test_an_owner_is_looked_at_again_when_what_it_waits_for_changes() -> None:
    both = changed(FOREGROUND, lambda one: one["metadata"].update(finalizers=["orphan", "foregroundDeletion"]))
    assert woken(COLLECTOR, both, FOREGROUND) == {"web-abc", "p"}
    assert woken(COLLECTOR, FOREGROUND, FOREGROUND) == set()


def test_an_owner_that_waits_hears_of_the_end_of_a_dependent() -> None:
    caches = {resource: Cache() for resource in RESOURCES if resource != EVENTS}
    caches[REPLICA_SETS].observe(key_of(FOREGROUND), None, FOREGROUND)
    keys = BY_NAME[COLLECTOR].keys(Change(resource=PODS, previous=POD, current=None), caches)
    assert list(keys) == [Ref(REPLICA_SETS, Key("default", "web-abc"))]


def test_the_collector_watches_all_that_may_own_or_be_owned() -> None:
    assert {DEPLOYMENTS, REPLICA_SETS, PODS, SERVICES, ENDPOINTS, ENDPOINT_SLICES, NODES, CONFIG_MAPS} <= set(
        BY_NAME[COLLECTOR].watches
    )
    assert EVENTS not in BY_NAME[COLLECTOR].watches


def test_keys_that_compete_are_worked_on_one_at_a_time() -> None:
    assert {name for name, one in BY_NAME.items() if one.workers == 1} == {SCHEDULER, BALANCER}


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        ({}, set()),
        ({"affinity": {"nodeAffinity": {}}}, set()),
        ({"affinity": {"podAffinity": {}, "podAntiAffinity": {"x": []}}}, {"w"}),
        ({"topologySpreadConstraints": [{}]}, {"w"}),
    ],
)
def test_only_a_pod_that_minds_its_company_waits_for_where_others_are(spec: dict[str, Any], keys: set[str]) -> None:
    caches = {resource: Cache() for resource in RESOURCES if resource != EVENTS}
    waiting = pod("w", phase="Pending", spec=spec)
    caches[PODS].observe(key_of(waiting), None, waiting)
    placed, moved = pod("a", node="n1"), pod("a", node="n1", labels={"app": "db"})
    for change in (
        Change(resource=PODS, previous=placed, current=moved),
        Change(resource=PODS, previous=pod("a"), current=placed),
    ):
        assert {key.name for key in BY_NAME[SCHEDULER].keys(change, caches)} - {"a"} == keys


def lease(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return {
        **made,
        "metadata": {"name": name, "namespace": namespace, "uid": "l", "resourceVersion": "1"},
        "spec": spec,
    }


BEAT = lease("n1", "kube-node-lease", renewTime="t1")
OWN = lease("kube-controller-manager", "kube-system", acquireTime="t", renewTime="t1")
HOLDER = "kube-controller-manager"
TAINTED = node("n1", taints=[{"key": "k", "effect": "NoExecute"}])


@pytest.mark.parametrize(
    ("world", "previous", "current", "keys", "why"),
    [
        ((), None, NODE, {"n1"}, "a new node"),
        ((NODE,), NODE, HEARTBEAT, set(), "nothing but a heartbeat"),
        ((NODE,), NODE, NOT_READY, {"n1"}, "its kubelet says so"),
        ((NODE,), NODE, CORDONED, {"n1"}, "a taint is due"),
        ((NODE,), None, BEAT, {"n1", HOLDER}, "from now on it is judged"),
        ((NODE,), BEAT, lease("n1", "kube-node-lease", renewTime="t2"), set(), "a renewal"),
        ((NODE,), OWN, lease(HOLDER, "kube-system", acquireTime="t", renewTime="t2"), set(), "our own renewal"),
        ((NODE,), OWN, lease(HOLDER, "kube-system", acquireTime="t3"), {"n1", HOLDER}, "a new tenure"),
        ((NODE,), OWN, None, {"n1", HOLDER}, "somebody deleted it"),
        ((NODE,), None, lease("x", "default"), set(), "a Lease of somebody's"),
        ((NODE,), None, POD, set(), "a pod on a node that is well"),
        ((NOT_READY,), None, POD, {"n1"}, "a pod on a node that is not"),
        ((TAINTED,), None, POD, {"n1"}, "a pod on a node that drives pods out"),
        ((TAINTED,), POD, NOISE, set(), "a pod that says nothing new"),
    ],
)
def test_what_wakes_the_node_lifecycle(
    world: tuple[Any, ...], previous: Any, current: Any, keys: set[str], why: str
) -> None:
    caches = {resource: Cache() for resource in RESOURCES if resource != EVENTS}
    for obj in world:
        caches[resource_of(obj)].observe(key_of(obj), None, obj)
    change = Change(resource=resource_of(current or previous), previous=previous, current=current)
    woken = {key for key in BY_NAME["node-controller"].keys(change, caches) if not isinstance(key, Arrival)}
    assert {key.name for key in woken} == keys, why


def test_a_node_is_registered_when_it_is_first_seen_and_not_again() -> None:
    controller, caches = BY_NAME["node-controller"], {resource: Cache() for resource in RESOURCES}
    caches[NODES].observe(key_of(NODE), None, NODE)
    first, later = (
        Change(resource=NODES, previous=None, current=NODE),
        Change(resource=NODES, previous=NODE, current=NOT_READY),
    )
    [arrival] = [key for key in controller.keys(first, caches) if isinstance(key, Arrival)]
    assert not any(isinstance(key, Arrival) for key in controller.keys(later, caches))

    [record] = controller.reconcile(arrival, caches, Attempt(now=NOW, since=NOW, random=Random(1)))
    assert (record.reason, record.message) == ("RegisteredNode", "Node n1 event: Registered Node n1 in Controller")
    gone = Arrival(node=Key("", "gone"))
    assert controller.reconcile(gone, caches, Attempt(now=NOW, since=NOW, random=Random(1))) == []


GIVEN_UP = node("n1", ready="Unknown", taints=[{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}])
LOST = node("n1", ready="Unknown")
ENDING = pod("p", node="n1", terminating=True)


@pytest.mark.parametrize(
    ("world", "previous", "current", "keys", "why"),
    [
        ((), NODE, None, {"n1"}, "its pods are orphans"),
        ((NODE,), None, NODE, {"n1"}, "it is back"),
        ((LOST,), NODE, LOST, set(), "it may come back"),
        ((GIVEN_UP,), LOST, GIVEN_UP, {"n1"}, "a person says that it will not"),
        ((), None, POD, {"n1"}, "a pod of a node that never was"),
        ((NODE,), POD, ENDING, set(), "its kubelet ends it"),
        ((LOST,), POD, ENDING, set(), "its kubelet may yet end it"),
        ((GIVEN_UP,), POD, ENDING, {"n1"}, "nobody will"),
        ((GIVEN_UP,), ENDING, changed(ENDING, set_field("metadata", "labels", to={})), set(), "nothing new"),
        ((), POD, None, set(), "it is gone already"),
        ((), None, WAITING, set(), "it has no node"),
    ],
)
def test_what_wakes_the_pod_garbage_collector(
    world: tuple[Any, ...], previous: Any, current: Any, keys: set[str], why: str
) -> None:
    caches = {resource: Cache() for resource in RESOURCES if resource != EVENTS}
    for obj in world:
        caches[resource_of(obj)].observe(key_of(obj), None, obj)
    change = Change(resource=resource_of(current or previous), previous=previous, current=current)
    assert {key.name for key in BY_NAME["pod-garbage-collector-controller"].keys(change, caches)} == keys, why


DAEMON_SET = {**REPLICA_SET, "kind": "DaemonSet", "metadata": {"name": "ds", "namespace": "default", "uid": "uid-ds"}}
OF_HISTORY = {
    "apiVersion": "apps/v1",
    "kind": "ControllerRevision",
    "metadata": metadata("ds-x", ownerReferences=[controlled_by(DAEMON_SET)]),
}
OF_DAEMON = pod("d", node="n1", owner=DAEMON_SET)


@pytest.mark.parametrize(
    ("previous", "current", "keys"),
    [
        (None, DAEMON_SET, {"ds"}),
        (OF_DAEMON, changed(OF_DAEMON, set_ready("True")), {"ds"}),
        (None, node("n2"), {"ds"}),
        (NODE, HEARTBEAT, set()),
        (NODE, ZONED, {"ds"}),
        (NODE, TAINTED, {"ds"}),
        (None, OF_HISTORY, {"ds"}),
        (OF_HISTORY, None, {"ds"}),
    ],
)
def test_what_wakes_a_daemon_set(previous: Any, current: Any, keys: set[str]) -> None:
    caches = {resource: Cache() for resource in RESOURCES if resource != EVENTS}
    caches[resource_of(DAEMON_SET)].observe(key_of(DAEMON_SET), None, DAEMON_SET)
    change = Change(resource=resource_of(current or previous), previous=previous, current=current)
    assert {key.name for key in BY_NAME["daemonset-controller"].keys(change, caches)} == keys
