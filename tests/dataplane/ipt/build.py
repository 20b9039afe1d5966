"""Plans by hand. 10.10.N.x are pods of node N, this node is 172.18.0.1, default/web:http has 10.200.1.1:80."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from fairway.dataplane.ipt.ruleset import Ruleset, Table
from fairway.dataplane.ipt.text import format_rule
from fairway.flow.packet import Protocol
from fairway.flow.trace import Origin
from fairway.plan.model import (
    Affinity,
    Backend,
    Backends,
    Door,
    DoorKind,
    Outcome,
    Plan,
    PortName,
    Refusal,
    RejectReason,
    Scope,
    ServicePort,
    Source,
    Way,
)

NAME = PortName(namespace="default", service="web", port="http", protocol=Protocol.TCP)
ORIGIN = Origin(kind="Service", namespace="default", name="web", field="spec.ports[0]")
HASH = "CDGGSHYLG3RE2FKL"
LOCAL = Backend.at(ip_address("10.10.1.2"), 8080, local=True)
FAR = Backend.at(ip_address("10.10.2.2"), 8080)
CLUSTER_BACKENDS = Backends(scope=Scope.CLUSTER, choices=(LOCAL, FAR), origin=ORIGIN)
LOCAL_BACKENDS = Backends(scope=Scope.LOCAL, choices=(LOCAL,), origin=ORIGIN)
NO_ENDPOINTS = Refusal(reason=RejectReason.NO_ENDPOINTS, origin=ORIGIN)
NO_LOCAL_ENDPOINTS = Refusal(reason=RejectReason.NO_LOCAL_ENDPOINTS, origin=ORIGIN)

_PLACES: Mapping[DoorKind, tuple[str | None, int]] = {
    DoorKind.CLUSTER_IP: ("10.200.1.1", 80),
    DoorKind.EXTERNAL_IP: ("198.51.100.1", 80),
    DoorKind.LOAD_BALANCER_IP: ("172.18.255.1", 80),
    DoorKind.NODE_PORT: (None, 30080),
}


def ways(
    outcome: Outcome = CLUSTER_BACKENDS, *, masquerade: Sequence[Source] = (), **others: Outcome
) -> dict[Source, Way]:
    """One outcome for all, but for sources named: `node=...`; `masquerade` lists whose source is rewritten."""
    return {
        source: Way(outcome=others.get(source.value, outcome), masquerade=source in masquerade, origin=ORIGIN)
        for source in Source
    }


def door(kind: DoorKind, doors_ways: Mapping[Source, Way] | None = None, **fields: Any) -> Door:
    address, port = _PLACES[kind]
    return Door(
        kind=kind,
        address=ip_address(address) if address else None,
        protocol=Protocol.TCP,
        port=port,
        ways=ways() if doors_ways is None else doors_ways,
        origin=ORIGIN,
        **fields,
    )


def port(*doors: Door, affinity: int | None = None, name: PortName = NAME) -> ServicePort:
    return ServicePort(
        name=name,
        doors=doors,
        cluster=(LOCAL, FAR),
        local=(LOCAL,),
        affinity=Affinity(timeout_s=affinity) if affinity is not None else None,
    )


def plan(*ports: ServicePort, cluster_cidrs: Sequence[str] = ("10.10.0.0/16",), **fields: Any) -> Plan:
    return Plan(
        node="node-1",
        node_addresses=(ip_address("172.18.0.1"),),
        cluster_cidrs=tuple(ip_network(cidr) for cidr in cluster_cidrs),
        node_port_addresses=fields.pop("node_port_addresses", None),
        ports=ports,
        **fields,
    )


def chain_text(ruleset: Ruleset, table: Table, chain: str) -> list[str]:
    return [format_rule(rule) for rule in ruleset.chains[table][chain]]
