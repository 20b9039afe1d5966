"""The rules: those every node has, and the chain of each class of doors. Pure.

Facts about hooks and order: kube-proxy's pkg/proxy/nftables/proxier.go. Unlike there, everything is decided at the nat
hooks, which see the first packet of a connection only: packets of known connections meet no rule of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol as Interface

from fairway.base.addresses import Family, IPAddress, IPNetwork
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.layout import DoorClass, Fixed, Policy
from fairway.dataplane.nft.ruleset import BaseHook, Chain, Rule, protocol_family
from fairway.netlink.expressions import (
    DROP,
    REG_1,
    REG_VERDICT,
    Bitwise,
    Cmp,
    CmpOp,
    Ct,
    CtKey,
    Dnat,
    Expression,
    FibType,
    Immediate,
    ImmediateVerdict,
    Lookup,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Numgen,
    Payload,
    PayloadBase,
    Register,
    Reject,
    Update,
    goto,
    jump,
    word,
)
from fairway.netlink.nftables import Hook
from fairway.plan.model import Links

SERVICES_CHAIN, DISPATCH, MASQUERADING = "services", "dispatch", "masquerading"
SHORT_CUT, NODEPORT_SHORT_CUT = "short-cut", "nodeport-short-cut"

DSTNAT, SRCNAT = -100, 100
"""NF_IP_PRI_NAT_DST and _SRC of linux/netfilter_ipv4.h."""

_RTN_LOCAL = 2
"""linux/rtnetlink.h: the address is this machine's."""
_IPS_DST_NAT = 0x20
"""linux/netfilter/nf_conntrack_common.h."""
_PORT_UNREACHABLE = {Family.IPV4: 3, Family.IPV6: 4}
"""ICMP_PORT_UNREACH, ICMPV6_PORT_UNREACH."""
_SADDR_OFFSET = {Family.IPV4: 12, Family.IPV6: 8}
_DADDR_OFFSET = {Family.IPV4: 16, Family.IPV6: 24}
_DPORT_OFFSET = 2
_LOOPBACK: dict[Family, IPNetwork] = {Family.IPV4: IPv4Network("127.0.0.0/8"), Family.IPV6: IPv6Network("::1/128")}


class Settings(Interface):
    """What the rules of a node depend on besides Services; a Plan has it, and a NodeView."""

    @property
    def family(self) -> Family: ...
    @property
    def node_addresses(self) -> tuple[IPAddress, ...]: ...
    @property
    def cluster_cidrs(self) -> tuple[IPNetwork, ...]: ...
    @property
    def node_port_addresses(self) -> tuple[IPNetwork, ...] | None: ...
    @property
    def localhost_node_ports(self) -> bool: ...
    @property
    def service_cidrs(self) -> tuple[IPNetwork, ...]: ...
    @property
    def guards_cluster_ips(self) -> bool: ...
    @property
    def pod_links(self) -> Links | None: ...
    @property
    def tells_pods(self) -> bool: ...


def fixed_chains(settings: Settings) -> tuple[Chain, ...]:
    """The chains every node has, in the order they are made: what rules lead to comes first."""
    family = settings.family
    hooks = (
        ("nat-prerouting", Hook.PREROUTING, DSTNAT, SERVICES_CHAIN),
        ("nat-output", Hook.OUTPUT, DSTNAT, SERVICES_CHAIN),
        ("nat-postrouting", Hook.POSTROUTING, SRCNAT, MASQUERADING),
    )
    return (
        Chain(DISPATCH, (Rule((Meta(MetaKey.PRIORITY), Lookup(layout.CLASSES, dreg=REG_VERDICT))),)),
        _short_cut(family, nodeport=False),
        _short_cut(family, nodeport=True),
        Chain("refuse", (_rule(_reject(family)),)),
        _sticky(family, nodeport=False),
        _sticky(family, nodeport=True),
        Chain(SERVICES_CHAIN, tuple(_services_rules(settings))),
        Chain(MASQUERADING, _masquerading_rules(family)),
        *(
            Chain(name, (Rule((ImmediateVerdict(jump(target)),)),), hook=BaseHook(hook, priority))
            for name, hook, priority, target in hooks
        ),
    )


