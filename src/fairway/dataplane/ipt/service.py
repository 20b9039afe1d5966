"""The rules of one Service port: its share of the common chains, and the chains of its own. Pure.

Facts: Kubernetes 1.36 pkg/proxy/iptables/proxier.go, the loop over Service ports in `syncProxyRules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from fairway.base.addresses import Family, IPNetwork
from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.frame import LOCALHOST_ACCEPTED_COUNTER, host_network
from fairway.dataplane.ipt.names import PortChain, endpoint_chain, port_chain
from fairway.dataplane.ipt.ruleset import (
    LOOPBACK,
    Address,
    AddrTypeLocal,
    Dnat,
    Interface,
    Jump,
    Match,
    Nfacct,
    RecentCheck,
    RecentSet,
    Reject,
    Rule,
    Side,
    Statistic,
    Target,
    Transport,
    Verdict,
    comment,
)
from fairway.flow.packet import Protocol
from fairway.flow.trace import Origin
from fairway.plan.model import (
    Backend,
    Backends,
    Door,
    DoorKind,
    Links,
    Outcome,
    Refusal,
    RejectReason,
    Scope,
    ServicePort,
    Source,
    Way,
)

_SCOPE_CHAIN = {Scope.CLUSTER: PortChain.CLUSTER, Scope.LOCAL: PortChain.LOCAL}
_DOOR_WORDS = {
    DoorKind.CLUSTER_IP: "cluster IP",
    DoorKind.EXTERNAL_IP: "external IP",
    DoorKind.LOAD_BALANCER_IP: "loadbalancer IP",
}
_DOOR_ORDER = list(DoorKind)


class _Where(TypedDict, total=False):
    source: Address
    interface: Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the rules of every Service port depend on besides it.

    cluster_cidrs, pod_links: as in Plan, either of which tells pods from others.
    endpoint_comments: False in a large cluster. count_localhost: node ports are open on loopback and nfacct is there.
    """

    family: Family
    cluster_cidrs: tuple[IPNetwork, ...]
    pod_links: Links | None
    endpoint_comments: bool
    count_localhost: bool

    @property
    def pods(self) -> tuple[_Where, ...]:
        """The parts of a Rule that tell pods' packets from others, each for a rule of its own."""
        by_source: tuple[_Where, ...] = tuple(_Where(source=Address(cidr)) for cidr in self.cluster_cidrs)
        return by_source if self.pod_links is None else (*by_source, _Where(interface=Interface(self.pod_links)))


@dataclass(slots=True, kw_only=True)
class PortRules:
    """services, node_ports: of table nat, as `chains`. The others: of table filter."""

    services: list[Rule] = field(default_factory=list)
    node_ports: list[Rule] = field(default_factory=list)
    chains: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    filter_services: list[Rule] = field(default_factory=list)
    filter_external: list[Rule] = field(default_factory=list)
    filter_node_ports: list[Rule] = field(default_factory=list)
    filter_firewall: list[Rule] = field(default_factory=list)


def lower_port(port: ServicePort, health_port: int | None, context: Context) -> PortRules:
    """All rules of `port`; health_port: the health check node port of its Service.

    Raises ValueError for ways these rules cannot tell apart, which `compile_plan` never makes.
    """
    return _Lowering(port, context).lower(health_port)


