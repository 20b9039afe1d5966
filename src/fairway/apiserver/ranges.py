"""Pools that addresses and ports are taken from: a lower band for those who ask for a value, an upper for the rest.

Facts: KEP-3070 (ClusterIP), KEP-3668 (node ports); `pkg/registry/core/service/{ipallocator,portallocator}`.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
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


class AddressRanges:
    """The networks that ClusterIPs of one family come from, in the order in which they are filled.

    They may overlap: an address is taken in all of them (`ipallocator/cidrallocator.go`, MetaAllocator).
    """

    def __init__(self, networks: Iterable[IPNetwork] = ()) -> None:
        self._ranges: tuple[AddressRange, ...] = ()
        self._taken: set[str] = set()
        self.follow(networks)

    def follow(self, networks: Iterable[IPNetwork]) -> None:
        """From now on these networks; what is taken stays taken, in one that comes back too."""
        wanted = tuple(dict.fromkeys(networks))
        if wanted == tuple(each.network for each in self._ranges):
            return
        known = {each.network: each for each in self._ranges}
        self._ranges = tuple(known.get(network) or self._new_range(network) for network in wanted)

    def _new_range(self, network: IPNetwork) -> AddressRange:
        made = AddressRange(network)
        for text in self._taken:
            made.claim(text)
        return made

    @property
    def network(self) -> IPNetwork:
        """The first. Raises RangeError where there is none."""
        if not self._ranges:
            raise RangeError("range is full")
        return self._ranges[0].network

    def take(self, text: str) -> None:
        """Raises RangeError as AddressRange does; of the networks an address lies in, the largest judges."""
        address = ipaddress.ip_address(text)
        holding = [each for each in self._ranges if address in each.network]
        if not holding:
            raise RangeError("the provided network does not match the current range")
        min(holding, key=lambda each: each.network.prefixlen).take(text)
        self.claim(text)

    def next(self, rng: random.Random) -> str:
        """Raises RangeError: range is full."""
        for each in self._ranges:
            try:
                text = each.next(rng)
            except RangeError:
                continue
            self.claim(text)
            return text
        raise RangeError("range is full")

    def claim(self, text: str) -> None:
        """Marks a stored address as taken, in whatever network it lies."""
        self._taken.add(str(ipaddress.ip_address(text)))
        for each in self._ranges:
            each.claim(text)

    def release(self, text: str) -> None:
        self._taken.discard(str(ipaddress.ip_address(text)))
        for each in self._ranges:
            each.release(text)
