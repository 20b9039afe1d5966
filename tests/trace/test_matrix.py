"""Who meets what by which door, in the study's cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fairway.api.types import Key
from fairway.trace.journey import PodSource
from fairway.trace.matrix import Cell, askers, cells, entries
from tests.trace.study import MYPC, evaluators_of, view_of

CLUSTER_IP = "ClusterIP 10.200.1.60:9000"
CONTROL_PLANE, WORKER = "myk8s-control-plane:31303", "myk8s-worker:31303"
POD_HERE, POD_THERE = "a pod on myk8s-worker", "a pod on myk8s-control-plane"


def matrix_of(scenario: str, pod_source: PodSource = PodSource.NODE) -> dict[tuple[str, str], Cell]:
    view = view_of(scenario)
    evaluators = evaluators_of(view)
    doors = entries(Key("default", "svc-nodeport"), evaluators)
    found = cells(askers(view, evaluators, MYPC), doors, evaluators, pod_source=pod_source)
    return {(cell.asker.name, cell.entry.label): cell for cell in found}


def fate(cell: Cell) -> str:
    trace = cell.trace
    kept = "masqueraded" if trace.masquerade else "kept"
    return f"DNAT {len(trace.candidates)} {kept}" if trace.candidates else trace.disposition.value


@pytest.mark.parametrize(
    ("scenario", "who", "door", "expected"),
    [
        ("nodeport-cluster", "mypc", CONTROL_PLANE, "DNAT 3 masqueraded"),
        ("nodeport-cluster", POD_HERE, CLUSTER_IP, "DNAT 3 kept"),
        ("nodeport-cluster", "myk8s-worker", CLUSTER_IP, "DNAT 3 masqueraded"),
        ("nodeport-local", "mypc", WORKER, "DNAT 1 kept"),
        ("nodeport-local", "mypc", CONTROL_PLANE, "DROP"),
        # Its own node's port: the short cut of pods.
        ("nodeport-local", POD_THERE, CONTROL_PLANE, "DNAT 3 kept"),
        # Another node's: it comes there as its node, which is neither a pod nor that node.
        ("nodeport-local", POD_HERE, CONTROL_PLANE, "DROP"),
        ("nodeport-local", "myk8s-worker", CONTROL_PLANE, "DROP"),
        ("nodeport-local", "myk8s-control-plane", CONTROL_PLANE, "DNAT 3 masqueraded"),
        ("nodeport-no-endpoints", "mypc", WORKER, "REJECT"),
    ],
)
def test_each_meets_its_fate(scenario: str, who: str, door: str, expected: str):
    assert fate(matrix_of(scenario)[who, door]) == expected


def test_a_pod_that_is_routed_everywhere_meets_another_nodes_port_as_a_pod():
    assert fate(matrix_of("nodeport-local", PodSource.POD)[POD_HERE, CONTROL_PLANE]) == "DNAT 3 kept"


def test_a_pod_comes_to_another_nodes_port_as_its_node():
    cell = matrix_of("nodeport-local")[POD_HERE, CONTROL_PLANE]
    assert [(leg.node, str(leg.packet.source), leg.rewritten) for leg in cell.legs] == [
        ("myk8s-worker", "10.10.1.3", False),
        ("myk8s-control-plane", "172.18.0.5", True),
    ]


def packets(found: dict[tuple[str, str], Cell]) -> Iterator[tuple[str, bool]]:
    for (who, _), cell in found.items():
        yield who, cell.packet.from_node


def test_only_what_a_node_sends_to_its_own_rules_comes_from_it():
    found = matrix_of("nodeport-cluster")
    assert found["myk8s-worker", WORKER].packet.from_node
    assert not found["myk8s-worker", CONTROL_PLANE].packet.from_node
    assert not any(from_node for who, from_node in packets(found) if not who.startswith("myk8s"))


def test_what_agents_leave_alone_has_no_doors():
    view = view_of("headless-and-external-name")
    services = [each.metadata.key for each in view.services if each.is_headless]
    assert services
    assert all(entries(key, evaluators_of(view)) == () for key in services)
