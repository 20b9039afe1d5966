"""Generated clusters and packets, small enough that most packets hit something.

Addresses tell what they are: 10.10.N.x pods of node N, 172.18.0.N nodes, 10.200.1.x cluster IPs, 172.18.255.x load
balancers, 198.51.100.x external IPs, 203.0.113.x clients. Service ports stay below the node port range.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import strategies as st

from fairway.api.codec import decode_cluster
from fairway.base.addresses import Family
from fairway.flow.packet import Packet, Protocol
from fairway.plan.compile import compile_plan
from fairway.plan.model import Plan
from fairway.plan.options import parse_options

NODES = ("node-1", "node-2", "node-3")
NODE = NODES[0]
NODE_ADDRESSES = ("172.18.0.1", "192.168.7.1", "10.10.1.1")
"""Of NODE: its primary one, one of a second network, and the gateway of its pods, which lies in the pod network."""
LOAD_BALANCER = "172.18.255.1"
EXTERNAL = "198.51.100.1"
PORTS = (80, 443)
NODE_PORTS = (30080, 30443)
HEALTH_PORT = 31999

_PODS = tuple(f"10.10.{node}.{pod}" for node in (1, 2, 3) for pod in (2, 3))
_HOST_NETWORK = ("172.18.0.1", "172.18.0.2")
_CLIENTS = ("203.0.113.7", "192.168.10.9", "172.18.0.2", "10.10.1.2", "10.10.2.2", *NODE_ADDRESSES)
AIMS = (
    *((f"10.200.1.{index}", port) for index in (1, 2) for port in PORTS),
    *((address, port) for address in (LOAD_BALANCER, EXTERNAL) for port in PORTS),
    *((address, port) for address in NODE_ADDRESSES for port in (*NODE_PORTS, HEALTH_PORT)),
    ("10.200.1.1", 22),
    ("10.200.1.9", 80),
    ("172.18.0.2", NODE_PORTS[0]),
    ("10.10.2.2", 8080),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a node is told: objects as the API carries them, and how its agent is started."""

    objects: tuple[dict[str, Any], ...]
    options: dict[str, Any]

    def plan(self, **options: Any) -> Plan:
        """options: what the agent is told besides, or in place of `self.options`."""
        cluster = decode_cluster(self.objects)
        settings = parse_options(**{**self.options, **options})
        return compile_plan(cluster.services, cluster.slices, cluster.node(NODE), options=settings)

    def in_ipv6(self) -> Case:
        """The same cluster in the other family."""
        objects = json.loads(_in_ipv6(json.dumps(self.objects)).replace('"IPv4"', '"IPv6"'))
        options = json.loads(_in_ipv6(json.dumps(self.options)))
        return Case(objects=tuple(objects), options={**options, "family": Family.IPV6})


def packet_in_ipv6(packet: Packet) -> Packet:
    """The same packet in the cluster's `in_ipv6`."""
    source, destination = (ip_address(_in_ipv6(str(each))) for each in (packet.source, packet.destination))
    return replace(packet, source=source, destination=destination)


FAMILIES = pytest.mark.parametrize("family", Family, ids=lambda family: family.api_name)


def in_family(family: Family, case: Case, packet: Packet) -> tuple[Case, Packet]:
    return (case, packet) if family is Family.IPV4 else (case.in_ipv6(), packet_in_ipv6(packet))


_IPV4 = re.compile(r"\b(\d+\.\d+\.\d+\.\d+)(/\d+)?")


def _in_ipv6(text: str) -> str:
    """Each address in `text` as one of fd00::/96; loopback and everything stay what they are."""
    return _IPV4.sub(_one_in_ipv6, text)


def _one_in_ipv6(found: re.Match[str]) -> str:
    address, prefix = ip_address(found[1]), found[2] or ""
    if address.is_loopback:
        return "::1/128" if prefix else "::1"
    if prefix == "/0":
        return "::/0"
    six = IPv6Address(int(IPv6Address("fd00::")) + int(address))
    return f"{six}/{96 + int(prefix[1:])}" if prefix else str(six)


def _conditions() -> st.SearchStrategy[dict[str, bool]]:
    return st.sampled_from(
        [
            {},
            {"ready": True, "serving": True, "terminating": False},
            {"ready": False, "serving": False, "terminating": False},
            {"ready": False, "serving": True, "terminating": True},
        ]
    )


