"""Which pods stand behind a Service, and on which ports: what slices and Endpoints have in common. Pure.

Rules: `staging/src/k8s.io/endpointslice/util` and `pkg/controller/util/endpoint/controller_utils.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, ip_address

from fairway.api.types import Object
from fairway.controllers.objects import (
    annotations_of,
    is_terminating,
    labels,
    matches_labels,
    meta,
    name,
    namespace,
    parse_time,
    spec,
    status,
    uid,
)
from fairway.controllers.pods import is_finished, is_ready, node_of, ready_since

TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
"""Annotation: when what led to this write happened; agents measure their programming latency from it."""
HEADLESS_LABEL = "service.kubernetes.io/headless"


class Family(StrEnum):
    """An IP family as `spec.ipFamilies` and `addressType` write it."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPort:
    """A Service port as one pod offers it."""

    name: str
    protocol: str
    port: int
    app_protocol: str | None = None


Ports = tuple[EndpointPort, ...]


def is_selecting(service: Object) -> bool:
    """Whether its endpoints are ours to find: it has a selector and is no ExternalName."""
    return bool(spec(service).get("selector")) and spec(service).get("type") != "ExternalName"


def selects_pod(service: Object, pod: Object) -> bool:
    """Whether the pod is one the Service's selector names."""
    return (
        is_selecting(service)
        and namespace(service) == namespace(pod)
        and matches_labels(spec(service)["selector"], labels(pod))
    )


def is_headless(service: Object) -> bool:
    return spec(service).get("clusterIP") == "None"


def families(service: Object) -> tuple[Family, ...]:
    """The families it has endpoints of, the primary first; by its cluster address where it does not say."""
    told = spec(service).get("ipFamilies")
    if told:
        return tuple(Family(one) for one in told)
    return (Family.IPV6,) if ":" in str(spec(service).get("clusterIP") or "") else (Family.IPV4,)


def publishes_not_ready(service: Object) -> bool:
    return bool(spec(service).get("publishNotReadyAddresses"))


def address_of(pod: Object, family: Family) -> str | None:
    """The pod's address of that family; None before it has one."""
    told = [one.get("ip") for one in status(pod).get("podIPs") or ()] or [status(pod).get("podIP")]
    return next((text for text in map(str, told) if _family_of(text) is family), None)


@lru_cache(maxsize=4096)
def _family_of(text: str) -> Family | None:
    """None for what is no address. Kept, since every change of a Service looks at all its pods."""
    try:
        return Family.IPV4 if isinstance(ip_address(text), IPv4Address) else Family.IPV6
    except ValueError:
        return None


def candidates(service: Object, pods: Iterable[Object], *, terminating: bool) -> list[Object]:
    """Pods of the selector that may be endpoints: not finished; those being deleted only where asked for."""
    if not is_selecting(service):
        return []
    selector, where = spec(service)["selector"], namespace(service)
    return [
        pod
        for pod in pods
        if matches_labels(selector, labels(pod))
        and namespace(pod) == where
        and not is_finished(pod)
        and (terminating or not is_terminating(pod))
    ]


def ports_of(service: Object, pod: Object) -> Ports:
    """The Service's ports as this pod offers them; a named target the pod does not have is left out."""
    found = []
    for port in spec(service).get("ports") or ():
        number = _target(port, pod)
        if number is not None:
            found.append(
                EndpointPort(
                    name=port.get("name") or "",
                    protocol=port.get("protocol") or "TCP",
                    port=number,
                    app_protocol=port.get("appProtocol"),
                )
            )
    return tuple(found)


def hostname_of(service: Object, pod: Object) -> str | None:
    """The name DNS gives the pod within the Service, where its `hostname` and `subdomain` ask for one."""
    wanted = spec(pod).get("hostname")
    return str(wanted) if wanted and spec(pod).get("subdomain") == name(service) else None


def pod_reference(pod: Object) -> Object:
    """The `targetRef` of an endpoint."""
    return {"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)}


def trigger_time(service: Object, pods: Sequence[Object], before: Iterable[Object]) -> str | None:
    """When the change that is written now happened, in seconds as the API tells times.

    The newest among the Service's creation and the pods' changes of readiness, if newer than what `before`, the objects
    written last, are annotated with; None where nothing tells, as when a pod has vanished.
    """
    moments = [moment for pod in pods if (moment := ready_since(pod)) is not None]
    made = parse_time(meta(service).get("creationTimestamp"))
    newest = max([*moments, *([made] if made else [])], default=None)
    known: list[datetime] = [
        moment for obj in before if (moment := parse_time(annotations_of(obj).get(TRIGGER_TIME))) is not None
    ]
    if newest is None or (known and newest <= max(known)):
        return None
    return newest.strftime("%Y-%m-%dT%H:%M:%SZ")


def readiness(service: Object, pod: Object) -> tuple[bool, bool, bool]:
    """(ready, serving, terminating) of the pod as an endpoint (KEP-1672)."""
    serving, terminating = is_ready(pod), is_terminating(pod)
    return publishes_not_ready(service) or (serving and not terminating), serving, terminating


def known_node(service: Object, pod: Object, nodes: Mapping[str, Object]) -> bool:
    """Whether the pod's node exists; endpoints of a node nobody knows are published only where all are."""
    return node_of(pod) in nodes or publishes_not_ready(service)


def _target(port: Mapping[str, object], pod: Object) -> int | None:
    """The number behind `targetPort`: a name is looked up in containers, then in restartable init containers."""
    target = port.get("targetPort") or port.get("port")
    if isinstance(target, int):
        return target
    sidecars = [one for one in spec(pod).get("initContainers") or () if one.get("restartPolicy") == "Always"]
    for container in [*(spec(pod).get("containers") or ()), *sidecars]:
        for offered in container.get("ports") or ():
            protocol = offered.get("protocol") or "TCP"
            if offered.get("name") == target and protocol == (port.get("protocol") or "TCP"):
                return int(offered["containerPort"])
    return None
