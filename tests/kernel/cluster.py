"""What the tests of real packets have in common: objects, the Plan of them, and what is to be seen of a packet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from fairway.api.codec import decode_cluster
from fairway.cluster.verify.places import write_settings
from fairway.cluster.verify.wire import Wire, wire
from fairway.flow.packet import Packet, Protocol
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service, group_slices
from fairway.plan.model import Plan
from fairway.plan.options import Mode, Options, parse_options, view_node

NODE, NODE_ADDRESS = "node-1", "172.18.0.1"
CLIENT, STRANGER = "203.0.113.7", "198.51.100.9"
LOCAL_POD, FAR_POD = "10.10.1.2", "10.10.2.2"
VIP, GUARDED_VIP = "172.18.255.1", "172.18.255.2"
SOURCES = (CLIENT, STRANGER, LOCAL_POD, FAR_POD, NODE_ADDRESS)
NODE_OBJECT = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}


def service(name: str, number: int, protocol: str = "TCP", **spec: Any) -> dict[str, Any]:
    """Type LoadBalancer: cluster IP 10.200.1.NUMBER:80, node port 30000+NUMBER."""
    port = {"port": 80, "protocol": protocol, "nodePort": 30000 + number}
    address = spec.pop("address", None)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "clusterIP": f"10.200.1.{number}", "ports": [port], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}} if address else {},
    }


def endpoints(name: str, addresses: Sequence[str], protocol: str = "TCP") -> dict[str, Any]:
    """Pods, and this node, at port 8080."""
    nodes = {LOCAL_POD: NODE, NODE_ADDRESS: NODE, FAR_POD: "node-2"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": nodes[address]} for address in addresses],
        "ports": [{"name": "", "port": 8080, "protocol": protocol}],
    }


OBJECTS = (
    service("cluster", 1, address=VIP),
    endpoints("cluster", [LOCAL_POD, FAR_POD]),
    service("local", 2, externalTrafficPolicy="Local"),
    endpoints("local", [LOCAL_POD, FAR_POD]),
    service("elsewhere", 3, externalTrafficPolicy="Local", internalTrafficPolicy="Local"),
    endpoints("elsewhere", [FAR_POD]),
    service("nowhere", 4),
    service("datagram", 5, "UDP", externalTrafficPolicy="Local"),
    endpoints("datagram", [LOCAL_POD], "UDP"),
    service("datagram-nowhere", 6, "UDP"),
    service("guarded", 7, address=GUARDED_VIP, loadBalancerSourceRanges=["203.0.113.0/24"]),
    endpoints("guarded", [FAR_POD]),
    service("sticky", 8, sessionAffinity="ClientIP"),
    endpoints("sticky", [LOCAL_POD, FAR_POD]),
)


def options_of(mode: Mode) -> Options:
    return parse_options(cluster_cidrs=["10.10.0.0/16"], node_addresses=[NODE_ADDRESS], mode=mode)


def assembly_of(objects: Sequence[dict[str, Any]], node: str, options: Options) -> Assembly:
    """The Plan of a node, and its parts."""
    cluster = decode_cluster(objects)
    view = view_node(cluster.node(node), options)
    assembly = Assembly(view)
    by_service, notes = group_slices(cluster.slices)
    assembly.set_notes(notes)
    for each in cluster.services:
        assembly.put(compile_service(each, by_service.get(each.metadata.key, ()), view))
    return assembly


def all_packets(plan: Plan) -> Iterator[Packet]:
    """From every kind of source to every door, loopback's node ports too."""
    for port in plan.ports:
        for door in port.doors:
            destination = door.address or ip_address(NODE_ADDRESS)
            packet = Packet(
                source=destination, destination=destination, port=door.port, protocol=door.protocol, from_node=False
            )
            for source in SOURCES:
                yield replace(packet, source=ip_address(source), from_node=source == NODE_ADDRESS)
            if door.address is None:
                loopback = ip_address("127.0.0.1")
                yield replace(packet, source=loopback, destination=loopback, from_node=True)


LOCALNET = {"net/ipv4/conf/all/route_localnet": "1"}
"""What the agent sets for node ports at 127.0.0.1."""


@contextmanager
def wired() -> Iterator[Wire]:
    """A node with two pods, a client and a stranger; the far pod is one more host beside it, and all that counts."""
    with wire() as node:
        write_settings(LOCALNET)
        node.own(NODE_ADDRESS)
        for address in (CLIENT, STRANGER, LOCAL_POD, FAR_POD):
            node.link(address, NODE_ADDRESS)
        node.route_all_to(CLIENT)
        for pod in (LOCAL_POD, FAR_POD):
            for protocol in (Protocol.TCP, Protocol.UDP):
                node.serve(pod, 8080, protocol)
        yield node