def _node_of(address: str) -> str:
    number = address.split(".")[2] if address.startswith("10.10.") else address.rsplit(".", 1)[1]
    return f"node-{number}"


@st.composite
def _endpoint(draw: st.DrawFn, address: str) -> dict[str, Any]:
    endpoint: dict[str, Any] = {
        "addresses": [address],
        "conditions": draw(_conditions()),
        "nodeName": _node_of(address),
    }
    if draw(st.booleans()):
        endpoint["hints"] = {"forZones": [{"name": draw(st.sampled_from(["zone-a", "zone-b"]))}]}
    return endpoint


@st.composite
def _slice(draw: st.DrawFn, service: str, number: int, names: list[str]) -> dict[str, Any]:
    addresses = draw(st.lists(st.sampled_from([*_PODS, *_HOST_NETWORK]), max_size=4, unique=True))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{number}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [draw(_endpoint(address)) for address in addresses],
        "ports": [
            {"name": name, "port": draw(st.sampled_from([8080, 8443])), "protocol": protocol}
            for name in names
            for protocol in ("TCP", "UDP")
        ],
    }


@st.composite
def _service(draw: st.DrawFn, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    name = f"web-{index}"
    kind = draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))
    names = draw(st.sampled_from([[""], ["http"], ["http", "https"]]))
    ports = [
        {
            **({"name": port_name} if port_name else {}),
            "port": PORTS[number],
            "protocol": draw(st.sampled_from(["TCP", "UDP"])),
        }
        for number, port_name in enumerate(names)
    ]
    spec: dict[str, Any] = {"type": kind, "clusterIP": f"10.200.1.{index}", "ports": ports}
    status: dict[str, Any] = {}
    spec["internalTrafficPolicy"] = draw(st.sampled_from(["Cluster", "Local"]))
    if draw(st.booleans()):
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    if index == 1 and draw(st.booleans()):
        spec["externalIPs"] = [EXTERNAL]
    if kind != "ClusterIP":
        spec["externalTrafficPolicy"] = draw(st.sampled_from(["Cluster", "Local"]))
        for number, port in enumerate(ports):
            if index == 1:
                port["nodePort"] = NODE_PORTS[number]
    if kind == "LoadBalancer" and index == 1:
        status = {"loadBalancer": {"ingress": [{"ip": LOAD_BALANCER}]}}
        ranges = [["203.0.113.0/24"], ["192.168.10.0/24", "172.18.0.0/24"], ["0.0.0.0/0"]]
        spec["loadBalancerSourceRanges"] = draw(st.sampled_from([[], *ranges]))
        if spec["externalTrafficPolicy"] == "Local":
            spec["healthCheckNodePort"] = HEALTH_PORT
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
        "status": status,
    }
    return service, [draw(_slice(name, number, names)) for number in range(draw(st.integers(0, 2)))]


def _node(name: str) -> dict[str, Any]:
    address = f"172.18.0.{name[-1]}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "zone-a"}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Two Services, of which the first may have every kind of door, on the node NODE."""
    objects = [_node(name) for name in NODES]
    for index in (1, 2):
        service, slices = draw(_service(index))
        objects += [service, *slices]
    options = {
        "cluster_cidrs": draw(st.sampled_from([[], ["10.10.0.0/16"], ["10.10.1.0/24", "10.10.2.0/23"]])),
        "node_port_addresses": draw(st.sampled_from([[], ["172.18.0.0/16"], ["172.18.0.0/16", "127.0.0.0/8"]])),
        "node_addresses": list(NODE_ADDRESSES),
        "masquerade_all": draw(st.booleans()),
        "localhost_node_ports": draw(st.booleans()),
        "service_cidrs": draw(st.sampled_from([[], ["10.200.0.0/16"]])),
    }
    return Case(objects=tuple(objects), options=options)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """To a door more often than not; what the node itself sends comes from an address of its own."""
    from_node = draw(st.booleans())
    source = draw(st.sampled_from(NODE_ADDRESSES if from_node else _CLIENTS))
    destination, port = draw(st.sampled_from(AIMS))
    if from_node and draw(st.integers(0, 3)) == 0:
        source = destination = "127.0.0.1"
    return Packet(
        source=ip_address(source),
        destination=ip_address(destination),
        port=port,
        protocol=draw(st.sampled_from([Protocol.TCP, Protocol.UDP])),
        from_node=from_node,
    )