class _Lowering:
    def __init__(self, port: ServicePort, context: Context) -> None:
        self._port = port
        self._context = context
        self._name = str(port.name)
        self._doors = sorted(port.doors, key=lambda door: _DOOR_ORDER.index(door.kind))
        self._rules = PortRules()

    def lower(self, health_port: int | None) -> PortRules:
        for door in self._doors:
            self._lower_door(door)
        self._lower_external([door for door in self._doors if door.kind is not DoorKind.CLUSTER_IP])
        self._lower_backends()
        if health_port is not None:
            self._rules.filter_node_ports.append(self._health_check(health_port))
        return self._rules

    def _rule(
        self,
        target: Target | None,
        *matches: Match,
        origin: Origin,
        source: Address | None = None,
        destination: Address | None = None,
        interface: Interface | None = None,
        protocol: Protocol | None = None,
    ) -> Rule:
        return Rule(
            target=target,
            matches=matches,
            source=source,
            destination=destination,
            interface=interface,
            protocol=protocol,
            origin=origin,
            owner=self._port.name,
        )

    def _ways(self, door: Door) -> Mapping[Source, Way]:
        """The ways of those sources a rule can recognise: without pod networks a pod is somewhere else."""
        if self._context.pods:
            return door.ways
        return {source: way for source, way in door.ways.items() if source is not Source.POD}

    # Doors: the rule that takes packets in, and the one that refuses what has no backend.

    def _lower_door(self, door: Door) -> None:
        rules = self._rules
        outcomes = [way.outcome for way in self._ways(door).values()]
        backends = next((outcome for outcome in outcomes if isinstance(outcome, Backends)), None)
        refusal = next((outcome for outcome in outcomes if isinstance(outcome, Refusal)), None)
        if door.kind is DoorKind.NODE_PORT:
            if backends:
                rules.node_ports += self._node_port(door)
            if refusal:
                rules.filter_external.append(self._refuse(door, refusal, AddrTypeLocal(Side.DESTINATION)))
            return
        if backends:
            chain = port_chain(_entry_chain(door, backends), self._port.name)
            rules.services.append(self._at_door(door, Jump(chain), f"{self._name} {_DOOR_WORDS[door.kind]}"))
            if door.allowed_sources is not None:
                words = f"{self._name} traffic not accepted by {chain}"
                rules.filter_firewall.append(self._at_door(door, Verdict.DROP, words))
        if refusal:
            refused = rules.filter_services if door.kind is DoorKind.CLUSTER_IP else rules.filter_external
            refused.append(self._refuse(door, refusal))

    def _at_door(self, door: Door, target: Target, words: str, *matches: Match, origin: Origin | None = None) -> Rule:
        return self._rule(
            target,
            comment(words),
            *matches,
            Transport(door.protocol, door.port),
            destination=Address(host_network(door.address)) if door.address is not None else None,
            protocol=door.protocol,
            origin=origin or door.origin,
        )

    def _refuse(self, door: Door, refusal: Refusal, *matches: Match) -> Rule:
        words = f"{self._name} {refusal.reason.value}"
        rejected = refusal.reason is RejectReason.NO_ENDPOINTS
        target = Reject(self._context.family) if rejected else Verdict.DROP
        return self._at_door(door, target, words, *matches, origin=refusal.origin)

    def _node_port(self, door: Door) -> Iterator[Rule]:
        rule = self._at_door(door, Jump(port_chain(PortChain.EXTERNAL, self._port.name)), self._name)
        if self._context.count_localhost:
            counted = (*rule.matches, Nfacct(LOCALHOST_ACCEPTED_COUNTER))
            yield replace(rule, destination=Address(LOOPBACK[self._context.family]), matches=counted)
        yield rule

    def _health_check(self, health_port: int) -> Rule:
        """Lets the load balancer's question through a firewall that drops by default."""
        name = self._port.name
        return self._rule(
            Verdict.ACCEPT,
            comment(f"{self._name} health check node port"),
            Transport(Protocol.TCP, health_port),
            protocol=Protocol.TCP,
            origin=Origin(
                kind="Service",
                namespace=name.namespace,
                name=name.service,
                field="spec.healthCheckNodePort",
                value=str(health_port),
            ),
        )

    # KUBE-EXT and KUBE-FW: shared by all doors but the cluster IP.

    def _lower_external(self, doors: Sequence[Door]) -> None:
        if not doors:
            return
        ways = self._ways(doors[0])
        if any(self._ways(door) != ways for door in doors[1:]):
            raise ValueError(f"{self._name}: external doors that differ do not fit one KUBE-EXT chain")
        if not any(isinstance(way.outcome, Backends) for way in ways.values()):
            return
        name = self._port.name
        self._rules.chains[port_chain(PortChain.EXTERNAL, name)] = tuple(self._external_chain(ways))
        guarded = {door.allowed_sources: door for door in doors if door.allowed_sources is not None}
        if len(guarded) > 1:
            raise ValueError(f"{self._name}: load balancer doors with different sources do not fit one KUBE-FW chain")
        for door in guarded.values():
            self._rules.chains[port_chain(PortChain.FIREWALL, name)] = tuple(self._firewall_chain(door))

    def _external_chain(self, ways: Mapping[Source, Way]) -> Iterator[Rule]:
        """By who sends: whether to masquerade, and which backends."""
        destinations = f"{self._name} external destinations"
        others = ways[Source.ELSEWHERE]
        special = {source: way for source, way in ways.items() if _meets(way) != _meets(others)}
        if (pods := special.get(Source.POD)) is not None:
            for where in self._context.pods:
                if pods.masquerade:
                    yield replace(self._mark(pods, f"masquerade pod traffic for {destinations}"), **where)
                yield replace(self._to_backends(pods, comment(f"pod traffic for {destinations}")), **where)
        if (node := special.get(Source.NODE)) is not None:
            local = AddrTypeLocal(Side.SOURCE)
            if node.masquerade:
                yield self._mark(node, f"masquerade LOCAL traffic for {destinations}", local)
            yield self._to_backends(node, comment(f"route LOCAL traffic for {destinations}"), local)
        if others.masquerade:
            yield self._mark(others, f"masquerade traffic for {destinations}")
        if isinstance(others.outcome, Backends):
            yield self._to_backends(others)

    def _firewall_chain(self, door: Door) -> Iterator[Rule]:
        """Only allowed sources go on; KUBE-PROXY-FIREWALL drops what this chain left as it was."""
        words = comment(f"{self._name} {_DOOR_WORDS[door.kind]}")
        external = Jump(port_chain(PortChain.EXTERNAL, self._port.name))
        for network in door.allowed_sources or ():
            yield self._rule(external, words, source=Address(network), origin=door.origin)
        last = comment(f"other traffic to {self._name} will be dropped by {names.KUBE_PROXY_FIREWALL}")
        yield self._rule(None, last, origin=door.origin)

    def _mark(self, way: Way, words: str, *matches: Match) -> Rule:
        return self._rule(Jump(names.KUBE_MARK_MASQ), comment(words), *matches, origin=way.origin)

    def _to_backends(self, way: Way, *matches: Match) -> Rule:
        if not isinstance(way.outcome, Backends):
            raise ValueError(f"{self._name}: a refusal of some sources only does not fit a KUBE-EXT chain")
        chain = port_chain(_SCOPE_CHAIN[way.outcome.scope], self._port.name)
        return self._rule(Jump(chain), *matches, origin=way.origin)

    # KUBE-SVC and KUBE-SVL where some way leads there, and a KUBE-SEP for each backend they name.

    def _lower_backends(self) -> None:
        used: dict[Scope, Backends] = {}
        for door in self._doors:
            for way in self._ways(door).values():
                if isinstance(way.outcome, Backends):
                    used.setdefault(way.outcome.scope, way.outcome)
        chains = self._rules.chains
        for scope, backends in used.items():
            chains[port_chain(_SCOPE_CHAIN[scope], self._port.name)] = (
                *self._cluster_ip_masquerade(scope),
                *self._choice(backends),
            )
        for backends in used.values():
            for backend in backends.choices:
                chains[endpoint_chain(self._port.name, backend)] = self._endpoint(backend, backends.origin)

    def _cluster_ip_masquerade(self, scope: Scope) -> Iterator[Rule]:
        """In the chain the cluster IP leads to, who is masqueraded there: all, all but pods, or nobody."""
        for door in self._doors:
            if door.kind is not DoorKind.CLUSTER_IP or _kind(door.ways[Source.ELSEWHERE].outcome) is not scope:
                continue
            ways = self._ways(door)
            spared = [source for source, way in ways.items() if not way.masquerade]
            if len(spared) == len(ways):
                continue
            words, origin = f"{self._name} {_DOOR_WORDS[door.kind]}", ways[Source.ELSEWHERE].origin
            rule = self._at_door(door, Jump(names.KUBE_MARK_MASQ), words, origin=origin)
            match spared, self._context.cluster_cidrs, self._context.pod_links:
                case [], _, _:
                    yield rule
                case [Source.POD], (), Links() as links:
                    yield replace(rule, interface=Interface(links, negated=True))
                case [Source.POD], (only,), _:
                    yield replace(rule, source=Address(only, negated=True))
                case [Source.POD], _, _:
                    yield replace(rule, target=Jump(names.KUBE_MASQ_NOT_POD))
                case _:
                    raise ValueError(f"{self._name}: to spare {spared} from masquerade does not fit kube-proxy's rules")

    def _choice(self, backends: Backends) -> Iterator[Rule]:
        """Those a client was sent to before, then by chance: one in n, one in n-1 of the rest, ..., the last always."""
        origin, affinity = backends.origin, self._port.affinity
        targets = [
            (endpoint_chain(self._port.name, backend), self._endpoint_comment(f"{self._name} -> {backend}"))
            for backend in backends.choices
        ]
        if affinity is not None:
            for chain, words in targets:
                yield self._rule(
                    Jump(chain), *words, RecentCheck(chain, affinity.timeout_s, self._context.family), origin=origin
                )
        for left, (chain, words) in zip(range(len(targets), 0, -1), targets, strict=True):
            chance = (Statistic.one_in(left),) if left > 1 else ()
            yield self._rule(Jump(chain), *words, *chance, origin=origin)

    def _endpoint(self, backend: Backend, origin: Origin) -> tuple[Rule, ...]:
        words = self._endpoint_comment(self._name)
        protocol = self._port.name.protocol
        remember: tuple[Match, ...] = ()
        if self._port.affinity is not None:
            remember = (RecentSet(endpoint_chain(self._port.name, backend), self._context.family),)
        hairpin = Address(host_network(backend.address))
        dnat = Dnat(backend.address, backend.port)
        return (
            self._rule(Jump(names.KUBE_MARK_MASQ), *words, source=hairpin, origin=origin),
            self._rule(dnat, *words, *remember, Transport(protocol), protocol=protocol, origin=origin),
        )

    def _endpoint_comment(self, text: str) -> tuple[Match, ...]:
        return (comment(text),) if self._context.endpoint_comments else ()


def _entry_chain(door: Door, backends: Backends) -> PortChain:
    if door.kind is DoorKind.CLUSTER_IP:
        return _SCOPE_CHAIN[backends.scope]
    return PortChain.EXTERNAL if door.allowed_sources is None else PortChain.FIREWALL


def _meets(way: Way) -> tuple[bool, Scope | RejectReason]:
    """What the chain has to tell apart."""
    return way.masquerade, _kind(way.outcome)


def _kind(outcome: Outcome) -> Scope | RejectReason:
    return outcome.scope if isinstance(outcome, Backends) else outcome.reason
