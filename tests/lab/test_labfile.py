"""A lab of a person's own file: six nodes in three zones, one of them in another proxy mode, beside the usual lab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairway.cluster.tools import lacks_for
from fairway.plan.options import Mode
from tests.lab.command import User

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lacks_for(Mode.IPTABLES)), reason="one of the nodes is in mode iptables"),
]

LAB = """
name: zones
zones: [a, b, c]
nodes:
  - count: 4
    labels: {disk: ssd}
  - name: edge
    proxyMode: iptables
    taints: ["dedicated=edge:NoSchedule"]
  - {}
networks: {nodes: 192.168.50.0/24, services: 10.96.0.0/16}
clients: [{name: laptop}]
manifests: [web.yaml]
"""

WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: zones-worker4
  containers: [{name: web, image: traefik/whoami}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, nodePort: 30080}]
"""


@pytest.fixture(scope="module")
def zones(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    folder = tmp_path_factory.mktemp("zones")
    (folder / "lab.yaml").write_text(LAB)
    (folder / "web.yaml").write_text(WEB)
    up = user.fairway("up", "-f", str(folder / "lab.yaml"), "-o", "json")
    assert up.code == 0, up.err
    try:
        yield user
    finally:
        assert user.fairway("down", "--name", "zones").code == 0


def nodes(user: User) -> dict[str, Any]:
    answer = user.run(["kubectl", "get", "nodes", "-o", "json"], KUBECONFIG=str(user.state / "zones" / "kubeconfig"))
    assert answer.code == 0, answer.err
    return {node["metadata"]["name"]: node for node in json.loads(answer.out)["items"]}


def test_the_nodes_are_as_the_file_has_them(zones: User) -> None:
    found = nodes(zones)
    seen = {
        name: (
            node["metadata"]["labels"]["topology.kubernetes.io/zone"],
            node["metadata"]["labels"].get("disk"),
            node["status"]["addresses"][0]["address"],
            node["spec"]["podCIDR"],
        )
        for name, node in found.items()
    }
    assert seen == {
        "zones-control-plane": ("a", "ssd", "192.168.50.2", "10.10.0.0/24"),
        "zones-worker": ("b", "ssd", "192.168.50.3", "10.10.1.0/24"),
        "zones-worker2": ("c", "ssd", "192.168.50.4", "10.10.2.0/24"),
        "zones-worker3": ("a", "ssd", "192.168.50.5", "10.10.3.0/24"),
        "edge": ("b", None, "192.168.50.6", "10.10.4.0/24"),
        "zones-worker4": ("c", None, "192.168.50.7", "10.10.5.0/24"),
    }
    assert found["edge"]["spec"]["taints"] == [{"key": "dedicated", "value": "edge", "effect": "NoSchedule"}]


def test_a_service_of_its_manifests_answers_at_every_node_in_either_mode(zones: User) -> None:
    for node in nodes(zones).values():
        door = f"{node['status']['addresses'][0]['address']}:30080"
        called = ["curl", "-s", "--retry", "5", "--retry-connrefused", "--connect-timeout", "2", door]
        answer = zones.fairway("exec", "--name", "zones", "laptop", "--", *called)
        assert "Hostname: web" in answer.out, door


def test_a_service_stands_for_a_pod_of_it(zones: User) -> None:
    answer = zones.fairway("exec", "--name", "zones", "-o", "json", "svc/web", "--", "hostname").json()
    assert (answer["host"], answer["output"], answer["exitCode"]) == ("default/web", "web\n", 0)
    assert zones.fairway("exec", "--name", "zones", "service/default/web", "--", "hostname").out == "web\n"
    shell = zones.fairway("shell", "--name", "zones", "svc/web", stdin="hostname\nexit 3\n", SHELL="")
    assert (shell.code, shell.out.splitlines()[-1]) == (3, "web")
    refused = zones.fairway("exec", "--name", "zones", "svc/wbe", "--", "true")
    assert refused.err == "fairway: there is no Service 'wbe' in this lab; did you mean svc/web?\n"
    plain = zones.fairway("exec", "--name", "zones", "svc/kubernetes", "--", "true")
    assert (plain.code, "has no selector" in plain.err) == (1, True)


def test_the_rules_of_a_node_are_those_of_its_own_mode(zones: User) -> None:
    modes = {
        node: zones.fairway("rules", "--name", "zones", "-o", "json", node).json()["mode"]
        for node in ("edge", "zones-worker")
    }
    assert modes == {"edge": "iptables", "zones-worker": "nftables"}
    assert "KUBE-NODEPORTS" in zones.fairway("rules", "--name", "zones", "edge").out


def test_every_verb_knows_the_mode_of_each_node(zones: User, tmp_path: Path) -> None:
    config = str(zones.state / "zones" / "kubeconfig")
    asked = ["explain", "--from", "laptop", "-o", "json"]
    modes = {
        node: zones.fairway(*asked, "--to", f"{node}:30080", KUBECONFIG=config).json()["mode"]
        for node in ("edge", "zones-worker")
    }
    assert modes == {"edge": "iptables", "zones-worker": "nftables"}
    edit = tmp_path / "edit.yaml"
    edit.write_text(WEB.split("---")[1].replace("type: NodePort", "type: NodePort\n  externalTrafficPolicy: Local"))
    told = zones.fairway("diff", "-f", str(edit), "-o", "json", KUBECONFIG=config).json()["nodes"]
    assert {node["node"]: node["mode"] for node in told} == dict.fromkeys(nodes(zones), "nftables") | {
        "edge": "iptables"
    }
    healthy = zones.fairway("doctor", "--name", "zones")
    assert (healthy.code, healthy.out.startswith("nothing found: ")) == (0, True), healthy.out
    assert zones.fairway("status", "--name", "zones", "-o", "json").json()["modes"] == {"edge": "iptables"}


def test_two_labs_are_up_at_once_and_do_not_know_each_other(zones: User, lab: User) -> None:
    assert zones.fairway("exec", "--name", "zones", "edge", "--", "hostname").out == "edge\n"
    assert lab.fairway("exec", "myk8s-worker", "--", "hostname").out == "myk8s-worker\n"
    refused = lab.fairway("exec", "edge", "--", "true")
    assert (refused.code, refused.err.startswith("fairway: 'edge' is no node, client or pod of this lab")) == (1, True)


def test_a_number_of_nodes_is_enough(user: User) -> None:
    up = user.fairway("up", "--nodes", "2", "--name", "two", "-o", "json")
    assert up.code == 0, up.err
    assert user.fairway("down", "--name", "two").code == 0
    assert (up.json()["nodes"], up.json()["clients"]) == (["two-control-plane", "two-worker"], ["mypc"])


def test_a_bad_file_makes_nothing(user: User, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("name: bad\nnodes: 2\nmanifests: [none.yaml]\n")
    refused = user.fairway("up", "-f", str(file))
    assert (refused.code, refused.out) == (1, "")
    assert (
        refused.err == f"fairway: {file}, line 3: manifests[0]: manifest {tmp_path}/none.yaml is not there; "
        "paths are taken from the lab file's folder\n"
    )
    assert not (user.state / "bad").exists()


def test_a_manifest_that_the_api_server_refuses_is_named_and_nothing_is_left(user: User, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: bad\nnodes: 1\nmanifests: [svc.yaml]\n")
    (tmp_path / "svc.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: []}}")
    refused = user.fairway("up", "-f", str(tmp_path / "lab.yaml"))
    assert (refused.code, refused.out) == (1, "")
    assert f"manifest {tmp_path}/svc.yaml: Service default/web: " in refused.err
    assert not (user.state / "bad").exists()
