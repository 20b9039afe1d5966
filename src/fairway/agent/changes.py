"""What a node agent knows of the cluster, and which Services changed since each of its loops last asked. Pure.

kube-proxy's counterparts: ServiceChangeTracker and EndpointsChangeTracker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from fairway.api.core import Node, Service
from fairway.api.discovery import EndpointSlice
from fairway.api.networking import ServiceCIDR
from fairway.api.types import Key
from fairway.base.addresses import IPNetwork, parse_network
from fairway.base.errors import Refused
from fairway.watch.informer import Change

TRIGGER_TIME_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"
"""On a slice: when the Pod or Service changed that it was written for (core/v1 `EndpointsLastChangeTriggerTime`)."""

_NO_SLICES: Mapping[Key, EndpointSlice] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What was new since a feed's last `take`.

    services: those to compile again, gone ones among them. triggered: when the changes of slices began, for the network
    programming latency. service_changes, slice_changes: how many events it took. orphans: whether slices of no Service
    came, changed or went.
    """

    services: frozenset[Key] = frozenset()
    triggered: tuple[datetime, ...] = ()
    service_changes: int = 0
    slice_changes: int = 0
    orphans: bool = False


class Feed:
    """What changed since this feed was last asked; each address family has one of its own."""

    def __init__(self) -> None:
        self.services: set[Key] = set()
        self.triggers: list[datetime] = []
        self.service_changes = 0
        self.slice_changes = 0
        self.orphans = False

    def take(self) -> Pending:
        """What is new, which from then on is known."""
        taken = Pending(
            services=frozenset(self.services),
            triggered=tuple(self.triggers),
            service_changes=self.service_changes,
            slice_changes=self.slice_changes,
            orphans=self.orphans,
        )
        self.services.clear()
        self.triggers.clear()
        self.service_changes = self.slice_changes = 0
        self.orphans = False
        return taken


class ChangeTracker:
    """Services, slices by Service, the agent's own Node and the networks of clusterIPs.

    started: triggers before it are not the agent's latency. The methods that take a Change return whether it is worth a
    sync: an update that leaves every field the agent reads as it was is not.
    """

    def __init__(self, *, started: datetime) -> None:
        self._started = started
        self._services: dict[Key, Service] = {}
        self._slices: dict[Key, dict[Key, EndpointSlice]] = {}
        self._orphans: dict[Key, EndpointSlice] = {}
        self._node: Node | None = None
        self._feeds: list[Feed] = []
        self._service_cidrs: tuple[IPNetwork, ...] = ()
        self.services: Mapping[Key, Service] = MappingProxyType(self._services)
        self.orphans: Mapping[Key, EndpointSlice] = MappingProxyType(self._orphans)

    @property
    def node(self) -> Node | None:
        """The Node as it is, None while there is none."""
        return self._node

    def feed(self) -> Feed:
        """A new one, for which whatever changes from now on is new."""
        feed = Feed()
        self._feeds.append(feed)
        return feed

    @property
    def service_cidrs(self) -> tuple[IPNetwork, ...]:
        """Where the cluster allocates clusterIPs, as its ServiceCIDRs tell; empty where it tells nothing."""
        return self._service_cidrs

    def slices_of(self, service: Key) -> Mapping[Key, EndpointSlice]:
        """The slices that name this Service, by their own key."""
        return self._slices.get(service, _NO_SLICES)

    def service_changed(self, change: Change[Service]) -> bool:
        if change.previous == change.current:
            return False
        if change.current is None:
            self._services.pop(change.key, None)
        else:
            self._services[change.key] = change.current
        for feed in self._feeds:
            feed.services.add(change.key)
            feed.service_changes += 1
        return True

    def slice_changed(self, change: Change[EndpointSlice]) -> bool:
        if change.previous == change.current:
            return False
        was_orphan, owners = change.key in self._orphans, (self._drop_slice(change), self._keep_slice(change))
        orphans = was_orphan or change.key in self._orphans
        triggered = self._triggered(change)
        for feed in self._feeds:
            feed.services.update(owner for owner in owners if owner is not None)
            feed.triggers += triggered
            feed.slice_changes += 1
            feed.orphans = feed.orphans or orphans
        return True

    def node_changed(self, change: Change[Node]) -> bool:
        self._node = change.current
        return change.previous != change.current

    def service_cidrs_changed(self, known: Iterable[ServiceCIDR]) -> bool:
        """All ServiceCIDRs there are now. One that is being deleted counts for as long as it is there: it has Services.

        What is no network in them is left out; the API server admits none.
        """
        texts = sorted({text for each in known for text in each.spec.cidrs})
        networks = tuple([network for text in texts if (network := _network(text)) is not None])
        changed, self._service_cidrs = networks != self._service_cidrs, networks
        return changed

    def _drop_slice(self, change: Change[EndpointSlice]) -> Key | None:
        self._orphans.pop(change.key, None)
        owner = _owner(change.previous)
        if owner is None:
            return None
        slices = self._slices.get(owner, {})
        slices.pop(change.key, None)
        if not slices:
            self._slices.pop(owner, None)
        return owner

    def _keep_slice(self, change: Change[EndpointSlice]) -> Key | None:
        if change.current is None:
            return None
        owner = _owner(change.current)
        if owner is None:
            self._orphans[change.key] = change.current
        else:
            self._slices.setdefault(owner, {})[change.key] = change.current
        return owner

    def _triggered(self, change: Change[EndpointSlice]) -> tuple[datetime, ...]:
        """When the change began, once: the annotation stays on the slice until the next one."""
        if change.current is None:
            return ()
        text = change.current.metadata.annotations.get(TRIGGER_TIME_ANNOTATION, "")
        if change.previous is not None and change.previous.metadata.annotations.get(TRIGGER_TIME_ANNOTATION) == text:
            return ()
        try:
            began = datetime.fromisoformat(text)
        except ValueError:
            return ()
        return (began,) if began.tzinfo is not None and began >= self._started else ()


def _network(text: str) -> IPNetwork | None:
    try:
        return parse_network(text)
    except Refused:
        return None


def _owner(endpoint_slice: EndpointSlice | None) -> Key | None:
    if endpoint_slice is None or not endpoint_slice.service_name:
        return None
    return Key(endpoint_slice.metadata.namespace, endpoint_slice.service_name)
