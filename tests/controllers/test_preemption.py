"""Pods of less priority make way: as few as will do, and of those the least important."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import PODS
from fairway.controllers.scheduler import reconcile
from fairway.controllers.scheduling import SchedulingView
from fairway.controllers.writes import Bind, Delete, Record, Update, Write
from tests.controllers.objects import NOW, node, pod

Json = dict[str, Any]
NODES = [node("a", allocatable={"cpu": "2"}), node("b", allocatable={"cpu": "2"})]


def asking(cpu: str, priority: int, **spec: Any) -> Json:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {"containers": [container], "priority": priority, **spec}


def on(where: str, name: str, cpu: str, priority: int, *, started: str = "", **fields: Any) -> Json:
    made = pod(name, node=where, spec=asking(cpu, priority), **fields)
    made["status"] |= {"startTime": started} if started else {}
    return made


def incoming(cpu: str = "1", priority: int = 100, *, nominated: str = "", **spec: Any) -> Json:
    made = pod("new", phase="Pending", spec=asking(cpu, priority, **spec))
    made["status"] |= {"nominatedNodeName": nominated} if nominated else {}
    return made


def done(new: Json, *bound: Json, nodes: list[Json] = NODES) -> list[Write]:
    return reconcile(SchedulingView(pod=new, nodes=nodes, bound=bound), NOW)


def made_way(writes: list[Write]) -> tuple[str, list[str]]:
    """The node that the pod will get, and who goes."""
    [update] = [one for one in writes if isinstance(one, Update) and one.body["metadata"]["name"] == "new"]
    return update.body["status"].get("nominatedNodeName", ""), [
        one.key.name for one in writes if isinstance(one, Delete)
    ]


def told(writes: list[Write]) -> str:
    [record] = [one for one in writes if isinstance(one, Record) and one.reason == "FailedScheduling"]
    return record.message


@pytest.mark.parametrize(
    ("bound", "node_name", "victims"),
    [
        # The least important of a node go, and no more than have to.
        ([on("a", "x", "1", 5), on("a", "y", "1", 1), on("b", "z", "2", 200)], "a", ["y"]),
        ([on("a", "x", "1", 1, started="1"), on("a", "y", "1", 1, started="2"), on("b", "z", "2", 100)], "a", ["y"]),
        # The node whose most important victim is the least important.
        ([on("a", "x", "2", 5), on("b", "y", "2", 1)], "b", ["y"]),
        # Then the fewest.
        ([on("a", "x", "1500m", 1), on("a", "y", "500m", 1), on("b", "z", "2", 1)], "a", ["x"]),
        ([on("a", "v", "2", 1), on("b", "w", "2", 1, started="9")], "b", ["w"]),
        ([on("a", "v", "2", 1), on("b", "w", "2", 1)], "a", ["v"]),
    ],
)
def test_who_makes_way(bound: list[Json], node_name: str, victims: list[str]) -> None:
    assert made_way(done(incoming(), *bound)) == (node_name, victims)


def test_a_victim_is_told_for_whom_and_the_pod_waits_for_the_room() -> None:
    victim = on("a", "x", "2", 1)
    new = incoming()
    [told_why, delete, record, waits, failed] = done(new, victim, on("b", "y", "2", 200))
    assert isinstance(told_why, Update)
    assert told_why.body["status"]["conditions"][-1] == {
        "type": "DisruptionTarget",
        "lastProbeTime": None,
        "lastTransitionTime": "2025-06-01T12:00:00Z",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": "default-scheduler: preempting to accommodate a higher priority pod",
    }
    assert isinstance(delete, Delete)
    assert (delete.resource, delete.uid) == (PODS, "uid-x")
    assert record == Record(
        regarding=victim, reason="Preempted", message="Preempted by pod uid-new on node a", action="Preempting"
    )
    assert isinstance(waits, Update)
    assert waits.body["status"]["nominatedNodeName"] == "a"
    assert isinstance(failed, Record)
    assert failed.message == "0/2 nodes are available: 2 Insufficient cpu."


def test_while_they_go_nobody_else_has_to() -> None:
    new = incoming(nominated="a")
    going, other = on("a", "x", "2", 1, terminating=True), on("b", "y", "2", 1)
    assert done(new, going, other) == []
    assert isinstance(done(new, other)[0], Bind), "now there is room"
    lost = [node("a", ready="Unknown", allocatable={"cpu": "2"}), NODES[1]]
    assert made_way(done(new, going, other, nodes=lost)) == ("b", ["y"])


@pytest.mark.parametrize(
    ("new", "bound", "message"),
    [
        (
            incoming(priority=1),
            [on("a", "x", "2", 1), on("b", "y", "2", 5)],
            "0/2 nodes are available: 2 No preemption victims found for incoming pod.",
        ),
        (
            incoming(preemptionPolicy="Never"),
            [on("a", "x", "2", 1), on("b", "y", "2", 1)],
            "not eligible due to preemptionPolicy=Never.",
        ),
        (
            incoming(cpu="2"),
            [on("a", "x", "1", 1), on("a", "y", "1", 200), on("b", "z", "2", 200)],
            "0/2 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for incoming pod.",
        ),
        (
            incoming(cpu="3"),
            [on("a", "x", "2", 1)],
            "0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
        ),
    ],
)
def test_where_nobody_can_it_is_told_why(new: Json, bound: list[Json], message: str) -> None:
    writes = done(new, *bound)
    assert not any(isinstance(one, Delete) for one in writes)
    assert told(writes).split(" preemption: ")[1] == message


def test_a_node_that_is_nothing_any_more_is_forgotten() -> None:
    writes = done(incoming(nominated="a", preemptionPolicy="Never"), on("a", "x", "2", 1), on("b", "y", "2", 1))
    assert made_way(writes) == ("", [])
