from __future__ import annotations

from typing import Any

import pytest

from fairway.controllers.affinity import matches_node_selection
from fairway.controllers.scheduler import SchedulingView, is_waiting, reconcile, refusal
from fairway.controllers.writes import Bind, EventType, Record, Update, Write
from tests.controllers.objects import NOW, node, pod, replica_set, service

TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
WORKERS = [node("worker"), node("worker2"), node("worker3")]
OWNER = replica_set()


def waiting(**fields: Any) -> dict[str, Any]:
    return pod("new", owner=OWNER, phase="Pending", **fields)


def scheduled(new: dict[str, Any], nodes: list[dict[str, Any]], *bound: dict[str, Any], **view: Any) -> list[Write]:
    return reconcile(SchedulingView(pod=new, nodes=nodes, bound=bound, **view), NOW)


def chosen(*bound: dict[str, Any], new: dict[str, Any] | None = None, **view: Any) -> str:
    [bind] = [one for one in scheduled(new or waiting(), WORKERS, *bound, **view) if isinstance(one, Bind)]
    return bind.node


def test_a_pod_is_bound_and_that_is_told() -> None:
    new = waiting()
    assert scheduled(new, [node("cp", taints=[TAINT]), node("worker")]) == [
        Bind(pod=new, node="worker"),
        Record(
            regarding=new,
            reason="Scheduled",
            message="Successfully assigned default/new to worker",
            action="Binding",
        ),
    ]


def test_pods_of_one_owner_keep_apart_before_anything_else() -> None:
    crowd = [pod(f"other{n}", node="worker3") for n in range(9)]
    mine = [pod("a", node="worker", owner=OWNER), pod("b", node="worker2", owner=OWNER)]
    assert chosen(*crowd, *mine) == "worker3"


def test_then_pods_behind_one_service_keep_apart() -> None:
    crowd = [pod(f"other{n}", node="worker", labels={"app": "db"}) for n in range(2)]
    peers = [pod("a", node="worker2"), pod("b", node="worker3")]
    assert chosen(*crowd, *peers, services=[service()]) == "worker"


def test_then_the_emptiest_node_is_taken_and_of_equal_ones_the_first_by_name() -> None:
    assert chosen(pod("a", node="worker", labels={"app": "db"})) == "worker2"
    assert chosen() == "worker"


def test_pods_on_their_way_out_and_finished_ones_crowd_nobody() -> None:
    going = pod("a", node="worker", owner=OWNER, terminating=True)
    done = pod("b", node="worker", owner=OWNER, phase="Succeeded")
    assert chosen(going, done) == "worker"


def test_a_pod_without_owner_spreads_by_service_only() -> None:
    bare = pod("new", phase="Pending")
    assert chosen(pod("a", node="worker"), new=bare, services=[service()]) == "worker2"


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (waiting(node="worker"), "has a node"),
        (waiting(terminating=True), "is on its way out"),
        (waiting(spec={"schedulerName": "mine"}), "is another scheduler's"),
        (waiting(spec={"schedulingGates": [{"name": "g"}]}), "is gated"),
        (pod("done", phase="Failed"), "has ended"),
    ],
)
def test_a_pod_that_is_not_waiting_is_left_alone(new: dict[str, Any], why: str) -> None:
    assert not is_waiting(new), why
    assert scheduled(new, WORKERS) == []


TOLERANT = {"key": TAINT["key"], "operator": "Exists", "effect": "NoSchedule"}
NOT_READY = "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"
NO_MATCH = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"


def tolerating(*tolerations: dict[str, Any]) -> dict[str, Any]:
    return waiting(spec={"tolerations": list(tolerations)})


def on_host_port(name: str, port: int, ip: str = "", protocol: str = "TCP", **fields: Any) -> dict[str, Any]:
    ports = [{"containerPort": 80, "hostPort": port, "protocol": protocol} | ({"hostIP": ip} if ip else {})]
    return pod(name, spec={"containers": [{"name": "c", "ports": ports}]}, **fields)


