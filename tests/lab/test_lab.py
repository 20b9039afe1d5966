"""A lab as its user meets it: what it is made of, programs run in it, kubectl against it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
from pathlib import Path

import pytest

from fairway.dataplane.nft.text import canonical
from tests.lab.command import FAIRWAY, User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab


def test_four_nodes_are_ready_at_the_studys_addresses(lab: User) -> None:
    lines = kubectl(lab, "get", "nodes", "-o", "wide", "--no-headers").splitlines()
    assert [(line.split()[0], line.split()[1], line.split()[5]) for line in lines] == [
        ("myk8s-control-plane", "Ready", "172.18.0.3"),
        ("myk8s-worker", "Ready", "172.18.0.5"),
        ("myk8s-worker2", "Ready", "172.18.0.2"),
        ("myk8s-worker3", "Ready", "172.18.0.4"),
    ]


def test_status_tells_machines_and_programs(lab: User) -> None:
    status = lab.fairway("status", "-o", "json").json()
    assert {machine["name"]: machine["ready"] for machine in status["machines"]} == {
        "myk8s-control-plane": True,
        "myk8s-worker": True,
        "myk8s-worker2": True,
        "myk8s-worker3": True,
        "mypc": None,
    }
    assert {service["name"]: service["starts"] for service in status["services"]} == {
        "control-plane": 1,
        "dns": 1,
        "faults": 1,
        **{f"{program}-{node}": 1 for program in ("kubelet", "kube-proxy") for node in status_nodes(status)},
    }
    assert status["mode"] == "nftables"
    assert "myk8s-worker3" in lab.fairway("status").out


def status_nodes(status: dict[str, list[dict[str, str]]]) -> list[str]:
    return [machine["name"] for machine in status["machines"] if machine["kind"] == "node"]


def test_rules_are_what_nft_lists(lab: User) -> None:
    told = lab.fairway("rules", "myk8s-control-plane").out
    listed = lab.fairway("exec", "myk8s-control-plane", "--", "nft", "list", "table", "ip", "fairway").out
    assert canonical(told) == canonical(listed)
    assert f"tcp . {node_port(lab)} : 22:3" in told
    answer = lab.fairway("rules", "-o", "json", "myk8s-control-plane").json()
    assert (answer["node"], answer["mode"]) == ("myk8s-control-plane", "nftables")
    assert f"tcp . {node_port(lab)} : 22:3" in answer["tables"][0]["sets"]["nodeports"]["elements"]


def test_only_nodes_have_rules(lab: User) -> None:
    answer = lab.fairway("rules", "mypc")
    assert (answer.code, answer.err) == (1, "fairway: 'mypc' is no node: only nodes have rules\n")


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["mypc", "--", "sh", "-c", "exit 7"], 7),
        (["mypc", "true"], 0),
        (["mypc", "--", "no-such-program"], 127),
        (["mypc", "--", "/etc/hostname"], 126),
        (["mypc", "--", "sh", "-c", "kill -9 $$"], 137),
        (["webpod1", "--", "sh", "-c", "exit 3"], 3),
        (["default/webpod1", "--", "true"], 0),
    ],
)
def test_exec_passes_on_the_status_of_what_it_ran(lab: User, argv: list[str], code: int) -> None:
    assert lab.fairway("exec", *argv).code == code


def test_exec_passes_on_input_and_output(lab: User) -> None:
    answer = lab.fairway("exec", "myk8s-worker", "--", "sh", "-c", "cat; hostname; echo no >&2", stdin="typed\n")
    assert (answer.out, answer.err) == ("typed\nmyk8s-worker\n", "no\n")


def test_exec_with_a_terminal_gives_the_program_one(lab: User) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [FAIRWAY, "exec", "mypc", "--", "sh", "-c", "test -t 0 && test -t 1 && hostname"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=lab.environment(),
    )
    os.close(theirs)
    seen = read_all(ours)
    assert (process.wait(30), seen.strip()) == (0, "mypc")


def read_all(descriptor: int) -> str:
    """What a terminal shows until it is closed at the other end."""
    seen = b""
    while select.select([descriptor], [], [], 30)[0]:
        try:
            seen += os.read(descriptor, 4096)
        except OSError:
            break
    os.close(descriptor)
    return seen.decode()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mypcc", "did you mean 'mypc'?"),
        ("nothing-like-it", "there are myk8s-control-plane, myk8s-worker, myk8s-worker2, myk8s-worker3, mypc"),
    ],
)
def test_a_name_that_is_none_is_one_clear_line(lab: User, target: str, said: str) -> None:
    answer = lab.fairway("exec", target, "--", "true")
    assert answer.code == 1
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


def test_kubectl_exec_logs_and_describe_work_as_with_any_cluster(lab: User) -> None:
    assert kubectl(lab, "exec", "webpod1", "--", "hostname") == "webpod1\n"
    assert "exit code 4" in kubectl(lab, "exec", "webpod1", "--", "sh", "-c", "exit 4")
    assert kubectl(lab, "exec", "-i", "net-pod", "--", "cat", stdin="through\n") == "through\n"
    pod = kubectl(lab, "get", "pods", "-l", "app=deploy-websrv", "-o", "name").splitlines()[0]
    lab.fairway("exec", "mypc", "--", "curl", "-s", f"172.18.0.3:{node_port(lab)}")
    assert pod.startswith("pod/deploy-echo-")
    assert "10.10." in kubectl(lab, "describe", pod)
    assert "Successfully assigned" in kubectl(lab, "get", "events")


def node_port(lab: User) -> str:
    return kubectl(lab, "get", "svc", "svc-nodeport", "-o", "jsonpath={.spec.ports[0].nodePort}")


def test_logs_are_what_the_program_wrote(lab: User) -> None:
    manifest = """
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  restartPolicy: Never
  containers:
    - name: talk
      image: busybox
      command: [sh, -c, "echo first; echo second; echo third"]
