"""Endpoints and EndpointSlices (kubernetes `pkg/apis/discovery/{v1,validation}`, `pkg/apis/core/validation`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.strategy import Strategy
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import (
    all_invalid,
    duplicate,
    immutable,
    invalid_value,
    not_supported,
    one_of,
    required,
    too_many,
)

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20000
_MAX_HINTS = 8


class EndpointSliceStrategy(Strategy):
    keeps_generation = True

    def fill(self, obj: Object) -> None:
        for port in obj.get("ports") or []:
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")

    def counts_as_change(self, new: Object, old: Object) -> bool:
        if new["metadata"].get("labels") != old["metadata"].get("labels"):
            return True
        return _without_metadata(new) != _without_metadata(old)

    def validate(self, obj: Object) -> list[Cause]:
        kind = obj.get("addressType") or ""
        causes = one_of("addressType", kind, _ADDRESS_TYPES)
        return [*causes, *_endpoints(obj.get("endpoints") or [], kind), *_ports(obj.get("ports") or [])]

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        return immutable("addressType", new.get("addressType"), old.get("addressType")) + self.validate(new)


def _without_metadata(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name != "metadata"}


def _endpoints(endpoints: list[Object], kind: str) -> Iterator[Cause]:
    if len(endpoints) > _MAX_ENDPOINTS:
        yield too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)
        return
    for index, endpoint in enumerate(endpoints):
        here = f"endpoints[{index}]"
        addresses = endpoint.get("addresses") or []
        if not addresses:
            yield required(f"{here}.addresses", "must contain at least 1 address")
        elif len(addresses) > _MAX_ADDRESSES:
            yield too_many(f"{here}.addresses", len(addresses), _MAX_ADDRESSES)
        for number, address in enumerate(addresses):
            yield from _address(f"{here}.addresses[{number}]", address, kind)
        if endpoint.get("nodeName"):
            yield from all_invalid(f"{here}.nodeName", endpoint["nodeName"], names.dns_subdomain(endpoint["nodeName"]))
        if endpoint.get("hostname"):
            yield from all_invalid(f"{here}.hostname", endpoint["hostname"], names.dns_label(endpoint["hostname"]))
        hints = endpoint.get("hints") or {}
        for field in ("forZones", "forNodes"):
            if len(hints.get(field) or []) > _MAX_HINTS:
                yield too_many(f"{here}.hints.{field}", len(hints[field]), _MAX_HINTS)


def _address(path: str, address: str, kind: str) -> Iterator[Cause]:
    if kind == "FQDN":
        yield from all_invalid(path, address, names.dns_subdomain(address))
        return
    parsed = names.parse_ip(address)
    if kind in ("IPv4", "IPv6"):
        malformed = names.ip_address(path, address)
        yield from malformed
        if parsed is not None and f"IPv{parsed.version}" != kind:
            yield invalid_value(path, address, f"must be an {kind} address")
        elif parsed is not None:
            yield from names.unicast_ip(path, address)


def _ports(ports: list[Object]) -> Iterator[Cause]:
    if len(ports) > _MAX_PORTS:
        yield too_many("ports", len(ports), _MAX_PORTS)
        return
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here, name = f"ports[{index}]", port.get("name") or ""
        if name:
            yield from all_invalid(f"{here}.name", name, names.dns_label(name))
        if name in seen:
            yield duplicate(f"{here}.name", name)
        seen.add(name)
        if port.get("protocol") not in _PROTOCOLS:
            yield not_supported(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)
        if port.get("port") is not None:
            yield from all_invalid(f"{here}.port", port["port"], names.port_number(port["port"]))
        if port.get("appProtocol"):
            yield from all_invalid(
                f"{here}.appProtocol", port["appProtocol"], names.qualified_name(port["appProtocol"])
            )


class EndpointsStrategy(Strategy):
    allow_create_on_update = True

    def fill(self, obj: Object) -> None:
        for subset in obj.get("subsets") or []:
            for port in subset.get("ports") or []:
                port.setdefault("protocol", "TCP")

    def validate(self, obj: Object) -> list[Cause]:
        causes: list[Cause] = []
        for index, subset in enumerate(obj.get("subsets") or []):
            causes += _subset(f"subsets[{index}]", subset)
        return causes


def _subset(path: str, subset: Object) -> Iterator[Cause]:
    addresses: list[tuple[str, Any]] = [
        (f"{path}.{field}[{index}]", address)
        for field in ("addresses", "notReadyAddresses")
        for index, address in enumerate(subset.get(field) or [])
    ]
    if not addresses:
        yield required(path, "must specify `addresses` or `notReadyAddresses`")
    for here, address in addresses:
        malformed = names.ip_address(f"{here}.ip", address["ip"])
        yield from malformed or names.unicast_ip(f"{here}.ip", address["ip"])
        if address.get("hostname"):
            yield from all_invalid(f"{here}.hostname", address["hostname"], names.dns_label(address["hostname"]))
    several = len(subset.get("ports") or []) > 1
    for index, port in enumerate(subset.get("ports") or []):
        here, name = f"{path}.ports[{index}]", port.get("name") or ""
        if several and not name:
            yield required(f"{here}.name")
        elif name:
            yield from all_invalid(f"{here}.name", name, names.dns_label(name))
        yield from all_invalid(f"{here}.port", port["port"], names.port_number(port["port"]))
        yield from one_of(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)
