"""What the checks judge: the objects of a cluster, what they mean on each node, and the facts of nodes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
from msgspec import Struct

from fairway.api.codec import ClusterView
from fairway.api.core import ApiProtocol, Node, Pod, Service
from fairway.api.discovery import EndpointSlice
from fairway.api.meta import ObjectMeta, json_name
from fairway.api.types import Key, Object
from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.cluster.doctor.facts import NodeFacts
from fairway.plan.compile import compile_plan, group_slices
from fairway.plan.model import Door, DoorKind, Plan, ServicePort
from fairway.plan.options import Mode, Options, internal_addresses

CONNTRACK_PERCENT = 90.0

OptionsOf = Callable[[str], Mapping[Family, Options]]
"""The options of a node's proxy, by family; none where they are not known."""


class WantedPort(Struct, frozen=True, kw_only=True, rename=json_name):
    """target_port: a number, or the name of a container's port; None where it is `port`."""

    port: int
    name: str = ""
    protocol: ApiProtocol = ApiProtocol.TCP
    target_port: int | str | None = None


class _WantedSpec(Struct, frozen=True, kw_only=True):
    selector: Mapping[str, str] = msgspec.field(default_factory=dict)
    ports: tuple[WantedPort, ...] = ()


class Wanted(Struct, frozen=True, kw_only=True):
    """What a Service says of its pods, which agents never read: they read EndpointSlices."""

    metadata: ObjectMeta
    spec: _WantedSpec = _WantedSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A door of a Plan and the Service port whose it is."""

    port: ServicePort
    door: Door

    def __str__(self) -> str:
        return f"{self.port.name} {self.door.kind.value} {self.door.port}/{self.door.protocol}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that is known.

    view: None where no cluster was asked, so that only nodes are judged. facts: of the nodes that were looked into, by
    name. options_of: of a node's proxy, by family. clients: addresses of machines outside, as far as they are known.
    """

    view: ClusterView | None = None
    wanted: Mapping[Key, Wanted] = field(default_factory=dict)
    facts: Mapping[str, NodeFacts] = field(default_factory=dict)
    options_of: OptionsOf = lambda _node: {}
    clients: tuple[str, ...] = ()
    conntrack_percent: float = CONNTRACK_PERCENT

    def mode_of(self, node: str) -> Mode | None:
        """Of its proxy; None where nobody knows it."""
        return next((options.mode for options in self.options_of(node).values()), None)

    @property
    def services(self) -> tuple[Service, ...]:
        return self.view.services if self.view is not None else ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.view.nodes if self.view is not None else ()

    def pod_networks(self, node: str) -> tuple[str, ...]:
        """A node's part of the pod network, one of each family; none where that is not known."""
        return next((each.spec.pod_networks for each in self.nodes if each.metadata.name == node), ())

    @cached_property
    def slices(self) -> Mapping[Key, list[EndpointSlice]]:
        """By Service."""
        return group_slices(self.view.slices)[0] if self.view is not None else {}

    @cached_property
    def plans(self) -> Mapping[str, tuple[Plan, ...]]:
        """Of every node that has a Node, one for each family it has an address of."""
        return {node.metadata.name: tuple(self._plans(node)) for node in self.nodes}

    def _plans(self, node: Node) -> Iterator[Plan]:
        assert self.view is not None
        for family, options in self.options_of(node.metadata.name).items():
            if family in families_of(node):
                yield compile_plan(self.view.services, self.view.slices, node, options=options)

    def doors(self, node: str, *kinds: DoorKind) -> Iterator[Opening]:
        """The doors of a node's Plans; kinds: all, if none is named."""
        for plan in self.plans.get(node, ()):
            for port in plan.ports:
                for door in port.doors:
                    if not kinds or door.kind in kinds:
                        yield Opening(port=port, door=door)

    def pods_of(self, service: Service) -> list[Pod]:
        """Those that the Service's selector matches and that have not ended; none without a selector."""
        wanted = self.wanted.get(service.metadata.key)
        if self.view is None or wanted is None or not wanted.spec.selector:
            return []
        return [
            pod
            for pod in self.view.pods
            if pod.metadata.namespace == service.metadata.namespace
            and not pod.is_over
            and wanted.spec.selector.items() <= pod.metadata.labels.items()
        ]


def families_of(node: Node) -> tuple[Family, ...]:
    """The families of its InternalIPs."""
    found = {address.version for address in internal_addresses(node)}
    return tuple(family for family in Family if family in found)


def read_wanted(objects: Iterable[Object]) -> dict[Key, Wanted]:
    """Of all Services among the objects. Raises Refused for one whose selector or ports have no such form."""
    found: dict[Key, Wanted] = {}
    for obj in objects:
        if (obj.get("apiVersion"), obj.get("kind")) == ("v1", "Service"):
            wanted = _wanted(obj)
            found[wanted.metadata.key] = wanted
    return found


def _wanted(obj: Object) -> Wanted:
    spec = {name: value for name, value in (obj.get("spec") or {}).items() if value is not None}
    try:
        return msgspec.convert({"metadata": obj["metadata"], "spec": spec}, Wanted)
    except msgspec.ValidationError as error:
        raise Refused(f"Service {obj['metadata'].get('name')}: {str(error).replace('`', '')}") from None
