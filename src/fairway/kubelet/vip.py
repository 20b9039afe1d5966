"""Load balancer addresses held by this node.

The loadbalancer controller names the one node that answers for a Service's address in an annotation; that node has the
address on its link and tells the neighbours (gratuitous ARP, neighbour advertisement).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from typing import Protocol

from fairway.api.types import Object
from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.base.errors import FairwayError, Refused

NODE_ANNOTATION = "fairway.dev/load-balancer-node"
RETRY_S = 1.0

_log = logging.getLogger(__name__)


class Addresses(Protocol):
    """Addresses on the node's link, all in the caller's network namespace; repeating add or remove is no error."""

    async def held(self) -> frozenset[IPAddress]:
        """The load balancer addresses that are on the link now."""

    async def add(self, address: IPAddress) -> None: ...

    async def remove(self, address: IPAddress) -> None: ...


def held_addresses(services: Iterable[Object], node: str, families: Collection[Family]) -> frozenset[IPAddress]:
    """The addresses this node is to have: those of the ingresses of every Service whose annotation names it.

    families: those of the node's own addresses.
    """
    held: set[IPAddress] = set()
    for service in services:
        annotations = service["metadata"].get("annotations") or {}
        if annotations.get(NODE_ANNOTATION) != node or (service.get("spec") or {}).get("type") != "LoadBalancer":
            continue
        for ingress in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            try:
                address = parse_address(ingress.get("ip") or "")
            except Refused:  # a host name
                continue
            if address.version in families:
                held.add(address)
    return frozenset(held)


class VipHolder:
    """Keeps the node's addresses equal to what is wanted; `run` it in a task group."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._wanted: frozenset[IPAddress] | None = None
        self._changed = asyncio.Event()

    def want(self, wanted: frozenset[IPAddress]) -> None:
        """What the node is to hold from now on."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        """Follow what is wanted for ever, trying again what failed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self._step():
                self._changed.set()
                await asyncio.sleep(RETRY_S)

    async def _step(self) -> bool:
        """One pass: first what is to go, so that an address is never at two nodes for long. Whether all succeeded.

        What is held is looked up each time: an earlier life of this kubelet may have left addresses behind.
        """
        wanted = self._wanted or frozenset()
        try:
            held = await self._addresses.held()
        except FairwayError as error:
            _log.warning("load balancer addresses: %s", error)
            return False
        good = True
        for address in sorted(held - wanted, key=_order):
            good &= await self._do(address, add=False)
        for address in sorted(wanted - held, key=_order):
            good &= await self._do(address, add=True)
        return good

    async def _do(self, address: IPAddress, *, add: bool) -> bool:
        try:
            if add:
                await self._addresses.add(address)
            else:
                await self._addresses.remove(address)
        except FairwayError as error:
            _log.warning("load balancer address %s: %s", address, error)
            return False
        return True


def _order(address: IPAddress) -> tuple[int, int]:
    return address.version, int(address)
