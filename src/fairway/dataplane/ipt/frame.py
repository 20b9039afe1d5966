"""Rules that stand whatever Services there are: marks, masquerade, forwarding, and the jumps to our chains. Pure.

Facts: Kubernetes 1.36 pkg/proxy/iptables/proxier.go, `iptablesJumpChains` and the fixed rules of `syncProxyRules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network

from fairway.base.addresses import Family, IPAddress, IPNetwork
from fairway.dataplane.ipt import names
from fairway.dataplane.ipt.ruleset import (
    LOOPBACK,
    Address,
    AddrTypeLocal,
    BuiltinJump,
    Comment,
    Conntrack,
    Jump,
    Mark,
    Masquerade,
    Match,
    Nfacct,
    Rule,
    SetXmark,
    Side,
    State,
    Table,
    Verdict,
)
from fairway.plan.model import Plan
from fairway.plan.options import NodeView

MASQUERADE_MARK = 0x4000
"""Bit 14, kube-proxy's default `iptables.masqueradeBit`: a packet that carries it is masqueraded on its way out."""

INVALID_DROPPED_COUNTER = "ct_state_invalid_dropped_pkts"
LOCALHOST_ACCEPTED_COUNTER = "localhost_nps_accepted_pkts"
NFACCT_COUNTERS = (INVALID_DROPPED_COUNTER, LOCALHOST_ACCEPTED_COUNTER)
"""nfacct objects kube-proxy counts with: pkg/proxy/metrics."""

_NODE_PORTS_LAST = Comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")

