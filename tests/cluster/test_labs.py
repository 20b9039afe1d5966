"""The study's lab comes from its file, to the last address; manifests are read before a lab is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fairway.base.errors import Refused
from fairway.cluster.labfile import read_lab_file
from fairway.cluster.labs import DUAL_STACK_LAB, STUDY_LAB, scenario_of
from fairway.cluster.scenario import STUDY, Scenario
from tests.fabric.topologies import ipv6_ranges, study_topology


def test_the_study_has_its_four_nodes_and_its_pods() -> None:
    study = Scenario(
        topology=replace(study_topology(), name="myk8s"),
        last_pod_addresses={"myk8s-control-plane": ("10.10.0.4",), "myk8s-worker3": ("10.10.3.3",)},
        manifests=(STUDY / "pods.yaml",),
        bare_pods=("net-pod", "webpod1", "webpod2"),
    )
    assert study == STUDY_LAB


def test_with_ipv6_it_has_addresses_that_read_like_its_others() -> None:
    topology = DUAL_STACK_LAB.topology
    assert topology.ipv6 == ipv6_ranges()
    assert [(str(machine.address), str(machine.address6)) for machine in topology.machines] == [
        ("172.18.0.3", "fd00:172:18::3"),
        ("172.18.0.5", "fd00:172:18::5"),
        ("172.18.0.2", "fd00:172:18::2"),
        ("172.18.0.4", "fd00:172:18::4"),
        ("172.18.0.100", "fd00:172:18::100"),
    ]
    assert [str(node.pod_cidr6) for node in topology.nodes] == [
        "fd00:10:10::/64",
        "fd00:10:10:1::/64",
        "fd00:10:10:2::/64",
        "fd00:10:10:3::/64",
    ]
    assert DUAL_STACK_LAB.last_pod_addresses == {
        "myk8s-control-plane": ("10.10.0.4", "fd00:10:10::4"),
        "myk8s-worker3": ("10.10.3.3", "fd00:10:10:3::3"),
    }


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (None, "manifest {path} is not there; paths are taken from the lab file's folder"),
        (
            "{apiVersion: v1, kind: Unicorn, metadata: {name: u}}",
            "manifest {path}: v1 Unicorn u: a lab has no objects of this kind",
        ),
        ("a: [\n", "manifest {path}: line 2, column 1: did not find expected node content"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(tmp_path: Path, manifest: str | None, problem: str) -> None:
    path = tmp_path / "web.yaml"
    if manifest is not None:
        path.write_text(manifest)
    file = tmp_path / "lab.yaml"
    file.write_text("nodes: 2\nmanifests:\n- web.yaml\n")
    with pytest.raises(Refused) as refused:
        scenario_of(read_lab_file(file), source=str(file))
    assert str(refused.value) == f"{file}, line 3: manifests[0]: {problem.format(path=path)}"
