"""Generated clusters of two families, small enough that most packets hit something: all that a Service may do. Pure.

They are what an API server may hold, also from before it checked as much: padded addresses, two Services at one door.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.api.types import Object
from fairway.base.addresses import Family
from fairway.cluster.verify.draw import Draw
from fairway.cluster.verify.plane import (
    BRIDGE,
    CLUSTER_IPS,
    EXTERNALS,
    HEALTH_PORT,
    LINK_PREFIX,
    LOAD_BALANCERS,
    NODE,
    NODE_ADDRESSES,
    NODE_PORTS,
    NODES,
    PODS,
    PORTS,
    TARGET_PORTS,
    address_in,
    network_in,
    networks,
    node_of,
)
from fairway.plan.options import LocalMode

V4, V6 = Family.IPV4, Family.IPV6
BOTH = (V4, V6)

_FAMILIES: Sequence[Sequence[Family]] = (BOTH, BOTH, (V6, V4), BOTH, (V4,), (V6,))
_PROTOCOLS = ("TCP", "UDP", "TCP", "UDP", "TCP", "SCTP")
_POLICIES = ("Cluster", "Local")
_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "NodePort", "LoadBalancer")
_SLICES = (1, 2, 1, 1, 2, 1, 2, 0)
"""How many a Service has in a family."""
_HOST_NETWORK = ("172.18.0.1", "172.18.0.2")
_BAD_ENDPOINTS = {V4: ("127.0.0.1", "169.254.1.1", "0.0.0.0"), V6: ("::1", "fe80::1", "ff02::1")}  # noqa: S104 - to be refused
"""Those that kube-proxy refuses to send to."""

_CONDITIONS: Sequence[Mapping[str, bool]] = (
    {},
    {"ready": True, "serving": True, "terminating": False},
    {"ready": True},
    {"ready": True, "serving": True, "terminating": False},
    {"ready": False, "serving": False, "terminating": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
    {"ready": True, "serving": True, "terminating": True},
    {"ready": True, "serving": False, "terminating": False},
)
_HINTS = ("none", "none", "zones", "nodes", "both", "mixed")
_ZONES = ("zone-a", "zone-b")
_RARELY = 19
"""One in twenty."""

_SOURCE_RANGES: Sequence[Sequence[str]] = (
    [],
    networks("203.0.113.0/24"),
    networks("192.168.10.0/24", "172.18.0.0/24"),
    networks("10.10.1.0/24", "192.168.10.0/24"),
    ["203.0.113.0/24"],
    [network_in(V6, "203.0.113.0/24")],
    ["0.0.0.0/0"],
    ["203.0.113.0/24", "::/0"],
    [" 203.0.113.0/24 ", "192.168.010.009/32"],
)
_INGRESS: Sequence[Sequence[Mapping[str, str]]] = (
    [],
    [{"ip": LOAD_BALANCERS[0]}, {"ip": address_in(V6, LOAD_BALANCERS[0])}],
    [{"ip": LOAD_BALANCERS[0], "ipMode": "VIP"}, {"ip": LOAD_BALANCERS[1]}],
    [{"ip": address_in(V6, each), "ipMode": "VIP"} for each in LOAD_BALANCERS],
    [{"ip": LOAD_BALANCERS[0], "ipMode": "Proxy"}, {"ip": LOAD_BALANCERS[1]}],
    [{"hostname": "lb.example.com"}],
)
_EXTERNAL_IPS: Sequence[Sequence[str]] = (
    [],
    [EXTERNALS[0], address_in(V6, EXTERNALS[0])],
    [EXTERNALS[0], EXTERNALS[1]],
    ["198.051.100.001", f" {address_in(V6, EXTERNALS[0])} "],
    [NODE_ADDRESSES[1], address_in(V6, NODE_ADDRESSES[1])],
    [LOAD_BALANCERS[0], CLUSTER_IPS[1], address_in(V6, CLUSTER_IPS[1])],
    [f"::ffff:{EXTERNALS[0]}", "127.0.0.1", "fe80::1", EXTERNALS[1]],
)
_CLUSTER_CIDRS: Sequence[Sequence[str]] = (
    networks("10.10.0.0/16"),
    [],
    networks("10.10.1.0/24", "10.10.2.0/23"),
    ["10.10.0.0/16"],
)
_LOCAL_MODES = ("", "", *(mode.value for mode in LocalMode))
_NODE_PORT_ADDRESSES: Sequence[Sequence[str]] = (
    [],
    ["primary"],
    networks("172.18.0.0/16"),
    [*networks("172.18.0.0/16"), "127.0.0.0/8"],
    networks("192.168.7.0/24", "10.10.1.1/32"),
    ["0.0.0.0/0", "::/0"],
    ["172.18.0.0/16"],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A cluster and how the agent of NODE is started in it.

    objects: as the API carries them. settings: what `parse_options` takes besides family and mode.
    """

    objects: tuple[Object, ...]
    settings: Mapping[str, Any]


