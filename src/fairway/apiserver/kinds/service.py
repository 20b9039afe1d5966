"""Services: defaults, changes of type, selectable fields (kubernetes `pkg/apis/core/v1/defaults.go`,
`pkg/registry/core/service/strategy.go`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.kinds.service_spec import (
    cluster_ips,
    externally_accessible,
    ip_families,
    is_headless,
    needs_cluster_ip,
    needs_health_check,
    needs_node_port,
    node_ports,
    ports,
    service_type,
)
from fairway.apiserver.kinds.service_validation import (
    validate_service,
    validate_service_status,
    validate_service_update,
)
from fairway.apiserver.strategy import Strategy
from fairway.apiserver.validation import names

AFFINITY_TIMEOUT_S = 10800
"""sessionAffinityConfig.clientIP.timeoutSeconds where it is not given (`DefaultClientIPServiceAffinitySeconds`)."""


class ServiceStrategy(Strategy):
    allow_create_on_update = True
    returns_deleted = True
    # KEP-5311: any RFC 1123 label, so that it may begin with a digit.
    name_rule = staticmethod(names.dns_label)
    selectable: ClassVar[Mapping[str, str]] = {"spec.clusterIP": "spec.clusterIP", "spec.type": "spec.type"}

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("sessionAffinity", "None")
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        if spec["sessionAffinity"] == "ClientIP" and not _has_timeout(spec):
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_TIMEOUT_S}}
        spec.setdefault("type", "ClusterIP")
        for port in ports(spec):
            port.setdefault("protocol", "TCP")
            if port.get("targetPort", 0) in (0, ""):
                port["targetPort"] = port["port"]
        if externally_accessible(spec):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if needs_cluster_ip(spec):
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if service_type(spec) == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
            for ingress in obj["status"]["loadBalancer"].get("ingress") or []:
                if ingress.get("ip"):
                    ingress.setdefault("ipMode", "VIP")

    def prepare_update(self, new: Object, old: Object, *, subresource: str = "") -> Object:
        made = super().prepare_update(new, old, subresource=subresource)
        if subresource == "":
            drop_type_dependent_fields(made["spec"], old["spec"])
        return made

    def validate(self, obj: Object) -> list[Cause]:
        return validate_service(obj)

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        return validate_service_update(new, old)

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        return validate_service_status(new)

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        spec = new["spec"]
        texts = []
        if spec.get("externalIPs"):
            texts.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
        if is_headless(spec):
            ignored = [field for field in ("loadBalancerIP", "externalIPs") if spec.get(field)]
            texts += [f"spec.{field} is ignored for headless services" for field in ignored]
            if spec.get("sessionAffinity") == "ClientIP":
                texts.append("spec.SessionAffinity is ignored for headless services")
        if spec.get("trafficDistribution") == "PreferClose":
            texts.append("spec.trafficDistribution: PreferClose is deprecated, use PreferSameZone instead")
        return texts


def _has_timeout(spec: Object) -> bool:
    client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return client_ip.get("timeoutSeconds") is not None


def drop_type_dependent_fields(spec: Object, old: Object) -> None:
    """Drops what the old type owned and the new one does not, unless the client changed it too: then it is an error.

    So `kubectl patch -p '{"spec":{"type":"ClusterIP"}}'` works without clearing every node port by hand.
    """
    if needs_cluster_ip(old) and not needs_cluster_ip(spec):
        if cluster_ips(spec) == cluster_ips(old):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        if ip_families(spec) == ip_families(old):
            spec.pop("ipFamilies", None)
        for field in ("ipFamilyPolicy", "internalTrafficPolicy"):
            _drop_unchanged(spec, old, field)
    if needs_node_port(old) and not needs_node_port(spec) and node_ports(spec) == node_ports(old):
        for port in ports(spec):
            port.pop("nodePort", None)
    if needs_health_check(old) and not needs_health_check(spec):
        _drop_unchanged(spec, old, "healthCheckNodePort")
    if service_type(old) == "LoadBalancer" != service_type(spec):
        _drop_unchanged(spec, old, "allocateLoadBalancerNodePorts")
        _drop_unchanged(spec, old, "loadBalancerClass")
    if externally_accessible(old) and not externally_accessible(spec):
        _drop_unchanged(spec, old, "externalTrafficPolicy")


def _drop_unchanged(spec: Object, old: Object, field: str) -> None:
    if spec.get(field) == old.get(field):
        spec.pop(field, None)
