"""EndpointSlices of Endpoints that somebody wrote by hand, for a Service without a selector. Pure.

Data planes read slices only, so each subset becomes a slice a family (`pkg/controller/endpointslicemirroring`,
KEP-752). Slices that somebody wrote by hand are his: no controller here looks at them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from fairway.api.resources import ENDPOINT_SLICES, ENDPOINTS
from fairway.api.types import Object, key_of
from fairway.controllers.endpoint_pods import TRIGGER_TIME, Family, Ports
from fairway.controllers.endpointslice import MANAGED_BY_LABEL, SERVICE_NAME_LABEL, port_json, ports_in
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
from fairway.controllers.writes import Create, Delete, EventType, Record, Update, Write

MANAGED_BY = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
"""On Endpoints that only hold an election (`client-go/tools/leaderelection/resourcelock`): nobody's backends."""
MAX_ADDRESSES = 1000
"""Addresses mirrored of a subset (`--mirroring-max-endpoints-per-subset`)."""
TOO_MANY = "TooManyAddressesToMirror"
INVALID = "InvalidIPAddress"
_NOT_COPIED = (TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration")
"""Annotations that tell of the Endpoints object alone (`newEndpointSlice`)."""

_Kind = tuple[str, Ports]
"""Family and ports: what the endpoints of a slice have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroringView:
    """The Endpoints and the Service of one name, None where there is none, and the slices that carry that name."""

    endpoints: Object | None
    service: Object | None
    slices: Sequence[Object]


@dataclass(slots=True, kw_only=True)
class _Wanted:
    """Endpoints by what they can share a slice with, and how many addresses are left out for which reason."""

    by_kind: dict[_Kind, dict[str, Object]] = field(default_factory=dict)
    invalid: int = 0
    too_many: int = 0


def is_ours(one: Object) -> bool:
    """Whether a slice is one this controller made."""
    return labels(one).get(MANAGED_BY_LABEL) == MANAGED_BY


def reconcile(view: MirroringView) -> list[Write]:
    """Bring the mirrored slices in line with the Endpoints; delete them where there is nothing to mirror."""
    ours = sorted((one for one in view.slices if is_ours(one) and not is_terminating(one)), key=created)
    endpoints = view.endpoints
    if endpoints is None or not _is_mirrored(endpoints, view.service):
        return [_delete(one) for one in ours]
    wanted = _wanted(endpoints)
    writes: list[Write] = []
    spare = []
    for one in ours:
        kind = (str(one.get("addressType")), ports_in(one))
        addresses = wanted.by_kind.pop(kind, None) if is_controlled_by(one, endpoints) else None
        if addresses is None:
            spare.append(one)
            continue
        body = _slice(endpoints, list(addresses.values()), one)
        if body != one:
            writes.append(Update(resource=ENDPOINT_SLICES, body=body))
    for (family, ports), addresses in wanted.by_kind.items():
        body = _slice(endpoints, list(addresses.values()), _new(endpoints, family, ports))
        writes.append(Create(resource=ENDPOINT_SLICES, body=body))
    writes += [_delete(one) for one in spare]
    return writes + list(_told(endpoints, wanted)) if writes else []


def _is_mirrored(endpoints: Object, service: Object | None) -> bool:
    return (
        service is not None
        and not spec(service).get("selector")
        and not is_terminating(endpoints)
        and labels(endpoints).get(SKIP_LABEL) != "true"
        and LEADER_ANNOTATION not in annotations_of(endpoints)
    )


def _wanted(endpoints: Object) -> _Wanted:
    wanted = _Wanted()
    for subset in endpoints.get("subsets") or ():
        ports = ports_in(subset)
        given = [(True, one) for one in subset.get("addresses") or ()]
        given += [(False, one) for one in subset.get("notReadyAddresses") or ()]
        taken = 0
        for number, (ready, address) in enumerate(given):
            if taken == MAX_ADDRESSES:
                wanted.too_many += len(given) - number
                break
            family = _family(address.get("ip"))
            if family is None:
                wanted.invalid += 1
                continue
            taken += 1
            # An address that is there twice counts by its first, which is the ready one.
            wanted.by_kind.setdefault((family, ports), {}).setdefault(str(address["ip"]), _endpoint(address, ready))
    return wanted


def _family(text: Any) -> Family | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return Family.IPV6 if address.version == 6 else Family.IPV4


def _endpoint(address: Mapping[str, Any], ready: bool) -> Object:
    endpoint: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    return endpoint | {field: address[field] for field in ("hostname", "nodeName", "targetRef") if address.get(field)}


def _new(endpoints: Object, family: str, ports: Ports) -> Object:
    # The API server adds five characters, and cuts a long name to make room for them.
    return {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "generateName": f"{name(endpoints)}-",
            "namespace": namespace(endpoints),
            "ownerReferences": [controller_reference(endpoints, ENDPOINTS)],
        },
        "addressType": str(family),
        "ports": [port_json(one) for one in ports],
    }


def _slice(endpoints: Object, addresses: list[Object], base: Object) -> Object:
    """The slice to write: `base` with what the Endpoints say. Equal to `base` where it says so already."""
    marks = {**labels(endpoints), SERVICE_NAME_LABEL: name(endpoints), MANAGED_BY_LABEL: MANAGED_BY}
    notes = {key: value for key, value in annotations_of(endpoints).items() if key not in _NOT_COPIED}
    metadata = {**base["metadata"], "labels": marks, "annotations": notes}
    if not notes and not annotations_of(base):
        del metadata["annotations"]
    kept = base.get("endpoints") or []
    same = sorted(kept, key=_address) == sorted(addresses, key=_address)
    return {**base, "metadata": metadata, "endpoints": kept if same else addresses}


def _address(endpoint: Object) -> str:
    return str((endpoint.get("addresses") or [""])[0])


def _delete(one: Object) -> Delete:
    return Delete(resource=ENDPOINT_SLICES, key=key_of(one), uid=uid(one))


def _told(endpoints: Object, wanted: _Wanted) -> Iterable[Record]:
    """What of the Endpoints is not mirrored, for a person."""
    if wanted.invalid:
        message = f"Skipped {wanted.invalid} invalid IP addresses when mirroring to EndpointSlices"
        yield Record(regarding=endpoints, reason=INVALID, message=message, type=EventType.WARNING)
    if wanted.too_many:
        message = (
            f"A max of {MAX_ADDRESSES} addresses can be mirrored to EndpointSlices per Endpoints subset. "
            f"{wanted.too_many} addresses were skipped"
        )
        yield Record(regarding=endpoints, reason=TOO_MANY, message=message, type=EventType.WARNING)
