"""What a manifest asks for and the lab has not: the object is taken, and a Warning on it says what."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab.command import User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab

NAMESPACE = "without-effect"

OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: careful}
spec:
  hostPID: true
  securityContext: {runAsUser: 1000}
  containers:
    - name: web
      image: registry.k8s.io/e2e-test-images/agnhost:2.63.0
      args: [netexec]
      securityContext: {capabilities: {drop: [ALL]}}
      readinessProbe: {grpc: {port: 9000}}
---
apiVersion: v1
kind: Pod
metadata: {name: elsewhere}
spec:
  schedulerName: mine
  containers: [{name: web, image: busybox}]
---
apiVersion: v1
kind: Service
metadata: {name: classed, annotations: {service.kubernetes.io/topology-mode: Auto}}
spec:
  type: LoadBalancer
  loadBalancerClass: example.com/big
  ports: [{port: 80}]
"""

TOLD = {
    "careful": (
        "not enforced in this lab, the pod runs without: spec.hostPID, spec.securityContext.runAsUser, "
        "spec.containers[0].securityContext.capabilities.drop, spec.containers[0].readinessProbe (grpc)"
    ),
    "elsewhere": (
        "without effect in this lab: spec.schedulerName mine (there is no such scheduler here: the pod stays Pending)"
    ),
    "classed": (
        "without effect in this lab: spec.loadBalancerClass example.com/big (nothing here implements it: the Service "
        "gets no address), metadata.annotations[service.kubernetes.io/topology-mode] (no hints are made of it: use "
        "spec.trafficDistribution)"
    ),
}


@pytest.fixture(scope="module")
def applied(lab: User) -> Iterator[User]:
    kubectl(lab, "create", "namespace", NAMESPACE)
    said = kubectl(lab, "apply", "-n", NAMESPACE, "-f", "-", stdin=OBJECTS)
    assert said.count(" created\n") == 3, said
    yield lab
    kubectl(lab, "delete", "namespace", NAMESPACE, "--wait=false")


def warnings(lab: User, name: str) -> list[tuple[str, int]]:
    selector = f"involvedObject.name={name},reason=NotEnforced,type=Warning"
    events = json.loads(kubectl(lab, "get", "events", "-n", NAMESPACE, "--field-selector", selector, "-o", "json"))
    return [(event["message"], event["count"]) for event in events["items"]]


def test_the_pod_runs_all_the_same(applied: User) -> None:
    until(applied, "pod/careful", "{.status.containerStatuses[0].ready}", "true", namespace=NAMESPACE)
    until(applied, "pod/elsewhere", "{.status.phase}", "Pending", namespace=NAMESPACE)


@pytest.mark.parametrize("name", TOLD)
def test_each_object_hears_once_what_it_asks_for_in_vain(applied: User, name: str) -> None:
    kind = "service" if name == "classed" else "pod"
    kubectl(applied, "label", "-n", NAMESPACE, kind, name, "seen=yes")
    kubectl(applied, "wait", "-n", NAMESPACE, "pod/careful", "--for=condition=Ready", "--timeout=60s")
    assert warnings(applied, name) == [(TOLD[name], 1)]
