"""The rules kube-proxy 1.36 would write for a Plan, in both of its modes: what a bench compares with. Pure.

The nftables text is one command a line, as kube-proxy's knftables feeds `nft -f -`; the kernel then holds what the
recorded rulesets of kube-proxy 1.36.2 show. Only what the Services of a bench have is said: cluster IPs, external IPs
and node ports under the policy Cluster, without affinity. Facts: Kubernetes 1.36 pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from fairway.dataplane.ipt.frame import MASQUERADE_MARK, Features
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.ruleset import Table
from fairway.dataplane.ipt.text import format_save
from fairway.plan.model import Backends, Door, DoorKind, Outcome, Plan, PortName, RejectReason, Scope, ServicePort

_TABLE = "ip kube-proxy"
_MARK = f"{MASQUERADE_MARK:#010x}"
_PLAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?|")
"""RFC 1123 labels, which names of namespaces, Services and ports are; "" for a port without a name."""

_SETS = (
    ("set", "hairpin-connections", "ipv4_addr . ipv4_addr . inet_proto . inet_service", "service hairpin connections"),
    ("set", "cluster-ips", "ipv4_addr", "Active ClusterIPs"),
    ("set", "nodeport-ips", "ipv4_addr", "IPs that accept NodePort traffic"),
    (
        "map",
        "no-endpoint-services",
        "ipv4_addr . inet_proto . inet_service : verdict",
        "vmap to drop or reject packets to services with no endpoints",
    ),
    (
        "map",
        "no-endpoint-nodeports",
        "inet_proto . inet_service : verdict",
        "vmap to drop or reject packets to service nodeports with no endpoints",
    ),
    (
        "map",
        "firewall-ips",
        "ipv4_addr . inet_proto . inet_service : verdict",
        "destinations that are subject to LoadBalancerSourceRanges",
    ),
    (
        "map",
        "service-ips",
        "ipv4_addr . inet_proto . inet_service : verdict",
        "ClusterIP, ExternalIP and LoadBalancer IP traffic",
    ),
    ("map", "service-nodeports", "inet_proto . inet_service : verdict", "NodePort traffic"),
)
"""Kind, name, type and comment."""

_HOOKS = {
    "filter-prerouting-pre-dnat": ("filter", "prerouting", "dstnat - 10"),
    "filter-output-pre-dnat": ("filter", "output", "-110"),
    "filter-input": ("filter", "input", "filter"),
    "filter-forward": ("filter", "forward", "filter"),
    "filter-output": ("filter", "output", "filter"),
    "nat-prerouting": ("nat", "prerouting", "dstnat"),
    "nat-output": ("nat", "output", "-100"),
    "nat-postrouting": ("nat", "postrouting", "srcnat"),
}
"""Base chains: type, hook and priority."""

_AT_NODE_PORT = "ip daddr @nodeport-ips meta l4proto . th dport vmap"
_AT_SERVICE = "ip daddr . meta l4proto . th dport vmap"

_FIXED_RULES = {
    "filter-prerouting-pre-dnat": ("ct state new jump firewall-check",),
    "filter-output-pre-dnat": ("ct state new jump firewall-check",),
    "filter-input": ("ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"),
    "filter-forward": ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    "filter-output": ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    "nat-prerouting": ("jump services",),
    "nat-output": ("jump services",),
    "nat-postrouting": ("jump masquerading",),
    "nodeport-endpoints-check": (f"{_AT_NODE_PORT} @no-endpoint-nodeports",),
    "service-endpoints-check": (f"{_AT_SERVICE} @no-endpoint-services",),
    "firewall-check": (f"{_AT_SERVICE} @firewall-ips",),
    "masquerading": (
        f"meta mark & {_MARK} != 0x00000000 meta mark set meta mark ^ {_MARK} masquerade fully-random",
        "ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random",
    ),
    "reject-chain": ("reject",),
}
"""Rules that depend on nothing; the chains in the order in which kube-proxy makes them, but for two below."""

_MARK_RULE = f'meta mark set meta mark | {_MARK} comment "masquerade"'


def nftables_text(plan: Plan, service_network: IPv4Network) -> str:
    """What `nft -f -` reads in an empty network namespace to hold what kube-proxy would write for `plan`.

    service_network: the ServiceCIDR; what is sent to an address of it that no Service has is dropped. Raises ValueError
    for a Plan that is not as the module says, or a name that is no name of the API's.
    """
    return "".join(f"{line}\n" for line in _commands(plan, service_network))


def iptables_text(plan: Plan) -> str:
    """What `iptables-restore` reads, in an empty network namespace, to hold what kube-proxy would write for `plan`."""
    # nfacct counters are objects somebody has to make first, and the rules differ only in counting.
    ruleset = lower(plan, Features(nfacct=False))
    return format_save(ruleset, (Table.MANGLE, Table.FILTER, Table.NAT))


def chain_name(kind: str, name: PortName) -> str:
    """The chain of a Service port: "service-M2DVMWBW-default/svc-nodeport/tcp/svc-webport".

    Raises ValueError for what could not be a name of the API's, and so might say more to `nft` than a name.
    """
    for word in (name.namespace, name.service, name.port):
        if not _PLAIN.fullmatch(word):
            raise ValueError(f"not the name of an object: {word!r}")
    text = f"{name.namespace}/{name.service}/{name.protocol.value}/{name.port}"
    return f"{kind}-{_hash(text)}-{text}"


def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:8]


def _commands(plan: Plan, service_network: IPv4Network) -> Iterator[str]:
    yield f'add table {_TABLE} {{ comment "rules for kube-proxy" ; }}'
    for kind, name, type_, comment in _SETS:
        yield f'add {kind} {_TABLE} {name} {{ type {type_} ; comment "{comment}" ; }}'
    yield from _fixed_chains(plan, service_network)
    for address in plan.node_addresses[:1]:
        yield _element("nodeport-ips", str(address))
    for port in plan.ports:
        yield from _port(port)


def _fixed_chains(plan: Plan, service_network: IPv4Network) -> Iterator[str]:
    """All chains before all rules, which may jump to any of them."""
    rules = {**_FIXED_RULES, "services": _services(plan), "cluster-ips-check": _cluster_ips_check(service_network)}
    for name in rules:
        if name in _HOOKS:
            type_, hook, priority = _HOOKS[name]
            yield f"add chain {_TABLE} {name} {{ type {type_} hook {hook} priority {priority} ; }}"
        elif name == "reject-chain":
            words = "helper for @no-endpoint-services / @no-endpoint-nodeports"
            yield f'add chain {_TABLE} {name} {{ comment "{words}" ; }}'
        else:
            yield f"add chain {_TABLE} {name}"
    for name, texts in rules.items():
        for text in texts:
            yield _rule(name, text)


def _services(plan: Plan) -> Sequence[str]:
    outside = " ".join(f"ip saddr != {cidr}" for cidr in plan.cluster_cidrs)
    words = 'comment "masquerade clusterIP traffic from outside cluster"'
    masquerade = f"ip daddr @cluster-ips {outside} meta mark set meta mark | {_MARK} {words}"
    return (
        *([masquerade] if outside else []),
        f"{_AT_SERVICE} @service-ips",
        f"{_AT_NODE_PORT} @service-nodeports",
    )


def _cluster_ips_check(service_network: IPv4Network) -> Sequence[str]:
    return (
        'ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"',
        f'ip daddr {service_network} drop comment "Drop traffic to unallocated ClusterIPs"',
    )


def _port(port: ServicePort) -> Iterator[str]:
    """The chains of a Service port, and the elements of the sets and maps that lead there."""
    if port.affinity is not None:
        raise ValueError(f"{port.name}: session affinity is not among what a bench compares")
    service = chain_name("service", port.name)
    external = chain_name("external", port.name)
    if port.cluster:
        yield f"add chain {_TABLE} {service}"
        yield _rule(service, _choice(port))
    if port.cluster and any(door.kind is not DoorKind.CLUSTER_IP for door in port.doors):
        yield f"add chain {_TABLE} {external}"
        yield _rule(external, _MARK_RULE)
        yield _rule(external, f"goto {service}")
    for door in port.doors:
        yield from _door(port, door, service if door.kind is DoorKind.CLUSTER_IP else external)
    for backend in port.cluster:
        if backend.local:
            address = backend.address
            yield _element(
                "hairpin-connections", f"{address} . {address} . {port.name.protocol.value} . {backend.port}"
            )


def _choice(port: ServicePort) -> str:
    targets = ", ".join(f"{at} : {backend.address} . {backend.port}" for at, backend in enumerate(port.cluster))
    return (
        f"meta l4proto {port.name.protocol.value} dnat ip to numgen random mod {len(port.cluster)} map {{ {targets} }}"
    )


def _door(port: ServicePort, door: Door, chain: str) -> Iterator[str]:
    if door.kind is DoorKind.CLUSTER_IP:
        yield _element("cluster-ips", str(door.address))
    where = f"{door.protocol.value} . {door.port}"
    at_node = door.address is None
    if not at_node:
        where = f"{door.address} . {where}"
    outcomes = {_kind_of(way.outcome) for way in door.ways.values()}
    if door.allowed_sources is None and outcomes == {Scope.CLUSTER}:
        yield _element("service-nodeports" if at_node else "service-ips", f"{where} : goto {chain}")
    elif door.allowed_sources is None and outcomes == {RejectReason.NO_ENDPOINTS}:
        name = "no-endpoint-nodeports" if at_node else "no-endpoint-services"
        yield _element(name, f'{where} comment "{port.name}" : goto reject-chain')
    else:
        raise ValueError(f"{port.name}: only doors that are open to all, under the policy Cluster, are compared")


def _kind_of(outcome: Outcome) -> Scope | RejectReason:
    return outcome.scope if isinstance(outcome, Backends) else outcome.reason


def _rule(chain: str, text: str) -> str:
    return f"add rule {_TABLE} {chain} {text}"


def _element(name: str, text: str) -> str:
    return f"add element {_TABLE} {name} {{ {text} }}"
