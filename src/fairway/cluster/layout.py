"""A lab file laid out: names, addresses, pod networks and zones for whatever it leaves out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any, TypeVar

import msgspec

from fairway.apiserver.validation import names
from fairway.base.addresses import Family, IPAddress, IPNetwork, address_of, parse_address, parse_network
from fairway.base.errors import Refused
from fairway.cluster.labfile import ClientEntry, LabFile, NetworksEntry, NodeEntry, Texts
from fairway.cluster.scenario import DEFAULT_LAB, ZONE_LABEL, Scenario
from fairway.fabric.topology import AddressPool, ClientSpec, NodeRole, NodeSpec, Ranges, Topology
from fairway.kubelet.config import Taint

MAX_NODES = 250
"""As many as have a /24 each in the default network of pods, and then some; each takes some 25 MB."""

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

_NETWORKS: Mapping[Family, Mapping[str, str]] = {
    Family.IPV4: {"nodes": "172.18.0.0/16", "pods": "10.10.0.0/16", "services": "10.200.1.0/24"},
    Family.IPV6: {"nodes": "fd00:172:18::/64", "pods": "fd00:10:10::/56", "services": "fd00:10:200:1::/112"},
}
"""The study's, and of IPv6 unique local ones (RFC 4193) that read like them."""

_POD_LENGTH = {Family.IPV4: 24, Family.IPV6: 64}
"""Of a node's pod network (kube-controller-manager --node-cidr-mask-size-ipv4, -ipv6)."""

_POOL = {Family.IPV4: (-55, -5), Family.IPV6: (0x255_0200, 0x255_0250)}
"""Where the load balancers' addresses begin and end in the nodes' network; from its end for IPv4."""
_POOL_ROOM = {Family.IPV4: 256, Family.IPV6: 1 << 32}
"""A smaller network has none of them unless it is told which."""

_FIRST_NODE, _FIRST_CLIENT = 2, 100
"""Where in the nodes' network their addresses begin."""

T = TypeVar("T")

_ByFamily = Mapping[Family, str]


def lay_out(lab: LabFile, *, source: str) -> Scenario:
    """The lab of a lab file, without its manifests. source: how errors name the file.

    Raises Refused, naming the field, for a value that is none, names or addresses given twice, networks that overlap
    or are too small, and more than one control plane.
    """
    try:
        return _Layout(lab).scenario()
    except Refused as error:
        raise Refused(f"{source}: {error}") from None


def spell_out(scenario: Scenario) -> LabFile:
    """The lab file that leaves nothing out: whatever it is read for, the same lab comes of it."""
    topology = scenario.topology
    ranges = topology.ranges
    return LabFile(
        name=topology.name,
        proxy_mode=scenario.mode,
        dual_stack=len(ranges) > 1,
        networks=NetworksEntry(
            nodes=_told(each.network for each in ranges),
            gateway=_told(each.gateway for each in ranges),
            pods=_told(each.pod_cidr for each in ranges),
            services=_told(each.service_cidr for each in ranges),
            load_balancers=_told(each.load_balancers for each in ranges if each.load_balancers),
        ),
        nodes=tuple(_spell_out_node(scenario, node) for node in topology.nodes),
        clients=tuple(ClientEntry(name=client.name, address=_told(client.addresses)) for client in topology.clients),
        images={image.name: image.path for image in scenario.images},
        manifests=tuple(map(str, scenario.manifests)),
    )


def _spell_out_node(scenario: Scenario, node: NodeSpec) -> NodeEntry:
    labels = dict(scenario.labels.get(node.name, {}))
    zone = labels.pop(ZONE_LABEL, "")
    return NodeEntry(
        name=node.name,
        role="control-plane" if node.role is NodeRole.CONTROL_PLANE else "worker",
        zone=zone,
        labels=labels,
        taints=tuple(str(taint) for taint in scenario.taints_of(node)) if node.name in scenario.taints else None,
        address=_told(node.addresses),
        pod_cidr=_told(node.pod_cidrs),
        last_pod_address=_told(scenario.last_pod_addresses.get(node.name, ())),
        proxy_mode=scenario.modes.get(node.name),
    )


