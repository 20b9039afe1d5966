"""Backends that somebody named by hand, in Endpoints and in slices: called by real packets; and the end of it all."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.lab.command import User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab

NAMESPACE = "by-hand"


@pytest.fixture(scope="module", autouse=True)
def namespace(lab: User) -> Iterator[None]:
    kubectl(lab, "create", "namespace", NAMESPACE)
    yield
    kubectl(lab, "delete", "namespace", NAMESPACE)


def apply(lab: User, *objects: dict[str, object]) -> None:
    said = kubectl(lab, "-n", NAMESPACE, "apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert said.count(" created\n") == len(objects), said


def service(name: str, *ports: tuple[str, int]) -> dict[str, object]:
    """Without a selector: nobody but we say what is behind it."""
    spec = {"ports": [{"name": called, "port": port} for called, port in ports]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def echo_pod(lab: User) -> tuple[str, str]:
    """Name and address of one pod of the study."""
    [first, *_] = json.loads(kubectl(lab, "get", "pods", "-l", "app=deploy-websrv", "-o", "json"))["items"]
    return first["metadata"]["name"], first["status"]["podIP"]


def answer(lab: User, name: str, port: int) -> str:
    address = kubectl(lab, "-n", NAMESPACE, "get", "svc", name, "-o", "jsonpath={.spec.clusterIP}")
    call = ("curl", "-s", "--connect-timeout", "2", "--retry", "5", "--retry-connrefused", f"http://{address}:{port}")
    return kubectl(lab, "exec", "webpod1", "--", *call)


def test_endpoints_with_two_subsets_of_one_address_are_mirrored_and_called(lab: User) -> None:
    pod, address = echo_pod(lab)
    subsets = [{"addresses": [{"ip": address}], "ports": [{"name": one, "port": 8080}]} for one in ("one", "two")]
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mirrored"}, "subsets": subsets}
    apply(lab, service("mirrored", ("one", 81), ("two", 82)), endpoints)
    assert pod in answer(lab, "mirrored", 81)
    assert pod in answer(lab, "mirrored", 82)
    slices = kubectl(lab, "-n", NAMESPACE, "get", "endpointslices", "-l", "kubernetes.io/service-name=mirrored")
    assert slices.count(address) == 2


def test_a_slice_by_hand_is_called_and_stays_as_it_is(lab: User) -> None:
    pod, address = echo_pod(lab)
    slice_of = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "mine", "labels": {"kubernetes.io/service-name": "sliced"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": "one", "port": 8080}],
    }
    apply(lab, service("sliced", ("one", 81)), slice_of)
    assert pod in answer(lab, "sliced", 81)
    kubectl(lab, "-n", NAMESPACE, "delete", "svc", "sliced")
    assert kubectl(lab, "-n", NAMESPACE, "get", "endpointslice", "mine", "-o", "name").endswith("/mine\n")


def test_a_namespace_goes_when_the_pods_in_it_have_ended(lab: User) -> None:
    kubectl(lab, "create", "namespace", "brief")
    until(lab, "configmap/kube-root-ca.crt", "{.metadata.name}", "kube-root-ca.crt", namespace="brief")
    certificate = kubectl(lab, "-n", "brief", "get", "cm", "kube-root-ca.crt", "-o", r"jsonpath={.data.ca\.crt}")
    assert certificate.strip() == (lab.state / "myk8s" / "pki" / "ca.crt").read_text().strip()
    kubectl(lab, "-n", "brief", "create", "deployment", "web", "--image=registry.k8s.io/pause", "--replicas=2")
    kubectl(lab, "-n", "brief", "rollout", "status", "deployment/web", "--timeout=20s")
    assert kubectl(lab, "delete", "namespace", "brief").startswith('namespace "brief" deleted')
    assert "NotFound" in kubectl(lab, "get", "namespace", "brief")
    left = kubectl(lab, "get", "pods,rs,deploy,ep,cm,sa", "-A", "-o", "jsonpath={.items[*].metadata.namespace}")
    assert "brief" not in left.split()
