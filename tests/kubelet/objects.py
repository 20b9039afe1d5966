"""Builders of pods for the kubelet's tests; what a test does not name has the API server's defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairway.api.types import Object
from fairway.kubelet.pod import PodSpec, parse_pod

NODE = "myk8s-worker"
NODE_IP = "172.18.0.5"
POD_IP = "10.10.1.2"
ECHO = "mendhak/http-https-echo"


def container(name: str = "web", image: str = "busybox", **fields: Any) -> Object:
    return {"name": name, "image": image, **fields}


def pod_object(
    name: str = "web",
    *containers: Object,
    namespace: str = "default",
    uid: str = "",
    deleted: int | None = None,
    status: Object | None = None,
    **spec: Any,
) -> Object:
    """A pod bound to NODE. deleted: its deletionGracePeriodSeconds once it is being deleted."""
    metadata: Object = {"name": name, "namespace": namespace, "uid": uid or f"uid-of-{name}"}
    if deleted is not None:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": deleted}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": NODE, "containers": list(containers or (container(),)), **spec},
        "status": status or {"phase": "Pending"},
    }


def pod_spec(*containers: Object, **fields: Any) -> PodSpec:
    return parse_pod(pod_object("web", *containers, **fields))


def service(
    name: str,
    *,
    namespace: str = "default",
    cluster_ip: str = "10.200.1.60",
    ports: tuple[tuple[str, int], ...] = (("http", 80),),
    **fields: Any,
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": cluster_ip,
            "ports": [
                {**({"name": port} if port else {}), "port": number, "protocol": "TCP"} for port, number in ports
            ],
        },
        **fields,
    }


def shell(script: str, name: str = "web", **fields: Any) -> Object:
    return container(name, command=["/bin/sh", "-c", script], **fields)


def exists(path: Path) -> Object:
    """A probe that succeeds while the file is there."""
    return {"exec": {"command": ["test", "-e", str(path)]}, "periodSeconds": 1, "failureThreshold": 1}


def stubborn(path: Path) -> Object:
    """A container that ignores SIGTERM; ready once it does."""
    return shell(f"trap '' TERM; touch {path}; while :; do sleep 0.01; done", readinessProbe=exists(path))
