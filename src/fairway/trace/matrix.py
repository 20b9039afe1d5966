"""Who meets what by which door: every sender of a kind, every way to call a Service, each with its fate. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from fairway.api.codec import ClusterView
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, IPNetwork, format_host, parse_address
from fairway.base.errors import Refused
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Trace
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Door, DoorKind, ServicePort
from fairway.trace.journey import Asker, AskerKind, Leg, PodSource, follow
from fairway.trace.places import pod_networks

OUTSIDER = {Family.IPV4: ip_address("203.0.113.9"), Family.IPV6: ip_address("2001:db8::9")}
"""Somebody outside where nobody is known: an address kept for documentation (RFC 5737, RFC 3849)."""

DOOR_NAMES = {
    DoorKind.CLUSTER_IP: "ClusterIP",
    DoorKind.NODE_PORT: "node port",
    DoorKind.EXTERNAL_IP: "external IP",
    DoorKind.LOAD_BALANCER_IP: "load balancer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One way to call a Service port. label: as one would say it. node: whose port it is, None where every node's."""

    label: str
    service_port: str
    kind: DoorKind
    node: str | None
    address: IPAddress
    port: int
    protocol: Protocol

    @property
    def title(self) -> str:
        """The node whose port it is, or what kind of address."""
        return self.node or DOOR_NAMES[self.kind]

    @property
    def place(self) -> str:
        """`10.200.1.60:9000/tcp`."""
        return f"{format_host(self.address)}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one sender meets at one entry.

    node: whose rules decide. packet: as it comes to that node. legs: the nodes whose rules it meets; the last is
    `node`. routed: False where nothing but a route of its own leads such a packet to a node, as a clusterIP from
    outside.
    """

    asker: Asker
    entry: Entry
    node: str
    packet: Packet
    trace: Trace
    legs: tuple[Leg, ...]
    routed: bool = True


def askers(
    view: ClusterView,
    evaluators: Mapping[str, Evaluator],
    clients: Mapping[str, tuple[IPAddress, ...]] | None = None,
    *,
    avoid: frozenset[IPAddress] = frozenset(),
) -> tuple[Asker, ...]:
    """A pod on each node, each node itself, and who is outside: `clients`, by name, or somebody made up for none.

    evaluators: by node, all of one family. A node of which no pod is known gets one that is made up, from the pod
    network, and none where that is unknown too. avoid: pods that are no good example, such as a Service's own
    endpoints; one is taken only where there is no other.
    """
    family = _family_of(evaluators)
    pods = pod_addresses(view, evaluators, avoid)
    found = [
        Asker(name=f"a pod on {node}", kind=AskerKind.POD, node=node, address=address) for node, address in pods.items()
    ]
    found += [
        Asker(name=node, kind=AskerKind.NODE, node=node, address=each.plan.node_addresses[0])
        for node, each in evaluators.items()
        if each.plan.node_addresses
    ]
    outside = {
        name: address
        for name, addresses in (clients or {}).items()
        for address in addresses
        if address.version == family
    }
    if not outside:
        outside = {"outside": OUTSIDER[family]}
    found += [Asker(name=name, kind=AskerKind.OUTSIDE, node="", address=address) for name, address in outside.items()]
    return tuple(found)


def entries(key: Key, evaluators: Mapping[str, Evaluator]) -> tuple[Entry, ...]:
    """Every way to call a Service: by port, and by node where a node port is. Empty where agents leave it alone."""
    found: dict[tuple[IPAddress, int, Protocol], Entry] = {}
    for node, evaluator in evaluators.items():
        for port in evaluator.plan.ports:
            if (port.name.namespace, port.name.service) != (key.namespace, key.name):
                continue
            for door in port.doors:
                for entry in _entries(door, port, node, evaluator):
                    found.setdefault((entry.address, entry.port, entry.protocol), entry)
    order = list(DOOR_NAMES)
    return tuple(sorted(found.values(), key=lambda entry: (entry.service_port, order.index(entry.kind))))


def cells(
    who: Iterable[Asker],
    doors: Iterable[Entry],
    evaluators: Mapping[str, Evaluator],
    *,
    pod_source: PodSource = PodSource.NODE,
) -> tuple[Cell, ...]:
    """Every sender at every entry; who is outside meets an entry that is every node's at each node, a cell each."""
    ways = list(doors)
    return tuple(cell for asker in who for entry in ways for cell in _cells(asker, entry, evaluators, pod_source))


