from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import ENDPOINTS
from fairway.api.types import Key
from fairway.controllers.endpoints import EndpointsView, reconcile
from fairway.controllers.writes import Create, Delete, Update, Write
from tests.controllers.objects import metadata, pod, service

NOTE = "endpoints.kubernetes.io/last-change-trigger-time"
MANAGED = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}


def address(name: str, ip: str) -> dict[str, Any]:
    reference = {"kind": "Pod", "namespace": "default", "name": name, "uid": f"uid-{name}"}
    return {"ip": ip, "nodeName": "n1", "targetRef": reference}


def backend(name: str, ip: str, **fields: Any) -> dict[str, Any]:
    return pod(name, ip=ip, node="n1", **{"ready": True} | fields)


def writes(
    *pods: dict[str, Any], of: dict[str, Any] | None = None, before: dict[str, Any] | None = None
) -> list[Write]:
    return reconcile(EndpointsView(service=of or service(), pods=pods, endpoints=before))


def stored(*subsets: dict[str, Any], labels: dict[str, str] = MANAGED) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": metadata("web", labels=labels),
        "subsets": list(subsets),
    }


HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}


def test_ready_and_not_ready_addresses_are_told_apart_in_order() -> None:
    pods = [
        backend("c", "10.10.2.10"),
        backend("b", "10.10.2.9"),
        backend("a", "10.10.1.3", ready=False, ready_since="2025-06-01T11:59:00Z"),
    ]
    assert writes(*pods, of=service(labels={"team": "a"})) == [
        Create(
            resource=ENDPOINTS,
            body={
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {
                    "name": "web",
                    "namespace": "default",
                    "labels": {"team": "a"} | MANAGED,
                    "annotations": {NOTE: "2025-06-01T11:59:00Z"},
                },
                "subsets": [
                    {
                        "addresses": [address("b", "10.10.2.9"), address("c", "10.10.2.10")],
                        "notReadyAddresses": [address("a", "10.10.1.3")],
                        "ports": [HTTP],
                    }
                ],
            },
        )
    ]


def test_a_service_without_pods_has_endpoints_without_subsets() -> None:
    [create] = writes()
    assert isinstance(create, Create)
    assert create.body["subsets"] == []


def test_what_is_so_already_is_not_written_again() -> None:
    subset = {"addresses": [address("b", "10.10.2.9")], "ports": [HTTP]}
    assert writes(backend("b", "10.10.2.9"), before=stored(subset)) == []
    [update] = writes(backend("b", "10.10.2.9", ready=False), before=stored(subset))
    assert isinstance(update, Update)
    assert update.body["subsets"] == [{"notReadyAddresses": [address("b", "10.10.2.9")], "ports": [HTTP]}]


@pytest.mark.parametrize(("publish", "found"), [(False, []), (True, ["10.10.2.9"])])
def test_terminating_pods_are_there_only_where_all_are_published(publish: bool, found: list[str]) -> None:
    going = backend("b", "10.10.2.9", ready=False, terminating=True)
    [create] = writes(going, of=service(spec={"publishNotReadyAddresses": publish}))
    assert isinstance(create, Create)
    assert [one["ip"] for subset in create.body["subsets"] for one in subset["addresses"]] == found


def test_pods_that_resolve_a_port_differently_are_subsets_of_their_own() -> None:
    def offering(name: str, ip: str, port: int) -> dict[str, Any]:
        container = {"name": "c", "ports": [{"name": "web", "containerPort": port}]}
        return backend(name, ip, spec={"containers": [container]})

    of = service(spec={"ports": [{"port": 80, "targetPort": "web"}]})
    [create] = writes(offering("a", "10.10.1.3", 9090), offering("b", "10.10.1.4", 8080), of=of)
    assert isinstance(create, Create)
    assert create.body["subsets"] == [
        {"addresses": [address("b", "10.10.1.4")], "ports": [{"port": 8080, "protocol": "TCP"}]},
        {"addresses": [address("a", "10.10.1.3")], "ports": [{"port": 9090, "protocol": "TCP"}]},
    ]


def test_more_than_a_thousand_addresses_are_cut_and_that_is_said() -> None:
    pods = [backend(f"p{n}", f"10.10.{n // 250}.{n % 250 + 1}", ready=n >= 3) for n in range(1002)]
    [create] = writes(*pods)
    assert isinstance(create, Create)
    [subset] = create.body["subsets"]
    assert (len(subset["addresses"]), len(subset["notReadyAddresses"])) == (999, 1)
    assert create.body["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"] == "truncated"
    [update] = writes(*pods[:5], before=create.body)
    assert isinstance(update, Update)
    assert "endpoints.kubernetes.io/over-capacity" not in update.body["metadata"]["annotations"]


def test_endpoints_go_with_their_service_unless_made_by_hand() -> None:
    gone = EndpointsView(service=None, pods=[], endpoints=stored())
    assert reconcile(gone) == [Delete(resource=ENDPOINTS, key=Key("default", "web"), uid="uid-web")]
    assert reconcile(EndpointsView(service=None, pods=[], endpoints=stored(labels={}))) == []
    assert reconcile(EndpointsView(service=None, pods=[], endpoints=None)) == []


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName"}])
def test_endpoints_of_a_service_without_selector_are_left_alone(spec: dict[str, Any]) -> None:
    assert writes(backend("b", "10.10.2.9"), of=service(spec=spec), before=stored(labels={})) == []


def test_a_headless_service_without_ports_has_addresses_only() -> None:
    [create] = writes(backend("b", "10.10.2.9"), of=service(spec={"clusterIP": "None", "ports": None}))
    assert isinstance(create, Create)
    assert create.body["subsets"] == [{"addresses": [address("b", "10.10.2.9")]}]
    assert create.body["metadata"]["labels"] == MANAGED | {"service.kubernetes.io/headless": ""}