_LOCALHOST = IPv4Address("127.0.0.1")
_LOOPBACK4 = IPv4Network("127.0.0.0/8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the rules may use on this machine; the defaults are a machine that has all of it.

    nfacct: the kernel has the `nfacct` match and holds NFACCT_COUNTERS. drop_invalid: packets conntrack calls INVALID
    are dropped; kube-proxy leaves them where net.netfilter.nf_conntrack_tcp_be_liberal is set.
    """

    nfacct: bool = True
    drop_invalid: bool = True


def fixed_chains(plan: Plan, features: Features) -> Mapping[Table, dict[str, tuple[Rule, ...]]]:
    """The chains that hold no rule of a Service; those that hold such rules are not among them.

    Those of IPv6 are the same, but for KUBE-FIREWALL, which is empty: nothing lets the network in to ::1.
    """
    chains: dict[Table, dict[str, tuple[Rule, ...]]] = {
        table: {names.KUBE_PROXY_CANARY: ()} for table in (Table.MANGLE, Table.FILTER, Table.NAT)
    }
    chains[Table.FILTER] |= {
        names.KUBE_FORWARD: _forward(features),
        names.KUBE_FIREWALL: (BLOCK_LOCALNET,) if accepts_localhost(plan) else (),
    }
    chains[Table.NAT] |= {names.KUBE_MARK_MASQ: _MARK_MASQ, names.KUBE_POSTROUTING: _POSTROUTING}
    if len(plan.cluster_cidrs) > 1:
        chains[Table.NAT][names.KUBE_MASQ_NOT_POD] = (
            *(Rule(source=Address(cidr), target=Verdict.RETURN) for cidr in plan.cluster_cidrs),
            Rule(target=Jump(names.KUBE_MARK_MASQ)),
        )
    return chains


_MARKED = Mark(MASQUERADE_MARK, MASQUERADE_MARK)
_MARK_MASQ = (Rule(target=SetXmark(MASQUERADE_MARK, MASQUERADE_MARK)),)
_POSTROUTING = (
    Rule(matches=(Mark(MASQUERADE_MARK, MASQUERADE_MARK, negated=True),), target=Verdict.RETURN),
    # The mark goes, so that a packet that comes by again, encapsulated, is not masqueraded twice.
    Rule(target=SetXmark(MASQUERADE_MARK, 0)),
    Rule(matches=(Comment("kubernetes service traffic requiring SNAT"),), target=Masquerade()),
)
BLOCK_LOCALNET = Rule(
    source=Address(LOOPBACK[Family.IPV4], negated=True),
    destination=Address(LOOPBACK[Family.IPV4]),
    matches=(
        Comment("block incoming localnet connections"),
        Conntrack(frozenset({State.RELATED, State.ESTABLISHED, State.DNAT}), negated=True),
    ),
    target=Verdict.DROP,
)
"""Node ports on 127.0.0.1 need route_localnet, which lets the network in to loopback (CVE-2020-8558)."""


def _forward(features: Features) -> tuple[Rule, ...]:
    counted: tuple[Match, ...] = (Nfacct(INVALID_DROPPED_COUNTER),) if features.nfacct else ()
    invalid = Rule(matches=(Conntrack(frozenset({State.INVALID})), *counted), target=Verdict.DROP)
    accepted = (
        Rule(matches=(Comment("kubernetes forwarding rules"), _MARKED), target=Verdict.ACCEPT),
        Rule(
            matches=(
                Comment("kubernetes forwarding conntrack rule"),
                Conntrack(frozenset({State.RELATED, State.ESTABLISHED})),
            ),
            target=Verdict.ACCEPT,
        ),
    )
    return (invalid, *accepted) if features.drop_invalid else accepted


def node_port_entries(plan: Plan) -> tuple[Rule, ...]:
    """The last rules of nat KUBE-SERVICES: what is sent to the node itself may be for a node port."""
    networks = plan.node_port_addresses
    jump = Jump(names.KUBE_NODEPORTS)
    localhost = accepts_localhost(plan)
    if networks is None:
        destination = None if localhost else Address(LOOPBACK[plan.family], negated=True)
        local = AddrTypeLocal(Side.DESTINATION)
        return (Rule(destination=destination, matches=(_NODE_PORTS_LAST, local), target=jump),)
    own = {address for address in plan.node_addresses if localhost or not address.is_loopback}
    addresses: list[IPAddress] = sorted({*own, _LOCALHOST} if localhost else own, key=str)
    return tuple(
        Rule(destination=Address(host_network(address)), matches=(_NODE_PORTS_LAST,), target=jump)
        for address in addresses
        if any(address in network for network in networks)
    )


def accepts_localhost(plan: Plan | NodeView) -> bool:
    """True where node ports answer on an address of 127.0.0.0/8 too; on ::1 they never do.

    As `ContainsIPv4Loopback` of pkg/proxy/util has it.
    """
    if plan.family is Family.IPV6:
        return False
    networks = plan.node_port_addresses
    chosen = networks is None or any(network.overlaps(_LOOPBACK4) for network in networks)
    return plan.localhost_node_ports and chosen


def host_network(address: IPAddress) -> IPNetwork:
    """The /32 or /128 of one address."""
    return ip_network(address)


_NEW = Conntrack(frozenset({State.NEW}))


def _jump(table: Table, chain: str, to: str, *matches: Match, shared: bool = False) -> BuiltinJump:
    return BuiltinJump(table=table, chain=chain, rule=Rule(matches=matches, target=Jump(to)), shared=shared)


_PORTALS = Comment("kubernetes service portals")
_EXTERNAL = Comment("kubernetes externally-visible service portals")
_HEALTH = Comment("kubernetes health check service ports")
_FORWARDING = Comment("kubernetes forwarding rules")
_FIREWALL = Comment("kubernetes load balancer firewall")

JUMPS: tuple[BuiltinJump, ...] = (
    _jump(Table.FILTER, "INPUT", names.KUBE_EXTERNAL_SERVICES, _NEW, _EXTERNAL),
    _jump(Table.FILTER, "FORWARD", names.KUBE_EXTERNAL_SERVICES, _NEW, _EXTERNAL),
    _jump(Table.FILTER, "INPUT", names.KUBE_NODEPORTS, _HEALTH),
    _jump(Table.FILTER, "FORWARD", names.KUBE_SERVICES, _NEW, _PORTALS),
    _jump(Table.FILTER, "OUTPUT", names.KUBE_SERVICES, _NEW, _PORTALS),
    _jump(Table.FILTER, "FORWARD", names.KUBE_FORWARD, _FORWARDING),
    _jump(Table.FILTER, "INPUT", names.KUBE_PROXY_FIREWALL, _NEW, _FIREWALL),
    _jump(Table.FILTER, "OUTPUT", names.KUBE_PROXY_FIREWALL, _NEW, _FIREWALL),
    _jump(Table.FILTER, "FORWARD", names.KUBE_PROXY_FIREWALL, _NEW, _FIREWALL),
    _jump(Table.NAT, "OUTPUT", names.KUBE_SERVICES, _PORTALS),
    _jump(Table.NAT, "PREROUTING", names.KUBE_SERVICES, _PORTALS),
    _jump(Table.NAT, "POSTROUTING", names.KUBE_POSTROUTING, Comment("kubernetes postrouting rules")),
    _jump(Table.FILTER, "INPUT", names.KUBE_FIREWALL, shared=True),
    _jump(Table.FILTER, "OUTPUT", names.KUBE_FIREWALL, shared=True),
)
"""kube-proxy's list, top to bottom, then the kubelet's, which come to stand first."""
