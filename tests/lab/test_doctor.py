"""`fairway doctor` in a lab: nothing where nothing is wrong; each planted fault alone, and nothing once mended."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fairway
from tests.lab.command import Answer, User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab

FOUND = 3
STUDY = "src/fairway/cluster/study"
WORKER, WORKER2 = "myk8s-worker", "myk8s-worker2"


@pytest.fixture(scope="module")
def patient() -> Iterator[User]:
    """A user whose lab may be harmed, with the study's objects applied."""
    with tempfile.TemporaryDirectory(prefix="fairway-test-") as folder:
        user = User(state=Path(folder))
        assert user.fairway("up").code == 0
        try:
            yield ready(user)
        finally:
            assert user.fairway("down").code == 0


def ready(user: User) -> User:
    kubectl(user, "apply", "-f", f"{STUDY}/echo-deploy.yaml,{STUDY}/svc-nodeport.yaml")
    kubectl(user, "rollout", "status", "deployment/deploy-echo", "--timeout=60s")
    has_endpoints(user, "svc-nodeport")
    return user


def has_endpoints(user: User, service: str) -> None:
    """Wait for the first address; kubectl follows Endpoints by the Service's name, and slices only by a label."""
    until(user, f"endpoints/{service}", "{.subsets[0].addresses[0].ip}", None)


def on(user: User, node: str, *argv: str) -> str:
    """A command on a node, which must do what it is told."""
    answer = user.fairway("exec", node, "--", *argv)
    assert answer.code == 0, answer.out + answer.err
    return answer.out


def diagnosis(user: User, *args: str) -> list[dict[str, Any]]:
    answer = user.fairway("doctor", "-o", "json", *args)
    findings: list[dict[str, Any]] = answer.json()["findings"]
    assert answer.code == (FOUND if findings else 0), answer.err
    return findings


def mended(user: User, finding: dict[str, Any]) -> Answer:
    """Type what the finding says."""
    kubeconfig = str(user.state / "myk8s" / "kubeconfig")
    answer = user.run(shlex.split(finding["mend"]), KUBECONFIG=kubeconfig)
    assert answer.code == 0, answer.out + answer.err
    return answer


def node_port(user: User) -> str:
    return kubectl(user, "get", "svc", "svc-nodeport", "-o", "jsonpath={.spec.ports[0].nodePort}")


def test_nothing_is_found_in_a_healthy_lab(patient: User) -> None:
    answer = patient.fairway("doctor")
    assert (answer.code, answer.out) == (0, "nothing found: 20 checks on 4 nodes and 3 Services\n")


def test_nothing_is_found_in_a_healthy_lab_in_mode_iptables() -> None:
    with tempfile.TemporaryDirectory(prefix="fairway-test-") as folder:
        user = User(state=Path(folder))
        assert user.fairway("up", "--proxy-mode", "iptables").code == 0
        try:
            assert diagnosis(ready(user)) == []
            harm(user, ("iptables", "-P", "FORWARD", "DROP"), "forward-policy")
            stray = ("iptables", "-t", "nat", "-I", "PREROUTING", "-p", "tcp", "--dport", node_port(user))
            harm(user, (*stray, "-j", "REDIRECT", "--to-ports", "80"), "foreign-rule")
            harm(user, ("nft", "add", "table", "ip", "fairway"), "two-proxies")
            harm(user, ("sysctl", "-w", "net.ipv4.conf.all.route_localnet=0"), "route-localnet")
        finally:
            assert user.fairway("down").code == 0


def harm(user: User, argv: tuple[str, ...], check: str) -> dict[str, Any]:
    """Plant a fault on a worker; it alone is found, and its command mends it."""
    on(user, WORKER, *argv)
    (finding,) = diagnosis(user)
    assert (finding["check"], finding["node"]) == (check, WORKER)
    mended(user, finding)
    assert diagnosis(user) == []
    return finding


def test_a_node_that_does_not_forward(patient: User) -> None:
    finding = harm(patient, ("sysctl", "-w", "net.ipv4.ip_forward=0"), "ip-forward")
    assert finding["evidence"] == "net.ipv4.ip_forward = 0"


def test_node_ports_among_those_of_clients(patient: User) -> None:
    finding = harm(patient, ("sysctl", "-w", "net.ipv4.ip_local_port_range=20000 60999"), "ephemeral-ports")
    assert finding["mend"].endswith("sysctl -w net.ipv4.ip_local_reserved_ports=30000-32767")


