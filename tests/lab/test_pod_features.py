"""What pods may ask for beside a container: sidecars, hooks, variables from elsewhere, the node's network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.lab.command import User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab

NAMESPACE = "features"
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 60 & wait; done"]


@pytest.fixture(scope="module", autouse=True)
def namespace(lab: User) -> Iterator[None]:
    kubectl(lab, "create", "namespace", NAMESPACE)
    yield
    assert "deleted" in kubectl(lab, "delete", "namespace", NAMESPACE)


def here(lab: User, *args: str, stdin: str = "") -> str:
    return kubectl(lab, "-n", NAMESPACE, *args, stdin=stdin)


def run(lab: User, name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod once it is ready; of a container only what is given differs from an idle busybox."""
    given = [{"name": "main", "image": "busybox", "command": SLEEP, **each} for each in (containers or ({},))]
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": given, **spec}}
    assert here(lab, "apply", "-f", "-", stdin=yaml.safe_dump(body)) == f"pod/{name} created\n"
    said = here(lab, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=30s")
    assert said == f"pod/{name} condition met\n", said + here(lab, "describe", "pod", name)
    found = json.loads(here(lab, "get", "pod", name, "-o", "json"))
    assert isinstance(found, dict)
    return found


def test_a_sidecar_shares_the_pods_network_and_is_counted(lab: User) -> None:
    server = {"name": "proxy", "image": "traefik/whoami", "restartPolicy": "Always"}
    probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
    run(lab, "beside", initContainers=[{**server, "startupProbe": probe}])

    assert here(lab, "get", "pod", "beside", "--no-headers").split()[1:3] == ["2/2", "Running"]
    assert "Hostname: beside" in here(lab, "exec", "beside", "-c", "main", "--", "curl", "-s", "127.0.0.1")
    assert here(lab, "delete", "pod", "beside") == 'pod "beside" deleted\n'


def test_variables_come_from_a_config_map_and_a_secret(lab: User) -> None:
    here(lab, "create", "configmap", "settings", "--from-literal=COLOUR=blue")
    here(lab, "create", "secret", "generic", "keys", "--from-literal=token=hidden")
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]
    run(lab, "told", {"envFrom": [{"configMapRef": {"name": "settings"}}], "env": env})

    assert here(lab, "exec", "told", "--", "sh", "-c", "echo $COLOUR $TOKEN") == "blue hidden\n"


def test_pre_stop_runs_in_the_container_before_its_end(lab: User) -> None:
    hooks = {"preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1; false"]}}}
    run(lab, "hooked", {"lifecycle": hooks})

    assert here(lab, "delete", "pod", "hooked") == 'pod "hooked" deleted\n'
    said = here(lab, "get", "events", "--field-selector=involvedObject.name=hooked", "-o", "json")
    assert "PreStopHook failed" in [event["message"] for event in json.loads(said)["items"]]


def test_a_pod_on_the_nodes_network_is_called_and_named_like_the_node(lab: User) -> None:
    args = ["--port", "8123"]
    web = {"name": "web", "image": "traefik/whoami", "command": None, "args": args}
    found = run(lab, "onnode", web, {"name": "look"}, hostNetwork=True)

    status, node = found["status"], found["spec"]["nodeName"]
    assert status["podIP"] == status["hostIP"]
    assert here(lab, "exec", "onnode", "-c", "look", "--", "hostname") == f"{node}\n"
    answer = lab.fairway("exec", "mypc", "--", "curl", "-s", f"http://{status['hostIP']}:8123/")
    assert f"Hostname: {node}\n" in answer.out
    assert here(lab, "delete", "pod", "onnode") == 'pod "onnode" deleted\n'
    assert lab.fairway("exec", node, "--", "ip", "-br", "link", "show", "eth0").out.split()[1] == "UP"


AGNHOST = {"image": "registry.k8s.io/e2e-test-images/agnhost:2.63.0"}


def test_agnhost_tells_who_it_is_and_calls_others(lab: User) -> None:
    server = {**AGNHOST, "command": ["/agnhost", "netexec", "--http-port=80", "--udp-port=81"]}
    address = run(lab, "netexec", {**server, "readinessProbe": {"httpGet": {"port": 80}}})["status"]["podIP"]
    own = run(lab, "pausing", {**AGNHOST, "command": None})["status"]["podIP"]

    assert here(lab, "exec", "pausing", "--", "curl", "-s", f"{address}/clientip").startswith(f"{own}:")
    call = f"{address}/dial?host={address}&port=81&protocol=udp&request=hostname&tries=1"
    assert here(lab, "exec", "pausing", "--", "curl", "-s", call) == '{"responses":["netexec"]}'
    assert here(lab, "exec", "pausing", "--", "/agnhost", "connect", f"{address}:80", "--timeout=5s") == ""
    assert "REFUSED" in here(lab, "exec", "pausing", "--", "/agnhost", "connect", f"{address}:82")


