"""The networks of a lab file, and the addresses in them: what it gives, and what is free for the rest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from fairway.base.addresses import Family, IPAddress, IPNetwork, address_of, parse_address, parse_network
from fairway.base.errors import Refused
from fairway.cluster.labfields import WrongField
from fairway.cluster.labfile import LabFile, NetworksEntry, Texts
from fairway.cluster.layout_nodes import Entry
from fairway.fabric.topology import AddressPool, Ranges

_NETWORKS: Mapping[Family, Mapping[str, str]] = {
    Family.IPV4: {"nodes": "172.18.0.0/16", "pods": "10.10.0.0/16", "services": "10.200.1.0/24"},
    Family.IPV6: {"nodes": "fd00:172:18::/64", "pods": "fd00:10:10::/56", "services": "fd00:10:200:1::/112"},
}
"""The study's, and of IPv6 unique local ones (RFC 4193) that read like them."""

_POD_LENGTH = {Family.IPV4: 24, Family.IPV6: 64}
"""Of a node's pod network (kube-controller-manager --node-cidr-mask-size-ipv4, -ipv6)."""
_LEAST_ADDRESSES = 4
"""A network with fewer has no room for two hosts beside its own address and the one of all."""

_POOL = {Family.IPV4: (-55, -5), Family.IPV6: (0x255_0200, 0x255_0250)}
"""Where the load balancers' addresses begin and end in the nodes' network; from its end for IPv4."""
_POOL_ROOM = {Family.IPV4: 256, Family.IPV6: 1 << 32}
"""A smaller network has none of them unless it is told which."""

FIRST_NODE, FIRST_CLIENT = 2, 100
"""Where in the nodes' network their addresses begin."""

T = TypeVar("T")

_ByFamily = Mapping[Family, str]


@dataclass(frozen=True, slots=True)
class Machine:
    """A node or client. path: where the file has it. first: the place where addresses of its kind begin."""

    path: str
    name: str
    address: Texts
    first: int


def gives_ipv6(lab: LabFile) -> bool:
    """Whether any network or address in the file is one of IPv6."""
    networks = (lab.networks.nodes, lab.networks.pods, lab.networks.services, lab.networks.load_balancers)
    nodes = () if isinstance(lab.nodes, int) else lab.nodes
    of_nodes = [value for node in nodes for value in (node.address, node.pod_cidr, node.last_pod_address)]
    values = [*networks, lab.networks.gateway, *of_nodes, *(client.address for client in lab.clients)]
    return any(":" in text for value in values for text in _texts(value))


def ranges_of(entry: NetworksEntry, family: Family) -> Ranges:
    """What is told, else the default ones; for a network of nodes that is told, a pool at its end.

    Raises WrongField for what is no network or address, networks that overlap or are too small, and a gateway or pool
    outside of the nodes' network.
    """
    found: dict[str, IPNetwork] = {}
    for field, default in _NETWORKS[family].items():
        path = f"networks.{field}"
        text = _of(path, getattr(entry, field), _network_family).get(family, default)
        found[field] = _parse(path, parse_network, text)
    for (one, left), (other, right) in combinations(found.items(), 2):
        if left.overlaps(right):
            told = one if getattr(entry, one) and not getattr(entry, other) else other
            problem = f"networks.{one} {left} and networks.{other} {right} overlap; give one of them another"
            raise WrongField(f"networks.{told}", problem)
    nodes = found["nodes"]
    if nodes.num_addresses < _LEAST_ADDRESSES:
        raise WrongField("networks.nodes", f"{nodes} has no room for a bridge and a node; give a larger network")
    gateway = _of("networks.gateway", entry.gateway, _address_family).get(family)
    ranges = Ranges(
        network=nodes,
        gateway=_parse("networks.gateway", parse_address, gateway) if gateway else nodes[1],
        pod_cidr=found["pods"],
        service_cidr=found["services"],
        load_balancers=_pool_of(entry, nodes),
    )
    _check_host("networks.gateway", ranges.gateway, nodes)
    if ranges.load_balancers is not None and ranges.gateway in ranges.load_balancers:
        problem = f"{ranges.gateway} is among networks.loadBalancers {ranges.load_balancers}; give another"
        raise WrongField("networks.gateway", problem)
    return ranges


def _pool_of(entry: NetworksEntry, nodes: IPNetwork) -> AddressPool | None:
    path, family = "networks.loadBalancers", Family(nodes.version)
    text = _of(path, entry.load_balancers, _pool_family).get(family)
    if text is not None:
        pool = _parse(path, _pool, text)
        for end in (pool.first, pool.last):
            _check_host(path, end, nodes)
        if int(pool.first) > int(pool.last):
            raise WrongField(path, f"{pool} ends before it begins; write FIRST-LAST")
        return pool
    if nodes.num_addresses < _POOL_ROOM[family]:
        return None
    first, last = (nodes[place] if place > 0 else nodes[-1] + place for place in _POOL[family])
    return AddressPool(first=first, last=last)


def _check_host(path: str, address: IPAddress, network: IPNetwork) -> None:
    """Raises WrongField for an address that no host of the nodes' network can have."""
    if address not in network or address in (network.network_address, network.broadcast_address):
        span = f"from {network[1]} to {network[-2]}"
        raise WrongField(path, f"{address} is no host address of networks.nodes {network}; give one {span}")


