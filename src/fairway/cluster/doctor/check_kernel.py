"""Kernel settings of a node that lose packets of Services. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.base.addresses import Family, parse_address, parse_network
from fairway.cluster.doctor.case import Case, families_of
from fairway.cluster.doctor.facts import Link, NodeFacts
from fairway.cluster.doctor.finding import Finding, Mend, Severity, some
from fairway.plan.model import DoorKind
from fairway.plan.options import Mode, internal_addresses

STRICT, LOOSE = 1, 2
"""rp_filter of RFC 3704: strict drops what would not be answered by the link it came in by (ip-sysctl.rst)."""
DEFAULT_NODE_PORTS = range(30000, 32768)
"""`--service-node-port-range` of kube-apiserver."""
SOMEWHERE = {Family.IPV4: "192.0.2.1", Family.IPV6: "2001:db8::1"}
"""An address of no network of anybody (RFC 5737, RFC 3849): the way to it is the way to the world."""

_FORWARDING = {Family.IPV4: "net/ipv4/ip_forward", Family.IPV6: "net/ipv6/conf/all/forwarding"}
_RP_FILTER = "net/ipv4/conf/{}/rp_filter"
_ROUTE_LOCALNET = "net/ipv4/conf/all/route_localnet"
_BRIDGE_CALLS = "net/bridge/bridge-nf-call-iptables"
_COUNT, _MAX = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"
_PORT_RANGE, _RESERVED = "net/ipv4/ip_local_port_range", "net/ipv4/ip_local_reserved_ports"
_TUNNELS = frozenset({"vxlan", "geneve", "ipip", "sit", "gre", "ip6tnl", "ip6gre", "wireguard", "tun", "xfrm", "vti"})


def forwarding(case: Case) -> Iterator[Finding]:
    """ip_forward is off."""
    for name, facts in case.facts.items():
        families = _families(case, name)
        for family in families:
            path = _FORWARDING[family]
            if facts.number(path) == 0:
                yield Finding(
                    check="ip-forward",
                    severity=Severity.FAULT,
                    node=name,
                    about=path,
                    what=f"the node does not forward {family.api_name} packets",
                    evidence=f"{_dotted(path)} = 0",
                    consequence="what is sent to a Service here and has its endpoint in a pod is dropped after the "
                    "translation, without an answer",
                    mend=_set(path, "1", name),
                )


def reverse_path(case: Case) -> Iterator[Finding]:
    """Strict reverse path filtering on a link whose senders are answered by another link."""
    for name, facts in case.facts.items():
        for link, whose, other in _asymmetric(case, name, facts):
            effective = max(facts.number(_RP_FILTER.format(each)) or 0 for each in ("all", link.name))
            if effective != STRICT:
                continue
            yield Finding(
                check="rp-filter",
                severity=Severity.FAULT,
                node=name,
                about=link.name,
                what=f"strict reverse path filtering on {link.name} drops packets from {whose}",
                evidence=f"rp_filter of {link.name} is {STRICT} (the greater of its own and that of all), and the way "
                f"back to {whose} is {other}",
                consequence="they come in and are gone before any rule sees them, without an answer or a log line",
                mend=_set(_RP_FILTER.format(link.name), str(LOOSE), name),
            )


def _asymmetric(case: Case, name: str, facts: NodeFacts) -> Iterator[tuple[Link, str, str]]:
    """Links by which senders come that are answered by another: the link, the senders, the other link's name.

    Two kinds are certain: clients beyond the network of the node's own address, where the default route is elsewhere;
    and pods of another node, whose packets come as that node's do unless they are in a tunnel.
    """
    node = next((node for node in case.nodes if node.metadata.name == name), None)
    if node is None:
        return
    kinds = {link.name: link.kind for link in facts.links}
    ours = [address for address in internal_addresses(node) if address.version == 4]
    world = facts.routes.get(SOMEWHERE[Family.IPV4], "")
    for address in ours:
        link = facts.link_with(str(address))
        if link is not None and world and world != link.name and kinds.get(world) not in _TUNNELS:
            yield link, f"clients that are not in its own network and call {address}", world
    for other in case.nodes:
        addresses = [address for address in internal_addresses(other) if address.version == 4]
        if other.metadata.name == name or not addresses:
            continue
        inward = facts.routes.get(str(addresses[0]), "")
        for pod in pod_samples(case, other.metadata.name):
            outward = facts.routes.get(pod, "")
            link = next((link for link in facts.links if link.name == inward), None)
            if link is not None and outward and outward != inward and kinds.get(outward) not in _TUNNELS:
                yield link, f"pods of {other.metadata.name}", outward


def pod_samples(case: Case, node: str) -> list[str]:
    """An IPv4 address of each pod network of a node, to ask routes about."""
    networks = [parse_network(text) for text in case.pod_networks(node)]
    return [str(network.network_address + 1) for network in networks if network.version == 4]


def conntrack(case: Case) -> Iterator[Finding]:
    """The table of connections is nearly full."""
    for name, facts in case.facts.items():
        count, limit = facts.number(_COUNT), facts.number(_MAX)
        if count is None or not limit or count * 100 < case.conntrack_percent * limit:
            continue
        yield Finding(
            check="conntrack-full",
            severity=Severity.FAULT,
            node=name,
            about=_MAX,
            what=f"the table of connections is {count * 100 / limit:.1f} % full",
            evidence=f"{_dotted(_COUNT)} = {count}, {_dotted(_MAX)} = {limit}",
            consequence='at 100 % new connections are dropped ("nf_conntrack: table full, dropping packet"), those to '
            "Services first of all, since each needs an entry",
            mend=_set(_MAX, str(limit * 2), name),
        )


def route_localnet(case: Case) -> Iterator[Finding]:
    """Mode iptables opens node ports on 127.0.0.1, which only works with route_localnet."""
    for name, facts in case.facts.items():
        options = case.options_of(name).get(Family.IPV4)
        if options is None or options.mode is not Mode.IPTABLES or not options.localhost_node_ports:
            continue
        opens = any(plan.localhost_node_ports and plan.node_port_addresses is None for plan in case.plans.get(name, ()))
        if opens and any(case.doors(name, DoorKind.NODE_PORT)) and facts.number(_ROUTE_LOCALNET) == 0:
            yield Finding(
                check="route-localnet",
                severity=Severity.RISK,
                node=name,
                about=_ROUTE_LOCALNET,
                what="node ports do not answer on 127.0.0.1",
                evidence=f"{_dotted(_ROUTE_LOCALNET)} = 0, though the proxies run with localhostNodePorts",
                consequence="what a process of the node sends to 127.0.0.1 and a node port is translated and then "
                "thrown away as a martian",
                mend=_set(_ROUTE_LOCALNET, "1", name),
            )


def bridge_calls(case: Case) -> Iterator[Finding]:
    """Pods on a bridge whose packets do not pass netfilter."""
    for name, facts in case.facts.items():
        bridge = next((link for link in facts.links if link.kind == "bridge" and _has_pods(case, name, link)), None)
        if bridge is None or facts.number(_BRIDGE_CALLS) == 1:
            continue
        loaded = facts.number(_BRIDGE_CALLS) is not None
        mend = _set(_BRIDGE_CALLS, "1", name) if loaded else Mend.of("modprobe br_netfilter", node=name)
        evidence = f"{_dotted(_BRIDGE_CALLS)} = 0" if loaded else "the module br_netfilter is not loaded"
        yield Finding(
            check="bridge-netfilter",
            severity=Severity.FAULT,
            node=name,
            about=bridge.name,
            what=f"packets between pods on the bridge {bridge.name} do not pass netfilter",
            evidence=evidence,
            consequence="a pod that calls a Service whose endpoint is on the same node gets answers from the "
            "endpoint's own address and throws them away",
            mend=mend,
        )


def _has_pods(case: Case, node: str, link: Link) -> bool:
    networks = [parse_network(text) for text in case.pod_networks(node)]
    own = [parse_address(text.partition("/")[0]) for text in link.addresses]
    return any(address in network for address in own for network in networks)


def ephemeral(case: Case) -> Iterator[Finding]:
    """Node ports that the kernel gives out as source ports."""
    for name, facts in case.facts.items():
        low, high = ([int(word) for word in facts.sysctls.get(_PORT_RANGE, "").split()] + [0, 0])[:2]
        reserved = parse_ports(facts.sysctls.get(_RESERVED, ""))
        taken = {
            opening.door.port: str(opening.port.name)
            for opening in case.doors(name, DoorKind.NODE_PORT)
            if low <= opening.door.port <= high and opening.door.port not in reserved
        }
        if not taken:
            continue
        usual = DEFAULT_NODE_PORTS
        wanted = reserved | (set(usual) if all(port in usual for port in taken) else set(taken))
        yield Finding(
            check="ephemeral-ports",
            severity=Severity.RISK,
            node=name,
            about=_PORT_RANGE,
            what=f"node ports lie in the range from which the kernel gives ports to clients: "
            f"{some(f'{port} ({owner})' for port, owner in sorted(taken.items()))}",
            evidence=f"{_dotted(_PORT_RANGE)} = {low} {high}, {_dotted(_RESERVED)} does not spare them",
            consequence="a process of the node may get such a port of its own; what is sent to it then goes to the "
            "Service's pods",
            mend=_set(_RESERVED, format_ports(wanted), name),
        )


def parse_ports(text: str) -> set[int]:
    """Of a list such as "8080,30000-32767"."""
    ports: set[int] = set()
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        ports.update(range(int(first), int(last or first) + 1))
    return ports


def format_ports(ports: set[int]) -> str:
    """As `parse_ports` reads it, and the kernel prints it."""
    parts: list[str] = []
    ordered = sorted(ports)
    start = 0
    for index, port in enumerate(ordered):
        if index + 1 == len(ordered) or ordered[index + 1] != port + 1:
            parts.append(f"{ordered[start]}-{port}" if ordered[start] != port else str(port))
            start = index + 1
    return ",".join(parts)


def _families(case: Case, name: str) -> tuple[Family, ...]:
    """Those the node has by its Node; without a cluster, IPv4."""
    for node in case.nodes:
        if node.metadata.name == name:
            return families_of(node)
    return (Family.IPV4,)


def _set(path: str, value: str, node: str) -> Mend:
    return Mend(("sysctl", "-w", f"{_dotted(path)}={value}"), node)


def _dotted(path: str) -> str:
    """As sysctl(8) takes it; with slashes where a link's name has a dot."""
    return path if "." in path else path.replace("/", ".")
