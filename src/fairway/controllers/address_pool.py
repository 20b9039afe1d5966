"""A range of addresses for load balancers, and who may have which. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Self

from fairway.base.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPool:
    """All addresses from first to last, both included."""

    first: IPv4Address
    last: IPv4Address

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "172.18.255.200-172.18.255.250"; raises Refused for anything else."""
        first, dash, last = text.partition("-")
        try:
            pool = cls(first=IPv4Address(first.strip()), last=IPv4Address(last.strip()))
        except ValueError as error:
            raise Refused(
                f'load balancer pool "{text}": {error}; write it as FIRST-LAST, two IPv4 addresses'
            ) from error
        if not dash or pool.last < pool.first:
            raise Refused(f'load balancer pool "{text}" is empty: its last address is before its first')
        return pool

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def choose(self, holder: str, taken: Container[IPv4Address]) -> IPv4Address | None:
        """A free address, None where there is none: the first one from where the holder's name hashes to.

        So a Service that is made again mostly gets the address it had, and one made after another does not get the
        address that clients of that other may still know.
        """
        start = int.from_bytes(hashlib.sha256(holder.encode()).digest()[:8])
        for step in range(len(self)):
            address = self.first + (start + step) % len(self)
            if address not in taken:
                return address
        return None


def rendezvous(key: str, nodes: Iterable[str]) -> list[str]:
    """Nodes in the order in which they would hold `key`: each key has its own, and a node that goes moves only its keys
    (highest random weight, Thaler and Ravishankar 1998)."""
    return sorted(nodes, key=lambda node: hashlib.sha256(f"{node}#{key}".encode()).digest())