def test_strict_filtering_where_answers_go_another_way(patient: User) -> None:
    """The way to the world is by another link than callers come by."""
    on(patient, WORKER, "sysctl", "-w", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=1")
    assert diagnosis(patient) == []  # strict, and no harm as long as answers go back the way calls came
    way_back = on(patient, WORKER, "ip", "route", "show", "default").split()
    on(patient, WORKER, "ip", "link", "add", "wan", "type", "veth", "peer", "name", "wan-peer")
    try:
        on(patient, WORKER, "ip", "address", "add", "192.0.2.5/24", "dev", "wan")
        for end in ("wan", "wan-peer"):
            on(patient, WORKER, "ip", "link", "set", end, "up")
        finding = harm(patient, ("ip", "route", "replace", "default", "via", "192.0.2.9", "dev", "wan"), "rp-filter")
        assert finding["about"] == "eth0"
    finally:
        on(patient, WORKER, "ip", "link", "delete", "wan")
        if way_back:
            on(patient, WORKER, "ip", "route", "replace", *way_back)


def test_a_forward_policy_of_drop(patient: User) -> None:
    """What Docker does to a machine."""
    harm(patient, ("iptables", "-P", "FORWARD", "DROP"), "forward-policy")


def test_a_base_chain_whose_policy_is_drop(patient: User) -> None:
    on(patient, WORKER, "nft", "add", "table", "inet", "guard")
    try:
        chain = "{ type filter hook forward priority 0; policy drop; }"
        harm(patient, ("nft", "add", "chain", "inet", "guard", "f", chain), "forward-policy")
    finally:
        on(patient, WORKER, "nft", "delete", "table", "inet", "guard")


@pytest.mark.parametrize(
    ("hook", "rule"),
    [
        ("{ type filter hook prerouting priority -150; }", "tcp dport 30000-32767 drop"),
        ("{ type filter hook prerouting priority raw; }", "ip saddr 172.18.0.0/16 tcp dport { 22, PORT } counter drop"),
        ("{ type nat hook prerouting priority dstnat - 1; }", 'iifname "eth0" tcp dport PORT redirect to :8080'),
        ("{ type filter hook forward priority 0; }", "ct state new ip daddr 10.10.0.0/16 tcp dport 8080 reject"),
    ],
)
def test_a_foreign_rule_that_shadows_ours(patient: User, hook: str, rule: str) -> None:
    on(patient, WORKER, "nft", "add", "table", "inet", "guard")
    try:
        on(patient, WORKER, "nft", "add", "chain", "inet", "guard", "c", hook)
        assert diagnosis(patient) == []
        words = rule.replace("PORT", node_port(patient))
        finding = harm(patient, ("nft", "add", "rule", "inet", "guard", "c", words), "foreign-rule")
        assert "default/svc-nodeport" in finding["consequence"]
    finally:
        on(patient, WORKER, "nft", "delete", "table", "inet", "guard")


def test_rules_that_do_no_harm_are_not_found(patient: User) -> None:
    on(patient, WORKER, "nft", "add", "table", "inet", "guard")
    try:
        for rule in (
            ("f", "forward", "ct state established,related accept"),
            ("f", "forward", "ip saddr 203.0.113.0/24 drop"),
            ("f", "forward", "tcp dport 25 drop"),
            ("p", "prerouting", f"udp dport {node_port(patient)} drop"),
            ("p", "prerouting", f"tcp dport {node_port(patient)} meta nftrace set 1"),
            ("i", "input", "tcp dport 30000-32767 drop"),
        ):
            name, hook, words = rule
            chain = f"{{ type filter hook {hook} priority -10; }}"
            on(patient, WORKER, "nft", "add", "chain", "inet", "guard", name, chain)
            on(patient, WORKER, "nft", "add", "rule", "inet", "guard", name, words)
        assert diagnosis(patient) == []
    finally:
        on(patient, WORKER, "nft", "delete", "table", "inet", "guard")


def test_a_process_that_listens_on_a_node_port(patient: User) -> None:
    port = node_port(patient)
    serve = f"import socket; s = socket.create_server(('', {port})); print('ready', flush=True); s.accept()"
    server = patient.start("exec", WORKER, "--", "python3", "-c", serve)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        (finding,) = diagnosis(patient)
        assert (finding["check"], finding["about"]) == ("port-taken", f"{port}/tcp")
        assert finding["what"].startswith("python3 (pid ")
        mended(patient, finding)
        server.communicate(timeout=30)
        assert diagnosis(patient) == []
    finally:
        server.kill()
        server.communicate()


def test_two_proxies_at_work(patient: User) -> None:
    on(patient, WORKER, "nft", "add", "table", "ip", "kube-proxy")
    harm(patient, ("nft", "add", "chain", "ip", "kube-proxy", "services"), "two-proxies")


def test_leftovers_of_kube_proxy_in_iptables(patient: User) -> None:
    on(patient, WORKER, "iptables", "-t", "nat", "-N", "KUBE-SERVICES")
    on(patient, WORKER, "iptables", "-t", "nat", "-A", "PREROUTING", "-j", "KUBE-SERVICES")
    finding = harm(
        patient, ("iptables", "-t", "nat", "-A", "KUBE-SERVICES", "-d", "10.200.1.77", "-j", "RETURN"), "two-proxies"
    )
    assert "KUBE-SERVICES of iptables-nft" in finding["evidence"]


def test_a_table_of_connections_that_is_nearly_full(patient: User) -> None:
    """Of the machine's limit only a part, so that the flows of one test are many enough; the limit is not touched."""
    send = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "[s.sendto(b'', ('172.18.0.5', port)) for port in range(20000, 24000)]"
    )
    on(patient, "mypc", "python3", "-c", send)
    limit = int(on(patient, WORKER, "sysctl", "-n", "net.netfilter.nf_conntrack_max"))
    percent = 3900 * 100 / limit
    (finding,) = diagnosis(patient, "--conntrack-percent", str(percent))
    assert (finding["check"], finding["node"]) == ("conntrack-full", WORKER)
    assert finding["mend"].endswith(f"sysctl -w net.netfilter.nf_conntrack_max={limit * 2}")
    on(patient, WORKER, "conntrack", "-F")
    assert diagnosis(patient, "--conntrack-percent", str(percent)) == []


