"""The kubelet's two needs of the node's network, met by the fabric: links to pods, and load balancer addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from fairway.api.types import Key
from fairway.fabric.network import add_address, attach_pod, detach_pod, host_interface_name, remove_address


class NodeNetwork:
    """Links pods to the node whose network namespace this process is in."""

    def __init__(self, pod_cidr: IPv4Network) -> None:
        self._pod_cidr = pod_cidr

    async def attach(self, pod: Key, pid: int, address: IPv4Address) -> None:
        """A link between the node and the network namespace of process `pid`, with the address. Raises Refused."""
        await attach_pod(
            host_interface=host_interface_name(pod.namespace, pod.name),
            pid=pid,
            address=address,
            pod_cidr=self._pod_cidr,
        )

    async def detach(self, pod: Key) -> None:
        """Take the pod's link away; no error when it is gone."""
        await detach_pod(host_interface_name(pod.namespace, pod.name))


class NodeAddresses:
    """Addresses on the node's own link."""

    async def add(self, address: IPv4Address) -> None:
        """Have the address, and tell the neighbours. Raises Refused."""
        await add_address(address)

    async def remove(self, address: IPv4Address) -> None:
        """Have it no more; no error when it is gone. Raises Refused."""
        await remove_address(address)
