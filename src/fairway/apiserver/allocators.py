"""ClusterIPs and node ports of Services (kubernetes `pkg/registry/core/service/storage/{alloc,storage}.go`).

A `ServiceAllocator` is state in memory, rebuilt from the stored Services and IPAddresses when the server starts;
every change of it belongs to one write and is committed when that write is stored, or reverted when it is not.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fairway.api.resources import SERVICES
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.apiserver.copies import copy_of
from fairway.apiserver.kinds.service_families import fill_families
from fairway.apiserver.kinds.service_spec import (
    IPV4,
    IPV6,
    NONE,
    allocates_node_ports,
    cluster_ips,
    family_of,
    ip_families,
    is_headless,
    keeps_dual_stack,
    needs_cluster_ip,
    needs_health_check,
    needs_node_port,
    node_ports,
    ports,
    service_type,
    set_or_drop,
)
from fairway.apiserver.ranges import AddressRanges, IPNetwork, PortRange, RangeError
from fairway.apiserver.strategy import invalid
from fairway.apiserver.validation.field import invalid_value

_DRY_RUN_PORT = 32769
"""The first node port a dry run shows without taking it; further ones count up (A12)."""


@dataclass(slots=True, kw_only=True)
class Allocation:
    """What one write took and what it will give back: `commit` once it is stored, `revert` when it is not.

    A dry run took nothing; its `commit` and `revert` do nothing.
    """

    dry_run: bool
    ports: PortRange
    ranges: Mapping[str, AddressRanges]
    _taken_ports: list[int] = field(default_factory=list)
    _taken_ips: list[str] = field(default_factory=list)
    _released_ports: list[int] = field(default_factory=list)
    _released_ips: list[str] = field(default_factory=list)

    def commit(self) -> None:
        self._give_back(self._released_ports, self._released_ips)

    def revert(self) -> None:
        self._give_back(self._taken_ports, self._taken_ips)

    def _give_back(self, node_ports: Iterable[int], ips: Iterable[str]) -> None:
        if self.dry_run:
            return
        for port in node_ports:
            self.ports.release(port)
        for ip in ips:
            if family_of(ip) in self.ranges:
                self.ranges[family_of(ip)].release(ip)

    def take_port(self, port: int) -> None:
        """Raises RangeError. A dry run only looks whether the port is taken, not whether it is in range."""
        if self.dry_run:
            if self.ports.has(port) or port in self._taken_ports:
                raise RangeError("provided port is already allocated")
        else:
            self.ports.take(port)
        self._taken_ports.append(port)

    def next_port(self, rng: random.Random) -> int:
        """Raises RangeError."""
        port = max([_DRY_RUN_PORT - 1, *self._taken_ports]) + 1 if self.dry_run else self.ports.next(rng)
        self._taken_ports.append(port)
        return port

    def release_port(self, port: int) -> None:
        self._released_ports.append(port)

    def take_ip(self, ip: str) -> None:
        """Raises RangeError."""
        found = self.ranges[family_of(ip)]
        found.take(ip)
        if self.dry_run:
            found.release(ip)
        else:
            self._taken_ips.append(ip)

    def next_ip(self, family: str, rng: random.Random) -> str:
        """Raises RangeError. A dry run shows the network's own address: looking for a free one would be a race."""
        if self.dry_run:
            return str(self.ranges[family].network.network_address)
        ip = self.ranges[family].next(rng)
        self._taken_ips.append(ip)
        return ip

    def release_ip(self, ip: str) -> None:
        self._released_ips.append(ip)


