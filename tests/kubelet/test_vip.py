"""Load balancer addresses of this node."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from fairway.api.types import Object
from fairway.base.addresses import Family, IPAddress
from fairway.base.errors import Refused
from fairway.kubelet import vip
from fairway.kubelet.vip import NODE_ANNOTATION, VipHolder, held_addresses
from tests.kubelet.objects import NODE, service

A, B = IPv4Address("172.18.255.200"), IPv4Address("172.18.255.201")


def balanced(node: str = NODE, *addresses: str, kind: str = "LoadBalancer", ingress: Any = None) -> Object:
    """A Service whose addresses `node` is to hold."""
    found = service("web")
    found["metadata"]["annotations"] = {NODE_ANNOTATION: node}
    found["spec"]["type"] = kind
    found["status"] = {"loadBalancer": {"ingress": ingress or [{"ip": a, "ipMode": "VIP"} for a in addresses]}}
    return found


@pytest.mark.parametrize(
    ("services", "held"),
    [
        ([balanced(NODE, str(A))], {A}),
        ([balanced(NODE, str(A), str(B))], {A, B}),
        ([balanced("another", str(A))], set()),
        ([balanced(NODE)], set()),
        ([balanced(NODE, str(A), kind="NodePort")], set()),
        ([balanced(NODE, ingress=[{"hostname": "lb.example.com"}, {"ip": "fd00::1"}])], set()),
        ([service("plain")], set()),
        ([balanced(NODE, str(A)), balanced("another", str(B))], {A}),
    ],
)
def test_a_node_holds_what_the_annotation_gives_it(services: list[Object], held: set[IPAddress]) -> None:
    assert held_addresses(services, NODE, [Family.IPV4]) == held


def test_a_node_of_both_families_holds_both_addresses_of_a_service() -> None:
    both = balanced(NODE, str(A), "fd00:172:18::255:200")
    assert held_addresses([both], NODE, list(Family)) == {A, IPv6Address("fd00:172:18::255:200")}


class RecordedAddresses:
    """A link: what was done to it, in order; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.done: list[tuple[str, IPAddress]] = []
        self.there: set[IPAddress] = set()
        self.failures = failures
        self.moved = asyncio.Condition()

    async def held(self) -> frozenset[IPAddress]:
        return frozenset(self.there)

    async def add(self, address: IPAddress) -> None:
        await self._do("add", address)
        self.there.add(address)

    async def remove(self, address: IPAddress) -> None:
        await self._do("remove", address)
        self.there.remove(address)

    async def _do(self, what: str, address: IPAddress) -> None:
        async with self.moved:
            self.moved.notify_all()
            if self.failures:
                self.failures -= 1
                raise Refused(f"address {address}: no")
            self.done.append((what, address))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10), self.moved:
            await self.moved.wait_for(lambda: len(self.done) >= count)


async def test_addresses_follow_what_is_wanted_and_go_before_others_come() -> None:
    link = RecordedAddresses()
    holder = VipHolder(link)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(holder.run())
        holder.want(frozenset({A}))
        await link.until(1)
        holder.want(frozenset({B}))
        await link.until(3)
        holder.want(frozenset({B}))
        running.cancel()

    assert link.done == [("add", A), ("remove", A), ("add", B)]


async def test_what_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vip, "RETRY_S", 0.0)
    link = RecordedAddresses(failures=2)
    holder = VipHolder(link)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(holder.run())
        holder.want(frozenset({A}))
        await link.until(1)
        running.cancel()

    assert link.done == [("add", A)]


async def test_what_an_earlier_life_left_behind_goes_once_it_is_known_to_be_unwanted() -> None:
    link = RecordedAddresses()
    link.there = {A, B}
    holder = VipHolder(link)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(holder.run())
        holder.want(frozenset({B}))
        await link.until(1)
        running.cancel()

    assert (link.done, link.there) == ([("remove", A)], {B})
