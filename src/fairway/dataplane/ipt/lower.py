"""Plan -> Ruleset: kube-proxy's rules, line for line. Pure.

Only outcomes are read here, never a policy: which chain a door leads to follows from the backends its ways name, and
whether a source is masqueraded from the ways too. Facts: Kubernetes 1.36 pkg/proxy/iptables/proxier.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fairway.base.addresses import IPNetwork
from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.frame import (
    JUMPS,
    LOCALHOST_ACCEPTED_COUNTER,
    Features,
    accepts_localhost,
    fixed_chains,
    host_network,
    node_port_entries,
)
from fairway.dataplane.ipt.names import PortChain, endpoint_chain, port_chain
from fairway.dataplane.ipt.ruleset import (
    LOOPBACK,
    Address,
    AddrTypeLocal,
    Dnat,
    Jump,
    Match,
    Nfacct,
    RecentCheck,
    RecentSet,
    Rule,
    Ruleset,
    Side,
    Statistic,
    Table,
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

LARGE_CLUSTER_ENDPOINTS = 1000
"""With more endpoints than this kube-proxy leaves the comments of endpoint rules out: 40 % less to send."""

_SCOPE_CHAIN = {Scope.CLUSTER: PortChain.CLUSTER, Scope.LOCAL: PortChain.LOCAL}
_DOOR_WORDS = {
    DoorKind.CLUSTER_IP: "cluster IP",
    DoorKind.EXTERNAL_IP: "external IP",
    DoorKind.LOAD_BALANCER_IP: "loadbalancer IP",
}
_DOOR_ORDER = list(DoorKind)
_REFUSAL_VERDICT = {RejectReason.NO_ENDPOINTS: Verdict.REJECT, RejectReason.NO_LOCAL_ENDPOINTS: Verdict.DROP}


def lower(plan: Plan, features: Features | None = None) -> Ruleset:
    """The rules of one node. `features`: what the machine has, all of it by default.

    Raises ValueError for a Plan these rules cannot say, which `compile_plan` never makes.
    """
    return Lowering().lower(plan, features or Features())


class Lowering:
    """`lower` for one Plan after another: a Service port that stayed as it was keeps the very same rules."""

    def __init__(self) -> None:
        self._known: dict[PortName, tuple[_Given, _PortRules]] = {}

    def lower(self, plan: Plan, features: Features) -> Ruleset:
        """As the function of this name."""
        context = _Context(
            cluster_cidrs=plan.cluster_cidrs,
            endpoint_comments=sum(len({*port.cluster, *port.local}) for port in plan.ports) <= LARGE_CLUSTER_ENDPOINTS,
            count_localhost=features.nfacct and accepts_localhost(plan),
        )
        health_ports = {(check.namespace, check.service): check.port for check in plan.health_checks}
        known = {}
        for port in plan.ports:
            given = port, health_ports.get((port.name.namespace, port.name.service)), context
            known[port.name] = given, self._lower_port(given)
        self._known = known
        return _assemble(plan, features, [rules for _, rules in known.values()])

    def _lower_port(self, given: _Given) -> _PortRules:
        port, health_port, context = given
        before = self._known.get(port.name)
        if before is not None and before[0] == given:
            return before[1]
        return _lower_port(port, health_port, context)


def _assemble(plan: Plan, features: Features, lowered: Sequence[_PortRules]) -> Ruleset:
    chains = dict(fixed_chains(plan, features))
    chains[Table.FILTER] |= {
        names.KUBE_SERVICES: _joined(port.filter_services for port in lowered),
        names.KUBE_EXTERNAL_SERVICES: _joined(port.filter_external for port in lowered),
        names.KUBE_NODEPORTS: _joined(port.filter_node_ports for port in lowered),
        names.KUBE_PROXY_FIREWALL: _joined(port.filter_firewall for port in lowered),
    }
    chains[Table.NAT] |= {
        names.KUBE_SERVICES: (*_joined(port.services for port in lowered), *node_port_entries(plan)),
        names.KUBE_NODEPORTS: _joined(port.node_ports for port in lowered),
    }
    for port in lowered:
        chains[Table.NAT] |= port.chains
    return Ruleset(chains=chains, jumps=JUMPS)


def _joined(rules: Iterable[Iterable[Rule]]) -> tuple[Rule, ...]:
    return tuple(rule for some in rules for rule in some)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What the rules of every Service port depend on. endpoint_comments: False in a large cluster."""

    cluster_cidrs: tuple[IPNetwork, ...]
    endpoint_comments: bool
    count_localhost: bool


