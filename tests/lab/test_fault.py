"""Faults planted in a lab: what each does to calls through a NodePort, and that nothing is left of it once undone."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairway.kubelet.times import micro_time
from tests.lab.command import LIMIT_S, User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab

STUDY = "src/fairway/cluster/study"
WORKER = "myk8s-worker"
ADDRESS = "172.18.0.5"
ANSWERED, SILENT = "200", "000"
CALLS = 5

_CALLS = """
import concurrent.futures, subprocess, sys
def call(_):
    argv = ["curl", "-s", "--max-time", "1", "-o", "/dev/null", "-w", "%{http_code}", sys.argv[1]]
    return subprocess.run(argv, capture_output=True, text=True).stdout
with concurrent.futures.ThreadPoolExecutor(int(sys.argv[2])) as pool:
    print(*pool.map(call, range(int(sys.argv[2]))))
"""


@pytest.fixture(scope="module", params=["Cluster", "Local"])
def victim(request: pytest.FixtureRequest) -> Iterator[User]:
    """A user whose lab may be harmed, with a NodePort of either traffic policy and an endpoint on each worker."""
    with tempfile.TemporaryDirectory(prefix="fairway-test-") as folder:
        user = User(state=Path(folder))
        assert user.fairway("up").code == 0
        try:
            kubectl(user, "apply", "-f", f"{STUDY}/echo-deploy.yaml,{STUDY}/svc-nodeport.yaml")
            patch = f'{{"spec": {{"externalTrafficPolicy": "{request.param}"}}}}'
            kubectl(user, "patch", "svc", "svc-nodeport", "-p", patch)
            whole(user)
            yield user
        finally:
            assert user.fairway("down").code == 0


def whole(user: User) -> None:
    """Wait until nothing of a fault is left anywhere on the way from the worker's heartbeat to its rules.

    A node that was silent for long enough is lost, and its endpoints leave; that may still be on its way to the
    worker's agent when all is well again in the API. So the end is a Service made after that: the worker's agent hears
    of endpoints in the order in which they changed, and serves this one when it has heard of all before.
    """
    since = micro_time(time.time())
    until(user, f"lease/{WORKER}", "{.spec.renewTime}", lambda renewed: renewed > since, namespace="kube-node-lease")
    until(user, f"node/{WORKER}", READY, "True")
    for pod in kubectl(user, "get", "pods", "-l", "app=deploy-websrv", "-o", "name").split():
        until(user, pod, READY, "True")
    kubectl(user, "rollout", "status", "deployment/deploy-echo", "--timeout=60s")
    answered = [*CURL, "--connect-timeout", "1", "--retry", str(LIMIT_S), "--retry-delay", "1", "--retry-connrefused"]
    assert kubectl(user, "create", "-f", "-", stdin=json.dumps(AFTER_ALL)) == "service/after-all created\n"
    try:
        port = kubectl(user, "get", "svc", "after-all", "-o", "jsonpath={.spec.ports[0].nodePort}")
        assert user.fairway("exec", "mypc", "--", *answered, f"http://{ADDRESS}:{port}/").out == ANSWERED
    finally:
        kubectl(user, "delete", "svc", "after-all")


AFTER_ALL = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "after-all"},
    "spec": {
        "type": "NodePort",
        "externalTrafficPolicy": "Local",
        "selector": {"app": "deploy-websrv"},
        "ports": [{"port": 80, "targetPort": 8080}],
    },
}
CURL = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
READY = '{.status.conditions[?(@.type=="Ready")].status}'


def calls(user: User) -> list[str]:
    """The statuses of calls from outside by the worker."""
    port = kubectl(user, "get", "svc", "svc-nodeport", "-o", "jsonpath={.spec.ports[0].nodePort}")
    return called(user, port)


def called(user: User, port: str) -> list[str]:
    answer = user.fairway("exec", "mypc", "--", "python3", "-c", _CALLS, f"http://{ADDRESS}:{port}/", str(CALLS))
    assert answer.code == 0, answer.err
    return answer.out.split()


def planted(user: User) -> list[dict[str, Any]]:
    faults: list[dict[str, Any]] = user.fairway("fault", "list", "-o", "json").json()["faults"]
    return faults


@pytest.mark.parametrize(
    ("fault", "during"),
    [
        ("cut myk8s-worker", SILENT),
        ("cut mypc", SILENT),
        ("loss myk8s-worker 100%", SILENT),
        ("kill node myk8s-worker", SILENT),
        ("pause node myk8s-worker", SILENT),
        ("conntrack myk8s-worker", SILENT),
        ("conntrack myk8s-worker 60%", ANSWERED),
        # Rules are the kernel's: those that wrote them are not asked when a packet comes.
        ("kill agent myk8s-worker", ANSWERED),
        ("pause agent myk8s-worker", ANSWERED),
        ("kill apiserver", ANSWERED),
        ("pause apiserver", ANSWERED),
    ],
)
def test_a_fault_is_seen_in_calls_and_undone(victim: User, fault: str, during: str) -> None:
    port = kubectl(victim, "get", "svc", "svc-nodeport", "-o", "jsonpath={.spec.ports[0].nodePort}")
    assert called(victim, port) == [ANSWERED] * CALLS
    told = victim.fairway("fault", *fault.split(), "-o", "json").json()
    try:
        assert [each["id"] for each in planted(victim)] == [told["id"]]
        assert called(victim, port) == [during] * CALLS
    finally:
        assert victim.fairway("fault", "undo", str(told["id"])).code == 0
    assert planted(victim) == []
    whole(victim)
    assert called(victim, port) == [ANSWERED] * CALLS


def test_a_delay_is_in_every_round_trip_and_loses_nothing(victim: User) -> None:
    """The answer is a large one, sent in segments that are cut after the delay; a held frame never comes early."""
    serve = (
        "import socket; s = socket.create_server(('', 7999)); print('up', flush=True); "
        "s.accept()[0].sendall(b'x' * 8 ** 8)"
    )
    call = (
        "import socket, time; start = time.monotonic(); "
        "s = socket.create_connection(('172.18.0.5', 7999)); seconds = time.monotonic() - start; "
        "print(seconds >= 0.1, sum(iter(lambda: len(s.recv(1 << 20)), 0)) == 8 ** 8)"
    )
    server = victim.start("exec", WORKER, "--", "python3", "-c", serve)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        told = victim.fairway("fault", "delay", WORKER, "50ms", "-o", "json").json()
        assert (told["kind"], told["milliseconds"]) == ("delay", 50)
        assert victim.fairway("exec", "mypc", "--", "python3", "-c", call).out == "True True\n"
        assert calls(victim) == [ANSWERED] * CALLS
        assert victim.fairway("fault", "undo", str(told["id"])).code == 0
        assert calls(victim) == [ANSWERED] * CALLS
    finally:
        server.kill()
        server.communicate()


def test_pods_call_services_by_name_while_the_api_server_is_gone(victim: User) -> None:
    curl = ["curl", "-s", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "svc-nodeport:9000"]
    assert victim.fairway("fault", "kill", "apiserver").code == 0
    try:
        assert victim.fairway("exec", "webpod1", "--", *curl).out == ANSWERED
    finally:
        assert victim.fairway("fault", "undo", "--all").code == 0
    whole(victim)


def test_a_pod_that_is_mute_is_an_endpoint_that_nobody_answers_at(victim: User) -> None:
    pods = kubectl(victim, "get", "pods", "-l", "app=deploy-websrv", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert len(pods) == 3
    for pod in pods:
        assert victim.fairway("fault", "mute", pod).code == 0
    try:
        assert calls(victim) == [SILENT] * CALLS
    finally:
        undone = victim.fairway("fault", "undo", "--all", "-o", "json").json()["faults"]
    assert [fault["target"] for fault in undone] == [f"default/{pod}" for pod in pods]
    assert calls(victim) == [ANSWERED] * CALLS


def test_a_full_table_of_connections_is_what_doctor_finds_and_leaves_those_that_stand(victim: User) -> None:
    serve = (
        "import socket; s = socket.create_server(('', 7998)); print('up', flush=True); c = s.accept()[0]; "
        "print(c.recv(9).decode(), flush=True); print(c.recv(9).decode(), flush=True)"
    )
    call = (
        "import socket, sys; s = socket.create_connection(('172.18.0.5', 7998)); s.sendall(b'before'); "
        "sys.stdin.readline(); s.sendall(b'meanwhile')"
    )
    server = victim.start("exec", WORKER, "--", "python3", "-u", "-c", serve)
    argv = [*victim.command, "exec", "mypc", "--", "python3", "-c", call]
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True, env=victim.environment()) as client:
            assert server.stdout.readline() == "before\n"
            told = victim.fairway("fault", "conntrack", WORKER, "-o", "json").json()
            assert (told["kind"], told["what"], told["percent"]) == ("conntrack", "node", 100)
            assert calls(victim) == [SILENT] * CALLS
            findings = victim.fairway("doctor", "-o", "json").json()["findings"]
            # That the agent's health cannot be asked for is an effect of it, and found too.
            assert {(each["check"], each["node"]) for each in findings} == {
                ("conntrack-full", WORKER),
                ("agent", WORKER),
            }
            client.communicate("go\n")
        assert server.stdout.readline() == "meanwhile\n"
    finally:
        assert victim.fairway("fault", "undo", "--all").code == 0
        server.kill()
        server.communicate()
    whole(victim)
    assert calls(victim) == [ANSWERED] * CALLS
    used = victim.fairway("exec", WORKER, "--", "cat", "/proc/sys/net/netfilter/nf_conntrack_count").out
    assert int(used) < 1000


PROBED = {
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "kans-websrv",
                        "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1},
                    }
                ]
            }
        }
    }
}


@pytest.mark.parametrize("skew", ["fail", "slow"])
def test_a_pod_whose_readiness_is_skewed_answers_but_is_called_by_no_service(victim: User, skew: str) -> None:
    """Under Local the node has no other endpoint."""
    kubectl(victim, "patch", "deploy", "deploy-echo", "-p", json.dumps(PROBED))
    kubectl(victim, "rollout", "status", "deployment/deploy-echo", "--timeout=60s")
    fields = "{range .items[?(@.spec.nodeName=='" + WORKER + "')]}{.metadata.name} {.status.podIP}{end}"
    pod, address = kubectl(victim, "get", "pods", "-l", "app=deploy-websrv", "-o", f"jsonpath={fields}").split()
    policy = kubectl(victim, "get", "svc", "svc-nodeport", "-o", "jsonpath={.spec.externalTrafficPolicy}")
    port = kubectl(victim, "get", "svc", "svc-nodeport", "-o", "jsonpath={.spec.ports[0].nodePort}")
    assert victim.fairway("fault", "probe", pod, "--readiness", skew).code == 0
    try:
        [told] = planted(victim)
        assert (told["kind"], told["target"], told["probe"], told["skew"]) == (
            "probe",
            f"default/{pod}",
            "readiness",
            skew,
        )
        assert f"probe default/{pod} --readiness {skew}" in victim.fairway("status").out
        until(victim, f"pod/{pod}", READY, "False")
        assert victim.fairway("exec", WORKER, "--", *CURL, f"http://{address}:8080/").out == ANSWERED
        events = kubectl(victim, "get", "events", "--field-selector", f"involvedObject.name={pod}")
        assert "Readiness probe failed" in events
        assert "made to by a fault planted in the lab" in events
        if policy == "Local":
            silent = f"while curl -s --max-time 1 -o /dev/null http://{ADDRESS}:{port}/; do :; done"
            assert victim.fairway("exec", "mypc", "--", "sh", "-c", silent).code == 0
        assert called(victim, port) == [SILENT if policy == "Local" else ANSWERED] * CALLS
    finally:
        assert victim.fairway("fault", "undo", "--all").code == 0
    whole(victim)
    assert called(victim, port) == [ANSWERED] * CALLS


def test_a_pod_whose_liveness_is_skewed_is_started_again(victim: User) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "alive"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "web",
                    "image": "nginx",
                    "livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1},
                }
            ],
        },
    }
    assert kubectl(victim, "apply", "-f", "-", stdin=json.dumps(pod)) == "pod/alive created\n"
    try:
        until(victim, "pod/alive", READY, "True")
        refused = victim.fairway("fault", "probe", "alive", "--readiness", "fail")
        assert refused.code == 1
        assert "pod alive has no readiness probe that could fail: it has a liveness probe" in refused.err
        told = victim.fairway("fault", "probe", "alive", "--liveness", "fail", "-o", "json").json()
        until(victim, "pod/alive", "{.status.containerStatuses[0].restartCount}", "1")
        assert victim.fairway("fault", "undo", str(told["id"])).code == 0
        until(victim, "pod/alive", READY, "True")
    finally:
        kubectl(victim, "delete", "pod", "alive", "--wait=false")
        victim.fairway("fault", "undo", "--all")


def test_a_killed_agent_programs_nothing_until_it_is_started_again(victim: User) -> None:
    assert victim.fairway("fault", "kill", "agent", WORKER).code == 0
    kubectl(victim, "expose", "deployment", "deploy-echo", "--name", "late", "--type", "NodePort", "--port", "8080")
    try:
        until(victim, "endpoints/late", "{.subsets[0].addresses[0].ip}", None)
        port = kubectl(victim, "get", "svc", "late", "-o", "jsonpath={.spec.ports[0].nodePort}")
        assert called(victim, port) == [SILENT] * CALLS
        status = victim.fairway("status", "-o", "json").json()
        assert [each["kind"] for each in status["faults"]] == ["kill"]
        assert [each["name"] for each in status["services"] if each["held"]] == [f"kube-proxy-{WORKER}"]
        assert f"kill agent {WORKER}" in victim.fairway("status").out
        assert victim.fairway("fault", "undo", "--all").code == 0
        whole(victim)
        assert called(victim, port) == [ANSWERED] * CALLS
    finally:
        kubectl(victim, "delete", "svc", "late")


def test_a_fault_with_a_time_is_undone_by_itself(victim: User) -> None:
    told = victim.fairway("fault", "cut", WORKER, "--for", "0.5", "-o", "json").json()
    assert 0 < told["left"] <= 0.5
    assert victim.fairway("fault", "wait", str(told["id"])).code == 0
    assert planted(victim) == []
    whole(victim)
    assert calls(victim) == [ANSWERED] * CALLS


def test_a_keeper_that_is_killed_still_knows_what_to_undo(victim: User) -> None:
    """The number of the next fault goes on too."""
    told = victim.fairway("fault", "cut", WORKER, "-o", "json").json()
    services = victim.fairway("status", "-o", "json").json()["services"]
    pid = next(service["pid"] for service in services if service["name"] == "faults")
    assert victim.fairway("exec", "mypc", "--", "sh", "-c", f"kill -9 {pid}").code == 0
    answers = (victim.fairway("fault", "undo", str(told["id"])) for _ in range(LIMIT_S))
    assert any(answer.code == 0 for answer in answers)
    whole(victim)
    assert calls(victim) == [ANSWERED] * CALLS
    assert victim.fairway("fault", "cut", WORKER, "--for", "0.1", "-o", "json").json()["id"] == told["id"] + 1
    assert victim.fairway("fault", "wait").code == 0
    whole(victim)


def test_a_restart_starts_what_it_kills(victim: User) -> None:
    answer = victim.fairway("fault", "restart", "agent", WORKER)
    assert (answer.code, answer.out) == (0, f"agent {WORKER}: killed, and started again\n")
    assert planted(victim) == []
    whole(victim)
    assert calls(victim) == [ANSWERED] * CALLS


@pytest.mark.parametrize(
    ("fault", "code", "why"),
    [
        ("cut nobody", 1, "'nobody' is no node, client or pod of this lab"),
        ("kill node mypc", 1, "'mypc' is no node of this lab"),
        ("loss myk8s-worker 0%", 2, "'0%' is no share of packets: a whole number of per cent, 1 to 100"),
        ("conntrack mypc", 1, "'mypc' is no node of this lab"),
        ("conntrack myk8s-worker 0%", 2, "'0%' is no share of the table: a whole number of per cent, 1 to 100"),
        ("probe webpod1 --readiness fail", 1, "pod webpod1 has no readiness probe that could fail: it has none at all"),
        ("probe webpod9 --readiness fail", 1, "'webpod9' is no pod of this lab; did you mean 'webpod"),
        ("probe webpod1", 2, "say either --readiness fail|slow or --liveness fail|slow"),
        ("delay myk8s-worker 5s", 2, "'5s' is no delay: a whole number of milliseconds, 1 to 10000"),
        ("cut myk8s-worker --for 0", 2, "0.0 is not in the range"),
        ("kill agent", 2, "agent: of which node?"),
        ("kill apiserver myk8s-worker", 2, "apiserver takes no name"),
        ("undo 999", 1, "there is no fault 999; planted are: none"),
        ("undo", 2, "say either the ID of a fault or --all"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_planted(victim: User, fault: str, code: int, why: str) -> None:
    answer = victim.fairway("fault", *fault.split())
    assert answer.code == code
    assert why in answer.err
    assert planted(victim) == []


def test_a_fault_that_contradicts_another_is_refused(victim: User) -> None:
    first = victim.fairway("fault", "loss", WORKER, "1%", "-o", "json").json()["id"]
    try:
        answer = victim.fairway("fault", "cut", WORKER)
        assert answer.code == 1
        assert f"fault {first} (loss {WORKER} 1%) has the link of {WORKER} already" in answer.err
        assert answer.err.endswith(f"undo it first: fairway fault undo {first}\n")
        assert [fault["id"] for fault in planted(victim)] == [first]
    finally:
        assert victim.fairway("fault", "undo", str(first)).code == 0
