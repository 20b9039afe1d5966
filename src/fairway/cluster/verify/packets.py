"""Generated packets: to a door more often than not, from everybody who may send to one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from fairway.base.addresses import Family
from fairway.cluster.verify.draw import Draw
from fairway.cluster.verify.plane import (
    CLIENTS,
    CLUSTER_IPS,
    EXTERNALS,
    HEALTH_PORT,
    LOAD_BALANCERS,
    LOOPBACK,
    NOBODYS,
    NODE_ADDRESSES,
    NODE_PORTS,
    OTHER_NODES,
    POD_LINKS,
    PODS,
    PORTS,
    TARGET_PORTS,
    address_in,
)
from fairway.cluster.verify.probes import SENT
from fairway.flow.packet import Packet, Protocol
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Door

_HOSTS = (*CLIENTS, *OTHER_NODES, *PODS, *CLIENTS)
_AIMS = (
    *((address, port) for address in (*CLUSTER_IPS, *LOAD_BALANCERS, *EXTERNALS) for port in (*PORTS, 22)),
    *((address, port) for address in NODE_ADDRESSES for port in (*NODE_PORTS, HEALTH_PORT, *PORTS)),
    *((address, NODE_PORTS[0]) for address in OTHER_NODES),
    *((address, PORTS[0]) for address in NOBODYS),
    (PODS[0], TARGET_PORTS[0]),
    (PODS[2], TARGET_PORTS[0]),
)
"""Doors, wrong ports of their addresses, and addresses that nobody owns."""


@dataclass(slots=True)
class Aims:
    """What packets to one node's Plan may be sent to."""

    evaluator: Evaluator
    protocols: Sequence[Protocol] = SENT
    _doors: list[Door] = field(init=False)

    def __post_init__(self) -> None:
        self._doors = [
            door for port in self.evaluator.plan.ports for door in port.doors if door.protocol in self.protocols
        ]

    def draw(self, draw: Draw) -> Packet:
        """A packet that comes to the node, or is sent by it from an address of its own."""
        family = self.evaluator.plan.family
        destination, port, protocol = self._aim(draw, family)
        source, from_node, interface = _source(draw, family, destination)
        return Packet(
            source=ip_address(source),
            interface=interface,
            destination=ip_address(destination),
            port=port,
            protocol=protocol,
            from_node=from_node,
        )

    def _aim(self, draw: Draw, family: Family) -> tuple[str, int, Protocol]:
        if self._doors and draw.number(0, 9) > 1:
            door = draw.choice(self._doors)
            address = str(door.address) if door.address is not None else self._node_port_address(draw, family)
            return address, door.port, door.protocol
        aim, port = draw.choice(_AIMS)
        return address_in(family, aim), port, draw.choice(self.protocols)

    def _node_port_address(self, draw: Draw, family: Family) -> str:
        """One at which node ports are open more often than not."""
        own = [*(address_in(family, each) for each in NODE_ADDRESSES), LOOPBACK[family]]
        taking = [each for each in own if self.evaluator.takes_node_ports(ip_address(each))]
        return draw.choice(taking if taking and draw.number(0, 3) else own)


def _source(draw: Draw, family: Family, destination: str) -> tuple[str, bool, str]:
    """Who sends, whether it is the node itself, and by which link it comes in, where that matters.

    To a loopback address only who has it can send.
    """
    if destination == LOOPBACK[family]:
        return destination, True, ""
    if draw.number(0, 2) == 0:
        return address_in(family, draw.choice(NODE_ADDRESSES)), True, ""
    host = draw.choice([host for host in _HOSTS if address_in(family, host) != destination])
    return address_in(family, host), False, POD_LINKS.get(host, "")