def pod_cidrs(entries: Sequence[Entry], family: Family, network: IPNetwork) -> dict[str, IPNetwork]:
    """Of each node: what it is told, else the next free part of the pods' network.

    Raises WrongField for one that is none, outside of that network, too small or another's, and where nothing is left.
    """
    given: dict[str, IPNetwork] = {}
    for each in entries:
        path = f"{each.path}.podCIDR"
        text = _of(path, each.entry.pod_cidr, _network_family).get(family)
        if text is not None:
            given[each.name] = cidr = _parse(path, parse_network, text)
            _check_pod_cidr(path, cidr, network)
            for name, other in given.items():
                if name != each.name and cidr.overlaps(other):
                    raise WrongField(path, f"{cidr} overlaps {other}, the podCIDR of {name}; give another")
    parts = network.subnets(new_prefix=max(_POD_LENGTH[family], network.prefixlen))
    free = (part for part in parts if not any(part.overlaps(taken) for taken in given.values()))
    for each in entries:
        if each.name not in given:
            found = next(free, None)
            if found is None:
                raise WrongField(
                    "networks.pods", f"{network} has no room for {len(entries)} nodes; give a larger network"
                )
            given[each.name] = found
    return given


def _check_pod_cidr(path: str, cidr: IPNetwork, network: IPNetwork) -> None:
    if cidr.network_address not in network or cidr.prefixlen < network.prefixlen:
        raise WrongField(
            path, f"{cidr} is not inside networks.pods {network}; give a part of it, or larger networks.pods"
        )
    if cidr.num_addresses < _LEAST_ADDRESSES:
        raise WrongField(path, f"{cidr} has no room for a gateway and a pod; give a larger network")


def last_pod_addresses(each: Entry, cidrs: Mapping[Family, Mapping[str, IPNetwork]]) -> tuple[str, ...]:
    """As a node is told them, one of each family of the lab at most. Raises WrongField for one outside its podCIDR."""
    path = f"{each.path}.lastPodAddress"
    given = _of(path, each.entry.last_pod_address, _address_family)
    found = []
    for family, of_nodes in cidrs.items():
        if family in given:
            address = _parse(path, parse_address, given[family])
            if address not in of_nodes[each.name]:
                problem = f"{address} is not in {of_nodes[each.name]}, the node's podCIDR; give one that is"
                raise WrongField(path, problem)
            found.append(str(address))
    return tuple(found)


def addresses_of(
    machines: Sequence[Machine], ranges: Ranges, like: Callable[[str], int | None]
) -> dict[str, IPAddress]:
    """Of each machine: what it is told, else that at place `like` in the network, else a free one.

    Raises WrongField for an address that is none, outside of the network, or somebody else's, and where none is left.
    """
    given: dict[str, IPAddress] = {}
    holders: dict[IPAddress, str] = {ranges.gateway: "networks.gateway"}
    for machine in machines:
        path = f"{machine.path}.address"
        text = _of(path, machine.address, _address_family).get(ranges.family)
        if text is not None:
            given[machine.name] = address = _parse(path, parse_address, text)
            _check_host(path, address, ranges.network)
            if ranges.load_balancers is not None and address in ranges.load_balancers:
                raise WrongField(
                    path, f"{address} is among networks.loadBalancers {ranges.load_balancers}; give another"
                )
            if address in holders:
                raise WrongField(path, f"the address {address} is given twice; {holders[address]} has it")
            holders[address] = path
    taken = set(holders)
    for machine in machines:
        if machine.name not in given:
            given[machine.name] = _free(ranges, taken, like(machine.name), machine)
            taken.add(given[machine.name])
    return given


def _free(ranges: Ranges, taken: set[IPAddress], like: int | None, machine: Machine) -> IPAddress:
    """The address at place `like`, or the next that nobody has, from the beginning if need be."""
    network, pool = ranges.network, ranges.load_balancers
    last = network.num_addresses - 2  # IPv4's broadcast address is at the end
    places: Iterator[int] = (
        place
        for span in ((like, like), (machine.first, last), (FIRST_NODE, min(machine.first, last)))
        for place in (range(span[0], span[1] + 1) if span[0] is not None and span[1] is not None else ())
    )
    for place in places:
        address = address_of((int(network.network_address) + place).to_bytes(network.max_prefixlen // 8, "big"))
        if 0 < place <= last and address not in taken and not (pool is not None and address in pool):
            return address
    raise WrongField(machine.path, f"networks.nodes {network} has no address left; give a larger network")


def _pool(text: str) -> AddressPool:
    first, dash, last = text.partition("-")
    if not dash:
        raise Refused(f"{text!r} is no pool; write FIRST-LAST, two addresses of networks.nodes")
    return AddressPool(first=parse_address(first.strip()), last=parse_address(last.strip()))


def _texts(value: Texts) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _of(path: str, value: Texts, family_of: Callable[[str], Family]) -> _ByFamily:
    """What is told of each family. Raises WrongField for a value that is none, and two of one family."""
    found: dict[Family, str] = {}
    for text in _texts(value):
        family = _parse(path, family_of, text)
        if family in found:
            problem = f"{found[family]} and {text} are both {family.api_name}; give one of each family"
            raise WrongField(path, problem)
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
        raise WrongField(path, str(error)) from None
