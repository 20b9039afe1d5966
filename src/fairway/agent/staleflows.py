"""Which tracked UDP flows lead nowhere any more. Pure.

The kernel rewrites all packets of a flow as it did the first. A UDP client that never stops sending keeps its flow for
ever, and with it a backend that is gone, or none at all where it began before there was a door. kube-proxy's
counterpart is pkg/proxy/conntrack/cleanup.go; it takes every host's port of a node port's number for the node port, and
leaves the flows of a Service without endpoints, or of one that is gone, as they are. Neither is done here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, IPNetwork
from fairway.flow.packet import Protocol
from fairway.netlink.conntrack import IPPROTO_UDP, Flow
from fairway.plan.model import Door, ServicePlan, ServicePort
from fairway.plan.options import NodeView

Place = tuple[IPAddress | None, int]
"""Address and port of a UDP door; no address for a node port."""
Answerer = tuple[str, int]
"""An endpoint as a flow's answers come from it: the text of its address, and its port."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A place whose flows may be stale.

    answerers: the endpoints that may answer; none where what is sent there is refused. None for a door that is gone.
    former: those who answered there before it was gone; others' flows to that address and port are no business of ours.
    """

    answerers: frozenset[Answerer] | None
    former: frozenset[Answerer] = frozenset()

    def is_stale(self, flow: Flow) -> bool:
        """Whether a flow to this place is answered by one who may not."""
        answerer = str(flow.reply.source), flow.reply.source_port
        return answerer in self.former if self.answerers is None else answerer not in self.answerers


class DoorBook:
    """The UDP doors of one family that are in the kernel, and which of them may have stale flows.

    An agent begins with an empty one, so whatever is in the kernel first is suspect once.
    """

    def __init__(self) -> None:
        self._parts: dict[Key, ServicePlan] = {}
        """Of Services with UDP ports, as they are in the kernel."""
        self._suspects: dict[Place, Suspect] = {}
        self._is_new = True

    def is_due(self, view: NodeView) -> bool:
        """Whether any flow can be stale: a door changed so, or was a Service's before this agent began."""
        return bool(self._suspects) or (self._is_new and bool(view.service_cidrs))

    @property
    def ports(self) -> Collection[int] | None:
        """The ports of the flows to look at; None for all, where doors may be gone that were never known here."""
        return None if self._is_new else {port for _, port in self._suspects}

    def update(self, parts: Mapping[Key, ServicePlan], changed: Iterable[Key]) -> None:
        """Take up the parts that changed and are in the kernel now, gone ones among them."""
        before: dict[Place, frozenset[Answerer]] = {}
        after: dict[Place, frozenset[Answerer]] = {}
        for key in changed:
            before.update(_doors_of(self._parts.pop(key, None)))
            part = parts.get(key)
            after.update(_doors_of(part))
            if part is not None and any(_udp_ports(part)):
                self._parts[key] = part
        for place in before.keys() - after.keys():
            self._suspects[place] = Suspect(None, before[place] | self._once_at(place))
        for place, answerers in after.items():
            former = before.get(place)
            # One more endpoint makes no flow stale, unless there was none before.
            same = former == answerers or (former and former < answerers)
            if not same or place in self._suspects:
                self._suspects[place] = Suspect(answerers)

    def stale(self, flows: Iterable[Flow], view: NodeView, local: Iterable[IPAddress]) -> list[Flow]:
        """Of the node's flows those to delete. local: the node's own addresses.

        A flow to an address where clusterIPs are allocated that no door has was a Service's before this agent began.
        """
        takers = node_port_takers(view, local)
        lost_in = view.service_cidrs if self._is_new else ()
        return [flow for flow in flows if self._is_stale(flow, view, takers, lost_in)]

    def settle(self) -> None:
        """What was suspect has been looked at."""
        self._suspects.clear()
        self._is_new = False

    def _is_stale(
        self, flow: Flow, view: NodeView, takers: frozenset[IPAddress], lost_in: tuple[IPNetwork, ...]
    ) -> bool:
        if flow.protocol != IPPROTO_UDP or flow.zone:  # other zones are others', Open vSwitch's mostly
            return False
        address, port = flow.original.destination, flow.original.destination_port
        suspect = self._suspects.get((address, port))
        if suspect is not None:
            return suspect.is_stale(flow)
        suspect = self._suspects.get((None, port))
        if suspect is not None and (address in takers or _is_open_loopback(address, view)):
            # Where a Service has the very address and port it is that one's flow.
            return suspect.is_stale(flow) and not self._has_door((address, port))
        return any(address in network for network in lost_in) and flow.reply.source != address

    def _has_door(self, place: Place) -> bool:
        return any(place == _place(door) for part in self._parts.values() for _, door in _udp_doors(part))

    def _once_at(self, place: Place) -> frozenset[Answerer]:
        """Who answered there when it became suspect, if it did."""
        known = self._suspects.get(place)
        return known.former | (known.answerers or frozenset()) if known is not None else frozenset()


def node_port_takers(view: NodeView, local: Iterable[IPAddress]) -> frozenset[IPAddress]:
    """Of this node's own addresses those that take node ports; those of loopback are not among them."""
    networks = view.node_port_addresses
    return frozenset(
        address
        for address in (*view.node_addresses, *local)
        if not address.is_loopback and (networks is None or any(address in network for network in networks))
    )


def _is_open_loopback(address: IPAddress, view: NodeView) -> bool:
    """As `Evaluator.takes_node_ports` has it: never of IPv6."""
    networks = view.node_port_addresses
    admitted = networks is None or any(address in network for network in networks)
    return address.is_loopback and view.family is Family.IPV4 and view.localhost_node_ports and admitted


def _doors_of(part: ServicePlan | None) -> dict[Place, frozenset[Answerer]]:
    if part is None:
        return {}
    answerers = {port.name: _answerers(port) for port in _udp_ports(part)}
    return {_place(door): answerers[port.name] for port, door in _udp_doors(part)}


def _udp_ports(part: ServicePlan) -> Iterator[ServicePort]:
    return (port for port in part.ports if port.name.protocol is Protocol.UDP)


def _udp_doors(part: ServicePlan) -> Iterator[tuple[ServicePort, Door]]:
    return ((port, door) for port in _udp_ports(part) for door in port.doors)


def _place(door: Door) -> Place:
    return door.address, door.port


def _answerers(port: ServicePort) -> frozenset[Answerer]:
    """Everyone who may have been chosen by one of the doors, for one source or another, and still serves."""
    return frozenset((backend.host, backend.port) for backend in (*port.cluster, *port.local, *port.answering))
