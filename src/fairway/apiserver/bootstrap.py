"""What a cluster has before anybody asks: its namespaces, its own priority classes and the `kubernetes` Service.

Facts: `pkg/controlplane/controller/{systemnamespaces,kubernetesservice}`, `pkg/controlplane/reconcilers`.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from fairway.api.resources import ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, PRIORITY_CLASSES, SERVICES, Resource
from fairway.api.types import Key, Object
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.priorities import system_classes
from fairway.apiserver.registry import Registry, create, update
from fairway.base.addresses import IPNetwork

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
KUBERNETES = Key("default", "kubernetes")
_PORT_NAME = "https"
_SERVICE_PORT = 443


def ensure(
    registry: Registry, *, service_cidr: IPNetwork, address: IPv4Address, port: int, around: Surroundings
) -> None:
    """Create what is missing, and point the `kubernetes` Service at this server; nothing is written where all is well.

    address, port: where this server is reached from inside the cluster. The Service takes the first address of its
    network, as the real one does.
    """
    for name in SYSTEM_NAMESPACES:
        if registry.revisions.latest(NAMESPACES, Key("", name)) is None:
            _create(registry, NAMESPACES, _namespace(name), around)
    for one in system_classes():
        if registry.revisions.latest(PRIORITY_CLASSES, Key("", one["metadata"]["name"])) is None:
            _create(registry, PRIORITY_CLASSES, one, around)
    if registry.revisions.latest(SERVICES, KUBERNETES) is None:
        _create(registry, SERVICES, _service(service_cidr, port), around)
    _ensure(registry, ENDPOINTS, _endpoints(address, port), around)
    _ensure(registry, ENDPOINT_SLICES, _endpoint_slice(address, port), around)


def is_complete(registry: Registry) -> bool:
    """Nothing of it is missing; what it says is not looked at."""
    revisions = registry.revisions
    return all(revisions.latest(NAMESPACES, Key("", name)) is not None for name in SYSTEM_NAMESPACES) and all(
        revisions.latest(resource, KUBERNETES) is not None for resource in (SERVICES, ENDPOINTS, ENDPOINT_SLICES)
    )


def _create(registry: Registry, resource: Resource, wanted: Object, around: Surroundings) -> None:
    obj, _ = registry.strategy_for(resource).decode(wanted)
    create(registry, resource, KUBERNETES.namespace if resource.namespaced else "", obj, around)


def _ensure(registry: Registry, resource: Resource, wanted: Object, around: Surroundings) -> None:
    found = registry.revisions.latest(resource, KUBERNETES)
    if found is None:
        _create(registry, resource, wanted, around)
        return
    metadata = {**found.obj["metadata"], "labels": wanted["metadata"]["labels"]}
    obj, _ = registry.strategy_for(resource).decode({**wanted, "metadata": metadata})
    update(registry, found, obj)


def _namespace(name: str) -> Object:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def _service(service_cidr: IPNetwork, port: int) -> Object:
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": KUBERNETES.name, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": str(service_cidr[1]),
            "sessionAffinity": "None",
            "ports": [{"name": _PORT_NAME, "protocol": "TCP", "port": _SERVICE_PORT, "targetPort": port}],
        },
        "status": {"loadBalancer": {}},
    }


def _endpoints(address: IPv4Address, port: int) -> Object:
    return {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {"name": KUBERNETES.name, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [
            {
                "addresses": [{"ip": str(address)}],
                "ports": [{"name": _PORT_NAME, "port": port, "protocol": "TCP"}],
            }
        ],
    }


def _endpoint_slice(address: IPv4Address, port: int) -> Object:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": KUBERNETES.name, "labels": {"kubernetes.io/service-name": KUBERNETES.name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [str(address)], "conditions": {"ready": True}}],
        "ports": [{"name": _PORT_NAME, "port": port, "protocol": "TCP"}],
    }