def draw_case(draw: Draw) -> Case:
    """One to three Services, of which the first has whatever it may, on three nodes."""
    objects = [_node(draw, name) for name in NODES]
    for index in range(draw.number(1, 3)):
        objects += _service(draw, index)
    return Case(objects=tuple(objects), settings=_settings(draw))


def _settings(draw: Draw) -> dict[str, Any]:
    return {
        "detect_local_mode": draw.choice(_LOCAL_MODES),
        "bridge_interface": BRIDGE,
        "interface_name_prefix": LINK_PREFIX,
        "cluster_cidrs": draw.choice(_CLUSTER_CIDRS),
        "node_port_addresses": draw.choice(_NODE_PORT_ADDRESSES),
        "node_addresses": [address_in(family, each) for family in BOTH for each in NODE_ADDRESSES],
        "masquerade_all": draw.flag(),
        "localhost_node_ports": draw.flag(),
        "service_cidrs": draw.choice(([], networks("10.200.0.0/16"))),
    }


def _node(draw: Draw, name: str) -> Object:
    number = name[-1]
    zone = "zone-b" if name == NODES[2] else "zone-a"
    labels = {} if name == NODE and _rarely(draw) else {"topology.kubernetes.io/zone": zone}
    addresses = [{"type": "InternalIP", "address": address_in(family, f"172.18.0.{number}")} for family in BOTH]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDRs": networks(f"10.10.{number}.0/24")},
        "status": {"addresses": addresses},
    }


def _service(draw: Draw, index: int) -> Iterator[Object]:
    """A Service and its slices."""
    name = f"web-{index + 1}"
    kind = draw.choice(_TYPES)
    families = draw.choice(_FAMILIES)
    ports = list(_ports(draw))
    cluster_ips = [address_in(family, CLUSTER_IPS[index]) for family in families]
    spec: dict[str, Any] = {
        "type": kind,
        "clusterIP": cluster_ips[0],
        "clusterIPs": cluster_ips,
        "ipFamilies": [family.api_name for family in families],
        "ports": ports,
        "internalTrafficPolicy": draw.choice(_POLICIES),
    }
    metadata: dict[str, Any] = {"name": name, "namespace": "default"}
    if draw.flag():
        # Now and then the order of age is not that of names.
        metadata["creationTimestamp"] = f"2026-01-0{draw.number(1, 3)}T00:00:00Z"
    _set_affinity(draw, spec)
    is_first = index == 0
    if is_first or _rarely(draw):
        _set_external_ips(draw, spec, draw.choice(_EXTERNAL_IPS))
    if kind != "ClusterIP":
        spec["externalTrafficPolicy"] = draw.choice(_POLICIES)
        _set_node_ports(draw, ports, index, kind)
    status: dict[str, Any] = {}
    if kind == "LoadBalancer":
        ingress = list(draw.choice(_INGRESS)) if is_first or _rarely(draw) else []
        status = {"loadBalancer": {"ingress": ingress}}
        spec["loadBalancerSourceRanges"] = draw.choice(_SOURCE_RANGES)
        if spec["externalTrafficPolicy"] == "Local":
            spec["healthCheckNodePort"] = HEALTH_PORT + index
    if _rarely(draw):
        _set_aside(draw, spec, metadata)
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": status}
    for family in BOTH:
        for number in range(draw.choice(_SLICES)):
            yield _slice(draw, name, number, family, ports)


