"""Pods in a lab as kubectl shows them: processes, logs, exec, probes, ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.lab.command import User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab

NAMESPACE = "pods-test"
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 60 & wait; done"]


@pytest.fixture(scope="module", autouse=True)
def namespace(lab: User) -> Iterator[None]:
    kubectl(lab, "create", "namespace", NAMESPACE)
    yield
    assert "deleted" in kubectl(lab, "delete", "namespace", NAMESPACE)


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> str:
    """A manifest; of a container only what is given differs from an idle busybox."""
    given = [{"name": "main", "image": "busybox", **container} for container in (containers or ({},))]
    metadata = {"name": name, "namespace": NAMESPACE}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": given, **spec}}
    return yaml.safe_dump(body)


def apply(lab: User, manifest: str) -> None:
    said = kubectl(lab, "apply", "-f", "-", stdin=manifest)
    assert said.endswith("created\n"), said


def in_namespace(lab: User, *args: str, stdin: str = "") -> str:
    return kubectl(lab, "-n", NAMESPACE, *args, stdin=stdin)


def wait(lab: User, name: str, condition: str = "condition=Ready") -> None:
    said = in_namespace(lab, "wait", f"pod/{name}", f"--for={condition}", "--timeout=30s")
    assert said == f"pod/{name} condition met\n", said


def run(lab: User, manifest: str, name: str) -> None:
    apply(lab, manifest)
    wait(lab, name)


def exec_in(lab: User, name: str, *command: str) -> str:
    return in_namespace(lab, "exec", name, "--", *command)


def status(lab: User, name: str) -> dict[str, Any]:
    found = json.loads(in_namespace(lab, "get", "pod", name, "-o", "json"))["status"]
    assert isinstance(found, dict)
    return found


def test_a_container_sees_its_own_processes_host_name_and_files(lab: User) -> None:
    run(lab, pod("own", {"command": SLEEP}), "own")
    address = status(lab, "own")["podIP"]

    assert exec_in(lab, "own", "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline").startswith("sh -c trap")
    assert exec_in(lab, "own", "hostname") == "own\n"
    assert f"{address}\town\n" in exec_in(lab, "own", "cat", "/etc/hosts")
    assert f"search {NAMESPACE}.svc.cluster.local" in exec_in(lab, "own", "cat", "/etc/resolv.conf")
    assert f"inet {address}/24" in exec_in(lab, "own", "ip", "-4", "addr", "show", "dev", "eth0")
    assert exec_in(lab, "own", "sh", "-c", "echo $KUBERNETES_SERVICE_HOST") == "10.200.1.1\n"


def test_no_pod_sees_the_labs_keys(lab: User) -> None:
    run(lab, pod("curious", {"command": SLEEP}), "curious")

    assert exec_in(lab, "curious", "sh", "-c", f"ls {lab.state}/* 2>/dev/null | wc -l") == "0\n"


def test_a_pod_reaches_the_api_server_by_its_service(lab: User) -> None:
    run(lab, pod("caller", {"command": SLEEP}), "caller")

    version = exec_in(lab, "caller", "curl", "-sk", "--max-time", "5", "https://10.200.1.1/version")
    assert json.loads(version)["gitVersion"] == "v1.33.0+fairway"


def test_exec_passes_input_output_and_exit_code(lab: User) -> None:
    run(lab, pod("shell", {"command": SLEEP}), "shell")
    config = lab.state / "myk8s" / "kubeconfig"
    text = "0123456789abcdef" * 20_000
    argv = ["kubectl", "-n", NAMESPACE, "exec", "-i", "shell", "--", "sh", "-c", "cat; echo bad >&2; exit 7"]

    answer = lab.run(argv, stdin=text, KUBECONFIG=str(config))

    assert (answer.code, answer.out == text) == (7, True)
    assert answer.err == "bad\ncommand terminated with exit code 7\n"


def test_logs_are_told_from_the_end_and_of_the_run_before(lab: User) -> None:
    apply(lab, pod("talker", {"command": ["sh", "-c", "seq 1 100; echo oops >&2; exit 1"]}))
    until(lab, "pod/talker", "{.status.containerStatuses[0].restartCount}", "1", namespace=NAMESPACE)

    assert in_namespace(lab, "logs", "talker", "--tail=2") in ("100\noops\n", "oops\n100\n", "99\n100\n")
    assert in_namespace(lab, "logs", "talker", "--previous").split()[:3] == ["1", "2", "3"]
    line = in_namespace(lab, "logs", "talker", "--timestamps", "--limit-bytes=33")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 1\n", line)


def test_a_crash_is_told_with_its_exit_code_and_backs_off(lab: User) -> None:
    apply(lab, pod("crash", {"command": ["sh", "-c", "exit 4"]}))
    until(
        lab, "pod/crash", "{.status.containerStatuses[0].state.waiting.reason}", "CrashLoopBackOff", namespace=NAMESPACE
    )

    found = status(lab, "crash")["containerStatuses"][0]
    assert (found["restartCount"], found["lastState"]["terminated"]["exitCode"]) == (1, 4)
    assert "CrashLoopBackOff" in in_namespace(lab, "get", "pod", "crash")


def test_a_job_of_init_and_main_container_completes(lab: User) -> None:
    init = {"name": "init", "image": "busybox", "command": ["sh", "-c", "echo first"]}
    apply(lab, pod("job", {"command": ["sh", "-c", "echo second"]}, initContainers=[init], restartPolicy="Never"))
    until(lab, "pod/job", "{.status.phase}", "Succeeded", namespace=NAMESPACE)

    assert in_namespace(lab, "logs", "job", "-c", "init") == "first\n"
    assert in_namespace(lab, "logs", "job") == "second\n"
    assert "Completed" in in_namespace(lab, "get", "pod", "job")


def test_an_unknown_image_waits_and_its_event_names_the_known(lab: User) -> None:
    apply(lab, pod("stranger", {"image": "redis:7.2"}))
    until(
        lab, "pod/stranger", "{.status.containerStatuses[0].state.waiting.reason}", "ErrImagePull", namespace=NAMESPACE
    )

    message = status(lab, "stranger")["containerStatuses"][0]["state"]["waiting"]["message"]
    assert 'Failed to pull image "redis:7.2"' in message
    assert "mendhak/http-https-echo" in message


def test_a_pod_is_ready_as_its_probe_says(lab: User) -> None:
    probe = {"httpGet": {"path": "/health", "port": 80}, "periodSeconds": 1, "failureThreshold": 1}
    run(lab, pod("probed", {"image": "traefik/whoami", "readinessProbe": probe}), "probed")

    exec_in(lab, "probed", "curl", "-s", "-d", "503", "localhost/health")
    wait(lab, "probed", "condition=Ready=False")
    exec_in(lab, "probed", "curl", "-s", "-d", "200", "localhost/health")
    wait(lab, "probed")


def test_containers_of_a_pod_share_its_network(lab: User) -> None:
    run(lab, pod("pair", {"name": "web", "image": "traefik/whoami"}, {"name": "side", "command": SLEEP}), "pair")

    answer = in_namespace(lab, "exec", "pair", "-c", "side", "--", "curl", "-s", "localhost/")
    assert "Hostname: pair\n" in answer


def test_a_deleted_pod_may_say_goodbye_and_is_gone(lab: User) -> None:
    script = "trap 'sleep 0.2; exit 0' TERM; while :; do sleep 60 & wait; done"
    run(lab, pod("leaver", {"command": ["sh", "-c", script]}), "leaver")

    assert in_namespace(lab, "delete", "pod", "leaver").startswith('pod "leaver" deleted')
    assert "NotFound" in in_namespace(lab, "get", "pod", "leaver")
    assert lab.fairway("exec", "leaver", "--", "true").code != 0


def test_what_the_lab_lacks_is_said_and_nothing_runs(lab: User) -> None:
    apply(lab, pod("volumes", {}, volumes=[{"name": "v", "hostPath": {"path": "/"}}]))
    until(
        lab,
        "pod/volumes",
        "{.status.containerStatuses[0].state.waiting.reason}",
        "CreateContainerConfigError",
        namespace=NAMESPACE,
    )

    message = status(lab, "volumes")["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message == "this lab does not offer: spec.volumes[0] (hostPath); remove it from the pod"
