"""What a cluster has before anybody asks: its namespaces, its own priority classes, the ServiceCIDR of the networks it
was started with, the `kubernetes` Service, and an IPAddress of every ClusterIP.

Facts: `pkg/controlplane/controller/{systemnamespaces,kubernetesservice}`, `pkg/controlplane/reconcilers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from fairway.api.resources import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    NAMESPACES,
    PRIORITY_CLASSES,
    SERVICE_CIDRS,
    SERVICES,
    Resource,
)
from fairway.api.types import Key, Object
from fairway.apiserver.ip_addresses import record_addresses
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.priorities import system_classes
from fairway.apiserver.registry import Registry, create, update
from fairway.apiserver.service_cidrs import default_service_cidr, settle_service_cidrs
from fairway.apiserver.service_networks import DEFAULT_SERVICE_CIDR
from fairway.base.addresses import IPNetwork

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
KUBERNETES = Key("default", "kubernetes")
_PORT_NAME = "https"
_SERVICE_PORT = 443


def ensure(
    registry: Registry, *, service_cidrs: Sequence[IPNetwork], address: IPv4Address, port: int, around: Surroundings
) -> None:
    """Create what is missing, and point the `kubernetes` Service at this server; nothing is written where all is well.

    service_cidrs: one network a family, the primary one first. address, port: where this server is reached from inside
    the cluster. The Service takes the first address of the first network, as the real one does.
    """
    for name in SYSTEM_NAMESPACES:
        if registry.revisions.latest(NAMESPACES, Key("", name)) is None:
            _create(registry, NAMESPACES, _namespace(name), around)
    for one in system_classes():
        if registry.revisions.latest(PRIORITY_CLASSES, Key("", one["metadata"]["name"])) is None:
            _create(registry, PRIORITY_CLASSES, one, around)
    if registry.revisions.latest(SERVICE_CIDRS, Key("", DEFAULT_SERVICE_CIDR)) is None:
        _create(registry, SERVICE_CIDRS, default_service_cidr(service_cidrs), around)
    settle_service_cidrs(registry, around)
    if registry.revisions.latest(SERVICES, KUBERNETES) is None:
        _create(registry, SERVICES, _service(service_cidrs[0], port), around)
    for service in registry.revisions.latest_records(SERVICES):
        record_addresses(registry.revisions, service, around)  # a store from before there were any has none
    _ensure(registry, ENDPOINTS, _endpoints(address, port), around)
    _ensure(registry, ENDPOINT_SLICES, _endpoint_slice(address, port), around)


def is_complete(registry: Registry) -> bool:
    """Nothing of it is missing; what it says is not looked at."""
    revisions = registry.revisions
    kept = [
        *((NAMESPACES, Key("", name)) for name in SYSTEM_NAMESPACES),
        (SERVICE_CIDRS, Key("", DEFAULT_SERVICE_CIDR)),
        *((resource, KUBERNETES) for resource in (SERVICES, ENDPOINTS, ENDPOINT_SLICES)),
    ]
    return all(revisions.latest(resource, key) is not None for resource, key in kept)


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
    update(registry, found, obj, around)


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
