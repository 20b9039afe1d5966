"""What the server knows of the cluster: Services and their slices, by name, namespace and address. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

from fairway.api.types import Key
from fairway.base.addresses import IPAddress
from fairway.dns.objects import EndpointName, ServiceNames, SliceNames

_K = TypeVar("_K")
_L = TypeVar("_L")
_V = TypeVar("_V")


class Catalog:
    """Follows the changes of Services and slices, in any order of the two.

    serial: of the zone's SOA record; one more with each change.
    """

    def __init__(self, services: Iterable[ServiceNames] = (), slices: Iterable[SliceNames] = ()) -> None:
        self.serial = 1
        self._services: dict[str, dict[str, ServiceNames]] = defaultdict(dict)
        self._slices: dict[Key, dict[Key, SliceNames]] = defaultdict(dict)
        self._services_at: dict[IPAddress, set[Key]] = defaultdict(set)
        self._slices_at: dict[IPAddress, set[Key]] = defaultdict(set)
        self._owner: dict[Key, Key] = {}
        for service in services:
            self.observe_service(None, service)
        for each in slices:
            self.observe_slice(None, each)

    def observe_service(self, previous: ServiceNames | None, current: ServiceNames | None) -> None:
        """A Service came (previous is None), changed, or went (current is None)."""
        self.serial += 1
        if previous is not None:
            _remove(self._services, previous.key.namespace, previous.key.name)
            for address in previous.addresses:
                _discard(self._services_at, address, previous.key)
        if current is not None:
            self._services[current.key.namespace][current.key.name] = current
            for address in current.addresses:
                self._services_at[address].add(current.key)

    def observe_slice(self, previous: SliceNames | None, current: SliceNames | None) -> None:
        """A slice came, changed (its Service too), or went."""
        self.serial += 1
        if previous is not None:
            _remove(self._slices, Key(previous.key.namespace, previous.service), previous.key)
            self._owner.pop(previous.key, None)
            for endpoint in previous.endpoints:
                _discard(self._slices_at, endpoint.address, previous.key)
        if current is not None:
            owner = Key(current.key.namespace, current.service)
            self._slices[owner][current.key] = current
            self._owner[current.key] = owner
            for endpoint in current.endpoints:
                self._slices_at[endpoint.address].add(current.key)

    def has_namespace(self, namespace: str) -> bool:
        """Whether any Service is in it."""
        return namespace in self._services

    def service(self, namespace: str, name: str) -> ServiceNames | None:
        return self._services.get(namespace, {}).get(name)

    def slices(self, service: Key) -> list[SliceNames]:
        """Those of a Service, in the order of their names."""
        found = self._slices.get(service, {})
        return [found[key] for key in sorted(found)]

    def services_at(self, address: IPAddress) -> list[Key]:
        """The Services that have it for a clusterIP."""
        return sorted(self._services_at.get(address, ()))

    def headless_endpoints_at(self, address: IPAddress) -> Iterator[tuple[Key, EndpointName]]:
        """The ready endpoints at an address that have a name of their own: those of headless Services."""
        for key in sorted(self._slices_at.get(address, ())):
            owner = self._owner[key]
            service = self.service(*owner)
            if service is not None and service.headless:
                for endpoint in self._slices[owner][key].endpoints:
                    if endpoint.address == address:
                        yield owner, endpoint


def _remove(tree: dict[_K, dict[_L, _V]], key: _K, name: _L) -> None:
    branch = tree.get(key, {})
    branch.pop(name, None)
    if not branch:
        tree.pop(key, None)


def _discard(index: dict[IPAddress, set[Key]], address: IPAddress, key: Key) -> None:
    keys = index.get(address, set())
    keys.discard(key)
    if not keys:
        index.pop(address, None)
