from __future__ import annotations

from typing import Any

import pytest

from fairway.controllers.scheduler import is_waiting, reconcile
from fairway.controllers.scheduling import SchedulingView
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


def test_a_pod_that_fits_nowhere_says_why_in_condition_and_event() -> None:
    nodes = [node("cp", taints=[TAINT]), node("a", unschedulable=True), node("b", unschedulable=True)]
    message = (
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
        "2 node(s) were unschedulable. preemption: 0/3 nodes are available: "
        "3 Preemption is not helpful for scheduling."
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


def test_what_is_told_counts_every_reason_and_whether_less_pods_would_help() -> None:
    new = waiting(spec={"containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]})
    small, large = {"cpu": "500m", "memory": "1Mi", "pods": "1"}, {"cpu": "2", "memory": "2Gi"}
    there = pod("a", node="large", spec={"containers": [{"resources": {"requests": {"cpu": "1500m"}}}]})
    [_, record] = scheduled(new, [node("small", allocatable=small), node("large", allocatable=large)], there)
    assert isinstance(record, Record)
    assert record.message == (
        "0/2 nodes are available: 1 Insufficient memory, 2 Insufficient cpu. preemption: 0/2 nodes are available: "
        "1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    )


def test_a_pod_that_would_displace_nobody_says_so() -> None:
    [_, record] = scheduled(waiting(spec={"preemptionPolicy": "Never"}), [node("n", unschedulable=True)])
    assert isinstance(record, Record)
    assert record.message == (
        "0/1 nodes are available: 1 node(s) were unschedulable. preemption: not eligible due to preemptionPolicy=Never."
    )


def test_what_a_pod_likes_goes_before_how_crowded_a_node_is() -> None:
    liking = {
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 1,
                        "preference": {
                            "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["worker2"]}]
                        },
                    }
                ]
            }
        }
    }
    crowd = [pod(f"a{n}", node="worker2", owner=OWNER) for n in range(3)]
    assert chosen(*crowd, new=waiting(spec=liking)) == "worker2"
