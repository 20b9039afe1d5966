"""EndpointSlices of Services with a selector. Pure (`staging/src/k8s.io/endpointslice/reconciler.go`, KEP-752).

Slices are changed as little as can be: an endpoint stays in the slice it is in, new ones fill slices that change
anyway, then the fullest slice with room for all the rest, and only then new slices. A changed pod changes one slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from fairway.api.core import ZONE_LABEL
from fairway.api.resources import ENDPOINT_SLICES, SERVICES
from fairway.api.types import Object, key_of
from fairway.controllers.endpoint_pods import (
    HEADLESS_LABEL,
    TRIGGER_TIME,
    EndpointPort,
    Family,
    Ports,
    address_of,
    candidates,
    families,
    hostname_of,
    is_headless,
    is_selecting,
    known_node,
    pod_reference,
    ports_of,
    readiness,
    trigger_time,
)
from fairway.controllers.objects import (
    annotations_of,
    controller_reference,
    created,
    is_controlled_by,
    is_terminating,
    labels,
    name,
    namespace,
    spec,
    uid,
)
from fairway.controllers.pods import node_of
from fairway.controllers.writes import Create, Delete, Update, Write

MAX_ENDPOINTS = 100
"""Endpoints a slice (`--max-endpoints-per-slice`)."""
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "endpointslice-controller.k8s.io"

Endpoints = dict[tuple[str, str], Object]
"""Endpoints by (pod uid, address)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSliceView:
    """A Service, the pods of its namespace, all nodes by name, and the slices that carry the Service's name."""

    service: Object
    pods: Sequence[Object]
    nodes: Mapping[str, Object]
    slices: Sequence[Object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Want:
    """A slice as it should be; `old` is the one it is now, None for a new one."""

    family: Family
    ports: Ports
    endpoints: tuple[Object, ...]
    old: Object | None = None


def reconcile(view: EndpointSliceView) -> list[Write]:
    """Bring the slices in line with the pods. Slices of other managers are never touched."""
    service = view.service
    if not is_selecting(service) or is_terminating(service):
        return []
    ours = sorted((one for one in view.slices if _is_ours(one, view)), key=created)
    kept = [one for one in ours if is_controlled_by(one, service) and one.get("addressType") in families(service)]
    spare = [one for one in ours if one not in kept]
    pods = candidates(service, view.pods, terminating=True)
    wants: list[_Want] = []
    for family in families(service):
        existing = [one for one in kept if one["addressType"] == family]
        fitted, emptied = _fit(_endpoints(view, pods, family), existing, family, _labels(service))
        wants += fitted
        spare += emptied
    return _writes(view, wants, spare, trigger_time(service, pods, ours))


def _is_ours(one: Object, view: EndpointSliceView) -> bool:
    marks = labels(one)
    return (
        marks.get(MANAGED_BY_LABEL) == MANAGED_BY
        and marks.get(SERVICE_NAME_LABEL) == name(view.service)
        and namespace(one) == namespace(view.service)
        and not is_terminating(one)
    )


def _endpoints(view: EndpointSliceView, pods: Iterable[Object], family: Family) -> dict[Ports, Endpoints]:
    """What should be published, by port set: pods may resolve a named port differently."""
    found: dict[Ports, Endpoints] = {}
    for pod in pods:
        address = address_of(pod, family)
        if address is not None and known_node(view.service, pod, view.nodes):
            ports = found.setdefault(ports_of(view.service, pod), {})
            ports[uid(pod), address] = _endpoint(view, pod, address)
    return found


def _endpoint(view: EndpointSliceView, pod: Object, address: str) -> Object:
    ready, serving, terminating = readiness(view.service, pod)
    endpoint: Object = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": pod_reference(pod),
    }
    if node_of(pod):
        endpoint["nodeName"] = node_of(pod)
    zone = labels(view.nodes.get(node_of(pod), {})).get(ZONE_LABEL)
    if zone:
        endpoint["zone"] = zone
    hostname = hostname_of(view.service, pod)
    if hostname:
        endpoint["hostname"] = hostname
    hints = _hints(spec(view.service).get("trafficDistribution"), zone, node_of(pod)) if ready else None
    if hints:
        endpoint["hints"] = hints
    return endpoint


def _hints(distribution: Any, zone: str | None, node: str) -> Object | None:
    """Where a ready endpoint is preferred: its own zone, and its own node (KEP-4444, KEP-3015)."""
    if distribution not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return None
    hints: Object = {"forZones": [{"name": zone}]} if zone else {}
    if distribution == "PreferSameNode" and node:
        hints["forNodes"] = [{"name": node}]
    return hints or None


def _fit(
    wanted: dict[Ports, Endpoints], existing: Sequence[Object], family: Family, marks: Mapping[str, str]
) -> tuple[list[_Want], list[Object]]:
    """Spread the endpoints of a family over its slices: those to write, and those no longer needed.

    Without any endpoint one empty slice stays, so that the Service is seen to be looked after.
    """
    by_ports: dict[Ports, list[Object]] = {}
    for one in existing:
        by_ports.setdefault(ports_in(one), []).append(one)
    if not wanted:
        empty = next((one for one in by_ports.get((), ()) if not one.get("endpoints")), None)
        if empty is not None:
            stale = [_Want(family=family, ports=(), endpoints=(), old=empty)] if labels(empty) != marks else []
            return stale, [one for one in existing if one is not empty]
        return [_Want(family=family, ports=(), endpoints=())], list(existing)
    wants: list[_Want] = []
    emptied: list[Object] = []
    # A port set is a set to readers: slices are found by it whatever the order of ports in them.
    for ports, endpoints in wanted.items():
        fitted, unused = _fit_ports(endpoints, by_ports.pop(_sorted(ports), []), family, ports, marks)
        wants += fitted
        emptied += unused
    return wants, emptied + [one for unused in by_ports.values() for one in unused]