def _told(values: Iterable[object]) -> Texts:
    """One of each family; a lab of one family has just a text."""
    match [str(value) for value in values]:
        case [text]:
            return text
        case texts:
            return tuple(texts)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One node of the lab. path: where the file has it."""

    path: str
    name: str
    entry: NodeEntry


class _Layout:
    def __init__(self, lab: LabFile) -> None:
        self._lab = lab
        self._name = lab.name or DEFAULT_LAB
        self._entries = _with_zones(_named(_roles(_entries(lab.nodes)), self._name), lab.zones)
        dual = lab.dual_stack if lab.dual_stack is not None else _gives_ipv6(lab)
        self._families = tuple(Family) if dual else (Family.IPV4,)

    def scenario(self) -> Scenario:
        networks = {family: _networks(self._lab.networks, family) for family in self._families}
        pods = {family: self._pod_cidrs(family, networks[family].pod_cidr) for family in self._families}
        ipv4, ipv6 = networks[Family.IPV4], networks.get(Family.IPV6)
        addresses = {Family.IPV4: self._addresses(ipv4, lambda _: None)}
        if ipv6 is not None:
            places = {name: int(each) - int(ipv4.network[0]) for name, each in addresses[Family.IPV4].items()}
            # 172.18.0.100 and fd00:172:18::100: the digits alike, though the base is not.
            addresses[Family.IPV6] = self._addresses(ipv6, lambda name: int(str(places[name]), 16))
        nodes = [
            NodeSpec(
                name=each.name,
                role=NodeRole.CONTROL_PLANE if each.entry.role == "control-plane" else NodeRole.WORKER,
                **_fields("address", addresses, each.name),
                **_fields("pod_cidr", pods, each.name),
            )
            for each in self._entries
        ]
        clients = [
            ClientSpec(name=client.name, **_fields("address", addresses, client.name)) for client in self._lab.clients
        ]
        entries = self._entries
        return Scenario(
            topology=Topology(
                name=self._name,
                **_ipv4_fields(ipv4),
                nodes=tuple(sorted(nodes, key=lambda node: node.role is NodeRole.WORKER)),
                clients=tuple(clients),
                ipv6=ipv6,
            ),
            mode=self._lab.proxy_mode,
            modes={each.name: each.entry.proxy_mode for each in entries if each.entry.proxy_mode is not None},
            labels={each.name: labels for each in entries if (labels := _labels(each))},
            taints={each.name: _taints(each) for each in entries if each.entry.taints is not None},
            last_pod_addresses={each.name: last for each in entries if (last := self._last_pod_addresses(each))},
        )

    def _pod_cidrs(self, family: Family, network: IPNetwork) -> dict[str, IPNetwork]:
        """Of each node: what it is told, else the next free part of the pods' network."""
        given = {
            each.name: _parse(f"{each.path}.podCIDR", parse_network, text)
            for each in self._entries
            if (text := _of(f"{each.path}.podCIDR", each.entry.pod_cidr, _network_family).get(family))
        }
        parts = network.subnets(new_prefix=max(_POD_LENGTH[family], network.prefixlen))
        free = (part for part in parts if not any(part.overlaps(taken) for taken in given.values()))
        for each in self._entries:
            if each.name not in given:
                found = next(free, None)
                if found is None:
                    raise Refused(f"networks.pods {network} has no room for {len(self._entries)} nodes: give a larger")
                given[each.name] = found
        return given

    def _addresses(self, ranges: Ranges, like: Callable[[str], int | None]) -> dict[str, IPAddress]:
        """Of each machine: what it is told, else that at place `like` in the network, else a free one."""
        machines: list[tuple[str, NodeEntry | ClientEntry, str]] = [
            *((f"clients[{index}]", client, client.name) for index, client in enumerate(self._lab.clients)),
            *((each.path, each.entry, each.name) for each in self._entries),
        ]
        given = {
            name: _parse(f"{path}.address", parse_address, text)
            for path, entry, name in machines
            if (text := _of(f"{path}.address", entry.address, _address_family).get(ranges.family))
        }
        taken = {ranges.gateway, *given.values()}
        for path, entry, name in machines:
            if name not in given:
                first = _FIRST_CLIENT if isinstance(entry, ClientEntry) else _FIRST_NODE
                given[name] = _free(ranges, taken, like(name), first, path)
                taken.add(given[name])
        return given

    def _last_pod_addresses(self, each: _Entry) -> tuple[str, ...]:
        path = f"{each.path}.lastPodAddress"
        given = _of(path, each.entry.last_pod_address, _address_family)
        return tuple(str(_parse(path, parse_address, given[family])) for family in self._families if family in given)


def _entries(nodes: int | Sequence[NodeEntry]) -> list[_Entry]:
    """One for each node, their names as given."""
    if isinstance(nodes, int):
        _check_count("nodes", nodes)
        return [_Entry("nodes", "", NodeEntry()) for _ in range(nodes)]
    found: list[_Entry] = []
    for index, entry in enumerate(nodes):
        path = f"nodes[{index}]"
        _check_count(f"{path}.count", entry.count)
        of_one = {"address": entry.address, "podCIDR": entry.pod_cidr, "lastPodAddress": entry.last_pod_address}
        for field in (field for field, value in of_one.items() if value and entry.count > 1):
            raise Refused(f"{path}: {field} is of one node, and count is {entry.count}; list the nodes one by one")
        numbers = range(1, entry.count + 1)
        found += [_Entry(path, _numbered(entry.name, number) if entry.name else "", entry) for number in numbers]
    _check_count("nodes", len(found))
    return found


