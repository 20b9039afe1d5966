"""Names in a lab, as programs in its pods ask for them: by the Service of the cluster's DNS, from every node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dns.rcode
import dns.reversename
import pytest
from dns.message import Message

from tests.lab.command import Answer, User
from tests.lab.conftest import kubectl, until
from tests.lab.questions import answers, asking, records

pytestmark = pytest.mark.lab

SVC = "svc.cluster.local"
KUBE_DNS = "10.200.1.10"
PODS = ("net-pod", "webpod1", "webpod2", "db-0")
"""One on each node."""

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432, targetPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: early}
spec: {clusterIP: None, selector: {app: early}, publishNotReadyAddresses: true, ports: [{name: sql, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: late}
spec: {clusterIP: None, selector: {app: early}, ports: [{name: sql, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: svc-nodeport.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: away}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, labels: {app: db}}
spec:
  nodeName: myk8s-worker3
  hostname: db-0
  subdomain: db
  terminationGracePeriodSeconds: 0
  containers: [{name: db, image: traefik/whoami}]
---
apiVersion: v1
kind: Pod
metadata: {name: never-ready, labels: {app: early}}
spec:
  nodeName: myk8s-worker
  terminationGracePeriodSeconds: 0
  containers:
  - name: slow
    image: traefik/whoami
    readinessProbe: {exec: {command: ["false"]}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: loner}
spec:
  nodeName: myk8s-worker2
  terminationGracePeriodSeconds: 0
  dnsPolicy: None
  dnsConfig:
    nameservers: [10.200.1.10]
    searches: [kube-system.svc.cluster.local]
    options: [{name: ndots, value: "2"}]
  containers: [{name: c, image: traefik/whoami}]
---
apiVersion: v1
kind: Pod
metadata: {name: nodelike}
spec:
  nodeName: myk8s-worker2
  terminationGracePeriodSeconds: 0
  dnsPolicy: Default
  containers: [{name: c, image: traefik/whoami}]
"""


@pytest.fixture(scope="module")
def names(lab: User) -> Iterator[User]:
    kubectl(lab, "apply", "-f", "-", stdin=OBJECTS)
    for pod in ("db-0", "loner", "nodelike"):
        until(lab, f"pod/{pod}", '{.status.conditions[?(@.type=="Ready")].status}', "True")
    until(lab, "pod/never-ready", "{.status.podIP}", None)
    yield lab
    kubectl(lab, "delete", "-f", "-", stdin=OBJECTS)


def on(user: User, host: str, *argv: str) -> Answer:
    return user.fairway("exec", host, "--", *argv)


def ask_all(user: User, host: str, questions: Sequence[tuple[str, str]], *, over: str = "udp") -> list[Message]:
    return answers(on(user, host, *asking(questions, server=KUBE_DNS, over=over)))


def ask(user: User, host: str, name: str, kind: str) -> Message:
    return ask_all(user, host, [(name, kind)])[0]


def until_asked(user: User, name: str, kind: str, expected: list[str]) -> None:
    """The server follows the API within milliseconds; the command that asks takes longer than that."""
    for _ in range(50):
        if (seen := records(ask(user, "webpod1", name, kind))) == expected:
            return
    raise AssertionError(f"{name} {kind}: {seen}, not {expected}")


def cluster_ip(user: User, service: str) -> str:
    return kubectl(user, "get", "svc", service, "-o", "jsonpath={.spec.clusterIP}")


