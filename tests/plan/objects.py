"""Objects and packets of one address plan, in few words.

Node `here` is 172.18.0.5, `there` is 172.18.0.2; pods live in 10.10.0.0/16, those of `here` in 10.10.1.0/24; clients
are on 172.18.0.0/16 or farther away.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from fairway.api.codec import decode_endpoint_slice, decode_node, decode_service
from fairway.api.core import Node, Service
from fairway.api.discovery import EndpointSlice
from fairway.base.addresses import Family
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Trace
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import evaluate
from fairway.plan.model import Plan
from fairway.plan.options import Options, parse_options

HERE = "here"
THERE = "there"
NODE_ADDRESS = "172.18.0.5"
CLIENT = "172.18.0.100"
POD = "10.10.1.9"
CLUSTER_IP = "10.200.1.5"
EXTERNAL_IP = "192.0.2.1"
BALANCER_IP = "172.18.255.200"
NODE_PORT = 30080

OPTIONS = parse_options(cluster_cidrs=["10.10.0.0/16", "fd00:10::/48"])
NO_POD_NETWORK = Options()


def node(*addresses: str, name: str = HERE, zone: str = "", pod_cidrs: Iterable[str] = ()) -> Node:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    listed = [{"type": "InternalIP", "address": address} for address in addresses or (NODE_ADDRESS,)]
    return decode_node(
        {
            "metadata": {"name": name, "labels": labels},
            "spec": {"podCIDRs": list(pod_cidrs)},
            "status": {"addresses": listed},
        }
    )


def service(name: str = "web", *, namespace: str = "default", ingress: Iterable[Any] = (), **spec: Any) -> Service:
    """A Service with the clusterIP of the address plan and TCP port 80; `spec` adds to it or replaces.

    `created` is its creation timestamp.
    """
    labels, created = spec.pop("labels", {}), spec.pop("created", None)
    return decode_service(
        {
            "metadata": {"name": name, "namespace": namespace, "labels": labels, "creationTimestamp": created},
            "spec": {"clusterIP": CLUSTER_IP, "ports": [{"port": 80}], **spec},
            "status": {"loadBalancer": {"ingress": list(ingress)}},
        }
    )


def every_door(**spec: Any) -> Service:
    """A Service of type LoadBalancer with all kinds of doors."""
    doors = {"type": "LoadBalancer", "externalIPs": [EXTERNAL_IP], "ports": [{"port": 80, "nodePort": NODE_PORT}]}
    return service(ingress=[{"ip": BALANCER_IP}], **{**doors, **spec})


def endpoint(address: str, on: str | None = None, **more: Any) -> dict[str, Any]:
    """`ready`, `serving`, `terminating` are its conditions, `zones` and `nodes` its hints."""
    conditions = {name: more[name] for name in ("ready", "serving", "terminating") if name in more}
    hints = {
        field: [{"name": name} for name in more[key]]
        for key, field in (("zones", "forZones"), ("nodes", "forNodes"))
        if key in more
    }
    return {"addresses": [address], "nodeName": on, "conditions": conditions, "hints": hints}


def endpoint_slice(*endpoints: dict[str, Any], name: str = "web-1", of: str = "web", **more: Any) -> EndpointSlice:
    """A slice of Service `of` with one unnamed TCP port 8080, unless `ports` says otherwise."""
    labels = {"kubernetes.io/service-name": of, **more.pop("labels", {})} if of else {}
    return decode_endpoint_slice(
        {
            "metadata": {"name": name, "namespace": more.pop("namespace", "default"), "labels": labels},
            "addressType": more.pop("addressType", "IPv4"),
            "endpoints": list(endpoints),
            "ports": more.pop("ports", [{"port": 8080}]),
        }
    )


LOCAL_AND_REMOTE = endpoint_slice(endpoint("10.10.1.3", HERE), endpoint("10.10.2.3", THERE))
REMOTE_ONLY = endpoint_slice(endpoint("10.10.2.3", THERE), endpoint("10.10.3.4", "elsewhere"))


def plan_of(
    services: Service | Iterable[Service],
    *slices: EndpointSlice,
    options: Options = OPTIONS,
    on: Node | None = None,
) -> Plan:
    several = [services] if isinstance(services, Service) else list(services)
    return compile_plan(several, slices, on if on is not None else node(), options=options)


def packet(
    source: str, destination: str, port: int, protocol: str = "tcp", *, from_node: bool = False, interface: str = ""
) -> Packet:
    return Packet(
        source=ip_address(source),
        destination=ip_address(destination),
        port=port,
        protocol=Protocol(protocol),
        from_node=from_node,
        interface=interface,
    )


def fate(trace: Trace) -> str:
    """A trace in one word, or its backends; a star marks those that are masqueraded."""
    if not trace.candidates:
        return trace.disposition.value
    return " ".join(f"{candidate}{'*' if candidate.masquerade else ''}" for candidate in trace.candidates)


def fate_of(plan: Plan, source: str, destination: str, port: int, protocol: str = "tcp") -> str:
    return fate(evaluate(plan, packet(source, destination, port, protocol)))


def ipv6_options() -> Options:
    return parse_options(family=Family.IPV6, cluster_cidrs=["10.10.0.0/16", "fd00:10::/48"])
