"""Two labs at once know nothing of each other, a large one beside a small one, and each ends alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.command import User
from tests.lab.traces import machine, processes_of

pytestmark = pytest.mark.lab

SMALL, LARGE = "small", "large"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: mendhak/http-https-echo}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
"""


@pytest.fixture
def owner(tmp_path: Path) -> User:
    return User(state=tmp_path / "state")


def kubectl(user: User, lab: str, *args: str, stdin: str = "") -> str:
    config = str(user.state / lab / "kubeconfig")
    answer = user.run(["kubectl", *args], stdin=stdin, KUBECONFIG=config)
    assert answer.code == 0, answer.err
    return answer.out


def names(user: User, lab: str, kind: str) -> set[str]:
    listed = json.loads(kubectl(user, lab, "get", kind, "-A", "-o", "json"))
    return {one["metadata"]["name"] for one in listed["items"]}


def serve(user: User, lab: str) -> None:
    """A pod and a node port, the same in each lab: names and numbers are free in each."""
    kubectl(user, lab, "apply", "-f", "-", stdin=POD)
    config = user.state / lab / "kubeconfig"
    user.wait_for(config, "default", "pod/web", '{.status.conditions[?(@.type=="Ready")].status}', "True")


def called(user: User, lab: str) -> dict[str, object]:
    """What the pod behind the node port of the control plane tells the lab's client."""
    nodes = json.loads(kubectl(user, lab, "get", "nodes", "-l", "node-role.kubernetes.io/control-plane", "-o", "json"))
    address = nodes["items"][0]["status"]["addresses"][0]["address"]
    url = f"http://{address}:30080/"
    # The rules of the first node may come a moment after the pod is Ready.
    answer = user.fairway(
        "exec", "--name", lab, "mypc", "--", "curl", "-s", "-m2", "--retry", "20", "--retry-connrefused", url
    )
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert isinstance(found, dict)
    return found


def test_a_large_lab_beside_a_small_one(owner: User) -> None:
    before = machine()
    assert owner.fairway("up", "--name", SMALL).code == 0
    large = owner.fairway("up", "--name", LARGE, "--nodes", "20", "-o", "json")
    assert large.code == 0, large.err

    # Both have a network 172.18.0.0/16 with a client mypc: they are no neighbours, so that nothing collides.
    told = json.loads(owner.fairway("status", "--name", SMALL, "-o", "json").out)
    assert told["name"] == SMALL
    assert large.json()["api"] != json.loads((owner.state / SMALL / "lab.json").read_text())["api"]
    assert len(names(owner, SMALL, "nodes")) == 4
    assert names(owner, LARGE, "nodes") == set(large.json()["nodes"])
    assert names(owner, SMALL, "nodes").isdisjoint(names(owner, LARGE, "nodes"))

    serve(owner, SMALL)
    assert "web" not in names(owner, LARGE, "pods,services")
    serve(owner, LARGE)
    ips = {lab: called(owner, lab)["os"] for lab in (SMALL, LARGE)}
    assert ips == {SMALL: {"hostname": "web"}, LARGE: {"hostname": "web"}}

    kubectl(owner, SMALL, "delete", "pod/web", "service/web")
    assert called(owner, LARGE)["os"] == {"hostname": "web"}
    assert owner.fairway("down", "--name", SMALL).code == 0
    assert called(owner, LARGE)["os"] == {"hostname": "web"}
    assert owner.fairway("down", "--name", LARGE).code == 0
    assert processes_of(owner) == []
    assert machine() == before


def test_a_lab_of_a_name_that_is_up_leaves_that_one_alone(owner: User) -> None:
    assert owner.fairway("up", "--name", SMALL).code == 0
    again = owner.fairway("up", "--name", SMALL, "--nodes", "20")
    assert again.code == 1
    assert again.err.startswith(f"fairway: lab {SMALL!r} is up already")
    assert len(names(owner, SMALL, "nodes")) == 4
    assert owner.fairway("down", "--name", SMALL).code == 0
