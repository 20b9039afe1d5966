"""The Service that leads to the cluster's DNS server, where kubeadm has it. Pure.

Facts: kubeadm `app/phases/addons/dns/manifests.go`, `app/constants/constants.go` (GetDNSIP). It has no selector, as its
server is no pod but a program on the control plane; so its Endpoints and slices are made with it, as those of the
Service `kubernetes` are.
"""

from __future__ import annotations

from collections.abc import Iterable

from fairway.api.discovery import SERVICE_NAME_LABEL
from fairway.api.types import Key, Object
from fairway.base.addresses import Family, IPAddress
from fairway.base.errors import Refused
from fairway.cluster.kubeadm import KUBE_SYSTEM
from fairway.cluster.scenario import Scenario
from fairway.dns.server import PORT

KUBE_DNS = Key(KUBE_SYSTEM, "kube-dns")

_PLACE = 10
"""Its address is the tenth of the network of Services."""

_PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))

_LABELS = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}


def cluster_addresses(scenario: Scenario) -> tuple[IPAddress, ...]:
    """The clusterIPs of the Service, one of each family. Raises Refused for a network that is too small."""
    return tuple(_tenth(scenario, family) for family in scenario.families)


def server_addresses(scenario: Scenario) -> tuple[IPAddress, ...]:
    """Where the server listens: the control plane's own addresses."""
    return next(node.addresses for node in scenario.topology.nodes if node.name == scenario.control_plane)


def objects(scenario: Scenario) -> list[Object]:
    """The Service, its Endpoints, and a slice of each family. Raises Refused as `cluster_addresses` does."""
    addresses = server_addresses(scenario)
    return [_service(cluster_addresses(scenario)), _endpoints(addresses[0]), *map(_slice, addresses)]


def _tenth(scenario: Scenario, family: Family) -> IPAddress:
    network = next(r.service_cidr for r in scenario.topology.ranges if r.service_cidr.version == int(family))
    if network.num_addresses <= _PLACE:
        raise Refused(f"network of Services {network}: DNS takes the tenth address of it; choose a larger one")
    return network[_PLACE]


def _service(addresses: Iterable[IPAddress]) -> Object:
    told = [str(address) for address in addresses]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(KUBE_DNS.name, _LABELS),
        "spec": {
            "clusterIP": told[0],
            "clusterIPs": told,
            "ipFamilyPolicy": "SingleStack" if len(told) == 1 else "RequireDualStack",
            "ports": [{"name": name, "protocol": protocol, "port": PORT} for name, protocol in _PORTS],
        },
    }


def _endpoints(address: IPAddress) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": _metadata(KUBE_DNS.name, {**_LABELS, "endpointslice.kubernetes.io/skip-mirror": "true"}),
        "subsets": [{"addresses": [{"ip": str(address)}], "ports": _endpoint_ports()}],
    }


def _slice(address: IPAddress) -> Object:
    family = Family(address.version)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(f"{KUBE_DNS.name}-{family.api_name.lower()}", {SERVICE_NAME_LABEL: KUBE_DNS.name}),
        "addressType": family.api_name,
        "endpoints": [{"addresses": [str(address)], "conditions": {"ready": True}}],
        "ports": _endpoint_ports(),
    }


def _endpoint_ports() -> list[Object]:
    return [{"name": name, "protocol": protocol, "port": PORT} for name, protocol in _PORTS]


def _metadata(name: str, labels: dict[str, str]) -> Object:
    return {"name": name, "namespace": KUBE_DNS.namespace, "labels": labels}