def pod_ip(user: User, pod: str) -> str:
    return kubectl(user, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")


def test_the_default_namespace_shows_nothing_of_it(lab: User) -> None:
    assert "dns" not in kubectl(lab, "get", "svc,endpointslices,pods", "-o", "name")
    assert kubectl(lab, "get", "svc", "-n", "kube-system", "-o", "name") == "service/kube-dns\n"


@pytest.mark.parametrize("pod", PODS)
def test_a_service_is_called_by_its_name_from_every_node(names: User, pod: str) -> None:
    assert on(names, pod, "getent", "hosts", "svc-nodeport").out.split() == [
        cluster_ip(names, "svc-nodeport"),
        f"svc-nodeport.default.{SVC}",
    ]
    answer = on(names, pod, "curl", "-s", "--max-time", "10", "svc-nodeport:9000")
    assert answer.code == 0, answer.err
    assert '"path": "/"' in answer.out


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("pod", ["net-pod", "webpod1"])
def test_every_kind_of_record(names: User, pod: str, over: str) -> None:
    node_port, db = cluster_ip(names, "svc-nodeport"), pod_ip(names, "db-0")
    until_asked(names, f"db.default.{SVC}", "A", [f"A {db}"])
    rows = [
        (f"svc-nodeport.default.{SVC}", "A", [f"A {node_port}"]),
        (f"svc-nodeport.default.{SVC}", "AAAA", []),
        (f"_svc-webport._tcp.svc-nodeport.default.{SVC}", "SRV", [f"SRV 0 100 9000 svc-nodeport.default.{SVC}."]),
        (f"db.default.{SVC}", "A", [f"A {db}"]),
        (f"db-0.db.default.{SVC}", "A", [f"A {db}"]),
        (f"_sql._tcp.db.default.{SVC}", "SRV", [f"SRV 0 100 80 db-0.db.default.{SVC}."]),
        (f"alias.default.{SVC}", "A", [f"A {node_port}", f"CNAME svc-nodeport.default.{SVC}."]),
        (f"away.default.{SVC}", "CNAME", ["CNAME example.com."]),
        (str(dns.reversename.from_address(node_port)), "PTR", [f"PTR svc-nodeport.default.{SVC}."]),
        (str(dns.reversename.from_address(db)), "PTR", [f"PTR db-0.db.default.{SVC}."]),
        ("dns-version.cluster.local", "TXT", ['TXT "1.1.0"']),
        ("mypc", "A", ["A 172.18.0.100"]),
    ]
    told = ask_all(names, pod, [(name, kind) for name, kind, _ in rows], over=over)
    for (name, kind, expected), answer in zip(rows, told, strict=True):
        assert (answer.rcode(), records(answer)) == (dns.rcode.NOERROR, expected), (name, kind)


def test_a_pod_knows_its_own_full_name(names: User) -> None:
    assert on(names, "db-0", "hostname", "-f").out == f"db-0.db.default.{SVC}\n"


def test_endpoints_that_are_not_ready_are_told_only_where_the_service_wants_it(names: User) -> None:
    until_asked(names, f"early.default.{SVC}", "A", [f"A {pod_ip(names, 'never-ready')}"])
    assert ask(names, "webpod1", f"late.default.{SVC}", "A").rcode() == dns.rcode.NXDOMAIN


def test_names_that_are_none_are_told_and_names_of_the_world_refused(names: User) -> None:
    assert ask(names, "webpod1", f"no.default.{SVC}", "A").rcode() == dns.rcode.NXDOMAIN
    assert ask(names, "webpod1", "example.com", "A").rcode() == dns.rcode.REFUSED
    assert on(names, "webpod1", "getent", "hosts", "example.com").code == 2


def test_a_pod_that_brings_its_own_settings(names: User) -> None:
    assert on(names, "loner", "cat", "/etc/resolv.conf").out.splitlines() == [
        "search kube-system.svc.cluster.local",
        "nameserver 10.200.1.10",
        "options ndots:2",
    ]
    assert on(names, "loner", "getent", "hosts", "kube-dns").out.split()[0] == KUBE_DNS


def test_a_pod_with_its_nodes_settings_has_no_server(names: User) -> None:
    assert "nameserver" not in on(names, "nodelike", "cat", "/etc/resolv.conf").out
    assert on(names, "nodelike", "getent", "hosts", "svc-nodeport").code == 2
