"""`fairway diff` of two files: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fairway.base.errors import Refused
from fairway.cli.diff import diff
from tests.cluster.doctor.facts import BOTH, HERE, NODES, THERE, service

LOCAL = service(externalTrafficPolicy="Local")
CLUSTER = service(externalTrafficPolicy="Cluster")
HOSTILE = {"apiVersion": "v1", "kind": "Evil\x1b[2J", "metadata": {"name": "x", "namespace": "default"}}


def written(folder: Path, name: str, *objects: dict[str, Any]) -> str:
    path = folder / name
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, BOTH, *NODES]}))
    return str(path)


def told(*args: str) -> tuple[str, str]:
    """Standard output and standard error."""
    result = CliRunner().invoke(diff, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_the_same_state_is_no_change(tmp_path: Path) -> None:
    old, new = written(tmp_path, "old", CLUSTER), written(tmp_path, "new", CLUSTER)
    assert told("--old", old, "-f", new) == ("no change: the objects are as they were\n", "")


def test_an_edit_in_words(tmp_path: Path) -> None:
    old, new = written(tmp_path, "old", CLUSTER), written(tmp_path, "new", LOCAL)
    out, _ = told("--old", old, "-f", new, "--node", HERE, "--cluster-cidr", "10.10.0.0/16")
    assert out.splitlines()[:8] == [
        "Service default/web: spec.externalTrafficPolicy: Cluster -> Local",
        "",
        "~ default/web  nodePort 30080/tcp  on here",
        "    pods: they keep their address",
        "    everybody else: 2 -> 1 backend, they keep their address",
        "      - 10.10.2.3:8080",
        "    because of Service default/web: spec.externalTrafficPolicy",
        "",
    ]
    assert out.splitlines()[8].startswith("here: elements +")


@pytest.mark.parametrize(("mode", "what"), [("nftables", "elements"), ("iptables", "rules")])
def test_an_edit_as_json(tmp_path: Path, mode: str, what: str) -> None:
    old, new = written(tmp_path, "old"), written(tmp_path, "new", CLUSTER)
    out, _ = told("--old", old, "-f", new, "--mode", mode, "-o", "json")
    answer = json.loads(out)
    assert [each["object"] for each in answer["objects"]] == ["Service default/web"]
    assert [(door["change"], door["door"], door["nodes"]) for door in answer["doors"]] == [
        ("added", "clusterIP 10.200.1.5:80/tcp", [HERE, THERE]),
        ("added", "nodePort 30080/tcp", [HERE, THERE]),
    ]
    assert answer["doors"][0]["because"] == ["Service default/web, which is added"]
    assert all(node[what]["added"] > 0 and node["lostConnections"] is None for node in answer["nodes"])


def test_each_node_is_told_in_its_own_mode(tmp_path: Path) -> None:
    note = {"fairway.dev/proxy-mode": "iptables"}
    there = {**NODES[1], "metadata": {**NODES[1]["metadata"], "annotations": note}}
    files = []
    for name, items in (("old", []), ("new", [CLUSTER])):
        path = tmp_path / name
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*items, BOTH, NODES[0], there]}))
        files.append(str(path))
    out, _ = told("--old", files[0], "-f", files[1], "-o", "json")
    nodes = {node["node"]: node for node in json.loads(out)["nodes"]}
    assert {name: node["mode"] for name, node in nodes.items()} == {HERE: "nftables", THERE: "iptables"}
    assert {name: ("rules" in node, "elements" in node) for name, node in nodes.items()} == {
        HERE: (False, True),
        THERE: (True, False),
    }
    lines = told("--old", files[0], "-f", files[1])[0].splitlines()
    assert [line.split(" +")[0] for line in lines if " +" in line and ": " in line] == [
        f"{HERE}: elements",
        f"{THERE}: rules",
    ]


def test_other_kinds_are_counted_and_do_not_act_on_a_terminal(tmp_path: Path) -> None:
    old, new = written(tmp_path, "old"), written(tmp_path, "new", HOSTILE)
    _, err = told("--old", old, "-f", new)
    assert err == r"fairway: not interpreted, since agents do not read them: 1 Evil\x1b[2J" + "\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--here"], "--here needs --node: say which node this machine is"),
        (
            ["--kubeconfig", "x"],
            "--old and --kubeconfig exclude each other: the state before is in files, or in the cl",
        ),
        (["--node", "nobody"], "there is no Node nobody; the nodes are: here, there"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, args: list[str], said: str) -> None:
    old, new = written(tmp_path, "old"), written(tmp_path, "new")
    with pytest.raises(Refused) as refused:
        CliRunner().invoke(diff, ["--old", old, "-f", new, *args], catch_exceptions=False)
    assert str(refused.value).startswith(said)