def pod_addresses(
    view: ClusterView, evaluators: Mapping[str, Evaluator], avoid: frozenset[IPAddress] = frozenset()
) -> dict[str, IPAddress]:
    """The address of a pod of each node, in the order of the nodes: the first known one, else one that is made up."""
    known: dict[str, IPAddress] = {}
    avoided: dict[str, IPAddress] = {}
    used: set[IPAddress] = set()
    for node, address in _known_pods(view, evaluators):
        (avoided if address in avoid else known).setdefault(node, address)
        used.add(address)
    own_networks = {node.metadata.name: pod_networks(node, _family_of(evaluators)) for node in view.nodes}
    found: dict[str, IPAddress] = {}
    for index, (node, evaluator) in enumerate(evaluators.items()):
        networks = own_networks.get(node) or evaluator.plan.cluster_cidrs
        pod = known.get(node) or _made_up(networks, index, used) or avoided.get(node)
        if pod is not None:
            found[node] = pod
    return found


def _known_pods(view: ClusterView, evaluators: Mapping[str, Evaluator]) -> Iterator[tuple[str, IPAddress]]:
    """Pods, and endpoints that have a node, but not its network."""
    families = {_family_of(evaluators)}
    for pod in view.pods:
        evaluator = evaluators.get(pod.spec.node_name)
        if evaluator is None or pod.spec.host_network or pod.is_over:
            continue
        for text in pod.addresses:
            address = _address((text,))
            if address is not None and address.version in families:
                yield pod.spec.node_name, address
    for endpoint_slice in view.slices:
        for endpoint in endpoint_slice.endpoints:
            evaluator = evaluators.get(endpoint.node_name or "")
            address = _address(endpoint.addresses)
            if evaluator is None or address is None or address.version not in families:
                continue
            if not evaluator.is_own(address):
                yield evaluator.plan.node, address


def _family_of(evaluators: Mapping[str, Evaluator]) -> Family:
    return next((each.plan.family for each in evaluators.values()), Family.IPV4)


def _address(texts: tuple[str, ...]) -> IPAddress | None:
    try:
        return parse_address(texts[0])
    except (IndexError, Refused):
        return None


def _made_up(networks: tuple[IPNetwork, ...], index: int, used: set[IPAddress]) -> IPAddress | None:
    """An address that no pod is known to have, backwards from the end of the network; of IPv6, of its first 65536."""
    for network in networks:
        size = min(network.num_addresses, 1 << 16)
        for step in range(2 + index, min(size, 4096)):
            address = network[size - step] if network.version == 6 else network[-step]
            if address not in used:
                used.add(address)
                return address
    return None


def _entries(door: Door, port: ServicePort, node: str, evaluator: Evaluator) -> Iterator[Entry]:
    addresses = evaluator.plan.node_addresses if door.address is None else (door.address,)
    for address in addresses:
        host = format_host(address)
        if door.address is not None:
            label = f"{DOOR_NAMES[door.kind]} {host}:{door.port}"
        elif len(addresses) == 1:
            label = f"{node}:{door.port}"
        else:
            label = f"{node} at {host}:{door.port}"
        yield Entry(
            label=label,
            service_port=str(port.name),
            kind=door.kind,
            node=node if door.address is None else None,
            address=address,
            port=door.port,
            protocol=door.protocol,
        )


def _cells(asker: Asker, entry: Entry, evaluators: Mapping[str, Evaluator], pod_source: PodSource) -> Iterator[Cell]:
    enters = [entry.node] if entry.node is not None or asker.kind is not AskerKind.OUTSIDE else list(evaluators)
    for node in enters:
        legs = follow(
            asker,
            entry.address,
            entry.port,
            entry.protocol,
            evaluators,
            enters=node or "",
            pod_source=pod_source,
        )
        last = legs[-1]
        yield Cell(
            asker=asker,
            entry=entry,
            node=last.node,
            packet=last.packet,
            trace=last.trace,
            legs=legs,
            routed=not (asker.kind is AskerKind.OUTSIDE and entry.kind is DoorKind.CLUSTER_IP),
        )
