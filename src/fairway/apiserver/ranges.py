"""Pools that addresses and ports are taken from: a lower band for those who ask for a value, an upper for the rest.

Facts: KEP-3070 (ClusterIP), KEP-3668 (node ports); `pkg/registry/core/service/{ipallocator,portallocator}`.
"""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, field

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class RangeError(Exception):
    """Why a value cannot be had, in the allocators' own words."""


@dataclass(slots=True)
class Band:
    """Numbers 0 up to `size`, of which those below `offset` are given automatically only when the others are taken."""

    size: int
    offset: int
    taken: set[int] = field(default_factory=set)

    def next(self, rng: random.Random) -> int | None:
        """A free number, taken: at random from the upper band, then from the lower; None: all are taken."""
        for low, high in ((self.offset, self.size), (0, self.offset)):
            number = self._free(low, high, rng)
            if number is not None:
                self.taken.add(number)
                return number
        return None

    def _free(self, low: int, high: int, rng: random.Random) -> int | None:
        """From a random start upwards and around: an IPv6 range is too large to list what is free."""
        if low >= high:
            return None
        start = rng.randrange(low, high)
        if len(self.taken) >= high - low and all(number in self.taken for number in range(low, high)):
            return None
        number = start
        while number in self.taken:
            number = number + 1 if number + 1 < high else low
        return number


def _offset(size: int, fraction: int, most: int) -> int:
    return 0 if size <= 16 else min(max(16, size // fraction), most)


class PortRange:
    """Node ports of all protocols: one pool (A06, A07)."""

    def __init__(self, first: int = 30000, last: int = 32767) -> None:
        self.first = first
        self.last = last
        size = last - first + 1
        self._band = Band(size=size, offset=_offset(size, 32, 128))

    def take(self, port: int) -> None:
        """Raises RangeError: taken, or out of range."""
        if not self.first <= port <= self.last:
            valid = f"{self.first}-{self.last}"
            raise RangeError(f"provided port is not in the valid range. The range of valid ports is {valid}")
        if self.has(port):
            raise RangeError("provided port is already allocated")
        self._band.taken.add(port - self.first)

    def next(self, rng: random.Random) -> int:
        """Raises RangeError: range is full."""
        number = self._band.next(rng)
        if number is None:
            raise RangeError("range is full")
        return self.first + number

    def claim(self, port: int) -> None:
        """Marks a stored port as taken; one out of range is nobody's concern."""
        if self.first <= port <= self.last:
            self._band.taken.add(port - self.first)

    def release(self, port: int) -> None:
        self._band.taken.discard(port - self.first)

    def has(self, port: int) -> bool:
        return port - self.first in self._band.taken

    @property
    def used(self) -> int:
        return len(self._band.taken)


class AddressRange:
    """ClusterIPs of one family (A02, A03): without the network's own address and IPv4's broadcast."""

    def __init__(self, network: IPNetwork) -> None:
        self.network = network
        # The first address is the network's own, IPv4's last one the broadcast.
        usable = network.num_addresses - (2 if network.version == 4 else 1)
        size = max(0, min(usable, 1 << 62))
        self._base = int(network.network_address) + 1
        self._band = Band(size=size, offset=_offset(size, 16, 256))

    def take(self, text: str) -> None:
        """Raises RangeError: taken, out of the network, or one of the two addresses that are nobody's."""
        address = ipaddress.ip_address(text)
        if address.version != self.network.version or address not in self.network:
            raise RangeError("the provided network does not match the current range")
        number = int(address) - self._base
        if not 0 <= number < self._band.size:
            raise RangeError(
                f"the provided IP ({text}) is not in the valid range. The range of valid IPs is {self.network}"
            )
        if number in self._band.taken:
            raise RangeError("provided IP is already allocated")
        self._band.taken.add(number)

    def next(self, rng: random.Random) -> str:
        """Raises RangeError: range is full."""
        number = self._band.next(rng)
        if number is None:
            raise RangeError("range is full")
        return str(type(self.network.network_address)(self._base + number))

    def claim(self, text: str) -> None:
        """Marks a stored address as taken; one out of range is nobody's concern."""
        number = int(ipaddress.ip_address(text)) - self._base
        if 0 <= number < self._band.size:
            self._band.taken.add(number)

    def release(self, text: str) -> None:
        self._band.taken.discard(int(ipaddress.ip_address(text)) - self._base)

    def has(self, text: str) -> bool:
        return int(ipaddress.ip_address(text)) - self._base in self._band.taken

    @property
    def used(self) -> int:
        return len(self._band.taken)