_Given = tuple[ServicePort, int | None, _Context]
"""All that the rules of one Service port follow from: with it the health check node port of its Service."""


@dataclass(slots=True, kw_only=True)
class _PortRules:
    """One Service port's share of the common chains, and the chains of its own."""

    services: list[Rule] = field(default_factory=list)
    node_ports: list[Rule] = field(default_factory=list)
    filter_services: list[Rule] = field(default_factory=list)
    filter_external: list[Rule] = field(default_factory=list)
    filter_node_ports: list[Rule] = field(default_factory=list)
    filter_firewall: list[Rule] = field(default_factory=list)
    chains: dict[str, tuple[Rule, ...]] = field(default_factory=dict)


def _lower_port(port: ServicePort, health_port: int | None, context: _Context) -> _PortRules:
    rules = _PortRules()
    doors = sorted(port.doors, key=lambda door: _DOOR_ORDER.index(door.kind))
    for door in doors:
        _lower_door(port, door, context, rules)
    external = [door for door in doors if door.kind is not DoorKind.CLUSTER_IP]
    _lower_external(port, external, context, rules)
    if health_port is not None:
        rules.filter_node_ports.append(_health_check(port, health_port))
    _lower_backends(port, doors, context, rules)
    return rules


def _lower_door(port: ServicePort, door: Door, context: _Context, rules: _PortRules) -> None:
    """The rule that takes the door's packets in, and the one that refuses what has no backend."""
    outcomes = [way.outcome for way in _told_apart(door, context).values()]
    backends = next((outcome for outcome in outcomes if isinstance(outcome, Backends)), None)
    refusal = next((outcome for outcome in outcomes if isinstance(outcome, Refusal)), None)
    if door.kind is DoorKind.NODE_PORT:
        if backends:
            rules.node_ports += _node_port(port, door, context)
        if refusal:
            rules.filter_external.append(_refuse(port, door, refusal, AddrTypeLocal(Side.DESTINATION)))
        return
    if backends:
        chain = port_chain(_entry_chain(door, backends), port.name)
        words = comment(f"{port.name} {_DOOR_WORDS[door.kind]}")
        rules.services.append(_door_rule(door, words, target=Jump(chain)))
        if door.allowed_sources is not None:
            words = comment(f"{port.name} traffic not accepted by {chain}")
            rules.filter_firewall.append(_door_rule(door, words, target=Verdict.DROP))
    if refusal:
        refused = rules.filter_services if door.kind is DoorKind.CLUSTER_IP else rules.filter_external
        refused.append(_refuse(port, door, refusal))


def _entry_chain(door: Door, backends: Backends) -> PortChain:
    if door.kind is DoorKind.CLUSTER_IP:
        return _SCOPE_CHAIN[backends.scope]
    return PortChain.EXTERNAL if door.allowed_sources is None else PortChain.FIREWALL


def _told_apart(door: Door, context: _Context) -> Mapping[Source, Way]:
    """The ways of those sources a rule can recognise: without pod networks a pod is somewhere else."""
    if context.cluster_cidrs:
        return door.ways
    return {source: way for source, way in door.ways.items() if source is not Source.POD}


def _door_rule(door: Door, *matches: Match, target: Jump | Verdict, origin: Origin | None = None) -> Rule:
    return Rule(
        destination=Address(host_network(door.address)) if door.address else None,
        protocol=door.protocol,
        matches=(*matches, Transport(door.protocol, door.port)),
        target=target,
        origin=origin or door.origin,
    )


def _refuse(port: ServicePort, door: Door, refusal: Refusal, *matches: Match) -> Rule:
    words = comment(f"{port.name} {refusal.reason.value}")
    return _door_rule(door, words, *matches, target=_REFUSAL_VERDICT[refusal.reason], origin=refusal.origin)