def class_chain(door_class: DoorClass, settings: Settings) -> Chain | None:
    """The chain of a class; None where it is one every node has, or a verdict alone."""
    if door_class.kind is Policy.FIXED and not door_class.is_guarded:
        return None
    return Chain(door_class.chain, tuple(_class_rules(door_class, settings)))


def choose(family: Family, door_class: DoorClass) -> Rule:
    """Send on to one of the door's backends, each as likely as the next."""
    offset = layout.SHORT_CUT_SLOT if door_class.kind is Policy.SHORT_CUT else 0
    key, after = _door(family, nodeport=door_class.is_nodeport)
    backends = layout.NODEPORT_BACKENDS if door_class.is_nodeport else layout.BACKENDS
    port = word(REG_1, _words(family))
    return Rule(
        (
            *unclassify(),
            *key,
            Numgen(door_class.count, offset, dreg=after),
            Lookup(backends, dreg=REG_1),
            Dnat(protocol_family(family), REG_1, port),
        )
    )


def policy_rules(door_class: DoorClass, settings: Settings, *, last: Rule, short_cut: str) -> Iterable[Rule]:
    """What a door's policy does before its backend is chosen.

    last: the rule that chooses. short_cut: the chain that chooses for pods and the node itself, where they differ.
    """
    if door_class.is_guarded:
        yield _guard(settings.family)
    match door_class.kind:
        case Policy.MASQUERADE:
            yield Rule(_mark())
        case Policy.MASQUERADE_OUTSIDE:
            yield Rule((*_from_outside(settings), *_mark()))
        case Policy.LOCAL:
            for from_pods in _from_pods(settings):
                yield Rule((*from_pods, ImmediateVerdict(goto(short_cut))))
            node = (FibType(source=True), Cmp(CmpOp.EQ, _native(_RTN_LOCAL)))
            yield Rule((*node, *_mark(), ImmediateVerdict(goto(short_cut))))
        case _:
            pass
    yield last


def drop_rule() -> Rule:
    return Rule((ImmediateVerdict(DROP),))


def remembered_rule(family: Family, clients: str, chain: str) -> Rule:
    """Lead those whom a set remembers to a chain."""
    return Rule((_load_address(family, source=True), Lookup(clients), ImmediateVerdict(goto(chain))))


def one_in_rule(left: int, chain: str) -> Rule:
    """Lead one in `left` to a chain."""
    if left == 1:
        return Rule((ImmediateVerdict(goto(chain)),))
    return Rule((Numgen(left), Cmp(CmpOp.EQ, bytes(4)), ImmediateVerdict(goto(chain))))


def endpoint_rules(family: Family, protocol: int, address: IPAddress, port: int, clients: str) -> tuple[Rule, ...]:
    """Remember the client, and send it on to one endpoint; two rules, since a set that is full ends the first."""
    remember = Rule((_load_address(family, source=True), Update(clients)))
    is_protocol = (Meta(MetaKey.L4PROTO), Cmp(CmpOp.EQ, bytes((protocol,))))
    target = (Immediate(address.packed), Immediate(port.to_bytes(2, "big"), dreg=2))
    dnat = Rule((*unclassify(), *is_protocol, *target, Dnat(protocol_family(family), REG_1, 2)))
    return remember, dnat


def in_network(network: IPNetwork, *, source: bool, inside: bool = True) -> tuple[Expression, ...]:
    """Whether the packet's source (or destination) is in a network, in as few bytes as nft would compare."""
    family = Family(network.version)
    offset = (_SADDR_OFFSET if source else _DADDR_OFFSET)[family]
    op = CmpOp.EQ if inside else CmpOp.NEQ
    whole, rest = divmod(network.prefixlen, 8)
    packed = network.network_address.packed
    if rest or not whole:
        length = len(packed)
        mask = network.netmask.packed
        return Payload(PayloadBase.NETWORK, offset, length), Bitwise(mask, bytes(length)), Cmp(op, packed)
    return Payload(PayloadBase.NETWORK, offset, whole), Cmp(op, packed[:whole])