"""
    kubectl(lab, "apply", "-f", "-", stdin=manifest)
    until(lab, "pod/talker", "{.status.phase}", "Succeeded")
    assert kubectl(lab, "logs", "-f", "talker").splitlines() == ["first", "second", "third"]
    assert kubectl(lab, "logs", "talker", "--tail=1") == "third\n"
    kubectl(lab, "delete", "pod", "talker", "--grace-period=0", "--force")


def test_an_unknown_image_waits_and_an_event_lists_the_known_ones(lab: User) -> None:
    kubectl(lab, "run", "unknown", "--image=example/none")
    until(lab, "pod/unknown", "{.status.containerStatuses[0].state.waiting.reason}", "ErrImagePull")
    described = kubectl(lab, "describe", "pod", "unknown")
    assert re.search(r"example/none.*mendhak/http-https-echo", described)
    kubectl(lab, "delete", "pod", "unknown", "--grace-period=0", "--force")


def test_a_service_the_api_refuses_changes_nothing(lab: User) -> None:
    taken = node_port(lab)
    manifest = f"""
apiVersion: v1
kind: Service
metadata: {{name: greedy}}
spec: {{type: NodePort, ports: [{{port: 80, nodePort: {taken}}}]}}
"""
    said = kubectl(lab, "apply", "-f", "-", stdin=manifest)
    assert f"spec.ports[0].nodePort: Invalid value: {taken}: provided port is already allocated" in said
    assert "NotFound" in kubectl(lab, "get", "svc", "greedy")


def test_deleting_the_deployment_deletes_all_below_it(lab: User) -> None:
    kubectl(lab, "create", "deployment", "brief", "--image=registry.k8s.io/pause", "--replicas=2")
    kubectl(lab, "rollout", "status", "deployment/brief", "--timeout=20s")
    kubectl(lab, "delete", "deployment", "brief")
    kubectl(lab, "wait", "--for=delete", "pod", "-l", "app=brief", "--timeout=40s")
    assert "No resources found" in kubectl(lab, "get", "rs,pods", "-l", "app=brief") or not kubectl(
        lab, "get", "rs,pods", "-l", "app=brief", "-o", "name"
    )


def test_the_lab_s_keys_are_out_of_reach_of_pods(lab: User) -> None:
    folder = lab.state / "myk8s"
    assert (folder / "pki").is_dir()
    listed = kubectl(lab, "exec", "net-pod", "--", "ls", "-A", str(lab.state))
    assert "myk8s" not in listed


def test_kubeconfig_prints_a_path_that_works(lab: User) -> None:
    path = lab.fairway("kubeconfig").out.strip()
    assert Path(path).stat().st_mode & 0o077 == 0
    assert lab.run(["kubectl", "--kubeconfig", path, "get", "ns", "default", "-o", "name"]).out == "namespace/default\n"


def test_a_pod_reaches_machines_outside_under_its_nodes_address(lab: User) -> None:
    serve = (
        "import socket; s = socket.create_server(('', 7777)); print('ready', flush=True); "
        "c, peer = s.accept(); c.sendall(peer[0].encode()); c.close()"
    )
    server = lab.start("exec", "mypc", "--", "python3", "-c", serve)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    ask = "import socket; print(socket.create_connection(('172.18.0.100', 7777), 5).recv(99).decode())"
    assert kubectl(lab, "exec", "webpod1", "--", "python3", "-c", ask) == "172.18.0.5\n"
    assert server.wait(30) == 0
    server.communicate()


def test_a_pod_reaches_a_local_node_port_of_another_node(lab: User) -> None:
    """The entry node sends it on with its own pods only if it takes it for a caller from outside."""
    kubectl(lab, "patch", "svc", "svc-nodeport", "-p", '{"spec":{"externalTrafficPolicy":"Local"}}')
    try:
        kubectl(lab, "rollout", "status", "deployment/deploy-echo")
        port = node_port(lab)
        calls = f"for i in $(seq 12); do curl -s --connect-timeout 2 --retry 2 172.18.0.2:{port}; done"
        told = kubectl(lab, "exec", "webpod1", "--", "sh", "-c", f"{calls} | grep -c deploy-echo-")
        assert told == "12\n"
    finally:
        kubectl(lab, "patch", "svc", "svc-nodeport", "-p", '{"spec":{"externalTrafficPolicy":"Cluster"}}')
