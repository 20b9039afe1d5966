"""A lab file laid out: names, addresses, pod networks and zones for whatever it leaves out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.cluster.labfields import WrongField, placed
from fairway.cluster.labfile import ClientEntry, LabFile, NetworksEntry, NodeEntry, Texts
from fairway.cluster.layout_networks import (
    FIRST_CLIENT,
    FIRST_NODE,
    Machine,
    addresses_of,
    gives_ipv6,
    last_pod_addresses,
    pod_cidrs,
    ranges_of,
)
from fairway.cluster.layout_nodes import check_names, entries_of, labels_of, taints_of
from fairway.cluster.scenario import DEFAULT_LAB, ZONE_LABEL, Scenario
from fairway.fabric.topology import LAB_NAME, ClientSpec, NodeRole, NodeSpec, Ranges, Topology


def lay_out(lab: LabFile, *, source: str, text: str = "") -> Scenario:
    """The lab of a lab file, without its manifests. source: how errors name the file; text: the file's, for its lines.

    Raises Refused, naming the field, for a value that is none, names or addresses given twice, networks that overlap
    or are too small, addresses outside of theirs, and more than one control plane.
    """
    try:
        return _scenario(lab)
    except Refused as error:
        raise placed(error, source=source, text=text) from None


def _scenario(lab: LabFile) -> Scenario:
    name = lab.name or DEFAULT_LAB
    if not LAB_NAME.fullmatch(name):
        raise WrongField("name", f"{name!r} is no name of a lab; use a-z, 0-9 and '-', at most 32 characters")
    entries = entries_of(lab.nodes, lab.zones, lab=name)
    check_names(entries, lab.clients)
    dual = lab.dual_stack if lab.dual_stack is not None else gives_ipv6(lab)
    ranges = {family: ranges_of(lab.networks, family) for family in (tuple(Family) if dual else (Family.IPV4,))}
    cidrs = {family: pod_cidrs(entries, family, of_family.pod_cidr) for family, of_family in ranges.items()}
    machines = [
        *(
            Machine(f"clients[{index}]", each.name, each.address, FIRST_CLIENT)
            for index, each in enumerate(lab.clients)
        ),
        *(Machine(each.path, each.name, each.entry.address, FIRST_NODE) for each in entries),
    ]
    ipv4, ipv6 = ranges[Family.IPV4], ranges.get(Family.IPV6)
    addresses = {Family.IPV4: addresses_of(machines, ipv4, lambda _: None)}
    if ipv6 is not None:
        places = {machine: int(each) - int(ipv4.network[0]) for machine, each in addresses[Family.IPV4].items()}
        # 172.18.0.100 and fd00:172:18::100: the digits alike, though the base is not.
        addresses[Family.IPV6] = addresses_of(machines, ipv6, lambda machine: int(str(places[machine]), 16))
    nodes = [
        NodeSpec(
            name=each.name,
            role=NodeRole.CONTROL_PLANE if each.entry.role == "control-plane" else NodeRole.WORKER,
            **_fields("address", addresses, each.name),
            **_fields("pod_cidr", cidrs, each.name),
        )
        for each in entries
    ]
    clients = [ClientSpec(name=client.name, **_fields("address", addresses, client.name)) for client in lab.clients]
    return Scenario(
        topology=Topology(
            name=name,
            **_ipv4_fields(ipv4),
            nodes=tuple(sorted(nodes, key=lambda node: node.role is NodeRole.WORKER)),
            clients=tuple(clients),
            ipv6=ipv6,
        ),
        mode=lab.proxy_mode,
        modes={each.name: each.entry.proxy_mode for each in entries if each.entry.proxy_mode is not None},
        labels={each.name: labels for each in entries if (labels := labels_of(each))},
        taints={each.name: taints_of(each) for each in entries if each.entry.taints is not None},
        last_pod_addresses={each.name: last for each in entries if (last := last_pod_addresses(each, cidrs))},
    )


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


def _fields(name: str, values: Mapping[Family, Mapping[str, Any]], machine: str) -> dict[str, Any]:
    """Of a NodeSpec or ClientSpec: `name`, and `name`6 in a dual-stack lab."""
    suffix = {Family.IPV4: "", Family.IPV6: "6"}
    return {f"{name}{suffix[family]}": of_family[machine] for family, of_family in values.items()}


def _ipv4_fields(ranges: Ranges) -> dict[str, Any]:
    """A Topology has those of IPv4 itself."""
    return {field.name: getattr(ranges, field.name) for field in fields(ranges)}
