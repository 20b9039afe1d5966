"""Services and EndpointSlices by the thousand, as the API would send them. Pure.

Cluster IPs are of 10.96.0.0/12 and pods of 10.128.0.0/9, ten nodes share the pods, and no slice holds more than the
hundred endpoints that the endpoint slice controller puts in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from fairway.api.codec import decode_endpoint_slice, decode_node, decode_service
from fairway.api.core import Service, ServiceType
from fairway.api.discovery import SERVICE_NAME_LABEL, EndpointSlice
from fairway.api.types import Key, Object
from fairway.base.errors import Refused
from fairway.plan.options import NodeView, Options, parse_options, view_node

SERVICE_NETWORK = IPv4Network("10.96.0.0/12")
POD_NETWORK = IPv4Network("10.128.0.0/9")
NODES = 10
ENDPOINTS_PER_SLICE = 100
"""--max-endpoints-per-slice of kube-controller-manager, its default."""
SERVICES_PER_NAMESPACE = 5000
"""As many as Kubernetes' scalability thresholds allow."""
PORT, TARGET_PORT = 80, 8080
FIRST_NODE_PORT = 30000
"""The first of --service-node-port-range; its default ends at 32767, which is too few for a bench."""
LAST_PORT = 65535

_SPARED = 16
"""Addresses left out at the start of either network: 10.96.0.1 and .10 are the API server's and the DNS's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many of what.

    udp_at: the index of the one Service that is UDP; None for none. spared_ips: how many cluster IPs are left to
    others. Raises Refused for more than the networks, or the node ports, hold.
    """

    services: int
    endpoints: int
    type: ServiceType = ServiceType.CLUSTER_IP
    udp_at: int | None = None
    spared_ips: int = 0

    def __post_init__(self) -> None:
        if self.spared_ips + self.services > SERVICE_NETWORK.num_addresses - 2 * _SPARED:
            raise Refused(f"{self.services} Services: {SERVICE_NETWORK} has no addresses for so many")
        if self.services * self.endpoints > POD_NETWORK.num_addresses // 2:
            raise Refused(f"{self.services} Services with {self.endpoints} endpoints each: too many for {POD_NETWORK}")
        if self.type is ServiceType.NODE_PORT and node_port(self.services - 1) > LAST_PORT:
            most = LAST_PORT - FIRST_NODE_PORT + 1
            raise Refused(f"{self.services} Services of type NodePort: there are {most} ports; ask for fewer")


def cluster_ip(shape: Shape, service: int) -> IPv4Address:
    """Of the Service of that index."""
    return SERVICE_NETWORK[shape.spared_ips + service + _SPARED]


def node_port(service: int) -> int:
    """Of the Service of that index."""
    return FIRST_NODE_PORT + service


def pod_address(shape: Shape, service: int, endpoint: int) -> IPv4Address:
    """Of one endpoint of the Service of that index."""
    return POD_NETWORK[service * shape.endpoints + endpoint + _SPARED]


def service_key(service: int) -> Key:
    """Of the Service of that index; keys sort as indexes do, so that rules in the order of names are in theirs."""
    return Key(f"bench-{service // SERVICES_PER_NAMESPACE:03}", f"svc-{service:06}")


def service_object(shape: Shape, service: int) -> Object:
    """The v1 Service of that index."""
    namespace, name = service_key(service)
    address = str(cluster_ip(shape, service))
    port: Object = {"name": "main", "protocol": _protocol(shape, service), "port": PORT, "targetPort": TARGET_PORT}
    if shape.type is ServiceType.NODE_PORT:
        port["nodePort"] = node_port(service)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
        "spec": {
            "type": shape.type.value,
            "clusterIP": address,
            "clusterIPs": [address],
            "selector": {"app": name},
            "ports": [port],
        },
    }


def slice_objects(shape: Shape, service: int) -> list[Object]:
    """The EndpointSlices of the Service of that index; one without endpoints where it has none."""
    starts = range(0, shape.endpoints, ENDPOINTS_PER_SLICE) or [0]
    return [
        _slice_object(shape, service, number, range(start, min(start + ENDPOINTS_PER_SLICE, shape.endpoints)))
        for number, start in enumerate(starts)
    ]


def _slice_object(shape: Shape, service: int, number: int, endpoints: range) -> Object:
    namespace, name = service_key(service)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": f"{name}-{number}", "labels": {SERVICE_NAME_LABEL: name}},
        "addressType": "IPv4",
        "endpoints": [_endpoint(shape, service, endpoint) for endpoint in endpoints],
        "ports": [{"name": "main", "protocol": _protocol(shape, service), "port": TARGET_PORT}],
    }


def _endpoint(shape: Shape, service: int, endpoint: int) -> Object:
    return {
        "addresses": [str(pod_address(shape, service, endpoint))],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": f"node-{(service + endpoint) % NODES}",
    }


def _protocol(shape: Shape, service: int) -> str:
    return "UDP" if service == shape.udp_at else "TCP"


@dataclass(frozen=True, slots=True)
class Known:
    """A Service and its slices, decoded."""

    service: Service
    slices: tuple[EndpointSlice, ...]


def decoded(shape: Shape) -> Iterator[Known]:
    """All Services of a shape, in the order of their indexes; the objects themselves are let go one by one."""
    for index in range(shape.services):
        slices = (decode_endpoint_slice(obj) for obj in slice_objects(shape, index))
        yield Known(decode_service(service_object(shape, index)), tuple(slices))


def view(node_address: str) -> NodeView:
    """The first of the nodes, with that address; its node ports are on this address alone (KEP-4180)."""
    return view_node(
        decode_node({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}}), _options(node_address)
    )


def _options(node_address: str) -> Options:
    return parse_options(
        cluster_cidrs=[str(POD_NETWORK)],
        node_addresses=[node_address],
        node_port_addresses=["primary"],
        localhost_node_ports=False,
    )