class ServiceAllocator:
    """The pools of a cluster: one network per address family, the first the primary one, and the node ports.

    networks: the server's own, which say what families there are; `follow` says which ones are in use.
    rng: chooses among what is free.
    """

    def __init__(self, *, networks: Sequence[IPNetwork], node_ports: PortRange, rng: random.Random) -> None:
        self._rng = rng
        self._ports = node_ports
        self.networks = tuple(networks)
        self._ranges = {_family(network): AddressRanges([network]) for network in networks}

    def follow(self, networks: Sequence[IPNetwork]) -> None:
        """Gives ClusterIPs from these networks from now on, from the first of a family that has one free."""
        for family, ranges in self._ranges.items():
            ranges.follow(network for network in networks if _family(network) == family)

    def claim_ip(self, ip: str) -> None:
        """Marks an address as taken that is no Service's: somebody made an IPAddress of it."""
        if family_of(ip) in self._ranges:
            self._ranges[family_of(ip)].claim(ip)

    def release_ip(self, ip: str) -> None:
        if family_of(ip) in self._ranges:
            self._ranges[family_of(ip)].release(ip)

    def load(self, services: Iterable[Object]) -> None:
        """Marks what stored Services hold as taken."""
        for service in services:
            for ip in held_ips(service["spec"]):
                self.claim_ip(ip)
            for port in _held_ports(service["spec"]):
                self._ports.claim(port)

    def allocate(self, new: Object, old: Object | None, *, dry_run: bool = False) -> tuple[Object, Allocation]:
        """A defaulted Service with its addresses and node ports filled in, and what that took.

        old: the stored Service of an update, None for a create. Raises ApiError, having taken nothing: 422 for a
        value that is taken or out of range, 500 where a range is full (A08).
        """
        made = copy_of(new)
        allocation = Allocation(dry_run=dry_run, ports=self._ports, ranges=self._ranges)
        try:
            if old is None:
                self._create(made, allocation)
            else:
                self._update(made, old["spec"], allocation)
        except ApiError:
            allocation.revert()
            raise
        return made, allocation

    def release(self, service: Object) -> None:
        """Gives back what a Service held that is now deleted from the store."""
        gone = Allocation(dry_run=False, ports=self._ports, ranges=self._ranges)
        for ip in held_ips(service["spec"]):
            gone.release_ip(ip)
        for port in _held_ports(service["spec"]):
            gone.release_port(port)
        gone.commit()

    def _create(self, service: Object, allocation: Allocation) -> None:
        spec = service["spec"]
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        fill_families(service, None, tuple(self._ranges))
        self._fill_ips(service, allocation)
        if needs_node_port(spec):
            self._create_ports(service, allocation)
        if needs_health_check(spec):
            self._take_health_check_port(spec, allocation)

    def _update(self, service: Object, old: Object, allocation: Allocation) -> None:
        spec = service["spec"]
        _keep_allocated(spec, old)
        _sync_cluster_ips(spec, old)
        fill_families(service, old, tuple(self._ranges))
        self._update_ips(service, old, allocation)
        if needs_node_port(old) and not needs_node_port(spec):
            for port in node_ports(old):
                allocation.release_port(port)
        if needs_node_port(spec):
            self._update_ports(service, old, allocation)
        self._update_health_check_port(service, old, allocation)

    def _fill_ips(self, service: Object, allocation: Allocation) -> None:
        """Every family its address, from the first that has none."""
        spec = service["spec"]
        if service_type(spec) == "ExternalName" or is_headless(spec):
            return
        ips = cluster_ips(spec)
        ips += [""] * (len(ip_families(spec)) - len(ips))
        spec["clusterIPs"] = ips
        for index, family in enumerate(ip_families(spec)):
            ips[index] = self._take_ip(service, family, ips[index], allocation)
        spec["clusterIP"] = ips[0]

    def _update_ips(self, service: Object, old: Object, allocation: Allocation) -> None:
        spec = service["spec"]
        if keeps_dual_stack(spec, old):
            return
        if service_type(old) == "ExternalName":
            self._fill_ips(service, allocation)
            return
        if is_headless(old):
            return
        families, before = ip_families(spec), ip_families(old)
        if service_type(spec) == "ExternalName":
            for ip in cluster_ips(old):
                allocation.release_ip(ip)
        elif len(before) == 1 and len(families) == 2:
            ips = [*cluster_ips(spec), ""][:2]
            spec["clusterIPs"] = ips
            ips[1] = self._take_ip(service, families[1], ips[1], allocation)
        elif len(before) == 2 and len(families) == 1:
            allocation.release_ip(cluster_ips(old)[1])

    def _take_ip(self, service: Object, family: str, ip: str, allocation: Allocation) -> str:
        name = service["metadata"].get("name") or ""
        shown = cluster_ips(service["spec"])
        try:
            if ip:
                allocation.take_ip(ip)
                return ip
            ip = allocation.next_ip(family, self._rng)
        except RangeError as error:
            if not ip:
                raise _internal(f"failed to allocate a serviceIP: {error}") from None
            cause = invalid_value("spec.clusterIPs", shown, f"failed to allocate IP {ip}: {error}")
            raise invalid(SERVICES, name, [cause]) from None
        if not name:
            # The address is an object of its own there, and cannot be made for a Service without a name.
            unnamed = f'IPAddress.networking.k8s.io "{ip}" is invalid: spec.parentRef.name: Required value'
            cause = invalid_value("spec.clusterIPs", shown, f"failed to allocate IP: {unnamed}")
            raise invalid(SERVICES, name, [cause])
        return ip

    def _create_ports(self, service: Object, allocation: Allocation) -> None:
        """Entries with the same `port` (of several protocols) share a node port (A09)."""
        spec = service["spec"]
        given: dict[int, int] = {}
        for index, port in enumerate(ports(spec)):
            number = port["port"]
            if not port.get("nodePort") and not allocates_node_ports(spec):
                continue
            if number not in given:
                wanted = next((p["nodePort"] for p in ports(spec) if p["port"] == number and p.get("nodePort")), 0)
                given[number] = self._take_port(service, index, wanted, allocation)
                port["nodePort"] = given[number]
            elif not port.get("nodePort"):
                port["nodePort"] = given[number]
            elif port["nodePort"] != given[number]:
                self._take_port(service, index, port["nodePort"], allocation)

    def _update_ports(self, service: Object, old: Object, allocation: Allocation) -> None:
        spec = service["spec"]
        held = set(node_ports(old)) if needs_node_port(old) else set()
        kept = set(held)
        for index, port in enumerate(ports(spec)):
            wanted = port.get("nodePort") or 0
            if wanted in kept or (not wanted and not allocates_node_ports(spec)):
                continue
            port["nodePort"] = self._take_port(service, index, wanted, allocation)
            kept.add(port["nodePort"])
        for gone in held - set(node_ports(spec)):
            allocation.release_port(gone)

    def _take_port(self, service: Object, index: int, wanted: int, allocation: Allocation) -> int:
        try:
            if not wanted:
                return allocation.next_port(self._rng)
            allocation.take_port(wanted)
        except RangeError as error:
            if not wanted:
                raise _internal(f"failed to allocate a nodePort: {error}") from None
            cause = invalid_value(f"spec.ports[{index}].nodePort", wanted, str(error))
            raise invalid(SERVICES, service["metadata"].get("name") or "", [cause]) from None
        return wanted

    def _take_health_check_port(self, spec: Object, allocation: Allocation) -> None:
        wanted = spec.get("healthCheckNodePort") or 0
        try:
            if wanted:
                allocation.take_port(wanted)
            else:
                spec["healthCheckNodePort"] = allocation.next_port(self._rng)
        except RangeError as error:
            text = f"requested HealthCheck NodePort {wanted}" if wanted else "a HealthCheck NodePort 0"
            raise _internal(f"failed to allocate {text}: {error}") from None

    def _update_health_check_port(self, service: Object, old: Object, allocation: Allocation) -> None:
        spec = service["spec"]
        before, now = old.get("healthCheckNodePort") or 0, spec.get("healthCheckNodePort") or 0
        if needs_health_check(spec) and not needs_health_check(old):
            self._take_health_check_port(spec, allocation)
        elif needs_health_check(old) and not needs_health_check(spec):
            allocation.release_port(before)
        elif needs_health_check(spec) and before != now:
            cause = invalid_value("spec.healthCheckNodePort", now, "field is immutable")
            raise invalid(SERVICES, service["metadata"]["name"], [cause])


