"""The networks of ServiceCIDRs that ClusterIPs may come from now."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from fairway.api.resources import SERVICE_CIDRS
from fairway.api.types import Object
from fairway.apiserver.ranges import IPNetwork
from fairway.apiserver.revisions import Revisions

DEFAULT_SERVICE_CIDR = "kubernetes"
"""The ServiceCIDR every cluster has (`defaultservicecidr`)."""


def networks_of(service_cidr: Object) -> list[IPNetwork]:
    """Those a stored ServiceCIDR names."""
    return [ip_network(text) for text in (service_cidr.get("spec") or {}).get("cidrs") or ()]


def networks_in_use(revisions: Revisions, own: Iterable[IPNetwork]) -> list[IPNetwork]:
    """The default's first, then the others' by name, without those being deleted.

    own: what the server was started with, which counts until the default ServiceCIDR is there.
    """
    records = revisions.latest_records(SERVICE_CIDRS)
    has_default = any(record.key.name == DEFAULT_SERVICE_CIDR for record in records)
    found: list[IPNetwork] = [] if has_default else list(own)
    for record in sorted(records, key=lambda one: one.key.name != DEFAULT_SERVICE_CIDR):
        if not record.obj["metadata"].get("deletionTimestamp"):
            found += networks_of(record.obj)
    return found
