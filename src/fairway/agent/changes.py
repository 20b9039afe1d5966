"""What a node agent knows of the cluster, and which Services changed since it last asked. Pure.

kube-proxy's counterparts: ServiceChangeTracker and EndpointsChangeTracker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from fairway.api.core import Node, Service
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.watch.informer import Change

TRIGGER_TIME_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"
"""On a slice: when the Pod or Service changed that it was written for (core/v1 `EndpointsLastChangeTriggerTime`)."""

_NO_SLICES: Mapping[Key, EndpointSlice] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What was new since the last `take`.

    services: those to compile again, gone ones among them. triggered: when the changes of slices began, for the network
    programming latency. service_changes, slice_changes: how many events it took. orphans: whether slices of no Service
    came, changed or went.
    """

    services: frozenset[Key] = frozenset()
    triggered: tuple[datetime, ...] = ()
    service_changes: int = 0
    slice_changes: int = 0
    orphans: bool = False


class ChangeTracker:
    """Services, slices by Service, and the agent's own Node.

    started: triggers before it are not the agent's latency. The methods that take a Change return whether it is worth a
    sync: an update that leaves every field the agent reads as it was is not.
    """

    def __init__(self, *, started: datetime) -> None:
        self._started = started
        self._services: dict[Key, Service] = {}
        self._slices: dict[Key, dict[Key, EndpointSlice]] = {}
        self._orphans: dict[Key, EndpointSlice] = {}
        self._node: Node | None = None
        self._changed: set[Key] = set()
        self._triggers: list[datetime] = []
        self._service_changes = 0
        self._slice_changes = 0
        self._orphans_changed = False
        self.services: Mapping[Key, Service] = MappingProxyType(self._services)
        self.orphans: Mapping[Key, EndpointSlice] = MappingProxyType(self._orphans)

    @property
    def node(self) -> Node | None:
        """The Node as it is, None while there is none."""
        return self._node

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
        self._changed.add(change.key)
        self._service_changes += 1
        return True

    def slice_changed(self, change: Change[EndpointSlice]) -> bool:
        if change.previous == change.current:
            return False
        owners = (self._drop_slice(change), self._keep_slice(change))
        self._changed.update(owner for owner in owners if owner is not None)
        self._triggers += self._triggered(change)
        self._slice_changes += 1
        return True

    def node_changed(self, change: Change[Node]) -> bool:
        self._node = change.current
        return change.previous != change.current

    def take(self) -> Pending:
        """What is new, which from then on is known."""
        taken = Pending(
            services=frozenset(self._changed),
            triggered=tuple(self._triggers),
            service_changes=self._service_changes,
            slice_changes=self._slice_changes,
            orphans=self._orphans_changed,
        )
        self._changed.clear()
        self._triggers.clear()
        self._service_changes = self._slice_changes = 0
        self._orphans_changed = False
        return taken

    def _drop_slice(self, change: Change[EndpointSlice]) -> Key | None:
        if self._orphans.pop(change.key, None) is not None:
            self._orphans_changed = True
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
            self._orphans_changed = True
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


def _owner(endpoint_slice: EndpointSlice | None) -> Key | None:
    if endpoint_slice is None or not endpoint_slice.service_name:
        return None
    return Key(endpoint_slice.metadata.namespace, endpoint_slice.service_name)