def _ports(draw: Draw) -> Iterator[dict[str, Any]]:
    """Now and then the same number for two protocols."""
    places: dict[tuple[int, str], None] = {}
    for _ in range(draw.number(1, 3)):
        places[draw.choice(PORTS), draw.choice(_PROTOCOLS)] = None
    for port, protocol in places:
        name = {"name": f"p{port}-{protocol.lower()}"} if len(places) > 1 else {}
        yield {**name, "port": port, "protocol": protocol}


def _set_affinity(draw: Draw, spec: dict[str, Any]) -> None:
    if draw.number(0, 2) == 2:  # a third of them
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": draw.choice((10800, 60, 86400))}}


def _set_external_ips(draw: Draw, spec: dict[str, Any], addresses: Sequence[str]) -> None:
    if addresses:
        spec["externalIPs"] = list(addresses)
        spec.setdefault("externalTrafficPolicy", draw.choice(_POLICIES))


def _set_node_ports(draw: Draw, ports: Sequence[dict[str, Any]], index: int, kind: str) -> None:
    """A load balancer's may have none; another's may be those of the first Service, which one of the two has then."""
    if kind == "LoadBalancer" and _rarely(draw):
        return
    above = 0 if index == 0 or _rarely(draw) else index
    numbers = {port: NODE_PORTS[number] + 1000 * above for number, port in enumerate(PORTS)}
    for port in ports:
        port["nodePort"] = numbers[port["port"]]


def _set_aside(draw: Draw, spec: dict[str, Any], metadata: dict[str, Any]) -> None:
    """What agents leave alone."""
    how = draw.choice(("proxy", "headless", "name"))
    if how == "proxy":
        metadata["labels"] = {"service.kubernetes.io/service-proxy-name": "another"}
    elif how == "headless":
        metadata["labels"] = {"service.kubernetes.io/headless": ""}
        spec.update(type="ClusterIP", clusterIP="None", clusterIPs=["None"])
    else:
        spec.update(type="ExternalName", externalName="web.example.com")
        del spec["clusterIP"], spec["clusterIPs"]


def _slice(draw: Draw, service: str, number: int, family: Family, ports: Sequence[Mapping[str, Any]]) -> Object:
    addresses: dict[str, None] = {}
    for _ in range(draw.choice((1, 2, 3, 4, 2, 1, 3, 0))):
        addresses[draw.choice((*PODS, *_HOST_NETWORK))] = None
    hints = draw.choice(_HINTS)
    endpoints = [_endpoint(draw, family, address, hints) for address in addresses]
    if _rarely(draw):
        endpoints.append({"addresses": [draw.choice(_BAD_ENDPOINTS[family])], "nodeName": NODE})
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{family.api_name.lower()}-{number}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family.api_name,
        "endpoints": endpoints,
        "ports": [
            {"name": port.get("name", ""), "port": draw.choice(TARGET_PORTS), "protocol": port["protocol"]}
            for port in ports
            if not _rarely(draw)
        ],
    }


def _endpoint(draw: Draw, family: Family, address: str, hints: str) -> dict[str, Any]:
    node = node_of(address)
    endpoint: dict[str, Any] = {
        "addresses": [address_in(family, address)],
        "conditions": dict(draw.choice(_CONDITIONS)),
        "zone": "zone-b" if node == NODES[2] else "zone-a",
    }
    if not _rarely(draw):
        endpoint["nodeName"] = node
    given: dict[str, Any] = {}
    if hints in ("zones", "both") or (hints == "mixed" and draw.flag()):
        given["forZones"] = [{"name": draw.choice(_ZONES)}]
    if hints in ("nodes", "both") or (hints == "mixed" and draw.flag()):
        given["forNodes"] = [{"name": draw.choice((node, NODE))}]
    if given:
        endpoint["hints"] = given
    return endpoint


def _rarely(draw: Draw) -> bool:
    return draw.number(0, _RARELY) == _RARELY
