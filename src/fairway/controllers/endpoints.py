"""The Endpoints object of a Service with a selector: all of its endpoints in one object, in its primary family. Pure.

Rules: `pkg/controller/endpoint/endpoints_controller.go`, `pkg/api/v1/endpoints`. The API is deprecated since 1.33, but
`kubectl get endpoints` and older programs read it. It has no owner reference: it goes by name with its Service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from fairway.api.resources import ENDPOINTS
from fairway.api.types import Object, key_of
from fairway.controllers.endpoint_pods import (
    HEADLESS_LABEL,
    TRIGGER_TIME,
    EndpointPort,
    Ports,
    address_of,
    candidates,
    families,
    hostname_of,
    is_headless,
    is_selecting,
    pod_reference,
    ports_of,
    publishes_not_ready,
    trigger_time,
)
from fairway.controllers.objects import annotations_of, labels, name, namespace, uid
from fairway.controllers.pods import is_ready, node_of
from fairway.controllers.writes import Create, Delete, Update, Write

MAX_ADDRESSES = 1000
"""Addresses in all subsets together (`maxCapacity`)."""
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
"""Annotation: "truncated" where there are more."""
MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGED_BY = "endpoint-controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointsView:
    """A Service (None once it is gone), the pods of its namespace, and the Endpoints of its name."""

    service: Object | None
    pods: Sequence[Object]
    endpoints: Object | None


def reconcile(view: EndpointsView) -> list[Write]:
    """Write the Service's Endpoints; delete ours where the Service is gone."""
    service, before = view.service, view.endpoints
    if service is None:
        if before is None or labels(before).get(MANAGED_BY_LABEL) != MANAGED_BY:
            return []
        return [Delete(resource=ENDPOINTS, key=key_of(before), uid=uid(before))]
    if not is_selecting(service):
        return []
    pods = candidates(service, view.pods, terminating=publishes_not_ready(service))
    subsets, truncated = _subsets(service, pods)
    marks = _labels(service)
    same_notes = (OVER_CAPACITY in annotations_of(before or {})) == truncated
    if before is not None and same_notes and labels(before) == marks and (before.get("subsets") or []) == subsets:
        return []
    base = before or _new(service)
    when = trigger_time(service, pods, [before] if before else [])
    own = (TRIGGER_TIME, OVER_CAPACITY)
    notes = {key: value for key, value in annotations_of(base).items() if key not in own}
    notes |= {TRIGGER_TIME: when} if when else {}
    notes |= {OVER_CAPACITY: "truncated"} if truncated else {}
    body = {**base, "metadata": {**base["metadata"], "labels": marks, "annotations": notes}, "subsets": subsets}
    return [Update(resource=ENDPOINTS, body=body) if before else Create(resource=ENDPOINTS, body=body)]


def _new(service: Object) -> Object:
    metadata = {"name": name(service), "namespace": namespace(service)}
    return {"apiVersion": ENDPOINTS.api_version, "kind": ENDPOINTS.kind, "metadata": metadata}


def _labels(service: Object) -> dict[str, str]:
    own = {key: value for key, value in labels(service).items() if key != HEADLESS_LABEL}
    return own | {MANAGED_BY_LABEL: MANAGED_BY} | ({HEADLESS_LABEL: ""} if is_headless(service) else {})


def _subsets(service: Object, pods: Sequence[Object]) -> tuple[list[Object], bool]:
    """Addresses by port set, ready and not, in order; and whether some had to be left out, not ready ones first."""
    family = families(service)[0]
    found = []
    for pod in pods:
        address = address_of(pod, family)
        if address is not None:
            ready = publishes_not_ready(service) or is_ready(pod)
            found.append((not ready, int(ip_address(address)), _address(service, pod, address), ports_of(service, pod)))
    found.sort(key=lambda one: one[:2])
    grouped: dict[Ports, Object] = {}
    for not_ready, _, address_json, ports in sorted(found[:MAX_ADDRESSES], key=lambda one: _rank(one[3])):
        subset = grouped.setdefault(ports, {})
        subset.setdefault("notReadyAddresses" if not_ready else "addresses", []).append(address_json)
    for ports, subset in grouped.items():
        if ports:
            subset["ports"] = [_port(port) for port in ports]
    return list(grouped.values()), len(found) > MAX_ADDRESSES


def _rank(ports: Ports) -> list[tuple[str, str, int]]:
    return [(port.name, port.protocol, port.port) for port in ports]


def _address(service: Object, pod: Object, address: str) -> Object:
    told: Object = {"ip": address}
    hostname = hostname_of(service, pod)
    if hostname:
        told["hostname"] = hostname
    if node_of(pod):
        told["nodeName"] = node_of(pod)
    told["targetRef"] = pod_reference(pod)
    return told


def _port(port: EndpointPort) -> Object:
    told: Object = {"name": port.name} if port.name else {}
    told |= {"port": port.port, "protocol": port.protocol}
    return told | ({"appProtocol": port.app_protocol} if port.app_protocol else {})
