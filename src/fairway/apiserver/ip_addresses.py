"""IPAddresses: an object for every ClusterIP, made and removed in the write that takes or frees the address.

Facts: `pkg/registry/core/service/ipallocator/ipallocator.go`; what brings back one that was deleted while its Service
has the address is `repairip.go`.
"""

from __future__ import annotations

from fairway.api.resources import IP_ADDRESSES, SERVICES
from fairway.api.types import Key, Object
from fairway.apiserver.allocators import held_ips
from fairway.apiserver.kinds.service_spec import family_of
from fairway.apiserver.metadata import Surroundings, begin
from fairway.apiserver.revisions import Record, Revisions

FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
MANAGED_BY_LABEL = "ipaddress.kubernetes.io/managed-by"
ALLOCATOR = "ipallocator.k8s.io"


def record_addresses(revisions: Revisions, service: Record, around: Surroundings) -> None:
    """Make the IPAddresses of a stored Service that are not there."""
    for ip in held_ips(service.obj["spec"]):
        if revisions.latest(IP_ADDRESSES, Key("", ip)) is None:
            revisions.put(IP_ADDRESSES, Key("", ip), begin(_address(ip, service.key), "", around))


def forget_addresses(revisions: Revisions, before: Object, after: Object | None) -> None:
    """Remove the IPAddresses of what a Service had and has no longer; after: None where it is deleted."""
    kept = held_ips(after["spec"]) if after is not None else []
    parent = _parent(Key(before["metadata"]["namespace"], before["metadata"]["name"]))
    for ip in held_ips(before["spec"]):
        found = revisions.latest(IP_ADDRESSES, Key("", ip))
        if ip not in kept and found is not None and found.obj["spec"].get("parentRef") == parent:
            revisions.remove(IP_ADDRESSES, found.key)


def service_with(revisions: Revisions, ip: str) -> Record | None:
    """The Service that has an address as a ClusterIP."""
    return next((one for one in revisions.latest_records(SERVICES) if ip in held_ips(one.obj["spec"])), None)


def _address(ip: str, service: Key) -> Object:
    labels = {FAMILY_LABEL: family_of(ip), MANAGED_BY_LABEL: ALLOCATOR}
    return {"metadata": {"name": ip, "labels": labels}, "spec": {"parentRef": _parent(service)}}


def _parent(service: Key) -> Object:
    return {"resource": SERVICES.plural, "namespace": service.namespace, "name": service.name}