def test_nginx_and_httpd_have_their_first_page(lab: User) -> None:
    for image, text in (("nginx:1.27", "Welcome to nginx!"), ("httpd", "It works!")):
        name = image.partition(":")[0]
        probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
        run(lab, name, {"image": image, "command": None, "readinessProbe": probe})
        assert text in here(lab, "exec", name, "--", "curl", "-s", "127.0.0.1")


def test_a_host_port_is_the_pods_on_its_node_and_one_pods_alone(lab: User) -> None:
    web = {"image": "traefik/whoami", "ports": [{"containerPort": 80, "hostPort": 8090}]}
    probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
    found = run(lab, "ported", {**web, "command": None, "readinessProbe": probe})
    node, address = found["spec"]["nodeName"], found["status"]["hostIP"]

    def answer(host: str, target: str) -> str:
        said = lab.fairway("exec", host, "--", "curl", "-s", "-m5", f"http://{target}:8090/")
        return f"exit {said.code}" if said.code else said.out.partition("\n")[0]

    callers = [("mypc", address), (node, address), (node, "127.0.0.1"), ("ported", address)]
    assert [answer(*one) for one in callers] == ["Hostname: ported"] * 4

    spec = {"containers": [{"name": "main", **web}], "nodeSelector": {"kubernetes.io/hostname": node}}
    second = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "second"}, "spec": spec}
    assert here(lab, "apply", "-f", "-", stdin=yaml.safe_dump(second)) == "pod/second created\n"
    path = "{.status.conditions[?(@.type=='PodScheduled')].status}"
    until(lab, "pod/second", path, "False", namespace=NAMESPACE)
    (condition,) = json.loads(here(lab, "get", "pod", "second", "-o", "json"))["status"]["conditions"]
    assert "1 node(s) didn't have free ports for the requested pod ports" in condition["message"]

    assert here(lab, "delete", "pod", "ported") == 'pod "ported" deleted\n'
    said = here(lab, "wait", "pod/second", "--for=condition=Ready", "--timeout=30s")
    assert said == "pod/second condition met\n", here(lab, "describe", "pod", "second")
    assert answer("mypc", address) == "Hostname: second"
    here(lab, "delete", "pod", "second")
    assert answer("mypc", address) == "exit 7"  # refused
    assert lab.fairway("exec", node, "--", "nft", "list", "table", "ip", "fairway-hostport").code != 0


def test_pods_share_a_host_port_by_address_and_protocol(lab: User) -> None:
    """Kubernetes' `hostport.go:63`: three pods of one node, and a caller on the node's network."""
    look = run(lab, "host-exec", hostNetwork=True)
    node, address = look["spec"]["nodeName"], look["status"]["hostIP"]
    for name, host_ip, protocol in (("pod1", "127.0.0.1", "TCP"), ("pod2", address, "TCP"), ("pod3", address, "UDP")):
        port = {"containerPort": 8080, "hostPort": 54323, "hostIP": host_ip, "protocol": protocol}
        args = ["netexec", "--http-port=8080", "--udp-port=8080"]
        probe = {"httpGet": {"path": "/hostname", "port": 8080}}
        run(
            lab,
            name,
            {**AGNHOST, "command": None, "args": args, "ports": [port], "readinessProbe": probe},
            nodeName=node,
        )

    def call(*command: str) -> str:
        return here(lab, "exec", "host-exec", "--", *command)

    curl = ("curl", "-sg", "--connect-timeout", "5")
    assert call(*curl, "--interface", address, "http://127.0.0.1:54323/hostname") == "pod1"
    assert call(*curl, f"http://{address}:54323/hostname") == "pod2"
    ask = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); "
        f"s.sendto(b'hostname\\n', ('{address}', 54323)); print(s.recv(100).decode(), end='')"
    )
    assert call("python3", "-c", ask) == "pod3"
    here(lab, "delete", "pod", "pod1", "pod2", "pod3", "host-exec")
