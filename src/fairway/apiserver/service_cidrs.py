"""ServiceCIDRs: what they let the allocator give out, and the controller that says so and lets them go.

Facts: `pkg/controller/servicecidrs/servicecidrs_controller.go`,
`pkg/controlplane/controller/defaultservicecidr/default_servicecidr_controller.go`. Here the allocator reads the same
state that the controller writes, so a deletion needs no time to become known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from fairway.api.resources import IP_ADDRESSES, SERVICE_CIDRS
from fairway.api.types import Object
from fairway.apiserver.metadata import Surroundings, rfc3339, with_metadata
from fairway.apiserver.ranges import IPNetwork
from fairway.apiserver.registry import Registry, update
from fairway.apiserver.revisions import Record, Revisions
from fairway.apiserver.service_networks import DEFAULT_SERVICE_CIDR, networks_of
from fairway.base.addresses import IPAddress

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_READY = {"type": "Ready", "status": "True", "reason": "", "message": "Kubernetes Service CIDR is ready"}
_TERMINATING = {
    "type": "Ready",
    "status": "False",
    "reason": "Terminating",
    "message": "There are still IPAddresses referencing the ServiceCIDR, "
    "please remove them or create a new ServiceCIDR",
}


def default_service_cidr(networks: Iterable[IPNetwork]) -> Object:
    """The one every cluster has, of the networks the server was started with."""
    return {
        "kind": SERVICE_CIDRS.kind,
        "apiVersion": SERVICE_CIDRS.api_version,
        "metadata": {"name": DEFAULT_SERVICE_CIDR},
        "spec": {"cidrs": [str(network) for network in networks]},
    }


def settle_service_cidrs(registry: Registry, around: Surroundings) -> None:
    """One step for every ServiceCIDR; to be repeated when anything has changed, it never harms."""
    for record in registry.revisions.latest_records(SERVICE_CIDRS):
        finalizers = list(record.obj["metadata"].get("finalizers") or ())
        if record.obj["metadata"].get("deletionTimestamp"):
            if FINALIZER not in finalizers:
                continue
            if _is_needed(registry.revisions, record):
                _tell(registry, record, _TERMINATING, around)
                continue
            finalizers.remove(FINALIZER)
            update(registry, record, with_metadata(record.obj, finalizers=finalizers or None), around)
            continue
        if FINALIZER not in finalizers:
            record = update(registry, record, with_metadata(record.obj, finalizers=[*finalizers, FINALIZER]), around)
        _tell(registry, record, _READY, around)


def _is_needed(revisions: Revisions, leaving: Record) -> bool:
    """Whether an address is taken that lies in no ServiceCIDR but this one."""
    own = networks_of(leaving.obj)
    others = [
        network
        for record in revisions.latest_records(SERVICE_CIDRS)
        if record.key != leaving.key and not record.obj["metadata"].get("deletionTimestamp")
        for network in networks_of(record.obj)
    ]
    taken = (ip_address(record.key.name) for record in revisions.latest_records(IP_ADDRESSES))
    return any(_within(address, own) and not _within(address, others) for address in taken)


def _within(address: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    return any(address in network for network in networks)


def _tell(registry: Registry, record: Record, wanted: Object, around: Surroundings) -> None:
    """Write the condition where it says something else; those of other types stay."""
    status = record.obj.get("status") or {}
    conditions = list(status.get("conditions") or ())
    index = next((at for at, one in enumerate(conditions) if one.get("type") == wanted["type"]), len(conditions))
    before = conditions[index] if index < len(conditions) else {}
    if all(before.get(field) == value for field, value in wanted.items()):
        return
    conditions[index : index + 1] = [{**wanted, "lastTransitionTime": rfc3339(around.now)}]
    told = {**record.obj, "status": {**status, "conditions": conditions}}
    update(registry, record, told, around, subresource="status")
