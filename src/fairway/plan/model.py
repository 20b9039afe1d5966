"""The Plan: doors and their outcomes.

A door is an address, protocol and port that traffic for a Service can be sent to; each has one outcome for each kind
of source. The Plan holds outcomes, never policy: what `externalTrafficPolicy` or readiness mean is settled in
`compile`, and each entry carries its Origin, so that a rule, a trace step and a sentence can name the reason.

A Plan holds a hundred thousand of these values, so they are msgspec's: made in a tenth of the time that a frozen
dataclass takes (a changed copy is `msgspec.structs.replace`). None can be part of a cycle, so the collector need not
walk them (`gc=False`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from msgspec import Struct

from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.base.addresses import IPNetwork as IPNetwork
from fairway.flow.packet import Protocol
from fairway.flow.trace import Origin as Origin
from fairway.plan.links import Links as Links


class DoorKind(Enum):
    """Which of a Service port's addresses a door is."""

    CLUSTER_IP = "clusterIP"
    EXTERNAL_IP = "externalIP"
    LOAD_BALANCER_IP = "loadBalancer"
    NODE_PORT = "nodePort"


class RejectReason(Enum):
    """Why a door has no backend for a packet, and so what the sender meets."""

    NO_ENDPOINTS = "has no endpoints"
    """Nowhere in the cluster: reject, so that the sender learns at once."""
    NO_LOCAL_ENDPOINTS = "has no local endpoints"
    """None here, but elsewhere, under a Local policy: drop, so that a load balancer tries another node."""


class PortName(Struct, frozen=True, kw_only=True, order=True, gc=False):
    """A Service port: what kube-proxy calls ServicePortName. `port` is "" where the port has no name."""

    namespace: str
    service: str
    port: str
    protocol: Protocol

    def __str__(self) -> str:
        """As in kube-proxy's comments and hashes: "default/web:http", "default/web"."""
        suffix = f":{self.port}" if self.port else ""
        return f"{self.namespace}/{self.service}{suffix}"


class Backend(Struct, frozen=True, kw_only=True, gc=False):
    """An endpoint that may receive new connections.

    host: the one text of its address, in which it is kept: texts are compared and hashed at once, and the slice's own
    does. local: it is on this Plan's node.
    """

    host: str
    port: int
    local: bool = False

    @classmethod
    def at(cls, address: IPAddress, port: int, *, local: bool = False) -> Backend:
        return cls(host=str(address), port=port, local=local)

    @property
    def address(self) -> IPAddress:
        """Read anew each time."""
        return parse_address(self.host)

    def __str__(self) -> str:
        """As kube-proxy sorts and hashes it: "10.0.0.1:80", "[fd00::1]:80"."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Scope(Enum):
    """The two sets of backends a Service port has on a node."""

    CLUSTER = "cluster"
    LOCAL = "local"


class Backends(Struct, frozen=True, kw_only=True, gc=False):
    """A choice among backends, each as likely as the next, sorted by their text; never empty.

    scope: which of the Service port's two sets `choices` is; told apart even where both hold the same backends, since
    data planes keep one chain or map for each.
    """

    scope: Scope
    choices: tuple[Backend, ...]
    origin: Origin


class Refusal(Struct, frozen=True, kw_only=True, gc=False):
    """No backend: reject or drop, by its reason."""

    reason: RejectReason
    origin: Origin


Outcome = Backends | Refusal


class Source(Enum):
    """Who may send: the classes of source a door's outcome can differ by."""

    POD = "pod"
    """Of a pod, as the Plan's `cluster_cidrs` or `pod_links` tell."""
    NODE = "node"
    """One of this node's own addresses."""
    ELSEWHERE = "elsewhere"


class Way(Struct, frozen=True, kw_only=True, gc=False):
    """What one class of sources meets at a door: the outcome, and whether their source address is rewritten."""

    outcome: Outcome
    masquerade: bool
    origin: Origin