def _internal(text: str) -> ApiError:
    """500, although a user may have caused it: the real server's answer."""
    return ApiError(500, "InternalError", f"Internal error occurred: {text}", details={"causes": [{"message": text}]})


def _family(network: IPNetwork) -> str:
    return IPV6 if network.version == 6 else IPV4


def held_ips(spec: Object) -> list[str]:
    """The ClusterIPs that a Service's spec says it has."""
    return [ip for ip in cluster_ips(spec) if ip not in ("", NONE)]


def _held_ports(spec: Object) -> list[int]:
    health = spec.get("healthCheckNodePort") or 0
    return [*node_ports(spec), *([health] if health else [])]


def _keep_allocated(spec: Object, old: Object) -> None:
    """What the server filled in and a PUT left out stays (`patchAllocatedValues`)."""
    if needs_cluster_ip(spec) and needs_cluster_ip(old):
        if not spec.get("clusterIP"):
            set_or_drop(spec, "clusterIP", old.get("clusterIP"))
        if not spec.get("clusterIPs") and spec.get("clusterIP") == old.get("clusterIP"):
            set_or_drop(spec, "clusterIPs", cluster_ips(old))
    if needs_node_port(spec) and needs_node_port(old):
        _keep_node_ports(spec, old)
    if needs_health_check(spec) and needs_health_check(old) and not spec.get("healthCheckNodePort"):
        set_or_drop(spec, "healthCheckNodePort", old.get("healthCheckNodePort"))


def _keep_node_ports(spec: Object, old: Object) -> None:
    """Ports are the same port where they have the same name."""
    used = set(node_ports(spec)) & set(node_ports(old))
    before = {port.get("name", ""): port.get("nodePort") or 0 for port in ports(old)}
    for port in ports(spec):
        previous = before.get(port.get("name", ""), 0)
        if not port.get("nodePort") and previous and previous not in used:
            port["nodePort"] = previous
            used.add(previous)


def _sync_cluster_ips(spec: Object, old: Object) -> None:
    """A client that knows only `clusterIP` changes `clusterIPs` through it (`normalizeClusterIPs`)."""
    if spec.get("clusterIP") == old.get("clusterIP") or cluster_ips(spec) != cluster_ips(old):
        return
    set_or_drop(spec, "clusterIPs", [spec["clusterIP"]] if spec.get("clusterIP") else [])
