"""EndpointSlice, only the fields a node agent reads (k8s.io/api `discovery/v1/types.go`).

Endpoints are by far the most objects an agent holds. Nothing in them can be part of a cycle, so the collector need not
walk them (`gc=False`), and what most of them do not say is the same object for all.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from fairway.api.core import ApiProtocol, OptionalPortNumber
from fairway.api.meta import ObjectMeta, json_name

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
"""Names the Service, in the slice's own namespace, that a slice belongs to."""

HEADLESS_LABEL = "service.kubernetes.io/headless"
"""On the slices of headless Services, whatever the value: agents leave them alone."""


class AddressType(StrEnum):
    """All addresses of a slice are of one type."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"
    FQDN = "FQDN"


class EndpointConditions(Struct, frozen=True, kw_only=True, gc=False):
    """As they are written; None is unknown, which `Endpoint` reads for them."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TopologyHint(Struct, frozen=True, kw_only=True, gc=False):
    """The name of a zone or of a node."""

    name: str


class EndpointHints(Struct, frozen=True, kw_only=True, gc=False, rename=json_name):
    """For clients of which zones (KEP-2433) and on which nodes (KEP-3015) an endpoint is meant."""

    for_zones: tuple[TopologyHint, ...] = ()
    for_nodes: tuple[TopologyHint, ...] = ()


class Endpoint(Struct, frozen=True, kw_only=True, gc=False, rename=json_name):
    """addresses: the first one counts, they are the same endpoint. node_name: None for what runs on no node."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    node_name: str | None = None
    hints: EndpointHints = EndpointHints()

    @property
    def ready(self) -> bool:
        """Unknown is ready."""
        return self.conditions.ready is not False

    @property
    def serving(self) -> bool:
        """Unknown is serving."""
        return self.conditions.serving is not False

    @property
    def terminating(self) -> bool:
        """Unknown is not terminating."""
        return self.conditions.terminating is True


class EndpointPort(Struct, frozen=True, kw_only=True, gc=False):
    """name: "" matches the Service port without a name. port: 0 where consumers are to choose one, so none here."""

    name: str = ""
    protocol: ApiProtocol = ApiProtocol.TCP
    port: OptionalPortNumber = 0


class EndpointSlice(Struct, frozen=True, kw_only=True, rename=json_name):
    metadata: ObjectMeta
    address_type: AddressType
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service_name(self) -> str:
        """The Service it belongs to, "" where its label is missing."""
        return self.metadata.labels.get(SERVICE_NAME_LABEL, "")
