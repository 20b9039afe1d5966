"""Cells and columns that the recorded tables (test_golden_exchanges) do not show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.api import resources as kinds
from fairway.api.resources import RESOURCES, Resource
from fairway.apiserver.tables import table

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
META = {"name": "x", "namespace": "default", "creationTimestamp": "2026-11-23T12:00:00Z"}


def cells(resource: Resource, **parts: Any) -> dict[str, Any]:
    metadata = {**META, **parts.pop("metadata", {})}
    made = table(resource, [{"metadata": metadata, **parts}], now=NOW)
    names = [column["name"] for column in made["columnDefinitions"]]
    return dict(zip(names, made["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize(
    ("spec", "ingress", "shown"),
    [
        ({"type": "ClusterIP"}, [], "<none>"),
        ({"type": "NodePort", "externalIPs": ["192.0.2.1", "192.0.2.2"]}, [], "192.0.2.1,192.0.2.2"),
        ({"type": "LoadBalancer"}, [], "<pending>"),
        ({"type": "LoadBalancer"}, [{"ip": "172.18.255.200", "ipMode": "VIP"}], "172.18.255.200"),
        ({"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]}, [{"hostname": "lb.example"}], "lb.example,192.0.2.1"),
        ({"type": "ExternalName", "externalName": "example.com"}, [], "example.com"),
    ],
)
def test_a_service_shows_where_it_is_reached_from_outside(spec: Any, ingress: Any, shown: str) -> None:
    found = cells(kinds.SERVICES, spec=spec, status={"loadBalancer": {"ingress": ingress}})
    assert found["External-IP"] == shown


def test_a_service_without_address_ports_or_selector_shows_none() -> None:
    found = cells(kinds.SERVICES, spec={"type": "ExternalName", "externalName": "a"})
    assert (found["Cluster-IP"], found["Port(s)"], found["Selector"]) == ("<none>", "<none>", "<none>")


def test_a_deployment_shows_its_numbers_and_containers() -> None:
    spec = {
        "replicas": 3,
        "selector": {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]},
        "template": {"spec": {"containers": [{"name": "x", "image": "i"}, {"name": "y", "image": "j"}]}},
    }
    status = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}
    assert cells(kinds.DEPLOYMENTS, spec=spec, status=status) == {
        "Name": "x",
        "Ready": "2/3",
        "Up-to-date": 3,
        "Available": 1,
        "Age": "30s",
        "Containers": "x,y",
        "Images": "i,j",
        "Selector": "a=1,b=2,c",
    }
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web", "controller": True}
    owned = {"name": "x", "creationTimestamp": "2026-11-23T12:00:00Z", "ownerReferences": [owner]}
    shown = list(cells(kinds.CONTROLLER_REVISIONS, metadata=owned, revision=3).values())
    assert shown[1:3] == ["daemonset.apps/web", 3]
    shown = list(cells(kinds.PRIORITY_CLASSES, value=5, preemptionPolicy="Never").values())
    assert (shown[1:3], shown[-1]) == ([5, False], "Never")
    assert list(cells(kinds.CONTROLLER_REVISIONS, revision=0).values())[1:3] == ["<none>", 0]
    assert list(cells(kinds.REPLICA_SETS, spec=spec, status={**status, "replicas": 3}).values())[1:4] == [3, 3, 2]
    spec["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    status = {count: number for number, count in enumerate((*counts, "numberAvailable"), 1)}
    assert list(cells(kinds.DAEMON_SETS, spec=spec, status=status).values())[1:7] == [1, 2, 3, 4, 5, "disk=ssd"]


@pytest.mark.parametrize(
    ("conditions", "spec", "status"),
    [
        ([], {}, "Unknown"),
        ([{"type": "Ready", "status": "True"}], {}, "Ready"),
        ([{"type": "Ready", "status": "Unknown"}], {}, "NotReady"),
        ([{"type": "Ready", "status": "True"}], {"unschedulable": True}, "Ready,SchedulingDisabled"),
    ],
)
def test_a_node_shows_its_readiness(conditions: Any, spec: Any, status: str) -> None:
    assert cells(kinds.NODES, spec=spec, status={"conditions": conditions})["Status"] == status


def test_a_node_shows_its_roles_and_system() -> None:
    labels = {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}
    info = {"kubeletVersion": "v1", "osImage": "Debian", "kernelVersion": "6", "containerRuntimeVersion": "none"}
    found = cells(
        kinds.NODES,
        metadata={"labels": labels},
        spec={},
        status={"nodeInfo": info, "addresses": [{"type": "InternalIP", "address": "172.18.0.3"}]},
    )
    assert list(found.values())[2:] == [
        "control-plane,edge",
        "30s",
        "v1",
        "172.18.0.3",
        "<none>",
        "Debian",
        "6",
        "none",
    ]


def test_many_endpoints_are_cut_after_three() -> None:
    endpoints = [{"addresses": [f"10.10.1.{last}"]} for last in range(2, 7)]
    ports = [{"port": number} for number in (80, 81, 82, 83)]
    found = cells(kinds.ENDPOINT_SLICES, addressType="IPv4", endpoints=endpoints, ports=ports)
    assert found["Endpoints"] == "10.10.1.2,10.10.1.3,10.10.1.4 + 2 more..."
    assert found["Ports"] == "80,81,82 + 1 more..."
    empty = cells(kinds.ENDPOINT_SLICES, addressType="IPv4", endpoints=None, ports=None)
    assert (empty["Endpoints"], empty["Ports"]) == ("<unset>", "<unset>")


def test_endpoints_show_addresses_with_ports() -> None:
    subsets = [{"addresses": [{"ip": "10.10.1.2"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]}]
    assert cells(kinds.ENDPOINTS, subsets=subsets)["Endpoints"] == "10.10.1.2:80,[fd00::1]:80"
    assert cells(kinds.ENDPOINTS, subsets=[{"addresses": [{"ip": "10.10.1.2"}]}])["Endpoints"] == "10.10.1.2"
    assert cells(kinds.ENDPOINTS, subsets=[])["Endpoints"] == "<none>"


def test_data_is_counted() -> None:
    assert cells(kinds.CONFIG_MAPS, data={"a": "1"}, binaryData={"b": "MQ=="})["Data"] == "2"
    assert cells(kinds.SECRETS, data={"a": "MQ=="}, type="Opaque")["Data"] == "1"


def test_an_event_of_the_newer_kind_is_shown_too() -> None:
    found = cells(
        kinds.EVENTS,
        involvedObject={"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
        eventTime="2026-11-23T11:59:30.000000Z",
        series={"count": 4, "lastObservedTime": "2026-11-23T12:00:20.000000Z"},
        reportingComponent="kubelet",
        reportingInstance="n1",
        type="Normal",
        reason="Pulled",
        message=" done ",
    )
    assert list(found.values()) == [
        "10s",
        "Normal",
        "Pulled",
        "pod/p",
        "spec.containers{c}",
        "kubelet, n1",
        "done",
        "60s",
        4,
        "x",
    ]


@pytest.mark.parametrize("include", ["Metadata", "Object", "None"])
def test_a_row_carries_what_was_asked_for(include: str) -> None:
    obj = {"metadata": META, "data": {"a": "b"}}
    row = table(kinds.CONFIG_MAPS, [obj], now=NOW, include=include)["rows"][0]
    assert (
        row.get("object")
        == {
            "Metadata": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": META},
            "Object": {"kind": "ConfigMap", "apiVersion": "v1", **obj},
            "None": None,
        }[include]
    )


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_every_kind_has_one_column_for_the_name(resource: Resource) -> None:
    columns = table(resource, [], now=NOW)["columnDefinitions"]
    assert [column["name"] for column in columns if column["format"] == "name"] == ["Name"]