def _check_count(path: str, count: int) -> None:
    if not 1 <= count <= MAX_NODES:
        raise Refused(f"{path}: {count} is no number of nodes; a lab has from 1 to {MAX_NODES}")


def _numbered(name: str, number: int) -> str:
    """worker, worker2, worker3: as kind names nodes."""
    return name if number == 1 else f"{name}{number}"


def _roles(entries: list[_Entry]) -> list[_Entry]:
    """With one control plane: the first node that may be it, if none is told to be."""
    told = [each for each in entries if each.entry.role == "control-plane"]
    if len(told) > 1:
        raise Refused(f"{told[1].path}.role: a lab has one control plane, and this is the second; make it a worker")
    if told:
        return entries
    index = next((index for index, each in enumerate(entries) if not each.entry.role), None)
    if index is None:
        raise Refused("nodes: all are workers; a lab needs one node with role: control-plane")
    chosen = entries[index]
    # A cluster of one node runs pods there: kind, too, leaves the taint out.
    alone = {"taints": ()} if len(entries) == 1 and chosen.entry.taints is None else {}
    entry = msgspec.structs.replace(chosen.entry, role="control-plane", **alone)
    return [*entries[:index], _Entry(chosen.path, chosen.name, entry), *entries[index + 1 :]]


def _named(entries: Iterable[_Entry], lab: str) -> list[_Entry]:
    """With a name each, and no name twice."""
    named: list[_Entry] = []
    workers = 0
    for each in entries:
        name = each.name
        if not name and each.entry.role == "control-plane":
            name = f"{lab}-control-plane"
        elif not name:
            workers += 1
            name = _numbered(f"{lab}-worker", workers)
        named.append(_Entry(each.path, name, each.entry))
    for name, count in Counter(each.name for each in named).items():
        if count > 1:
            paths = [each.path for each in named if each.name == name]
            raise Refused(f"{paths[-1]}: the name {name} is given twice; {paths[0]} has it")
    return named


def _with_zones(entries: Sequence[_Entry], zones: int | Sequence[str]) -> list[_Entry]:
    """The zones in turn to the nodes that have none of their own."""
    if isinstance(zones, int):
        if not 0 <= zones <= MAX_NODES:
            raise Refused(f"zones: {zones} is no number of zones; give from 1 to {MAX_NODES}, or their names")
        zones = [f"zone-{number}" for number in range(1, zones + 1)]
    turn = iter(range(len(entries)))
    return [
        _Entry(each.path, each.name, msgspec.structs.replace(each.entry, zone=zones[next(turn) % len(zones)]))
        if zones and not each.entry.zone and ZONE_LABEL not in each.entry.labels
        else each
        for each in entries
    ]


def _labels(each: _Entry) -> dict[str, str]:
    """Raises Refused for what the API server would not take."""
    labels = dict(each.entry.labels)
    if each.entry.zone:
        labels[ZONE_LABEL] = each.entry.zone
    for cause in names.labels(f"{each.path}.labels", labels):
        raise Refused(f"{cause.field}: {cause.message}")
    return labels


def _taints(each: _Entry) -> tuple[Taint, ...]:
    found = tuple(_taint(f"{each.path}.taints[{index}]", text) for index, text in enumerate(each.entry.taints or ()))
    for (key, effect), count in Counter((taint.key, taint.effect) for taint in found).items():
        if count > 1:
            raise Refused(f"{each.path}.taints: {key} with {effect} is given twice")
    return found


def _taint(path: str, text: str) -> Taint:
    """KEY[=VALUE]:EFFECT, as `kubectl taint` reads it."""
    left, _, effect = text.rpartition(":")
    key, _, value = left.partition("=")
    wrong = [*names.qualified_name(key), *names.label_value(value)]
    if not left or effect not in _EFFECTS or wrong:
        raise Refused(f"{path}: {text!r} is no taint; write KEY=VALUE:EFFECT, the effect one of {', '.join(_EFFECTS)}")
    return Taint(key=key, value=value, effect=effect)