@pytest.mark.parametrize(
    ("new", "where", "there", "reason"),
    [
        (waiting(), node("n"), [], None),
        (waiting(), node("n", unschedulable=True), [], "node(s) were unschedulable"),
        (
            tolerating({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}),
            node("n", unschedulable=True),
            [],
            None,
        ),
        (waiting(), node("n", taints=[TAINT]), [], f"node(s) had untolerated taint {{{TAINT['key']}: }}"),
        (
            waiting(),
            node("n", taints=[{"key": "k", "value": "v", "effect": "NoExecute"}]),
            [],
            "node(s) had untolerated taint {k: v}",
        ),
        (waiting(), node("n", taints=[{"key": "k", "effect": "PreferNoSchedule"}]), [], None),
        (tolerating(TOLERANT), node("n", taints=[TAINT]), [], None),
        (tolerating({"operator": "Exists"}), node("n", taints=[TAINT]), [], None),
        (
            tolerating({"key": "k", "value": "v"}),
            node("n", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            [],
            None,
        ),
        (
            tolerating({"key": "k", "value": "w"}),
            node("n", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            [],
            "node(s) had untolerated taint {k: v}",
        ),
        (
            tolerating({"key": "k", "operator": "Exists", "effect": "NoExecute"}),
            node("n", taints=[{"key": "k", "effect": "NoSchedule"}]),
            [],
            "node(s) had untolerated taint {k: }",
        ),
        (waiting(), node("n", ready="False"), [], NOT_READY),
        (waiting(), node("n", ready=None), [], NOT_READY),
        (waiting(), node("n", ready="Unknown"), [], "node(s) had untolerated taint {node.kubernetes.io/unreachable: }"),
        (waiting(spec={"nodeSelector": {"disk": "ssd"}}), node("n"), [], NO_MATCH),
        (waiting(spec={"nodeSelector": {"disk": "ssd"}}), node("n", labels={"disk": "ssd"}), [], None),
        (waiting(), node("n", pods="1"), [pod("a")], "Too many pods"),
        (waiting(), node("n", pods="2"), [pod("a")], None),
        (on_host_port("p", 80), node("n"), [on_host_port("a", 80)], PORTS),
        (on_host_port("p", 80), node("n"), [on_host_port("a", 81)], None),
        (on_host_port("p", 80), node("n"), [on_host_port("a", 80, protocol="UDP")], None),
        (on_host_port("p", 80, "127.0.0.1"), node("n"), [on_host_port("a", 80, "172.18.0.2")], None),
        (on_host_port("p", 80, "127.0.0.1"), node("n"), [on_host_port("a", 80)], PORTS),
    ],
)
def test_a_node_refuses_in_the_schedulers_words(
    new: dict[str, Any], where: dict[str, Any], there: list[dict[str, Any]], reason: str | None
) -> None:
    assert refusal(new, where, there) == reason


def test_a_pod_that_fits_nowhere_says_why_in_condition_and_event() -> None:
    nodes = [node("cp", taints=[TAINT]), node("a", unschedulable=True), node("b", unschedulable=True)]
    message = (
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
        "2 node(s) were unschedulable."
    )
    [update, record] = scheduled(waiting(), nodes)
    assert isinstance(update, Update)
    assert update.subresource == "status"
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": "2025-06-01T12:00:00Z",
        "reason": "Unschedulable",
        "message": message,
    }
    assert update.body["status"]["conditions"][-1] == condition
    assert record == Record(
        regarding=waiting(), type=EventType.WARNING, reason="FailedScheduling", message=message, action="Scheduling"
    )
    assert scheduled(update.body, nodes) == []


def test_without_nodes_that_is_what_is_said() -> None:
    [_, record] = scheduled(waiting(), [])
    assert isinstance(record, Record)
    assert record.message == "no nodes available to schedule pods"


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


SSD = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
NAMED = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}]}


@pytest.mark.parametrize(
    ("spec", "matches", "why"),
    [
        ({}, True, "asks for nothing"),
        (affinity(SSD), True, "has the label"),
        (affinity(NAMED), False, "by its name"),
        (affinity(NAMED, SSD), True, "one of two terms"),
        (affinity({**SSD, **NAMED}), False, "both parts of one term"),
        (affinity({}), False, "an empty term matches nothing"),
        ({"affinity": {"nodeAffinity": {}}}, True, "only preferences"),
    ],
)
def test_required_node_affinity_is_met_by_one_term(spec: dict[str, Any], matches: bool, why: str) -> None:
    assert matches_node_selection(spec, node("n", labels={"disk": "ssd"})) is matches, why
