"""What is wrong with a PodSpec, of pods and of templates (kubernetes `pkg/apis/core/validation`: ValidatePodSpec)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.kinds.container_validation import validate_containers
from fairway.apiserver.kinds.scheduling_validation import validate_affinity, validate_spread, validate_tolerations
from fairway.apiserver.kinds.volume_validation import Volumes
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import (
    all_invalid,
    invalid_value,
    non_negative,
    one_of,
    required,
)

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")


def validate_pod_spec(spec: Object, path: str) -> list[Cause]:
    """path: "spec" of a pod, "spec.template.spec" of a workload."""
    causes: list[Cause] = []
    volumes = Volumes()
    causes += volumes.check(spec, path)
    causes += validate_containers(spec, path, volumes.names)
    causes += one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES)
    causes += one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    causes += names.labels(f"{path}.nodeSelector", spec.get("nodeSelector") or {})
    causes += validate_affinity(spec.get("affinity") or {}, f"{path}.affinity")
    causes += _dns_config(spec, path)
    causes += validate_spread(spec.get("topologySpreadConstraints") or [], f"{path}.topologySpreadConstraints")
    if spec.get("serviceAccountName"):
        name = spec["serviceAccountName"]
        causes += all_invalid(f"{path}.serviceAccountName", name, names.dns_subdomain(name))
    if spec.get("nodeName"):
        causes += all_invalid(f"{path}.nodeName", spec["nodeName"], names.dns_subdomain(spec["nodeName"]))
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None and not 1 <= seconds < 1 << 31:
        detail = "must be between 1 and 2147483647, inclusive"
        causes.append(invalid_value(f"{path}.activeDeadlineSeconds", seconds, detail))
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            causes += all_invalid(f"{path}.{field}", spec[field], names.dns_label(spec[field]))
    causes += validate_tolerations(spec.get("tolerations") or [], f"{path}.tolerations")
    causes += _host_aliases(spec, path)
    if spec.get("priorityClassName"):
        name = spec["priorityClassName"]
        causes += all_invalid(f"{path}.priorityClassName", name, names.dns_subdomain(name))
    causes += non_negative(f"{path}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds") or 0)
    return causes


def _dns_config(spec: Object, path: str) -> Iterator[Cause]:
    config, here = spec.get("dnsConfig"), f"{path}.dnsConfig"
    if spec.get("dnsPolicy") == "None" and not (config or {}).get("nameservers"):
        what = f"{here}.nameservers" if config is not None else here
        yield required(what, "must provide at least one DNS nameserver when `dnsPolicy` is None")
    for index, server in enumerate((config or {}).get("nameservers") or []):
        yield from names.ip_address(f"{here}.nameservers[{index}]", server)
    for index, option in enumerate((config or {}).get("options") or []):
        if not option.get("name"):
            yield required(f"{here}.options[{index}]", "must not be empty")


def _host_aliases(spec: Object, path: str) -> Iterator[Cause]:
    for index, alias in enumerate(spec.get("hostAliases") or []):
        here: str = f"{path}.hostAliases[{index}]"
        yield from names.ip_address(f"{here}.ip", alias["ip"])
        hostnames: list[Any] = alias.get("hostnames") or []
        for hostname in hostnames:
            yield from all_invalid(f"{here}.hostnames", hostname, names.dns_subdomain(hostname))