def test_an_agent_that_stands_still_while_its_rules_are_harmed(patient: User) -> None:
    status = patient.fairway("status", "-o", "json").json()
    pid = next(each["pid"] for each in status["services"] if each["name"] == f"kube-proxy-{WORKER}")
    port = node_port(patient)
    on(patient, WORKER, "kill", "-STOP", str(pid))
    try:
        on(patient, WORKER, "nft", "delete", "element", "ip", "fairway", "nodeports", f"{{ tcp . {port} }}")
        found = {finding["check"]: finding for finding in diagnosis(patient)}
        assert set(found) == {"agent", "drift"}
        assert f"nodeports: tcp . {port}" in found["drift"]["evidence"]
    finally:
        on(patient, WORKER, "kill", "-CONT", str(pid))
    # The agent mends its table as soon as it hears of the harm, and drift counts only where two looks find it.
    assert diagnosis(patient) == []


# -- Services

LOST = """
apiVersion: v1
kind: Service
metadata: {name: lost}
spec:
  selector: {app: deploy-webserv}
  ports: [{port: 80, targetPort: 8080}]
"""
TYPO = """
apiVersion: v1
kind: Service
metadata: {name: typo}
spec:
  selector: {app: deploy-websrv}
  ports: [{port: 80, targetPort: TARGET}]
"""
WAITING = """
apiVersion: v1
kind: Pod
metadata: {name: waiting, labels: {app: waiting}}
spec:
  nodeName: myk8s-worker
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: traefik/whoami
      readinessProbe: {httpGet: {path: /, port: 9}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: waiting}
spec:
  selector: {app: waiting}
  ports: [{port: 80}]
"""


def test_a_selector_that_matches_nothing(patient: User) -> None:
    kubectl(patient, "apply", "-f", "-", stdin=LOST)
    try:
        (finding,) = diagnosis(patient)
        assert (finding["check"], finding["about"]) == ("selector", "Service default/lost")
        assert "have app=deploy-websrv" in finding["evidence"]
        mended(patient, finding)
        has_endpoints(patient, "lost")
        assert diagnosis(patient) == []
    finally:
        kubectl(patient, "delete", "svc", "lost")


@pytest.mark.parametrize("target", ["9999", "http"])
def test_a_target_port_no_container_has(patient: User, target: str) -> None:
    kubectl(patient, "apply", "-f", "-", stdin=TYPO.replace("TARGET", target))
    try:
        (finding,) = diagnosis(patient)
        assert (finding["check"], finding["about"]) == ("target-port", "Service default/typo: spec.ports[0]")
        mended(patient, finding)
        until(patient, "svc/typo", "{.spec.ports[0].targetPort}", "8080")
        assert [each for each in diagnosis(patient) if each["check"] == "target-port"] == []
    finally:
        kubectl(patient, "delete", "svc", "typo")


