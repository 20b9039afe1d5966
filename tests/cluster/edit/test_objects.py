"""The objects after an edit are those `kubectl apply` and the cluster's controllers would leave."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.cluster.edit.objects import LAST_APPLIED, Edit, applied, replaced

LIVE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default", "uid": "u1", "resourceVersion": "7"},
    "spec": {
        "type": "NodePort",
        "clusterIP": "10.200.1.5",
        "clusterIPs": ["10.200.1.5"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "externalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}],
    },
    "status": {"loadBalancer": {}},
}


def manifest(**spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": ports, **spec},
    }


def live(last: Object | None = None, **spec: Any) -> Object:
    """The Service, applied with `last` before."""
    annotations = {LAST_APPLIED: json.dumps(last)} if last is not None else {}
    return {**LIVE, "metadata": {**LIVE["metadata"], "annotations": annotations}, "spec": {**LIVE["spec"], **spec}}


def pod(name: str, address: str, app: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": app}},
        "spec": {"nodeName": "here", "containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]},
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


NODE: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"}, "spec": {}, "status": {}}
PODS = [pod("web-1", "10.10.1.3", "web"), pod("api-1", "10.10.1.4", "api")]


def fields(edit: Edit) -> dict[str, tuple[Any, Any]]:
    return {
        path: (before, after)
        for change in edit.changes
        if change.kind == "Service"
        for path, before, after in change.fields
    }


def endpoints(edit: Edit) -> list[str]:
    """The addresses in all slices after it."""
    slices = (obj for obj in edit.after if obj["kind"] == "EndpointSlice")
    return sorted(entry["addresses"][0] for one in slices for entry in one.get("endpoints") or ())


def test_the_same_manifest_changes_nothing() -> None:
    assert applied([live(manifest())], [manifest()]).changes == ()
    assert applied([live()], [manifest()]).changes == ()


def test_what_was_allocated_stays() -> None:
    edit = applied([live(manifest()), NODE, *PODS], [manifest(externalTrafficPolicy="Local")])
    assert fields(edit) == {"spec.externalTrafficPolicy": ("Cluster", "Local")}
    (after,) = (obj for obj in edit.after if obj["kind"] == "Service")
    assert (after["spec"]["clusterIP"], after["spec"]["ports"][0]["nodePort"]) == ("10.200.1.5", 30080)


def test_what_the_last_apply_said_and_this_one_does_not_goes() -> None:
    last = manifest(sessionAffinity="ClientIP", externalIPs=["192.0.2.1"])
    config = {"clientIP": {"timeoutSeconds": 60}}
    given = live(last, sessionAffinity="ClientIP", sessionAffinityConfig=config, externalIPs=["192.0.2.1"])
    gone = fields(applied([given, NODE, *PODS], [manifest()]))
    assert gone["spec.externalIPs"] == (["192.0.2.1"], None)
    assert gone["spec.sessionAffinity"] == ("ClientIP", "None")


def test_what_somebody_else_set_stays() -> None:
    given = live(manifest(), externalIPs=["192.0.2.1"])
    assert fields(applied([given, NODE, *PODS], [manifest()])) == {}


def test_ports_are_known_by_their_number() -> None:
    https = {"name": "https", "port": 443, "targetPort": 8443}
    last = manifest(ports=[*manifest()["spec"]["ports"], https])
    stored = [*LIVE["spec"]["ports"], {**https, "protocol": "TCP", "nodePort": 30443}]
    edit = applied([live(last, ports=stored), NODE, *PODS], [manifest()])
    (after,) = (obj for obj in edit.after if obj["kind"] == "Service")
    assert [port["nodePort"] for port in after["spec"]["ports"]] == [30080]


def test_another_type_drops_what_it_does_not_own() -> None:
    (after,) = (obj for obj in applied([live(manifest())], [manifest(type="ClusterIP")]).after)
    assert "nodePort" not in after["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in after["spec"]


def test_a_new_service_says_what_is_yet_to_be_allocated() -> None:
    edit = applied([NODE, *PODS], [manifest()])
    assert [change.change for change in edit.changes if change.kind == "Service"] == ["added"]
    assert [note.partition(" yet")[0] for note in edit.notes] == [
        "Service default/web has no clusterIP",
        "Service default/web has no node port for port 80",
    ]


def test_another_selector_brings_other_endpoints() -> None:
    """As the EndpointSlice controller would have it."""
    first = applied([live(manifest()), NODE, *PODS], [manifest()])
    assert endpoints(first) == ["10.10.1.3"]
    second = applied(first.after, [manifest(selector={"app": "api"})])
    assert endpoints(second) == ["10.10.1.4"]
    assert [change.change for change in second.changes] == ["changed", "changed"]


def test_slices_that_are_given_are_taken_as_they_are() -> None:
    given: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "own", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.10.9.9"], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 8080}],
    }
    edit = applied([live(manifest())], [given])
    assert endpoints(edit) == ["10.10.9.9"]
    assert [(change.kind, change.change) for change in edit.changes] == [("EndpointSlice", "added")]


def test_kinds_that_agents_do_not_read_are_counted() -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "namespace": "default"}}
    edit = applied([live()], [deployment, deployment | {"metadata": {"name": "y", "namespace": "default"}}])
    assert (edit.changes, edit.ignored) == ((), {"Deployment": 2})


def test_whole_states_are_compared_as_they_are() -> None:
    edit = replaced([live()], [])
    assert [(change.kind, change.change) for change in edit.changes] == [("Service", "removed")]
    assert replaced([live()], [live()]).changes == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (manifest(type="Nodeport"), "Service default/web: spec.type: Unsupported value"),
        (manifest(externalTrafficPolicy="local"), "Service default/web: spec.externalTrafficPolicy: Unsupported value"),
        (manifest(clusterIP="10.200.1.6"), "Service default/web: spec.clusterIPs: Invalid value"),
        (manifest(ports=[{"port": "eighty"}]), "Service default/web: "),
    ],
)
def test_what_the_api_server_would_refuse_is_refused(given: Object, said: str) -> None:
    with pytest.raises(Refused) as refused:
        applied([live(manifest())], [given])
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
