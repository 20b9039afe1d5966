"""Pod addresses of one node, given out as the CNI plugin `host-local` does: the next after the last given out.

An address that was just released is so the last to be used again, which keeps a late packet of the old pod from
meeting a new one. The network and broadcast addresses are not used, and the first host address is the gateway
(containernetworking/plugins `plugins/ipam/host-local/backend/allocator`).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from fairway.base.errors import Refused, Retry

EXHAUSTED_RETRY_S = 10.0


class PodAddresses:
    """The addresses of a node's pod network; the state lives with the kubelet, as its pods do."""

    def __init__(self, network: IPv4Network, *, last: IPv4Address | None = None) -> None:
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
        self._owners: dict[IPv4Address, str] = {}

    @staticmethod
    def gateway_of(network: IPv4Network) -> IPv4Address:
        """The address pods send to: the first of the network, on the node's end of every pod's link."""
        return network[1]

    def allocate(self, owner: str) -> IPv4Address:
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

    def release(self, address: IPv4Address, owner: str) -> None:
        """Give the address back; nothing happens when somebody else holds it."""
        if self._owners.get(address) == owner:
            del self._owners[address]

    def _usable(self, address: IPv4Address) -> bool:
        return address not in (self.network.network_address, self.network.broadcast_address, self.gateway)