class Door(Struct, frozen=True, kw_only=True, gc=False):
    """One address, protocol and port of a Service port, with a Way for each class of sources.

    address: None for a node port, which is on every address that `Plan.node_port_addresses` admits.
    ways: complete, a Way for every Source.
    allowed_sources: who may use the door at all, everybody else is dropped before its ways are asked; None means all.
    Only doors of kind LOAD_BALANCER_IP have them (`loadBalancerSourceRanges`, with what that implies).
    """

    kind: DoorKind
    address: IPAddress | None
    protocol: Protocol
    port: int
    ways: Mapping[Source, Way]
    origin: Origin
    allowed_sources: tuple[IPNetwork, ...] | None = None


class Affinity(Struct, frozen=True, kw_only=True, gc=False):
    """Keep a client address on its backend for `timeout_s` seconds since its last new connection (1 to 86400)."""

    timeout_s: int


class ServicePort(Struct, frozen=True, kw_only=True, gc=False):
    """Everything the Plan says of one Service port.

    cluster: all backends of the cluster that may be used; local: those on this node. Both as the outcomes of
    `ways` name them, kept here because data planes share one chain or map among doors. answering: of a UDP port, the
    other endpoints that still serve the flows they have, though no new ones from here.
    """

    name: PortName
    doors: tuple[Door, ...]
    cluster: tuple[Backend, ...]
    local: tuple[Backend, ...]
    affinity: Affinity | None = None
    answering: tuple[Backend, ...] = ()


class HealthCheck(Struct, frozen=True, kw_only=True, gc=False):
    """A health check node port: the load balancer's question whether this node has ready endpoints (KEP-1669).

    local_endpoints: distinct addresses of Ready endpoints on this node; terminating ones do not count.
    """

    namespace: str
    service: str
    port: int
    local_endpoints: int


class Note(Struct, frozen=True, kw_only=True, gc=False):
    """Something compile could not or would not use; a warning for a person, never silence.

    unprogrammed: a whole Service is left out for it, which is worth an event on the Service. taken_by: what the Service
    of the origin asks for is this other Service's, which is worth an event on the Service too.
    """

    origin: Origin
    message: str
    unprogrammed: bool = False
    taken_by: Key | None = None


class ServicePlan(Struct, frozen=True, kw_only=True, gc=False):
    """What the Plan says of one Service.

    ports: sorted by name, none where agents leave the Service alone. created_s: when it was made, in seconds since
    1970; a Service that tells no time, as in a file, is yet to be made, so it comes after all that are.
    """

    key: Key
    created_s: float = inf
    ports: tuple[ServicePort, ...] = ()
    health_check: HealthCheck | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one node does to packets for Services of one address family.

    cluster_cidrs: sources inside are pods. pod_links: what comes in by them is from pods. Never both; where neither
    is there, pods cannot be told from others.
    node_addresses: this node's own, its primary one first; loopback is this node's without being named.
    node_port_addresses: networks whose local addresses accept node ports; None means every local address.
    localhost_node_ports: whether loopback addresses of IPv4 accept them too; those of IPv6 never do.
    service_cidrs: what is sent to an address in them that no Service has is dropped.
    guards_cluster_ips: a clusterIP rejects what is sent to a port or protocol that nothing is open at.
    admits_health_checks: health check node ports are accepted, past a firewall that says no later.
    ports: sorted by name. No two doors of a Plan have the same address, protocol and port.
    """

    node: str
    node_addresses: tuple[IPAddress, ...]
    cluster_cidrs: tuple[IPNetwork, ...]
    node_port_addresses: tuple[IPNetwork, ...] | None
    ports: tuple[ServicePort, ...]
    health_checks: tuple[HealthCheck, ...] = ()
    notes: tuple[Note, ...] = field(default=())
    family: Family = Family.IPV4
    localhost_node_ports: bool = True
    service_cidrs: tuple[IPNetwork, ...] = ()
    guards_cluster_ips: bool = False
    admits_health_checks: bool = True
    pod_links: Links | None = None

    @property
    def tells_pods(self) -> bool:
        """Whether pods can be told from others at all."""
        return bool(self.cluster_cidrs) or self.pod_links is not None
