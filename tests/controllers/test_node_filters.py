from __future__ import annotations

from typing import Any

import pytest

from fairway.controllers.node_filters import Filters
from fairway.controllers.scheduling import SchedulingView
from tests.controllers.objects import node, pod

TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def waiting(**fields: Any) -> dict[str, Any]:
    return pod("new", phase="Pending", **fields)


def with_node(one: dict[str, Any], where: str) -> dict[str, Any]:
    return {**one, "spec": {**one["spec"], "nodeName": where}}


def asking(**requests: str) -> dict[str, Any]:
    return waiting(spec={"containers": [{"name": "c", "resources": {"requests": requests}}]})


def only_on(name: str) -> dict[str, Any]:
    field = {"key": "metadata.name", "operator": "In", "values": [name]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


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
        (waiting(spec=only_on("other")), node("n"), [], "node(s) didn't satisfy plugin(s) [NodeAffinity]"),
        (waiting(spec=only_on("n")), node("n"), [], None),
        (asking(cpu="1"), node("n", allocatable={"cpu": "1"}), [], None),
        (asking(cpu="1001m"), node("n", allocatable={"cpu": "1"}), [], "Insufficient cpu"),
        (asking(cpu="600m"), node("n", allocatable={"cpu": "1"}), [asking(cpu="500m")], "Insufficient cpu"),
        (asking(memory="1Gi"), node("n", allocatable={"memory": "1Gi"}), [waiting()], None),
        (asking(gpu="1"), node("n", allocatable={"cpu": "1"}), [], "Insufficient gpu"),
        (asking(cpu="0"), node("n", allocatable={"memory": "1Gi"}), [], None),
        (waiting(), node("n", pods="1"), [pod("done", phase="Failed")], None),
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
    view = SchedulingView(pod=new, nodes=[where], bound=[with_node(one, "n") for one in there])
    refusal = Filters(view).refusal(where)
    assert (refusal.reasons if refusal else None) == ((reason,) if reason else None)
