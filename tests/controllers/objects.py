"""Objects for tests, as an API server would store them, with only the fields a test speaks of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

NOW = datetime(2025, 6, 1, 12, 0, 0, tzinfo=UTC)
LONG_AGO = "2025-06-01T11:00:00Z"

Json = dict[str, Any]


def metadata(name: str, **fields: Any) -> Json:
    given = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": LONG_AGO,
    } | fields
    return {key: value for key, value in given.items() if value is not None}


def controlled_by(owner: Json) -> Json:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod(
    name: str,
    *,
    labels: Json | None = None,
    node: str | None = None,
    ip: str | None = None,
    ready: bool = False,
    phase: str = "Running",
    ready_since: str = LONG_AGO,
    owner: Json | None = None,
    terminating: bool = False,
    spec: Json | None = None,
    **fields: Any,
) -> Json:
    made = metadata(name, labels=labels or {"app": "web"}, **fields)
    if owner is not None:
        made["ownerReferences"] = [controlled_by(owner)]
    if terminating:
        made["deletionTimestamp"] = LONG_AGO
    status: Json = {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": ready_since}],
    }
    if ip is not None:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    wanted: Json = {"containers": [{"name": "c", "image": "i"}]} | ({"nodeName": node} if node else {}) | (spec or {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": wanted, "status": status}


def node(
    name: str,
    *,
    ready: str | None = "True",
    taints: list[Json] | None = None,
    labels: Json | None = None,
    pods: str | None = None,
    allocatable: Json | None = None,
    **spec: Any,
) -> Json:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    room = {**(allocatable or {}), **({"pods": pods} if pods else {})}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata(name, namespace=None, labels={"kubernetes.io/hostname": name} | (labels or {})),
        "spec": ({"taints": taints} if taints else {}) | spec,
        "status": {"conditions": conditions} | ({"allocatable": room} if room else {}),
    }


def service(name: str = "web", *, spec: Json | None = None, status: Json | None = None, **fields: Any) -> Json:
    wanted: Json = {
        "type": "ClusterIP",
        "clusterIP": "10.200.1.10",
        "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        "ipFamilies": ["IPv4"],
    } | (spec or {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, **fields),
        "spec": {key: value for key, value in wanted.items() if value is not None},
        "status": status if status is not None else {"loadBalancer": {}},
    }


def replica_set(name: str = "web-abc", *, replicas: int = 3, status: Json | None = None, **fields: Any) -> Json:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata(name, labels=labels, generation=1, **fields),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
        "status": status or {"replicas": 0},
    }


def deployment(name: str = "web", *, image: str = "i", status: Json | None = None, **spec: Any) -> Json:
    wanted = {
        "replicas": 3,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": image}]},
        },
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    } | spec
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, labels={"app": name}, generation=1),
        "spec": {key: value for key, value in wanted.items() if value is not None},
        "status": status or {},
    }