def by_links(links: Links, *, inside: bool = True) -> tuple[Expression, ...]:
    """Whether the packet came in by one of the links; what the node sends came in by none."""
    name = links.name.encode()
    data = name if links.is_prefix else name.ljust(layout.IFNAME_SIZE, b"\0")
    return Meta(MetaKey.IIFNAME), Cmp(CmpOp.EQ if inside else CmpOp.NEQ, data)


def unclassify() -> tuple[Expression, ...]:
    """Put the packet's priority back to none."""
    return Immediate(bytes(4)), MetaSet(MetaKey.PRIORITY)


def _from_pods(settings: Settings) -> Iterable[tuple[Expression, ...]]:
    """The ways a packet may show that it is a pod's, each the beginning of a rule."""
    for cidr in settings.cluster_cidrs:
        yield in_network(cidr, source=True)
    if settings.pod_links is not None:
        yield by_links(settings.pod_links)


def _from_outside(settings: Settings) -> Iterable[Expression]:
    """That a packet shows in none of them that it is a pod's."""
    for cidr in settings.cluster_cidrs:
        yield from in_network(cidr, source=True, inside=False)
    if settings.pod_links is not None:
        yield from by_links(settings.pod_links, inside=False)


def _class_rules(door_class: DoorClass, settings: Settings) -> Iterable[Rule]:
    family = settings.family
    if door_class.kind is Policy.FIXED:
        yield _guard(family)
        yield _rule(_reject(family)) if door_class.count == Fixed.REFUSE else drop_rule()
        return
    last = choose(family, door_class) if door_class.count else drop_rule()
    short_cut = NODEPORT_SHORT_CUT if door_class.is_nodeport else SHORT_CUT
    yield from policy_rules(door_class, settings, last=last, short_cut=short_cut)


def _services_rules(settings: Settings) -> Iterable[Rule]:
    family = settings.family
    key, _ = _door(family, nodeport=False)
    yield _classify(key, layout.SERVICES, DISPATCH)
    nodeport_key, _ = _door(family, nodeport=True)
    for accepts in _node_port_addresses(settings):
        yield _classify((*accepts, *nodeport_key), layout.NODEPORTS, DISPATCH)
    elsewhere = (FibType(source=False), Cmp(CmpOp.NEQ, _native(_RTN_LOCAL)))
    if settings.guards_cluster_ips:
        is_cluster_ip = (_load_address(family, source=False), Lookup(layout.CLUSTER_IPS))
        yield Rule((*is_cluster_ip, *elsewhere, _reject(family)), comment="ports that no Service has")
    for cidr in settings.service_cidrs:
        drop = ImmediateVerdict(DROP)
        yield Rule((*in_network(cidr, source=False), *elsewhere, drop), comment="addresses that no Service has")


def _node_port_addresses(settings: Settings) -> Iterable[tuple[Expression, ...]]:
    family = settings.family
    if settings.node_port_addresses is not None:
        yield _load_address(family, source=False), Lookup(layout.NODEPORT_IPS)
        return
    local = (FibType(source=False), Cmp(CmpOp.EQ, _native(_RTN_LOCAL)))
    if family is Family.IPV4 and settings.localhost_node_ports:
        yield local
    else:
        yield *local, *in_network(_LOOPBACK[family], source=False, inside=False)


