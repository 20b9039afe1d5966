"""Services and EndpointSlices, only what names are made of. Pure.

The agents' own views (`fairway.api`) leave out what only DNS reads, as they hold far more endpoints than a lab has.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from msgspec import Struct, field

from fairway.api.codec import decode
from fairway.api.core import NONE, ApiProtocol, ServiceType
from fairway.api.discovery import SERVICE_NAME_LABEL, AddressType, EndpointConditions
from fairway.api.manifest import describe
from fairway.api.meta import ObjectMeta, json_name
from fairway.api.types import Key, Object
from fairway.base.addresses import IPAddress, parse_address
from fairway.base.errors import Refused


class Port(Struct, frozen=True, kw_only=True):
    """Of a Service or of a slice. name: "" where it has none; port: 0 in a slice that leaves it open."""

    port: int = 0
    name: str = ""
    protocol: ApiProtocol = ApiProtocol.TCP


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNames:
    """A Service. addresses: its clusterIPs; external_name: "" for every type but ExternalName."""

    key: Key
    headless: bool = False
    external_name: str = ""
    addresses: tuple[IPAddress, ...] = ()
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointName:
    """One address of a slice, and the label it has below its Service."""

    label: str
    address: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceNames:
    """An EndpointSlice: its ready endpoints alone. service: "" where its label is missing."""

    key: Key
    service: str
    endpoints: tuple[EndpointName, ...] = ()
    ports: tuple[Port, ...] = ()


def read_service(obj: Object) -> ServiceNames:
    """Raises Refused, naming the object and the field, where a field has the wrong form."""
    read = decode(obj, Service)
    spec = read.spec
    if spec.type is ServiceType.EXTERNAL_NAME:
        return ServiceNames(key=read.metadata.key, external_name=spec.external_name)
    told = spec.cluster_ips or (spec.cluster_ip,)
    headless = NONE in told
    addresses = () if headless else tuple(_address(obj, each) for each in told if each)
    return ServiceNames(key=read.metadata.key, headless=headless, addresses=addresses, ports=spec.ports)


def read_slice(obj: Object) -> SliceNames:
    """Raises Refused as `read_service` does.

    Where a Service has `publishNotReadyAddresses`, the slices' controller tells all its endpoints ready.
    """
    read = decode(obj, EndpointSlice)
    endpoints = () if read.address_type is AddressType.FQDN else read.endpoints
    return SliceNames(
        key=read.metadata.key,
        service=read.metadata.labels.get(SERVICE_NAME_LABEL, ""),
        endpoints=tuple(
            EndpointName(label=endpoint.hostname.lower() or label_of(address), address=address)
            for endpoint in endpoints
            if endpoint.conditions.ready is not False
            for address in (_address(obj, each) for each in endpoint.addresses)
        ),
        ports=read.ports,
    )


def label_of(address: IPAddress) -> str:
    """The label of an endpoint without a hostname: 10-10-1-3, fd00-10-10-1--3 (CoreDNS `endpointHostname`)."""
    text = str(address)
    if isinstance(address, IPv4Address):
        return text.replace(".", "-")
    label = text.replace(":", "-")
    # A label neither begins nor ends with a hyphen (RFC 1123 2.1): a shortened run of zeros is written with one.
    return f"{'0' if label.startswith('-') else ''}{label}{'0' if label.endswith('-') else ''}"


class ServiceSpec(Struct, frozen=True, kw_only=True, rename=json_name):
    type: ServiceType = ServiceType.CLUSTER_IP
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    external_name: str = ""
    ports: tuple[Port, ...] = ()


class Service(Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta
    spec: ServiceSpec = field(default_factory=ServiceSpec)


class Endpoint(Struct, frozen=True, kw_only=True):
    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""


class EndpointSlice(Struct, frozen=True, kw_only=True, rename=json_name):
    metadata: ObjectMeta
    address_type: AddressType
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[Port, ...] = ()


def _address(obj: Object, text: str) -> IPAddress:
    try:
        return parse_address(text)
    except Refused as error:
        raise Refused(f"{obj.get('kind')} {describe(obj)}: {error}") from None
