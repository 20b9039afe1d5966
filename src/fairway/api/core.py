"""Service, Node and Pod, only the fields that agents and the explainer read (k8s.io/api `core/v1/types.go`).

Fields that are absent have the API's defaults, so that a manifest means what it will mean once it is stored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

from fairway.api.meta import ObjectMeta, json_name

PortNumber = Annotated[int, Meta(ge=1, le=65535)]
OptionalPortNumber = Annotated[int, Meta(ge=0, le=65535)]
"""0 means none."""

NONE = "None"
"""The clusterIP of a headless Service."""

SERVICE_PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
"""A Service with it, whatever the value, belongs to another proxy (KEP-2447)."""

ZONE_LABEL = "topology.kubernetes.io/zone"

DEFAULT_CLIENT_IP_TIMEOUT_S = 10800
"""`DefaultClientIPServiceAffinitySeconds`: three hours."""


class ApiProtocol(StrEnum):
    """A transport protocol as objects name it."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class ServiceType(StrEnum):
    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class TrafficPolicy(StrEnum):
    """Of both `internalTrafficPolicy` and `externalTrafficPolicy`."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


class SessionAffinity(StrEnum):
    NONE = "None"
    CLIENT_IP = "ClientIP"


class IPMode(StrEnum):
    """Whether nodes serve a load balancer's address themselves (VIP) or leave it to the load balancer (KEP-1860)."""

    VIP = "VIP"
    PROXY = "Proxy"


class ServicePort(Struct, frozen=True, kw_only=True, rename=json_name):
    """name: "" where the Service's only port has none. node_port: 0 where there is none."""

    port: PortNumber
    name: str = ""
    protocol: ApiProtocol = ApiProtocol.TCP
    node_port: OptionalPortNumber = 0


class ClientIPConfig(Struct, frozen=True, kw_only=True, rename=json_name):
    timeout_seconds: Annotated[int, Meta(ge=1, le=86400)] = DEFAULT_CLIENT_IP_TIMEOUT_S


class SessionAffinityConfig(Struct, frozen=True, kw_only=True):
    client_ip: ClientIPConfig = field(default_factory=ClientIPConfig, name="clientIP")


class ServiceSpec(Struct, frozen=True, kw_only=True, rename=json_name):
    """cluster_ip: "" before it is allocated, "None" for a headless Service; cluster_ips repeats it, one a family."""

    type: ServiceType = ServiceType.CLUSTER_IP
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    external_ips: tuple[str, ...] = ()
    session_affinity: SessionAffinity = SessionAffinity.NONE
    session_affinity_config: SessionAffinityConfig = field(default_factory=SessionAffinityConfig)
    internal_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    external_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    health_check_node_port: OptionalPortNumber = 0
    load_balancer_source_ranges: tuple[str, ...] = ()


class LoadBalancerIngress(Struct, frozen=True, kw_only=True, rename=json_name):
    """ip: "" where the load balancer has only a hostname."""

    ip: str = ""
    ip_mode: IPMode = IPMode.VIP


class LoadBalancerStatus(Struct, frozen=True, kw_only=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Struct, frozen=True, kw_only=True, rename=json_name):
    load_balancer: LoadBalancerStatus = field(default_factory=LoadBalancerStatus)


class Service(Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta
    spec: ServiceSpec = field(default_factory=ServiceSpec)
    status: ServiceStatus = field(default_factory=ServiceStatus)

    @property
    def is_headless(self) -> bool:
        return NONE in (self.spec.cluster_ip, *self.spec.cluster_ips)

    @property
    def is_externally_reachable(self) -> bool:
        """Whether `externalTrafficPolicy` means anything (`ExternallyAccessible` in api/v1/service/util.go)."""
        return self.spec.type in (ServiceType.NODE_PORT, ServiceType.LOAD_BALANCER) or bool(self.spec.external_ips)


class ContainerPort(Struct, frozen=True, kw_only=True, rename=json_name):
    """name: "" where it has none; a Service's targetPort may name it. host_port: 0 where there is none."""

    container_port: PortNumber
    name: str = ""
    protocol: ApiProtocol = ApiProtocol.TCP
    host_port: OptionalPortNumber = 0


class Container(Struct, frozen=True, kw_only=True, rename=json_name):
    """restart_policy: "Always" makes a sidecar of an init container (KEP-753), "" else."""

    name: str
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str = ""


class PodSpec(Struct, frozen=True, kw_only=True, rename=json_name):
    """node_name: "" before it is scheduled."""

    node_name: str = ""
    host_network: bool = False
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class PodIP(Struct, frozen=True, kw_only=True):
    ip: str = ""


class PodStatus(Struct, frozen=True, kw_only=True, rename=json_name):
    """pod_ips repeats pod_ip, one a family; both are empty before the pod has a network."""

    phase: str = ""
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()


class Pod(Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)

    @property
    def addresses(self) -> tuple[str, ...]:
        """As they are written, the primary one first; none before it has a network."""
        told = tuple(each.ip for each in self.status.pod_ips if each.ip)
        return told or ((self.status.pod_ip,) if self.status.pod_ip else ())

    @property
    def is_over(self) -> bool:
        """It has ended for good, so that its address may be another pod's by now."""
        return self.status.phase in ("Succeeded", "Failed")


class NodeAddress(Struct, frozen=True, kw_only=True):
    """type: InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS."""

    type: str
    address: str


class NodeStatus(Struct, frozen=True, kw_only=True):
    addresses: tuple[NodeAddress, ...] = ()


class Taint(Struct, frozen=True, kw_only=True):
    key: str
    effect: str = ""
    value: str = ""


class NodeSpec(Struct, frozen=True, kw_only=True, rename=json_name):
    """pod_cidrs: the networks its pods have addresses of, at most one of each family; pod_cidr is the first of them."""

    taints: tuple[Taint, ...] = ()
    pod_cidr: str = ""
    pod_cidrs: tuple[str, ...] = ()

    @property
    def pod_networks(self) -> tuple[str, ...]:
        """As they are written, the primary one first; none before they are allocated."""
        return self.pod_cidrs or ((self.pod_cidr,) if self.pod_cidr else ())


class Node(Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)