def _networks(entry: NetworksEntry, family: Family) -> Ranges:
    """What is told, else the default ones; for a network of nodes that is told, a pool at its end."""
    found: dict[str, IPNetwork] = {}
    for field, default in _NETWORKS[family].items():
        path = f"networks.{field}"
        text = _of(path, getattr(entry, field), _network_family).get(family, default)
        found[field] = _parse(path, parse_network, text)
    for (one, left), (other, right) in combinations(found.items(), 2):
        if left.overlaps(right):
            raise Refused(f"networks.{one} {left} and networks.{other} {right} overlap: give one of them another")
    nodes = found["nodes"]
    if nodes.num_addresses < 4:
        raise Refused(f"networks.nodes: {nodes} has no room for a bridge and a node")
    gateway = _of("networks.gateway", entry.gateway, _address_family).get(family)
    pool = _of("networks.loadBalancers", entry.load_balancers, _pool_family).get(family)
    return Ranges(
        network=nodes,
        gateway=_parse("networks.gateway", parse_address, gateway) if gateway else nodes[1],
        pod_cidr=found["pods"],
        service_cidr=found["services"],
        load_balancers=_parse("networks.loadBalancers", _pool, pool) if pool else _default_pool(nodes),
    )


def _default_pool(nodes: IPNetwork) -> AddressPool | None:
    family = Family(nodes.version)
    if nodes.num_addresses < _POOL_ROOM[family]:
        return None
    first, last = (nodes[place] if place > 0 else nodes[-1] + place for place in _POOL[family])
    return AddressPool(first=first, last=last)


def _pool(text: str) -> AddressPool:
    first, dash, last = text.partition("-")
    if not dash:
        raise Refused(f"{text!r} is no pool; write FIRST-LAST, two addresses of networks.nodes")
    return AddressPool(first=parse_address(first.strip()), last=parse_address(last.strip()))


def _free(ranges: Ranges, taken: set[IPAddress], like: int | None, first: int, path: str) -> IPAddress:
    """The address at place `like`, or the next from place `first` on that nobody has, from the beginning if need be."""
    network, pool = ranges.network, ranges.load_balancers
    last = network.num_addresses - 2  # IPv4's broadcast address is at the end
    places: Iterator[int] = (
        place
        for span in ((like, like), (first, last), (_FIRST_NODE, min(first, last)))
        for place in (range(span[0], span[1] + 1) if span[0] is not None and span[1] is not None else ())
    )
    for place in places:
        address = address_of((int(network.network_address) + place).to_bytes(network.max_prefixlen // 8, "big"))
        if 0 < place <= last and address not in taken and not (pool is not None and address in pool):
            return address
    raise Refused(f"{path}: networks.nodes {network} has no address left; give a larger network")


def _gives_ipv6(lab: LabFile) -> bool:
    """Whether any network or address in the file is one of IPv6."""
    networks = (lab.networks.nodes, lab.networks.pods, lab.networks.services, lab.networks.load_balancers)
    nodes = () if isinstance(lab.nodes, int) else lab.nodes
    of_nodes = [value for node in nodes for value in (node.address, node.pod_cidr, node.last_pod_address)]
    values = [*networks, lab.networks.gateway, *of_nodes, *(client.address for client in lab.clients)]
    return any(":" in text for value in values for text in _texts(value))


def _texts(value: Texts) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _of(path: str, value: Texts, family_of: Callable[[str], Family]) -> _ByFamily:
    """What is told of each family. Raises Refused for a value that is none, and two of one family."""
    found: dict[Family, str] = {}
    for text in _texts(value):
        family = _parse(path, family_of, text)
        if family in found:
            raise Refused(f"{path}: {found[family]} and {text} are both {family.api_name}; give one of each family")
        found[family] = text
    return found


def _address_family(text: str) -> Family:
    return Family(parse_address(text).version)


def _network_family(text: str) -> Family:
    return Family(parse_network(text).version)


def _pool_family(text: str) -> Family:
    pool = _pool(text)
    if pool.first.version != pool.last.version:
        raise Refused(f"{text!r} begins in one address family and ends in the other")
    return Family(pool.first.version)


def _parse(path: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except Refused as error:
        raise Refused(f"{path}: {error}") from None


def _fields(name: str, values: Mapping[Family, Mapping[str, Any]], machine: str) -> dict[str, Any]:
    """Of a NodeSpec or ClientSpec: `name`, and `name`6 in a dual-stack lab."""
    suffix = {Family.IPV4: "", Family.IPV6: "6"}
    return {f"{name}{suffix[family]}": of_family[machine] for family, of_family in values.items()}


def _ipv4_fields(ranges: Ranges) -> dict[str, Any]:
    """A Topology has those of IPv4 itself."""
    return {field.name: getattr(ranges, field.name) for field in fields(ranges)}
