"""A lab file is read to typed values; what is wrong in it is told with the file, the field and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairway.base.errors import Refused
from fairway.cluster.labfile import ClientEntry, LabFile, NodeEntry, decode_lab_file, plain, read_lab_file
from fairway.plan.options import Mode


def test_every_field_has_a_default() -> None:
    assert decode_lab_file("", source="lab.yaml") == LabFile()
    assert decode_lab_file("nodes: 3", source="lab.yaml") == LabFile(nodes=3)


def test_fields_are_named_as_kubernetes_names_them() -> None:
    text = """
    name: edge
    proxyMode: iptables
    dualStack: true
    zones: [a, b]
    nodes:
      - {podCIDR: 10.10.7.0/24, lastPodAddress: 10.10.7.9, taints: [a=b:NoExecute]}
      - {count: 2, proxyMode: nftables, address: [10.0.0.1, "fd00::1"]}
    clients: [{name: laptop}]
    """
    assert decode_lab_file(text, source="lab.yaml") == LabFile(
        name="edge",
        proxy_mode=Mode.IPTABLES,
        dual_stack=True,
        zones=("a", "b"),
        nodes=(
            NodeEntry(pod_cidr="10.10.7.0/24", last_pod_address="10.10.7.9", taints=("a=b:NoExecute",)),
            NodeEntry(count=2, proxy_mode=Mode.NFTABLES, address=("10.0.0.1", "fd00::1")),
        ),
        clients=(ClientEntry(name="laptop"),),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nodse: 3", ", line 1: nodse: there is no such field; did you mean 'nodes'?"),
        ("nodes:\n- {}\n- name: a\n  zoen: a", ", line 4: nodes[1].zoen: there is no such field; did you mean 'zone'?"),
        ("networks: {pod: 10.0.0.0/8}", ", line 1: networks.pod: there is no such field; did you mean 'pods'?"),
        (
            "nodes: 2\nclients:\n- {name: a, xyz: 1}",
            ", line 3: clients[0].xyz: there is no such field; the fields are name, address",
        ),
        ("nodes: many", ", line 1: nodes: Expected a whole number or a list, got a text"),
        (
            "nodes:\n- labels:\n    disk: 1",
            ", line 2: nodes[0].labels[...]: Expected a text, got a whole number; put it in quotes",
        ),
        ("proxyMode: ipvs", ", line 1: proxyMode: Invalid enum value 'ipvs'; expected one of nftables, iptables"),
        (
            "nodes: [{role: boss}]",
            ", line 1: nodes[0].role: Invalid enum value 'boss'; expected one of control-plane, worker",
        ),
        ("clients:\n- {}", ", line 2: clients[0]: it has no name, and must have one"),
        ("name: [a]", ", line 1: name: Expected a text, got a list"),
        ("[]", ": Expected a mapping, got a list"),
        ("nodes: 3\nzones: [\n", ": line 3, column 1: did not find expected node content"),
        ("nodes: 3\nnodes: 4", ": line 2, column 1: the key 'nodes' stands twice in one mapping"),
        ("nodes: 3\n---\nnodes: 4", ": it holds 2 documents; a lab file is one"),
        (
            "apiVersion: v1\nkind: Pod",
            ": this is a Kubernetes object; name its file under `manifests` of a lab file",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_lab_file(text, source="lab.yaml")
    assert str(refused.value) == f"lab.yaml{problem}"


def test_manifests_are_looked_for_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("manifests: [web.yaml, /elsewhere/db.yaml]")
    assert read_lab_file(file).manifests == (str(tmp_path / "web.yaml"), "/elsewhere/db.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"none\.yaml: No such file or directory"):
        read_lab_file(tmp_path / "none.yaml")


def test_a_lab_file_is_written_without_what_is_default() -> None:
    assert plain(LabFile(nodes=(NodeEntry(zone="a"),), zones=2)) == {"nodes": [{"zone": "a"}], "zones": 2}