def test_slices_without_ready_endpoints(patient: User) -> None:
    kubectl(patient, "apply", "-f", "-", stdin=WAITING)
    try:
        until(patient, "pod/waiting", "{.status.phase}", "Running")
        (finding,) = diagnosis(patient)
        assert (finding["check"], finding["about"]) == ("endpoints", "Service default/waiting")
        assert "waiting (Running)" in finding["evidence"]
        assert "http-get http://:9/" in mended(patient, finding).out  # the probe that nobody answers
    finally:
        kubectl(patient, "delete", "svc,pod", "waiting")
    assert diagnosis(patient) == []


AWAY = """
apiVersion: v1
kind: Pod
metadata: {name: away, labels: {app: away}}
spec:
  nodeName: myk8s-worker3
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: traefik/whoami}]
---
apiVersion: v1
kind: Service
metadata: {name: away}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: away}
  ports: [{port: 80}]
"""


def test_a_local_policy_without_an_endpoint_on_the_node_its_load_balancer_uses(patient: User) -> None:
    """The only pod is on a node that load balancers leave out, so the address is on another."""
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    holder = r"{.metadata.annotations.fairway\.dev/load-balancer-node}"
    kubectl(patient, "apply", "-f", "-", stdin=AWAY)
    try:
        until(patient, "pod/away", "{.status.phase}", "Running")
        until(patient, "svc/away", holder, "myk8s-worker3")
        assert diagnosis(patient) == []
        kubectl(patient, "label", "node", "myk8s-worker3", f"{label}=")
        until(patient, "svc/away", holder, "")  # nobody is left to hold it
        (finding,) = diagnosis(patient)
        assert (finding["check"], finding["severity"]) == ("local-policy", "fault")
        mended(patient, finding)
        assert diagnosis(patient) == []
    finally:
        kubectl(patient, "label", "node", "myk8s-worker3", f"{label}-")
        kubectl(patient, "delete", "svc,pod", "away")


def test_a_local_node_port_that_some_nodes_have_no_endpoint_for(patient: User) -> None:
    """The first answer to "it only works on some nodes"."""
    kubectl(patient, "apply", "-f", "-", stdin=AWAY.replace("LoadBalancer", "NodePort"))
    try:
        until(patient, "pod/away", "{.status.phase}", "Running")
        has_endpoints(patient, "away")
        (finding,) = diagnosis(patient)
        assert (finding["check"], finding["severity"]) == ("local-policy", "risk")
        assert "calls that come by myk8s-worker, myk8s-worker2 are dropped" in finding["consequence"]
        mended(patient, finding)
        assert diagnosis(patient) == []
    finally:
        kubectl(patient, "delete", "svc,pod", "away")


# -- words


def test_a_finding_in_words(patient: User) -> None:
    on(patient, WORKER2, "sysctl", "-w", "net.ipv4.ip_forward=0")
    try:
        answer = patient.fairway("doctor")
        assert answer.code == FOUND
        lines = answer.out.splitlines()
        assert lines[0] == f"fault  ip-forward  {WORKER2}, net/ipv4/ip_forward"
        assert lines[1].strip() == "the node does not forward IPv4 packets"
        assert [line.split()[0] for line in lines[2:5]] == ["evidence", "consequence", "mend"]
        assert lines[-1] == "1 finding: 20 checks on 4 nodes and 3 Services"
    finally:
        on(patient, WORKER2, "sysctl", "-w", "net.ipv4.ip_forward=1")


def test_a_node_by_itself_is_looked_into_where_it_is(patient: User) -> None:
    """As on a machine that is a node of some cluster."""
    command = ["env", f"PYTHONPATH={Path(fairway.__file__).parents[1]}", *patient.command]
    kubeconfig = str(patient.state / "myk8s" / "kubeconfig")
    alone = patient.fairway("exec", WORKER, "--", *command, "doctor", "--node", WORKER)
    assert alone.out == "nothing found: 20 checks on 1 node and 0 Services\n", alone.err
    refused = patient.fairway("doctor", "--kubeconfig", kubeconfig)
    assert (refused.code, refused.err) == (
        1,
        "fairway: --kubeconfig needs --node: say which node of that cluster this machine is\n",
    )
    stranger = patient.fairway("doctor", "--kubeconfig", kubeconfig, "--node", "nobody")
    assert stranger.code == 1
    assert stranger.err.startswith("fairway: there is no Node nobody; the nodes are: ")
