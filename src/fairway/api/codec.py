"""From objects as they travel to the typed views of them that agents read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from fairway.api.core import ApiProtocol, IPMode, Node, Pod, Service, ServiceType, SessionAffinity, TrafficPolicy
from fairway.api.discovery import AddressType, EndpointSlice
from fairway.api.manifest import describe
from fairway.api.manifest import parse_objects as parse_objects
from fairway.api.networking import ServiceCIDR
from fairway.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICE_CIDRS, SERVICES, Resource
from fairway.api.types import Key, Object
from fairway.base.errors import Refused

_View = TypeVar("_View", Service, EndpointSlice, Node, Pod, ServiceCIDR)
_Struct = TypeVar("_Struct", bound=msgspec.Struct)

_CHOICES = {
    "type": ServiceType,
    "protocol": ApiProtocol,
    "sessionAffinity": SessionAffinity,
    "internalTrafficPolicy": TrafficPolicy,
    "externalTrafficPolicy": TrafficPolicy,
    "ipMode": IPMode,
    "addressType": AddressType,
}
"""Fields whose values are few, by the last part of their path, to name the values in an error."""


def decode_service(obj: Object) -> Service:
    """The view of a v1 Service. Raises Refused, naming the object and the field, where a field has the wrong form."""
    return decode(obj, Service)


def decode_endpoint_slice(obj: Object) -> EndpointSlice:
    """The view of a discovery.k8s.io/v1 EndpointSlice. Raises Refused as `decode_service` does."""
    return decode(obj, EndpointSlice)


def decode_node(obj: Object) -> Node:
    """The view of a v1 Node. Raises Refused as `decode_service` does."""
    return decode(obj, Node)


def decode_pod(obj: Object) -> Pod:
    """The view of a v1 Pod. Raises Refused as `decode_service` does."""
    return decode(obj, Pod)


def decode_service_cidr(obj: Object) -> ServiceCIDR:
    """The view of a networking.k8s.io/v1 ServiceCIDR. Raises Refused as `decode_service` does."""
    return decode(obj, ServiceCIDR)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """What is read of a cluster; each sorted by namespace and name.

    An agent reads Services, EndpointSlices, its Node and ServiceCIDRs; pods only have names to be called by.
    ignored: how many objects there were of each other kind.
    """

    services: tuple[Service, ...]
    slices: tuple[EndpointSlice, ...]
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...] = ()
    service_cidrs: tuple[ServiceCIDR, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)

    def node(self, name: str) -> Node:
        """The Node of that name. Raises Refused, with the names there are, where there is none."""
        for node in self.nodes:
            if node.metadata.name == name:
                return node
        names = ", ".join(node.metadata.name for node in self.nodes) or "none"
        raise Refused(f"there is no Node {name}; the nodes are: {names}")


def decode_cluster(objects: Iterable[Object]) -> ClusterView:
    """What is read of `objects`; other kinds are counted and left aside.

    Raises Refused where one of them has a field of the wrong form, or where two have the same kind and name.
    """
    by_kind: dict[tuple[str, str], list[Object]] = defaultdict(list)
    for obj in objects:
        by_kind[str(obj.get("apiVersion")), str(obj.get("kind"))].append(obj)

    def take(resource: Resource, view: type[_View]) -> tuple[_View, ...]:
        return _decode_all(by_kind.pop((resource.api_version, resource.kind), []), resource, view)

    return ClusterView(
        services=take(SERVICES, Service),
        slices=take(ENDPOINT_SLICES, EndpointSlice),
        nodes=take(NODES, Node),
        pods=take(PODS, Pod),
        service_cidrs=take(SERVICE_CIDRS, ServiceCIDR),
        ignored={kind: len(some) for (_, kind), some in sorted(by_kind.items())},
    )


def _decode_all(objects: list[Object], resource: Resource, view: type[_View]) -> tuple[_View, ...]:
    by_key: dict[Key, _View] = {}
    for obj in objects:
        decoded = decode(obj, view)
        key = decoded.metadata.key
        if key in by_key:
            raise Refused(f"{resource.kind} {key} is given twice; leave one of them out")
        by_key[key] = decoded
    return tuple(by_key[key] for key in sorted(by_key))


def decode(obj: Object, view: type[_Struct]) -> _Struct:
    """Any view of an object. Raises Refused as `decode_service` does."""
    try:
        return msgspec.convert(obj, view)
    except msgspec.ValidationError:
        pass  # perhaps for a null alone: to the API, null and absent are the same
    try:
        return msgspec.convert(_without_nulls(obj), view)
    except msgspec.ValidationError as error:
        raise Refused(f"{view.__name__} {describe(obj)}: {_explain(str(error), obj)}") from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _explain(message: str, obj: Object) -> str:
    """From msgspec's "Expected `int`, got `str` - at `$.spec.ports[0].port`" to the API's way of naming a field."""
    text, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    text = text.replace("`", "")
    choices = _CHOICES.get(path.rpartition(".")[2])
    if choices is not None and text.startswith("Invalid enum value"):
        text += f", expected one of {', '.join(choices)}"
    return f"{path}: {text}" if path else text
