"""`fairway diff` against a lab, with connections that live while it looks. It changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.command import User
from tests.lab.conftest import kubectl

pytestmark = pytest.mark.lab

SERVICE = Path("src/fairway/cluster/study/svc-nodeport.yaml")
LOCAL = SERVICE.read_text().replace("type: NodePort", "type: NodePort\n  externalTrafficPolicy: Local")
CALLS = 12
ENTRY = "172.18.0.5"
"""myk8s-worker, which has one of the three pods."""


def diff(user: User, *args: str, stdin: str = "") -> str:
    config = str(user.state / "myk8s" / "kubeconfig")
    answer = user.fairway("diff", *args, stdin=stdin, KUBECONFIG=config)
    assert answer.code == 0, answer.err
    return answer.out


def test_what_is_there_already_is_no_change(lab: User) -> None:
    assert diff(lab, "-f", str(SERVICE)) == "no change: the objects are as they were\n"


def test_a_local_policy_while_clients_are_connected(lab: User) -> None:
    """Those whose pod is on another node than they came in by would not be sent there again."""
    port = kubectl(lab, "get", "svc", "svc-nodeport", "-o", "jsonpath={.spec.ports[0].nodePort}")
    connect = (
        f"import signal, socket; open_ones = [socket.create_connection(('{ENTRY}', {port})) for _ in range({CALLS})]; "
        "print('ready', flush=True); signal.pause()"
    )
    client = lab.start("exec", "mypc", "--", "python3", "-c", connect)
    try:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        before = lab.fairway("rules", "myk8s-worker").out
        told = lab.fairway("diff", "-f", "-", "-o", "json", stdin=LOCAL, KUBECONFIG=kubeconfig(lab)).json()
        assert lab.fairway("rules", "myk8s-worker").out == before
        here = kubectl(lab, "get", "pods", "--field-selector=spec.nodeName=myk8s-worker", "-o", PODS).split()
        flows = living(lab, port)
    finally:
        client.kill()
        client.communicate()
    assert told["objects"] == [
        {
            "object": "Service default/svc-nodeport",
            "change": "changed",
            "fields": [{"path": "spec.externalTrafficPolicy", "before": "Cluster", "after": "Local"}],
        }
    ]
    assert {door["door"] for door in told["doors"]} == {f"nodePort {port}/tcp"}
    assert sorted(name for door in told["doors"] for name in door["nodes"]) == sorted(
        node["node"] for node in told["nodes"]
    )
    lost = {node["node"]: node["lostConnections"] for node in told["nodes"]}
    expected = sorted(backend for backend in flows if backend.rpartition(":")[0] not in here)
    assert sorted(flow["backend"] for flow in lost.pop("myk8s-worker")) == expected
    assert len(flows) == CALLS
    assert all(flows == [] for flows in lost.values())


PODS = "jsonpath={.items[*].status.podIP}"


def kubeconfig(user: User) -> str:
    return str(user.state / "myk8s" / "kubeconfig")


def living(user: User, port: str) -> list[str]:
    """The backends of the client's connections, as conntrack(8) of the node tells."""
    told = user.fairway("exec", "myk8s-worker", "--", "conntrack", "-L", "-p", "tcp", "--dport", port).out
    found = []
    for line in told.splitlines():
        if "ESTABLISHED" in line and "src=172.18.0.100" in line:
            sources = [word.partition("=")[2] for word in line.split() if word.startswith("src=")]
            ports = [word.partition("=")[2] for word in line.split() if word.startswith("sport=")]
            found.append(f"{sources[1]}:{ports[1]}")
    return found


def test_another_selector_in_words(lab: User) -> None:
    told = diff(lab, "-f", "-", stdin=SERVICE.read_text().replace("app: deploy-websrv", "app: net-pod"))
    assert "Service default/svc-nodeport: spec.selector.app: deploy-websrv -> net-pod" in told
    assert "all: 3 -> 1 backend\n" in told
    assert "\n      - 10.10.1." in told
    assert "\n      + 10.10.0." in told
    assert "because of Service default/svc-nodeport: spec.selector.app, EndpointSlice default/svc-nodeport-" in told


def test_two_files_are_compared_without_a_cluster(lab: User, tmp_path: Path) -> None:
    everything = kubectl(lab, "get", "nodes,services,endpointslices", "-o", "yaml")
    (tmp_path / "old.yaml").write_text(everything)
    (tmp_path / "new.yaml").write_text(
        everything.replace("externalTrafficPolicy: Cluster", "externalTrafficPolicy: Local")
    )
    told = diff(lab, "--old", str(tmp_path / "old.yaml"), "-f", str(tmp_path / "new.yaml"), "--mode", "iptables")
    assert "~ default/svc-nodeport:svc-webport  nodePort" in told
    assert "myk8s-worker: rules +" in told
    assert "note: live connections were not looked at" in told


def test_what_the_api_server_would_refuse_is_one_clear_line(lab: User) -> None:
    given = SERVICE.read_text().replace("type: NodePort", "type: Nodeport")
    answer = lab.fairway("diff", "-f", "-", stdin=given, KUBECONFIG=kubeconfig(lab))
    assert answer.code == 1
    assert answer.err.startswith("fairway: Service default/svc-nodeport: spec.type: Unsupported value")
    assert len(answer.err.splitlines()) == 1