def _node_port(port: ServicePort, door: Door, context: _Context) -> Iterator[Rule]:
    words, transport = comment(str(port.name)), Transport(door.protocol, door.port)
    target = Jump(port_chain(PortChain.EXTERNAL, port.name))
    if context.count_localhost:
        yield Rule(
            destination=Address(LOOPBACK),
            protocol=door.protocol,
            matches=(words, transport, Nfacct(LOCALHOST_ACCEPTED_COUNTER)),
            target=target,
            origin=door.origin,
        )
    yield Rule(protocol=door.protocol, matches=(words, transport), target=target, origin=door.origin)


def _health_check(port: ServicePort, health_port: int) -> Rule:
    """Lets the load balancer's question through a firewall that drops by default."""
    return Rule(
        protocol=Protocol.TCP,
        matches=(comment(f"{port.name} health check node port"), Transport(Protocol.TCP, health_port)),
        target=Verdict.ACCEPT,
        origin=Origin(
            kind="Service",
            namespace=port.name.namespace,
            name=port.name.service,
            field="spec.healthCheckNodePort",
            value=str(health_port),
        ),
    )


def _lower_external(port: ServicePort, doors: list[Door], context: _Context, rules: _PortRules) -> None:
    """KUBE-EXT: by who sends, whether to masquerade and which backends; shared by all doors but the cluster IP."""
    if not doors:
        return
    ways = _told_apart(doors[0], context)
    for door in doors[1:]:
        if _told_apart(door, context) != ways:
            raise ValueError(f"{port.name}: external doors that differ do not fit one KUBE-EXT chain")
    if not any(isinstance(way.outcome, Backends) for way in ways.values()):
        return
    rules.chains[port_chain(PortChain.EXTERNAL, port.name)] = tuple(_external_chain(port, ways, context))
    guarded = {door.allowed_sources: door for door in doors if door.allowed_sources is not None}
    if len(guarded) > 1:
        raise ValueError(f"{port.name}: load balancer doors with different sources do not fit one KUBE-FW chain")
    for door in guarded.values():
        rules.chains[port_chain(PortChain.FIREWALL, port.name)] = tuple(_firewall_chain(port, door))


def _external_chain(port: ServicePort, ways: Mapping[Source, Way], context: _Context) -> Iterator[Rule]:
    destinations = f"{port.name} external destinations"
    others = ways[Source.ELSEWHERE]
    special = {source: way for source, way in ways.items() if _meets(way) != _meets(others)}
    if (pods := special.get(Source.POD)) is not None:
        for cidr in context.cluster_cidrs:
            if pods.masquerade:
                yield _mark(f"masquerade pod traffic for {destinations}", pods, source=Address(cidr))
            words = comment(f"pod traffic for {destinations}")
            yield _to_backends(port, pods, words, source=Address(cidr))
    if (node := special.get(Source.NODE)) is not None:
        local = AddrTypeLocal(Side.SOURCE)
        if node.masquerade:
            yield _mark(f"masquerade LOCAL traffic for {destinations}", node, local)
        yield _to_backends(port, node, comment(f"route LOCAL traffic for {destinations}"), local)
    if others.masquerade:
        yield _mark(f"masquerade traffic for {destinations}", others)
    if isinstance(others.outcome, Backends):
        yield _to_backends(port, others)


def _firewall_chain(port: ServicePort, door: Door) -> Iterator[Rule]:
    """KUBE-FW: only allowed sources go on; KUBE-PROXY-FIREWALL drops what this chain left as it was."""
    words = comment(f"{port.name} {_DOOR_WORDS[door.kind]}")
    external = Jump(port_chain(PortChain.EXTERNAL, port.name))
    for network in door.allowed_sources or ():
        yield Rule(source=Address(network), matches=(words,), target=external, origin=door.origin)
    last = comment(f"other traffic to {port.name} will be dropped by {names.KUBE_PROXY_FIREWALL}")
    yield Rule(matches=(last,), target=None, origin=door.origin)


def _meets(way: Way) -> tuple[bool, Scope | RejectReason]:
    """What the chain has to tell apart."""
    return way.masquerade, _kind(way.outcome)


def _kind(outcome: Outcome) -> Scope | RejectReason:
    return outcome.scope if isinstance(outcome, Backends) else outcome.reason


def _mark(words: str, way: Way, *matches: Match, source: Address | None = None) -> Rule:
    return Rule(
        source=source,
        matches=(comment(words), *matches),
        target=Jump(names.KUBE_MARK_MASQ),
        origin=way.origin,
    )


