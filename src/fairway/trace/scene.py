"""A cluster as far as it decides the fate of packets: its objects, its nodes' settings, who is where. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from fairway.api.codec import ClusterView
from fairway.api.core import Service
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.base.errors import Refused
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import Mode, Options
from fairway.trace.places import Places

OptionsOf = Callable[[str, Family], Options]
"""The settings of a node's proxy in one family."""


class Scene:
    """What is asked about. options_of: how each node's proxy is started. clients: who is known outside, by name."""

    def __init__(
        self, view: ClusterView, options_of: OptionsOf, clients: Mapping[str, tuple[IPAddress, ...]] | None = None
    ) -> None:
        self.view = view
        self.places = Places(view, clients)
        self._options_of = options_of
        self._whole: dict[tuple[str, Family], Evaluator] = {}

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(node.metadata.name for node in self.view.nodes)

    def mode_of(self, node: str) -> Mode:
        """The mode of its proxy."""
        return self._options_of(node, Family.IPV4).mode

    def is_pod_network(self, address: IPAddress) -> bool:
        """Whether it is in the pod network, as the proxies are told."""
        networks = self._options_of("", Family(address.version)).cluster_cidrs
        return any(address in network for network in networks)

    def whole(self, node: str, family: Family) -> Evaluator:
        """All of one node's Plan; compiled once. Raises Refused for a node that is not there."""
        known = self._whole.get((node, family))
        if known is None:
            known = self._whole[node, family] = self._compile(node, family, self.view.services, self.view.slices)
        return known

    def about(self, keys: Iterable[Key], family: Family) -> dict[str, Evaluator]:
        """The Plan of every node, as far as these Services go: what they do to a packet is in it, and nothing else."""
        wanted = frozenset(keys)
        services = [each for each in self.view.services if each.metadata.key in wanted]
        slices = [each for each in self.view.slices if Key(each.metadata.namespace, each.service_name) in wanted]
        return {name: self._compile(name, family, services, slices) for name in self.node_names}

    def concerned(self, destination: IPAddress, port: int) -> frozenset[Key]:
        """The Services that may have a say in what is sent there: by an address of theirs, or a port on nodes."""
        return frozenset(
            service.metadata.key
            for service in self.view.services
            if port in _node_ports(service) or destination in addresses_of(service)
        )

    def rivals(self, key: Key) -> frozenset[Key]:
        """A Service, and those that claim an address or a node port which it claims too."""
        service = self.service(key)
        addresses, ports = set(addresses_of(service)), set(_node_ports(service))
        return frozenset(
            each.metadata.key
            for each in self.view.services
            if each is service or ports & set(_node_ports(each)) or addresses & set(addresses_of(each))
        )

    def service(self, key: Key) -> Service:
        """Raises KeyError for one that is not there."""
        for service in self.view.services:
            if service.metadata.key == key:
                return service
        raise KeyError(key)

    def _compile(
        self, node: str, family: Family, services: Iterable[Service], slices: Iterable[EndpointSlice]
    ) -> Evaluator:
        options = self._options_of(node, family)
        return Evaluator(compile_plan(services, slices, self.view.node(node), options=options))


def _node_ports(service: Service) -> Iterator[int]:
    yield from (port.node_port for port in service.spec.ports if port.node_port)
    if service.spec.health_check_node_port:
        yield service.spec.health_check_node_port


def addresses_of(service: Service) -> Iterator[IPAddress]:
    """All that a Service is reached by, whoever serves it; what is no address is left out."""
    spec = service.spec
    texts = (spec.cluster_ip, *spec.cluster_ips, *spec.external_ips)
    for text in (*texts, *(ingress.ip for ingress in service.status.load_balancer.ingress)):
        try:
            yield parse_address(text)
        except Refused:
            continue
