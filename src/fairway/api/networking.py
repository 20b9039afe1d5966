"""ServiceCIDR, only the fields that are read (k8s.io/api `networking/v1/types.go`)."""

from __future__ import annotations

from msgspec import Struct, field

from fairway.api.meta import ObjectMeta


class ServiceCIDRSpec(Struct, frozen=True, kw_only=True):
    """cidrs: one, or one of each family."""

    cidrs: tuple[str, ...] = ()


class ServiceCIDR(Struct, frozen=True, kw_only=True):
    """Networks that clusterIPs are allocated from (KEP-1880)."""

    metadata: ObjectMeta
    spec: ServiceCIDRSpec = field(default_factory=ServiceCIDRSpec)
