"""Which parts of a Service's spec its type needs (kubernetes `pkg/api/service/util.go`). Over plain dicts."""

from __future__ import annotations

from typing import Any

from fairway.api.types import Object
from fairway.apiserver.validation import names

NONE = "None"
"""A headless Service's clusterIP."""

IPV4 = "IPv4"
IPV6 = "IPv6"


def service_type(spec: Object) -> str:
    return str(spec.get("type") or "")


def needs_cluster_ip(spec: Object) -> bool:
    return service_type(spec) in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_port(spec: Object) -> bool:
    return service_type(spec) in ("NodePort", "LoadBalancer")


def allocates_node_ports(spec: Object) -> bool:
    """Whether ports without a nodePort get one."""
    if service_type(spec) == "LoadBalancer":
        return bool(spec.get("allocateLoadBalancerNodePorts", True))
    return service_type(spec) == "NodePort"


def externally_accessible(spec: Object) -> bool:
    """Reachable through a node port, a load balancer or an external IP: only then has it an externalTrafficPolicy."""
    return needs_node_port(spec) or (service_type(spec) == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Object) -> bool:
    """Whether a load balancer asks the nodes which of them has local endpoints (healthCheckNodePort)."""
    return service_type(spec) == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_headless(spec: Object) -> bool:
    return cluster_ips(spec)[:1] == [NONE] or spec.get("clusterIP") == NONE


def cluster_ips(spec: Object) -> list[str]:
    return list(spec.get("clusterIPs") or [])


def ip_families(spec: Object) -> list[str]:
    return list(spec.get("ipFamilies") or [])


def ports(spec: Object) -> list[Object]:
    return list(spec.get("ports") or [])


def node_ports(spec: Object) -> list[int]:
    """Every node port once, in the order of the ports."""
    return list(dict.fromkeys(int(port["nodePort"]) for port in ports(spec) if port.get("nodePort")))


def family_of(ip: str) -> str:
    """The family of an address that is one."""
    parsed = names.parse_ip(ip)
    return IPV6 if parsed is not None and parsed.version == 6 else IPV4


def set_or_drop(spec: Object, field: str, value: Any) -> None:
    """Sets a field; an empty value is no field, as Go's encoding has it."""
    if value:
        spec[field] = value
    else:
        spec.pop(field, None)


def keeps_dual_stack(spec: Object, old: Object) -> bool:
    """Whether a PreferDualStack Service stays as it is: a cluster that gains or loses a family changes nothing."""
    return (
        spec.get("ipFamilyPolicy") == old.get("ipFamilyPolicy") == "PreferDualStack"
        and service_type(old) != "ExternalName"
        and cluster_ips(spec) == cluster_ips(old)
        and ip_families(spec) == ip_families(old)
    )
