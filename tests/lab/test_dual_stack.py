"""A dual-stack lab: the study's claims over both families, in both modes, and what a person sees and types there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fairway.plan.options import Mode
from tests.lab.command import Answer, User
from tests.lab.ordinary import ORDINARY_UID, command_for_everyone, is_root
from tests.lab.questions import answers, asking, records
from tests.lab.traces import machine

pytestmark = pytest.mark.lab

NODES = {
    "myk8s-control-plane": "fd00:172:18::3",
    "myk8s-worker": "fd00:172:18::5",
    "myk8s-worker2": "fd00:172:18::2",
    "myk8s-worker3": "fd00:172:18::4",
}
SENDING = [f"S{number}" for number in (3, 5, 6, 7, 8, 9, 10, 11, 12, 13)]

SIX = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "svc-six"},
    "spec": {
        "type": "NodePort",
        "ipFamilies": ["IPv6"],
        "ports": [{"name": "svc-webport", "port": 9000, "targetPort": 8080}],
        "selector": {"app": "deploy-websrv"},
    },
}


class Walked:
    """A lab that the demo has walked and left up."""

    def __init__(self, user: User, mode: Mode, demo: Answer) -> None:
        self.user, self.mode, self.demo = user, mode, demo
        self.name = f"dual-{mode}"

    def kubectl(self, *args: str, stdin: str = "") -> str:
        answer = self.user.run(
            ["kubectl", *args], stdin=stdin, KUBECONFIG=str(self.user.state / self.name / "kubeconfig")
        )
        assert answer.code == 0, answer.err
        return answer.out

    def service(self, name: str) -> Any:
        return json.loads(self.kubectl("get", "svc", name, "-o", "json"))["spec"]

    def on(self, host: str, *argv: str) -> Answer:
        return self.user.fairway("exec", "--name", self.name, host, "--", *argv)

    def curl(self, host: str, url: str) -> Answer:
        return self.on(host, "curl", "-s", "-g", "--connect-timeout", "2", url)

    def rules(self, *args: str) -> str:
        answer = self.user.fairway("rules", "--name", self.name, *args)
        assert answer.code == 0, answer.err
        return answer.out

    def until_rules(self, node: str, text: str, *, present: bool) -> None:
        """The rules follow the API within milliseconds; the command that reads them takes longer than that."""
        for _ in range(50):
            if (text in self.rules(node)) is present:
                return
        raise AssertionError(f"{node}: {text!r} is {'not ' if present else ''}in its rules")


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[Mode, Walked]]:
    """A lab of each mode, walked side by side: most of a walk is waiting."""
    with tempfile.TemporaryDirectory(prefix="fairway-test-") as folder, ThreadPoolExecutor(len(Mode)) as threads:
        user = User(state=Path(folder))
        before = machine()

        def walk(mode: Mode) -> Walked:
            flags = ("--dual-stack", "--proxy-mode", mode, "--keep", "-o", "json")
            return Walked(user, mode, user.fairway("demo", "--name", f"dual-{mode}", *flags))

        try:
            yield {found.mode: found for found in threads.map(walk, Mode)}
        finally:
            for mode in Mode:
                user.fairway("down", "--name", f"dual-{mode}")
        assert machine() == before


@pytest.fixture(params=list(Mode))
def walked(request: pytest.FixtureRequest, labs: dict[Mode, Walked]) -> Walked:
    return labs[request.param]


def test_every_claim_with_packets_holds_over_both_families(walked: Walked) -> None:
    assert walked.demo.out, walked.demo.err[-3000:]
    claims = walked.demo.json()["claims"]
    failed = [check for claim in claims for check in claim["evidence"] if not check["ok"]]
    assert failed == [], walked.demo.err[-3000:]
    told = [(claim["id"], claim.get("over", "")) for claim in claims]
    assert [claim for claim in told if not claim[1]] == [("S1", ""), ("S1", ""), ("S2", ""), ("S4", "")]
    for family in ("IPv4", "IPv6"):
        assert [claim for claim, over in told if over == family] == SENDING
    assert all(claim["ok"] and claim["evidence"] for claim in claims)
    assert walked.demo.code == 0


def test_the_client_reaches_every_node_by_its_ipv6_address_and_the_pod_sees_the_node(walked: Walked) -> None:
    port = walked.service("svc-nodeport")["ports"][0]["nodePort"]
    for number, address in enumerate(NODES.values()):
        answer = walked.curl("mypc", f"http://[{address}]:{port}/")
        # To a pod of its own the node goes out by that pod's link, whose address is the pods' gateway.
        assert json.loads(answer.out)["ip"] in (address, f"fd00:10:10:{number or ''}::1".replace(":::", "::"))


def test_kubectl_shows_both_addresses(walked: Walked) -> None:
    spec = walked.service("svc-nodeport")
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    wide = walked.kubectl("get", "svc", "svc-nodeport", "-o", "wide").splitlines()[1].split()
    assert wide[2] == spec["clusterIPs"][0]
    described = {
        line.partition(":")[0]: line.partition(":")[2].strip()
        for line in walked.kubectl("describe", "svc", "svc-nodeport").splitlines()
    }
    assert described["IP Families"] == "IPv4,IPv6"
    assert described["IPs"] == ",".join(spec["clusterIPs"])
    nodes = [line.split() for line in walked.kubectl("get", "nodes", "-o", "wide", "--no-headers").splitlines()]
    assert {words[0]: words[5] for words in nodes}["myk8s-worker"] == "172.18.0.5"
    networks = walked.kubectl("get", "node", "myk8s-worker", "-o", "jsonpath={.spec.podCIDRs}")
    assert json.loads(networks) == ["10.10.1.0/24", "fd00:10:10:1::/64"]
    kubernetes = walked.service("kubernetes")
    assert (kubernetes["ipFamilies"], kubernetes["clusterIPs"]) == (["IPv4"], ["10.200.1.1"])


def test_names_have_both_addresses_and_either_address_of_the_dns_tells_them(walked: Walked) -> None:
    servers = json.loads(walked.kubectl("get", "svc", "kube-dns", "-n", "kube-system", "-o", "json"))["spec"][
        "clusterIPs"
    ]
    assert servers == ["10.200.1.10", "fd00:10:200:1::a"]
    ipv4, ipv6 = walked.service("svc-nodeport")["clusterIPs"]
    name = "svc-nodeport.default.svc.cluster.local"
    for server in servers:
        for over in ("udp", "tcp"):
            asked = asking([(name, "A"), (name, "AAAA"), ("mypc", "AAAA")], server=server, over=over)
            told = [records(answer) for answer in answers(walked.on("webpod1", *asked))]
            assert told == [[f"A {ipv4}"], [f"AAAA {ipv6}"], ["AAAA fd00:172:18::100"]]


def test_status_tells_both_addresses_of_nodes_and_clients(walked: Walked) -> None:
    status = walked.user.fairway("status", "--name", walked.name, "-o", "json").json()
    assert status["families"] == ["IPv4", "IPv6"]
    told = {each["name"]: (each["address"], each["addresses"]) for each in status["machines"]}
    assert told["myk8s-worker"] == ("172.18.0.5", ["172.18.0.5", "fd00:172:18::5"])
    assert told["mypc"] == ("172.18.0.100", ["172.18.0.100", "fd00:172:18::100"])
    assert "172.18.0.100, fd00:172:18::100" in walked.user.fairway("status", "--name", walked.name).out


def test_the_rules_of_a_node_are_those_of_both_families_or_of_one(walked: Walked) -> None:
    node = "myk8s-control-plane"
    both, six = walked.rules(node), walked.rules(node, "--family", "ipv6")
    heads = {
        Mode.NFTABLES: ("table ip fairway {\n", "table ip6 fairway {\n"),
        Mode.IPTABLES: ("-A KUBE-SEP-XEXGJWEWSC2GPNPZ", "-A KUBE-SEP-J7T6JEKQVLGCJWSB"),
    }[walked.mode]
    answer = walked.user.fairway("rules", "--name", walked.name, "-o", "json", node).json()
    if walked.mode is Mode.NFTABLES:
        assert [head in both for head in heads] == [True, True]
        assert [head in six for head in heads] == [False, True]
        assert [table["table"] for table in answer["tables"]] == ["ip fairway", "ip6 fairway"]
    else:
        addresses = ("10.200.1.", "fd00:10:200:1:")
        assert [address in both for address in addresses] == [True, True]
        assert [address in six for address in addresses] == [False, True]
        assert {table["family"] for table in answer["tables"]} == {"IPv4", "IPv6"}


def test_a_service_of_ipv6_alone_has_its_doors_there_alone(walked: Walked) -> None:
    walked.kubectl("apply", "-f", "-", stdin=json.dumps(SIX))
    spec = walked.service("svc-six")
    port = spec["ports"][0]["nodePort"]
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"], len(spec["clusterIPs"])) == ("SingleStack", ["IPv6"], 1)
    walked.until_rules("myk8s-control-plane", spec["clusterIP"], present=True)
    inside = walked.curl("net-pod", f"http://[{spec['clusterIP']}]:9000/")
    assert json.loads(inside.out)["ip"] == "fd00:10:10::5"
    assert walked.curl("mypc", f"http://[fd00:172:18::3]:{port}/").code == 0
    assert walked.curl("mypc", f"http://172.18.0.3:{port}/").code == 7, "nothing listens, and no rule says otherwise"
    kinds = walked.kubectl(
        *("get", "endpointslices", "-l", "kubernetes.io/service-name=svc-six", "-o", "jsonpath={.items[*].addressType}")
    )
    assert kinds == "IPv6"
    walked.kubectl("delete", "svc", "svc-six")


def test_a_service_that_gives_its_second_family_up_loses_that_door_alone(walked: Walked) -> None:
    spec = walked.service("svc-nodeport")
    port, second = spec["ports"][0]["nodePort"], spec["clusterIPs"][1]
    walked.kubectl("patch", "svc", "svc-nodeport", "-p", '{"spec":{"ipFamilyPolicy":"SingleStack"}}')
    walked.until_rules("myk8s-control-plane", second, present=False)
    assert walked.curl("mypc", f"http://172.18.0.3:{port}/").code == 0
    assert walked.curl("mypc", f"http://[fd00:172:18::3]:{port}/").code == 7
    walked.kubectl("patch", "svc", "svc-nodeport", "-p", '{"spec":{"ipFamilyPolicy":"RequireDualStack"}}')
    again = walked.service("svc-nodeport")
    assert again["clusterIPs"][0] == spec["clusterIPs"][0]
    walked.until_rules("myk8s-control-plane", again["clusterIPs"][1], present=True)
    assert walked.curl("mypc", f"http://[fd00:172:18::3]:{port}/").code == 0


def test_a_pod_knows_both_of_its_addresses_and_reaches_the_world_outside_as_its_node(walked: Walked) -> None:
    pod = json.loads(walked.kubectl("get", "pod", "webpod1", "-o", "json"))["status"]
    assert [each["ip"] for each in pod["podIPs"]] == ["10.10.1.2", "fd00:10:10:1::2"]
    assert [each["ip"] for each in pod["hostIPs"]] == ["172.18.0.5", "fd00:172:18::5"]
    hosts = walked.on("webpod1", "cat", "/etc/hosts").out
    assert hosts.endswith("10.10.1.2\twebpod1\nfd00:10:10:1::2\twebpod1\n")
    across = walked.curl("webpod1", "http://[fd00:10:10:2::2]/")
    assert "RemoteAddr: [fd00:10:10:1::2]:" in across.out


def test_an_ordinary_user_brings_one_up_too() -> None:
    if not is_root():
        return  # then all of the above was an ordinary user's
    folder = Path(tempfile.mkdtemp(prefix="fairway-nobody-"))
    try:
        folder.chmod(0o755)
        command = command_for_everyone(folder)
        state = folder / "state"
        state.mkdir()
        os.chown(state, ORDINARY_UID, ORDINARY_UID)
        nobody = User(state=state, uid=ORDINARY_UID, command=command)
        up = nobody.fairway("up", "--dual-stack", "-o", "json")
        assert (up.code, up.err) == (0, "")
        assert up.json()["families"] == ["IPv4", "IPv6"]
        address = nobody.fairway("exec", "webpod1", "--", "curl", "-sg", "http://[fd00:10:10:2::2]/")
        assert "RemoteAddr: [fd00:10:10:1::2]:" in address.out
        assert nobody.fairway("down").code == 0
    finally:
        shutil.rmtree(folder)


def test_a_lab_of_one_family_has_no_rules_of_the_other(lab: User) -> None:
    answer = lab.fairway("rules", "--family", "ipv6", "myk8s-worker")
    assert (answer.code, answer.err) == (
        1,
        "fairway: lab 'myk8s' has no IPv6: bring one up with --dual-stack\n",
    )
    assert "ip6" not in lab.fairway("rules", "myk8s-worker").out