def _masquerading_rules(family: Family) -> tuple[Rule, ...]:
    mark = _native(layout.MASQUERADE_MARK)
    marked = (Meta(MetaKey.MARK), Bitwise(mark, bytes(4)), Cmp(CmpOp.NEQ, bytes(4)))
    # Cleared, so that a packet that comes by again after it was wrapped is not rewritten twice.
    clear = (Meta(MetaKey.MARK), Bitwise(b"\xff" * 4, mark), MetaSet(MetaKey.MARK))
    translated = (
        Ct(CtKey.STATUS),
        Bitwise(_native(_IPS_DST_NAT), bytes(4)),
        Cmp(CmpOp.NEQ, bytes(4)),
    )
    words = _words(family)
    to_itself = (
        _load_address(family, source=True),
        _load_address(family, source=False, dreg=word(REG_1, words)),
        Meta(MetaKey.L4PROTO, dreg=word(REG_1, 2 * words)),
        Payload(PayloadBase.TRANSPORT, _DPORT_OFFSET, 2, dreg=word(REG_1, 2 * words + 1)),
        Lookup(layout.HAIRPINS),
    )
    return Rule((*marked, *clear, Masquerade())), Rule((*translated, *to_itself, Masquerade()))


def _short_cut(family: Family, *, nodeport: bool) -> Chain:
    key, _ = _door(family, nodeport=nodeport)
    name = NODEPORT_SHORT_CUT if nodeport else SHORT_CUT
    doors = layout.NODEPORT_SHORT_CUTS if nodeport else layout.SHORT_CUTS
    classify = Rule((*key, Lookup(doors, dreg=REG_1), MetaSet(MetaKey.PRIORITY)))
    choice = Rule((Meta(MetaKey.PRIORITY), Lookup(layout.SHORT_CUT_CLASSES, dreg=REG_VERDICT)))
    return Chain(name, (classify, choice))


def _sticky(family: Family, *, nodeport: bool) -> Chain:
    key, _ = _door(family, nodeport=nodeport)
    doors = layout.NODEPORT_STICKY if nodeport else layout.STICKY
    name = DoorClass(Policy.FIXED | (layout.NODEPORT if nodeport else 0), Fixed.STICKY).chain
    return Chain(name, (Rule((*key, Lookup(doors, dreg=REG_VERDICT))),))


def _classify(match: Sequence[Expression], doors: str, chain: str) -> Rule:
    """Lead packets to a door of the map, with its class in their priority, to a chain."""
    return Rule((*match, Lookup(doors, dreg=REG_1), MetaSet(MetaKey.PRIORITY), ImmediateVerdict(goto(chain))))


def _guard(family: Family) -> Rule:
    """Drop those whom the door's source ranges do not name."""
    key, after = _door(family, nodeport=False)
    source = _load_address(family, source=True, dreg=after)
    return Rule((*key, source, Lookup(layout.SOURCE_RANGES, inverted=True), ImmediateVerdict(DROP)))


def _mark() -> tuple[Expression, ...]:
    """Set the bit that means: rewrite the source on the way out."""
    mark = _native(layout.MASQUERADE_MARK)
    keep = _native(0xFFFFFFFF ^ layout.MASQUERADE_MARK)
    return Meta(MetaKey.MARK), Bitwise(keep, mark), MetaSet(MetaKey.MARK)


def _door(family: Family, *, nodeport: bool) -> tuple[tuple[Expression, ...], Register]:
    """The loads that make a door's key, and the register after them."""
    loads: list[Expression] = []
    offset = 0
    if not nodeport:
        loads.append(_load_address(family, source=False))
        offset = _words(family)
    loads.append(Meta(MetaKey.L4PROTO, dreg=word(REG_1, offset)))
    loads.append(Payload(PayloadBase.TRANSPORT, _DPORT_OFFSET, 2, dreg=word(REG_1, offset + 1)))
    return tuple(loads), word(REG_1, offset + 2)


def _load_address(family: Family, *, source: bool, dreg: Register = REG_1) -> Payload:
    offset = (_SADDR_OFFSET if source else _DADDR_OFFSET)[family]
    return Payload(PayloadBase.NETWORK, offset, family.bits // 8, dreg)


def _reject(family: Family) -> Reject:
    return Reject(_PORT_UNREACHABLE[family])


def _rule(expression: Expression) -> Rule:
    return Rule((expression,))


def _words(family: Family) -> int:
    return family.bits // 32


def _native(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)