def _to_backends(port: ServicePort, way: Way, *matches: Match, source: Address | None = None) -> Rule:
    if not isinstance(way.outcome, Backends):
        raise ValueError(f"{port.name}: a refusal of some sources only does not fit a KUBE-EXT chain")
    chain = port_chain(_SCOPE_CHAIN[way.outcome.scope], port.name)
    return Rule(source=source, matches=matches, target=Jump(chain), origin=way.origin)


def _lower_backends(port: ServicePort, doors: list[Door], context: _Context, rules: _PortRules) -> None:
    """KUBE-SVC and KUBE-SVL where some way leads there, and a KUBE-SEP for each backend they name."""
    used: dict[Scope, Backends] = {}
    for door in doors:
        for way in _told_apart(door, context).values():
            if isinstance(way.outcome, Backends):
                used.setdefault(way.outcome.scope, way.outcome)
    for scope, backends in used.items():
        entries = [door for door in doors if door.kind is DoorKind.CLUSTER_IP and _leads_to(door, scope, context)]
        rules.chains[port_chain(_SCOPE_CHAIN[scope], port.name)] = (
            *(rule for door in entries for rule in _cluster_ip_masquerade(port, door, context)),
            *_choice(port, backends, context),
        )
    for backends in used.values():
        for backend in backends.choices:
            rules.chains[endpoint_chain(port.name, backend)] = _endpoint(port, backend, backends.origin, context)


def _leads_to(door: Door, scope: Scope, context: _Context) -> bool:
    return any(_kind(way.outcome) is scope for way in _told_apart(door, context).values())


def _cluster_ip_masquerade(port: ServicePort, door: Door, context: _Context) -> Iterator[Rule]:
    """Who is masqueraded at the cluster IP: all, all but pods, or nobody."""
    ways = _told_apart(door, context)
    masqueraded = {source for source, way in ways.items() if way.masquerade}
    if not masqueraded:
        return
    words = comment(f"{port.name} cluster IP")
    rule = _door_rule(door, words, target=Jump(names.KUBE_MARK_MASQ), origin=ways[Source.ELSEWHERE].origin)
    match sorted(set(ways) - masqueraded, key=str), context.cluster_cidrs:
        case [], _:
            yield rule
        case [Source.POD], (only,):
            yield replace(rule, source=Address(only, negated=True))
        case [Source.POD], _:
            yield replace(rule, target=Jump(names.KUBE_MASQ_NOT_POD))
        case _:
            raise ValueError(f"{port.name}: masquerade of {masqueraded} only does not fit kube-proxy's rules")


def _choice(port: ServicePort, backends: Backends, context: _Context) -> Iterator[Rule]:
    """Those a client was sent to before, then by chance: one in n, one in n-1 of the rest, ..., the last always."""
    targets = [(backend, endpoint_chain(port.name, backend)) for backend in backends.choices]
    if port.affinity is not None:
        for backend, chain in targets:
            words = _endpoint_comment(f"{port.name} -> {backend}", context)
            check = RecentCheck(chain, port.affinity.timeout_s)
            yield Rule(matches=(*words, check), target=Jump(chain), origin=backends.origin)
    for left, (backend, chain) in zip(range(len(targets), 0, -1), targets, strict=True):
        words = _endpoint_comment(f"{port.name} -> {backend}", context)
        chance = (Statistic.one_in(left),) if left > 1 else ()
        yield Rule(matches=(*words, *chance), target=Jump(chain), origin=backends.origin)


def _endpoint(port: ServicePort, backend: Backend, origin: Origin, context: _Context) -> tuple[Rule, ...]:
    words = _endpoint_comment(str(port.name), context)
    protocol = port.name.protocol
    remember = (RecentSet(endpoint_chain(port.name, backend)),) if port.affinity is not None else ()
    hairpin = Rule(
        source=Address(host_network(backend.address)),
        matches=words,
        target=Jump(names.KUBE_MARK_MASQ),
        origin=origin,
    )
    dnat = Rule(
        protocol=protocol,
        matches=(*words, *remember, Transport(protocol)),
        target=Dnat(backend.address, backend.port),
        origin=origin,
    )
    return hairpin, dnat


def _endpoint_comment(text: str, context: _Context) -> tuple[Match, ...]:
    return (comment(text),) if context.endpoint_comments else ()
