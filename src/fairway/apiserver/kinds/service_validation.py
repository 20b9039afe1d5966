"""What is wrong with a Service (kubernetes `pkg/apis/core/validation/validation.go`: ValidateService and its parts).

The order of the causes is the real server's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.kinds.service_spec import (
    IPV4,
    IPV6,
    NONE,
    cluster_ips,
    externally_accessible,
    family_of,
    ip_families,
    is_headless,
    needs_cluster_ip,
    needs_health_check,
    ports,
    service_type,
)
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import (
    all_invalid,
    duplicate,
    forbidden,
    immutable,
    invalid_value,
    not_supported,
    one_of,
    required,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_TRAFFIC_POLICIES = ("Cluster", "Local")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def validate_service(service: Object) -> list[Cause]:
    """Everything below metadata."""
    spec = service["spec"]
    kind = service_type(spec)
    causes: list[Cause] = []
    if not ports(spec) and not is_headless(spec) and kind != "ExternalName":
        causes.append(required("spec.ports"))
    causes += _type_specific(spec)
    causes += _each_port(spec)
    causes += names.labels("spec.selector", spec.get("selector") or {})
    causes += _affinity(spec)
    causes += validate_cluster_ips(spec)
    for index, ip in enumerate(spec.get("externalIPs") or []):
        path = f"spec.externalIPs[{index}]"
        causes += names.ip_address(path, ip) or names.unicast_ip(path, ip)
    causes += one_of("spec.type", kind, _TYPES)
    causes += _port_conflicts(spec)
    causes += _source_ranges(service)
    causes += _load_balancer_fields(spec)
    causes += _external_traffic_policy(spec)
    causes += _internal_traffic_policy(spec)
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        causes.append(not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return causes


def validate_service_update(new: Object, old: Object) -> list[Cause]:
    """Everything below metadata of a changed Service."""
    causes = [*_cluster_ip_changes(new["spec"], old["spec"]), *_family_changes(new["spec"], old["spec"])]
    if service_type(new["spec"]) == service_type(old["spec"]) == "LoadBalancer":
        path = "spec.loadBalancerClass"
        causes += immutable(path, new["spec"].get("loadBalancerClass"), old["spec"].get("loadBalancerClass"))
    return causes + validate_service(new)


def validate_service_status(service: Object) -> list[Cause]:
    """status.loadBalancer (ValidateLoadBalancerStatus)."""
    ingresses = service["status"]["loadBalancer"].get("ingress") or []
    path = "status.loadBalancer.ingress"
    causes: list[Cause] = []
    if ingresses and service_type(service["spec"]) != "LoadBalancer":
        causes.append(forbidden(path, 'may only be used when `spec.type` is "LoadBalancer"'))
    for index, ingress in enumerate(ingresses):
        causes += _ingress(f"{path}[{index}]", ingress)
    return causes


def _ingress(path: str, ingress: Object) -> Iterator[Cause]:
    ip, mode, host = ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname")
    if ip:
        yield from names.ip_address(f"{path}.ip", ip)
        if mode is None:
            yield required(f"{path}.ipMode", "must be specified when `ip` is set")
    elif mode is not None:
        yield forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set")
    if ip and mode is not None and mode not in ("Proxy", "VIP"):
        yield not_supported(f"{path}.ipMode", mode, ("Proxy", "VIP"))
    if host:
        yield from all_invalid(f"{path}.hostname", host, names.dns_subdomain(host))
        if names.parse_ip(host) is not None:
            yield invalid_value(f"{path}.hostname", host, "must be a DNS name, not an IP address")


def _type_specific(spec: Object) -> Iterator[Cause]:
    kind = service_type(spec)
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        yield invalid_value("spec.clusterIPs[0]", NONE, f"may not be set to 'None' for {kind} services")
    if kind != "ExternalName":
        return
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            yield forbidden(f"spec.{field}", "may not be set for ExternalName services")
    name = str(spec.get("externalName") or "").removesuffix(".")
    if name:
        yield from all_invalid("spec.externalName", name, names.dns_subdomain(name))
    else:
        yield required("spec.externalName")


def _each_port(spec: Object) -> Iterator[Cause]:
    seen: set[str] = set()
    needs_name = len(ports(spec)) > 1
    for index, port in enumerate(ports(spec)):
        path = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if name:
            yield from all_invalid(f"{path}.name", name, names.dns_label(name))
            if name in seen:
                yield duplicate(f"{path}.name", name)
            seen.add(name)
        elif needs_name:
            yield required(f"{path}.name")
        yield from all_invalid(f"{path}.port", port["port"], names.port_number(port["port"]))
        yield from one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)
        target = port["targetPort"]
        yield from all_invalid(f"{path}.targetPort", target, names.port_number_or_name(target))
        if port.get("appProtocol") is not None:
            yield from all_invalid(
                f"{path}.appProtocol", port["appProtocol"], names.qualified_name(port["appProtocol"])
            )


def _affinity(spec: Object) -> Iterator[Cause]:
    affinity, path = spec.get("sessionAffinity"), "spec.sessionAffinityConfig"
    yield from one_of("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    config = spec.get("sessionAffinityConfig")
    if affinity == "None" and config is not None:
        yield forbidden(path, "must not be set when session affinity is None")
    if affinity != "ClientIP":
        return
    for field in ("clientIP", "timeoutSeconds"):
        if config is None:
            yield required(path, "when session affinity type is ClientIP")
            return
        path, config = f"{path}.{field}", config.get(field)
    if config is None:
        yield required(path, "when session affinity type is ClientIP")
    elif not 0 < config <= 86400:
        yield invalid_value(path, config, "must be greater than 0 and less than 86400")


def validate_cluster_ips(spec: Object) -> list[Cause]:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy (ValidateServiceClusterIPsRelatedFields).

    The allocator asks this too, before it reads them.
    """
    if service_type(spec) == "ExternalName":
        return []
    path, ips, families = "spec.clusterIPs", cluster_ips(spec), ip_families(spec)
    causes: list[Cause] = []
    if spec.get("clusterIP"):
        if not ips:
            causes.append(required(path))
        elif ips[0] != spec["clusterIP"]:
            causes.append(invalid_value(path, ips, "first value must match `clusterIP`"))
    elif ips:
        causes.append(invalid_value(path, ips, "must be empty when `clusterIP` is not specified"))
    for index, family in enumerate(families):
        if family not in (IPV4, IPV6):
            causes.append(not_supported(f"spec.ipFamilies[{index}]", family, (IPV4, IPV6)))
        if family in families[:index]:
            causes.append(duplicate(f"spec.ipFamilies[{index}]", family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        causes.append(not_supported("spec.ipFamilyPolicy", policy, _POLICIES))
    return causes + _addresses(path, ips, families)


def _addresses(path: str, ips: Sequence[str], families: Sequence[str]) -> list[Cause]:
    malformed: list[Cause] = []
    for index, ip in enumerate(ips):
        if index == 0 and ip == NONE:
            if len(ips) > 1:
                malformed.append(invalid_value(path, ips, "'None' must be the first and only value"))
            continue
        malformed += names.ip_address(f"{path}[{index}]", ip)
    causes = [*malformed]
    if len(ips) > 2:
        causes.append(invalid_value(path, ips, "may only hold up to 2 values"))
    if malformed:
        return causes
    if len(ips) > 1 and len({family_of(ip) for ip in ips}) != 2:
        causes.append(invalid_value(path, ips, "may specify no more than one IP for each IP family"))
    if ips[:1] == [NONE]:
        return causes
    for index, (ip, family) in enumerate(zip(ips, families, strict=False)):
        if family in (IPV4, IPV6) and family_of(ip) != family:
            detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            causes.append(invalid_value(f"{path}[{index}]", ip, detail))
    return causes


def _port_conflicts(spec: Object) -> Iterator[Cause]:
    if service_type(spec) == "ClusterIP":
        for index, port in enumerate(ports(spec)):
            if port.get("nodePort"):
                yield forbidden(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports(spec)):
        if not port.get("nodePort"):
            continue
        key = (port.get("protocol"), port["nodePort"])
        if key in seen:
            yield duplicate(f"spec.ports[{index}].nodePort", port["nodePort"])
        seen.add(key)
    seen = set()
    for index, port in enumerate(ports(spec)):
        key = (port.get("protocol"), port["port"])
        if key in seen:
            yield duplicate(f"spec.ports[{index}]", _internal_port(*key))
        seen.add(key)


def _internal_port(protocol: str, port: int) -> Object:
    """The key of a port as the server's internal type shows itself: with Go's names and zeros."""
    return {"Name": "", "Protocol": protocol, "AppProtocol": None, "Port": port, "TargetPort": 0, "NodePort": 0}


def _source_ranges(service: Object) -> Iterator[Cause]:
    spec = service["spec"]
    ranges = spec.get("loadBalancerSourceRanges") or []
    annotation = (service["metadata"].get("annotations") or {}).get(_RANGES_ANNOTATION)
    is_load_balancer = service_type(spec) == "LoadBalancer"
    if ranges:
        path = "spec.loadBalancerSourceRanges"
        if not is_load_balancer:
            yield forbidden(path, _ONLY_LOAD_BALANCER)
        for index, text in enumerate(ranges):
            yield from names.cidr(f"{path}[{index}]", text.strip())
    elif annotation is not None:
        path = f"metadata.annotations[{_RANGES_ANNOTATION}]"
        if not is_load_balancer:
            yield forbidden(path, _ONLY_LOAD_BALANCER)
        if annotation.strip():
            for text in annotation.split(","):
                yield from names.cidr(path, text.strip())


def _load_balancer_fields(spec: Object) -> Iterator[Cause]:
    is_load_balancer = service_type(spec) == "LoadBalancer"
    allocates = spec.get("allocateLoadBalancerNodePorts")
    if allocates is not None and not is_load_balancer:
        yield forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_LOAD_BALANCER)
    if allocates is None and is_load_balancer:
        yield required("spec.allocateLoadBalancerNodePorts")
    name = spec.get("loadBalancerClass")
    if name is not None:
        if is_load_balancer:
            yield from all_invalid("spec.loadBalancerClass", name, names.qualified_name(name))
        else:
            yield forbidden("spec.loadBalancerClass", _ONLY_LOAD_BALANCER)


def _external_traffic_policy(spec: Object) -> Iterator[Cause]:
    policy, path = spec.get("externalTrafficPolicy"), "spec.externalTrafficPolicy"
    if externally_accessible(spec):
        yield from one_of(path, policy, _TRAFFIC_POLICIES)
    elif policy:
        yield invalid_value(path, policy, "may only be set for externally-accessible services")
    port, path = spec.get("healthCheckNodePort") or 0, "spec.healthCheckNodePort"
    if not needs_health_check(spec):
        if port:
            detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            yield invalid_value(path, port, detail)
    elif not port:
        yield required(path)
    else:
        yield from all_invalid(path, port, names.port_number(port))


def _internal_traffic_policy(spec: Object) -> Iterator[Cause]:
    policy, path = spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy"
    if policy is None:
        if needs_cluster_ip(spec):
            yield required(path)
    elif policy not in _TRAFFIC_POLICIES:
        yield not_supported(path, policy, _TRAFFIC_POLICIES)


def _cluster_ip_changes(new: Object, old: Object) -> Iterator[Cause]:
    """The first address never changes, a second one may come and go."""
    if "ExternalName" in (service_type(new), service_type(old)) or (is_headless(new) and is_headless(old)):
        return
    ips, before, path = cluster_ips(new), cluster_ips(old), "spec.clusterIPs"
    if len(ips) == len(before):
        for index, (ip, previous) in enumerate(zip(ips, before, strict=True)):
            if ip != previous:
                yield invalid_value(f"{path}[{index}]", ips, "may not change once set")
        return
    if not ips:
        yield invalid_value(f"{path}[0]", None, "primary clusterIP can not be unset")
    elif before and ips[0] != before[0]:
        yield invalid_value(f"{path}[0]", ips, "may not change once set")
    if len(ips) == 1 and new.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        yield invalid_value("spec.ipFamilyPolicy", new.get("ipFamilyPolicy"), detail)


def _family_changes(new: Object, old: Object) -> Iterator[Cause]:
    if "ExternalName" in (service_type(new), service_type(old)):
        return
    families, before, path = ip_families(new), ip_families(old), "spec.ipFamilies"
    # A headless Service without selector gets its endpoints from elsewhere and may name any families.
    if is_headless(new) and is_headless(old) and not new.get("selector") and not old.get("selector"):
        return
    if not families and before:
        yield invalid_value(f"{path}[0]", None, "primary ipFamily can not be unset")
    elif before and families[0] != before[0]:
        yield invalid_value(f"{path}[0]", families, "may not change once set")
    if len(families) == 1 < len(before) and new.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        yield invalid_value("spec.ipFamilyPolicy", new.get("ipFamilyPolicy"), detail)
