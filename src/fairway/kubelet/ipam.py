"""Pod addresses of one node, given out as the CNI plugin `host-local` does: the next after the last given out.

An address that was just released is so the last to be used again, which keeps a late packet of the old pod from
meeting a new one. The network and broadcast addresses are not used, and the first host address is the gateway
(containernetworking/plugins `plugins/ipam/host-local/backend/allocator`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fairway.base.addresses import IPAddress, IPInterface, IPNetwork, on_link
from fairway.base.errors import Refused, Retry

EXHAUSTED_RETRY_S = 10.0


class PodAddresses:
    """The addresses of one of a node's pod networks; the state lives with the kubelet, as its pods do."""

    def __init__(self, network: IPNetwork, *, last: IPAddress | None = None) -> None:
        """last: treat this one as the last given out; None starts at the gateway, so that the first pod gets .2.

        Raises Refused when the network has no room for a gateway and a pod, or `last` lies outside it.
        """
        if network.num_addresses < 4:
            raise Refused(f"pod network {network}: too small for a gateway and a pod; use a /30 or larger")
        if last is not None and last not in network:
            raise Refused(f"last pod address {last}: not in the node's pod network {network}")
        self.network = network
        self.gateway = self.gateway_of(network)
        self._last = last or self.gateway
        self._owners: dict[IPAddress, str] = {}

    @staticmethod
    def gateway_of(network: IPNetwork) -> IPAddress:
        """The address pods send to: the first of the network, on the node's end of every pod's link."""
        return network[1]

    def allocate(self, owner: str) -> IPAddress:
        """The next free address, now held by `owner`. Raises Retry when all are held."""
        size = self.network.num_addresses
        start = int(self._last) - int(self.network[0])
        for step in range(1, size + 1):
            candidate = self.network[(start + step) % size]
            if self._usable(candidate) and candidate not in self._owners:
                self._owners[candidate] = owner
                self._last = candidate
                return candidate
        raise Retry(f"pod network {self.network}: all {size - 3} addresses are in use", after_s=EXHAUSTED_RETRY_S)

    def release(self, address: IPAddress, owner: str) -> None:
        """Give the address back; nothing happens when somebody else holds it."""
        if self._owners.get(address) == owner:
            del self._owners[address]

    def _usable(self, address: IPAddress) -> bool:
        return address not in (self.network.network_address, self.network.broadcast_address, self.gateway)


class PodNetworks:
    """All the pod networks of a node: a pod gets an address of each."""

    def __init__(self, networks: Sequence[PodAddresses]) -> None:
        """networks: one a family, the primary one first."""
        self._networks = tuple(networks)

    @classmethod
    def of(cls, networks: Iterable[IPNetwork], *, last: Iterable[IPAddress] = ()) -> PodNetworks:
        """last: as PodAddresses has it, of any of the families. Raises Refused as it does."""
        known = {address.version: address for address in last}
        return cls([PodAddresses(network, last=known.get(network.version)) for network in networks])

    def allocate(self, owner: str) -> tuple[IPInterface, ...]:
        """An address of each network, each with its network. Raises Retry, having taken none, when one has none."""
        given: list[IPInterface] = []
        try:
            given.extend(on_link(each.allocate(owner), each.network.prefixlen) for each in self._networks)
        except Retry:
            self.release([address.ip for address in given], owner)
            raise
        return tuple(given)

    def release(self, addresses: Iterable[IPAddress], owner: str) -> None:
        """Give them back; nothing happens to those that somebody else holds."""
        for address in addresses:
            for each in self._networks:
                each.release(address, owner)
