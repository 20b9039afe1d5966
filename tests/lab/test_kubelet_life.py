"""A node's kubelet that dies, and what its next life makes of what it left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import User

pytestmark = pytest.mark.lab

NODE = "myk8s-worker3"
KUBELET = f"kubelet-{NODE}"

MANIFEST = f"""
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  nodeName: {NODE}
  containers: [{{name: web, image: traefik/whoami}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {{app: web}}
  ports: [{{port: 80}}]
"""


LOOKS = 300
"""How often a state is looked up, each look a command of some hundredths of a second, before the test has failed."""


class Lab:
    """A lab of its own, since its kubelets come to harm."""

    def __init__(self, user: User) -> None:
        self._user = user

    def kubectl(self, *args: str, stdin: str = "") -> str:
        config = self._user.state / "harm" / "kubeconfig"
        answer = self._user.run(["kubectl", *args], stdin=stdin, KUBECONFIG=str(config))
        assert answer.code == 0, answer.err
        return answer.out

    def wait(self, what: str, condition: str) -> None:
        self.kubectl("wait", what, f"--for={condition}", "--timeout=30s")

    def until(self, what: str, path: str, value: str | None) -> None:
        self._user.wait_for(self._user.state / "harm" / "kubeconfig", "default", what, path, value)

    def inside(self, host: str, *command: str) -> str:
        return self._user.fairway("exec", "--name", "harm", host, "--", *command).out

    def kubelet(self) -> tuple[int, int]:
        """The kubelet's process, as the lab numbers it, and how often it was started."""
        services = self._user.fairway("status", "--name", "harm", "-o", "json").json()["services"]
        return next((service["pid"], service["starts"]) for service in services if service["name"] == KUBELET)

    def signal(self, name: str) -> None:
        # The shell's own kill: the program is in procps, which a small Debian lacks.
        self.inside(NODE, "sh", "-c", f"kill -{name} {self.kubelet()[0]}")

    def until_started(self, starts: int) -> None:
        for _ in range(LOOKS):
            if self.kubelet()[1] >= starts:
                return
        raise AssertionError(f"the kubelet was started {self.kubelet()[1]} times, not {starts}")

    def node_addresses(self) -> list[str]:
        addresses = json.loads(self.inside(NODE, "ip", "-4", "-j", "addr", "show", "dev", "eth0"))
        return [found["local"] for found in addresses[0]["addr_info"]]

    def until_addresses(self, addresses: list[str]) -> None:
        for _ in range(LOOKS):
            if self.node_addresses() == addresses:
                return
        raise AssertionError(f"the node has {self.node_addresses()}, not {addresses}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    user = User(state=Path(tmp_path_factory.mktemp("harm")))
    up = user.fairway("up", "--name", "harm")
    assert up.code == 0, up.err
    try:
        lab = Lab(user)
        lab.kubectl("apply", "-f", "-", stdin=MANIFEST)
        lab.wait("pod/web", "condition=Ready")
        lab.until("service/web", "{.status.loadBalancer.ingress[0].ip}", None)
        yield lab
    finally:
        assert user.fairway("down", "--name", "harm").code == 0


def test_pods_run_again_after_kill_9_and_the_balancers_address_stays(lab: Lab) -> None:
    address = lab.kubectl("get", "service", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
    lab.until_addresses(["172.18.0.4", address])
    before = lab.kubelet()[1]

    lab.signal("KILL")
    lab.until("pod/web", "{.status.containerStatuses[0].restartCount}", str(before))
    lab.wait("pod/web", "condition=Ready")

    assert lab.kubelet()[1] == before + 1
    assert lab.node_addresses() == ["172.18.0.4", address]
    assert "Hostname: web\n" in lab.inside("mypc", "curl", "-s", "--max-time", "5", address)


def test_a_node_that_falls_silent_loses_its_endpoints_and_comes_back_with_them(lab: Lab) -> None:
    ready = "{.status.conditions[?(@.type=='Ready')].status}"
    endpoint = "{.items[0].endpoints[0].conditions.ready}"
    slices = ("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", f"jsonpath={endpoint}")
    before = lab.kubectl("get", "endpoints", "web", "-o", "jsonpath={.subsets[0].addresses[0].ip}")

    lab.signal("STOP")
    lab.until(f"node/{NODE}", ready, "Unknown")
    lab.until("endpoints/web", "{.subsets[0].notReadyAddresses[0].ip}", before)
    lab.until("pod/web", ready, "False")
    assert lab.kubectl(*slices) == "false"
    listed = lab.kubectl("get", "node", NODE, "--no-headers").split()
    assert listed[:2] == [NODE, "NotReady"]
    keys = "jsonpath={range .spec.taints[*]}{.key}:{.effect} {end}"
    unreachable = "node.kubernetes.io/unreachable"
    assert lab.kubectl("get", "node", NODE, "-o", keys).split() == [
        f"{unreachable}:NoSchedule",
        f"{unreachable}:NoExecute",
    ]

    lab.signal("CONT")
    lab.until(f"node/{NODE}", ready, "True")
    lab.until("endpoints/web", "{.subsets[0].addresses[0].ip}", before)
    assert lab.kubectl(*slices) == "true"
    assert lab.kubectl("get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].restartCount}") == "1"
    lab.until(f"node/{NODE}", "{.spec.taints}", "")


def test_an_address_that_went_elsewhere_meanwhile_is_given_up(lab: Lab) -> None:
    """Two nodes with one address would both answer for it."""
    before = lab.kubelet()[1]
    lab.signal("STOP")
    lab.kubectl("delete", "service", "web")
    assert len(lab.node_addresses()) == 2

    lab.signal("KILL")
    lab.until_started(before + 1)
    lab.until_addresses(["172.18.0.4"])


def test_sigterm_stops_a_nodes_pods_and_the_next_kubelet_starts_them_again(lab: Lab) -> None:
    before = lab.kubelet()[1]
    lab.signal("TERM")
    lab.until_started(before + 1)
    lab.until("pod/web", "{.status.containerStatuses[0].restartCount}", str(before))
    lab.wait("pod/web", "condition=Ready")
