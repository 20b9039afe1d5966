"""Plan -> Ruleset: kube-proxy's rules, line for line. Pure.

Only outcomes are read here, never a policy: which chain a door leads to follows from the backends its ways name, and
whether a source is masqueraded from the ways too. Facts: Kubernetes 1.36 pkg/proxy/iptables/proxier.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.frame import JUMPS, Features, accepts_localhost, fixed_chains, node_port_entries
from fairway.dataplane.ipt.ruleset import Rule, Ruleset, Table
from fairway.dataplane.ipt.service import Context, PortRules, lower_port
from fairway.plan.model import Plan, PortName, ServicePort

LARGE_CLUSTER_ENDPOINTS = 1000
"""With more endpoints than this kube-proxy leaves the comments of endpoint rules out: 40 % less to send."""

_Given = tuple[ServicePort, int | None, Context]
"""All that the rules of one Service port follow from: with it the health check node port of its Service."""


def lower(plan: Plan, features: Features | None = None) -> Ruleset:
    """The rules of one node. `features`: what the machine has, all of it by default.

    Raises ValueError for a Plan these rules cannot say, such as `compile_plan` never makes.
    """
    return Lowering().lower(plan, features or Features())


class Lowering:
    """`lower` for one Plan after another: a Service port that stayed as it was keeps the very same rules."""

    def __init__(self) -> None:
        self._known: dict[PortName, tuple[_Given, PortRules]] = {}
        self._endpoints: dict[PortName, tuple[ServicePort, int]] = {}

    def lower(self, plan: Plan, features: Features) -> Ruleset:
        """As the function of this name."""
        self._endpoints = {port.name: (port, self._count_endpoints(port)) for port in plan.ports}
        context = Context(
            family=plan.family,
            cluster_cidrs=plan.cluster_cidrs,
            pod_links=plan.pod_links,
            endpoint_comments=sum(count for _, count in self._endpoints.values()) <= LARGE_CLUSTER_ENDPOINTS,
            count_localhost=features.nfacct and accepts_localhost(plan),
        )
        health_ports = {(check.namespace, check.service): check.port for check in plan.health_checks}
        known = {}
        for port in plan.ports:
            given = port, health_ports.get((port.name.namespace, port.name.service)), context
            known[port.name] = given, self._lower_port(given)
        self._known = known
        return _assemble(plan, features, [rules for _, rules in known.values()])

    def _count_endpoints(self, port: ServicePort) -> int:
        before = self._endpoints.get(port.name)
        return before[1] if before is not None and before[0] is port else len({*port.cluster, *port.local})

    def _lower_port(self, given: _Given) -> PortRules:
        before = self._known.get(given[0].name)
        return before[1] if before is not None and before[0] == given else lower_port(*given)


def _assemble(plan: Plan, features: Features, lowered: Sequence[PortRules]) -> Ruleset:
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