def _fit_ports(
    wanted: Endpoints, existing: Sequence[Object], family: Family, ports: Ports, marks: Mapping[str, str]
) -> tuple[list[_Want], list[Object]]:
    """The same for the slices of one port set."""
    rest = dict(wanted)
    stay: dict[int, list[Object]] = {}
    dirty: set[int] = set()
    emptied: list[Object] = []
    for index, one in enumerate(existing):
        before = one.get("endpoints") or []
        after = [now for endpoint in before if (now := rest.pop(_identity(endpoint), None)) is not None]
        if not after:
            emptied.append(one)
            continue
        stay[index] = after
        if after != before or labels(one) != marks:
            dirty.add(index)
    new = _place(sorted(rest.values(), key=_address), stay, dirty)
    wants = [
        _Want(family=family, ports=ports, endpoints=tuple(stay[index]), old=existing[index]) for index in sorted(dirty)
    ]
    return wants + [_Want(family=family, ports=ports, endpoints=tuple(some)) for some in new], emptied


def _place(rest: list[Object], stay: dict[int, list[Object]], dirty: set[int]) -> list[list[Object]]:
    """Put the endpoints left over into slices, changing `stay` and `dirty`; returns the contents of new slices."""
    for index in sorted(dirty, key=lambda index: -len(stay[index])):
        room = MAX_ENDPOINTS - len(stay[index])
        stay[index] += rest[:room]
        rest = rest[room:]
    new = []
    while len(rest) >= MAX_ENDPOINTS:
        new.append(rest[:MAX_ENDPOINTS])
        rest = rest[MAX_ENDPOINTS:]
    if rest:
        fitting = [index for index in stay if index not in dirty and len(stay[index]) + len(rest) <= MAX_ENDPOINTS]
        if fitting:
            fullest = max(fitting, key=lambda index: (len(stay[index]), -index))
            stay[fullest] += rest
            dirty.add(fullest)
        else:
            new.append(rest)
    return new


def _writes(view: EndpointSliceView, wants: Sequence[_Want], spare: list[Object], when: str | None) -> list[Write]:
    """Create, update and delete; a slice that is to go becomes one that is to come, which is one write less."""
    spare = list(spare)
    writes: list[Write] = []
    for want in wants:
        old = want.old
        if old is None:
            reusable = (one for one in spare if _is_reusable(one, want, view.service))
            old = next(reusable, None)
            if old is not None:
                spare.remove(old)
        body = _slice(view.service, want, old, when)
        resource = ENDPOINT_SLICES
        writes.append(Update(resource=resource, body=body) if old else Create(resource=resource, body=body))
    return writes + [Delete(resource=ENDPOINT_SLICES, key=key_of(one), uid=uid(one)) for one in spare]


def _is_reusable(one: Object, want: _Want, service: Object) -> bool:
    return one.get("addressType") == want.family and is_controlled_by(one, service)


def _slice(service: Object, want: _Want, old: Object | None, when: str | None) -> Object:
    """The object to write; `old` keeps what is not ours to say."""
    if old is None:
        owner = controller_reference(service, SERVICES)
        # The API server adds five characters, and cuts a long name to make room for them.
        old = {
            "apiVersion": ENDPOINT_SLICES.api_version,
            "kind": ENDPOINT_SLICES.kind,
            "metadata": {
                "generateName": f"{name(service)}-",
                "namespace": namespace(service),
                "ownerReferences": [owner],
            },
            "addressType": str(want.family),
        }
    notes = {key: value for key, value in annotations_of(old).items() if key != TRIGGER_TIME}
    notes |= {TRIGGER_TIME: when} if when else {}
    return {
        **old,
        "metadata": {**old["metadata"], "labels": _labels(service), "annotations": notes},
        "endpoints": list(want.endpoints),
        "ports": [port_json(one) for one in want.ports],
    }


def _labels(service: Object) -> dict[str, str]:
    """The Service's own labels and those by which slices are found; a headless Service's slices say so."""
    reserved = (SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL)
    own = {key: value for key, value in labels(service).items() if key not in reserved}
    headless = {HEADLESS_LABEL: ""} if is_headless(service) else {}
    return own | {SERVICE_NAME_LABEL: name(service), MANAGED_BY_LABEL: MANAGED_BY} | headless


def port_json(port: EndpointPort) -> Object:
    """A port as a slice writes it."""
    told: Object = {"name": port.name, "port": port.port, "protocol": port.protocol}
    return told | ({"appProtocol": port.app_protocol} if port.app_protocol else {})


def ports_in(one: Object) -> Ports:
    """The ports of a slice, or of a subset of Endpoints, as a set: their order says nothing."""
    return _sorted(
        EndpointPort(
            name=port.get("name") or "",
            protocol=port.get("protocol") or "TCP",
            port=int(port.get("port") or 0),
            app_protocol=port.get("appProtocol"),
        )
        for port in one.get("ports") or ()
    )


def _sorted(ports: Iterable[EndpointPort]) -> Ports:
    return tuple(sorted(ports, key=lambda port: (port.name, port.protocol, port.port, port.app_protocol or "")))


def _identity(endpoint: Object) -> tuple[str, str]:
    return (endpoint.get("targetRef") or {}).get("uid") or "", (endpoint.get("addresses") or [""])[0]


def _address(endpoint: Object) -> tuple[int, str]:
    return int(ip_address(endpoint["addresses"][0])), endpoint["targetRef"]["name"]
