"""A range of addresses for load balancers, and who may have which. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Self

from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.base.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPool:
    """All addresses from first to last, both included and of one family."""

    first: IPAddress
    last: IPAddress

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "172.18.255.200-172.18.255.250"; raises Refused for anything else."""
        first, dash, last = text.partition("-")
        try:
            pool = cls(first=parse_address(first), last=parse_address(last))
        except Refused as error:
            raise Refused(f'load balancer pool "{text}": {error}; write it as FIRST-LAST, two addresses') from error
        if pool.first.version != pool.last.version:
            raise Refused(f'load balancer pool "{text}": its addresses are of two families; give each its own pool')
        if not dash or int(pool.last) < int(pool.first):
            raise Refused(f'load balancer pool "{text}" is empty: its last address is before its first')
        return pool

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __contains__(self, address: IPAddress) -> bool:
        return address.version == self.family and int(self.first) <= int(address) <= int(self.last)

    @property
    def family(self) -> Family:
        return Family(self.first.version)

    def choose(self, holder: str, taken: Container[IPAddress]) -> IPAddress | None:
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
