"""A cache of one resource that follows the server: the asyncio shell around a Reflector."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from fairway.api.resources import Resource
from fairway.api.status import ApiError
from fairway.api.types import Key, Object
from fairway.base.errors import FairwayError
from fairway.watch.client import Client
from fairway.watch.reflector import Backoff, Change, ListRequest, Reflector, WatchRequest

__all__ = ["Change", "Informer", "identity"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

WATCH_TIMEOUT_S = (300, 600)
"""A watch is asked to end after a random time in this span (client-go `reflector.go`, minWatchTimeout)."""
IDLE_S = 90.0
"""Nothing for so long means a dead connection: servers send a bookmark about each minute."""


def identity(obj: Object) -> Any:
    """The object as it came."""
    return obj


class Informer(Generic[T]):
    """List, watch, cache; `run` it in a task group.

    objects: the cache, read-only; it may be ahead of the change being delivered, never behind it.
    synced: the first list is in `objects` and `on_change` was called for all of it.
    on_change: called in the event loop, in order, for every change, those of the first list too; what it raises ends
    `run`: a consumer that lost a change must not go on as if it had not.
    missing_retry_s: a server that does not serve the resource (404), or not to us (403), is taken for one that has none
    of it and asked again so often; None for one that has to.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        decode: Callable[[Object], T] = identity,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        on_change: Callable[[Change[T]], None] | None = None,
        backoff: Backoff | None = None,
        idle_s: float = IDLE_S,
        missing_retry_s: float | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._on_change = on_change
        self._idle_s = idle_s
        self._missing_retry_s = missing_retry_s
        self._reflector: Reflector[T] = Reflector(decode, backoff=backoff)
        self._synced = asyncio.Event()
        self._complaint = ""
        self._unreadable: dict[Key, str] = {}
        self.objects: Mapping[Key, T] = self._reflector.objects

    @property
    def synced(self) -> bool:
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once the first list is in the cache."""
        await self._synced.wait()

    async def run(self) -> None:
        """Follow the server for ever; failures are retried with back-off and logged once each."""
        while True:
            request = self._reflector.next_request()
            if request.after_s:
                await asyncio.sleep(request.after_s)
            try:
                match request:
                    case ListRequest():
                        await self._list(request.resource_version)
                    case WatchRequest():
                        await self._watch(request.resource_version)
            except FairwayError as error:
                if self._missing_retry_s is not None and isinstance(error, ApiError) and error.code in (403, 404):
                    await self._wait_served(self._missing_retry_s)
                    continue
                self._complain(error)
                self._reflector.failed(error)

    async def _wait_served(self, after_s: float) -> None:
        """There is none of it, as far as anybody can tell; a new version of the server may have some."""
        _log.info("the API server serves no %s; asking again in %g s", self._resource.plural, after_s)
        self._synced.set()
        await asyncio.sleep(after_s)

    async def _list(self, resource_version: str) -> None:
        answer = await self._client.list(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=resource_version,
        )
        self._deliver(self._reflector.listed(answer))
        if self._reflector.synced:
            self._synced.set()

    async def _watch(self, resource_version: str) -> None:
        started = asyncio.get_running_loop().time()
        stream = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=resource_version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_s=random.randint(*WATCH_TIMEOUT_S),
            idle_s=self._idle_s,
        )
        async with aclosing(stream):
            async for event in stream:
                self._deliver(self._reflector.event(event.type.value, event.object))
                if not self._reflector.watching:
                    return
                self._recovered()
        self._reflector.ended(after_s=asyncio.get_running_loop().time() - started)

    def _deliver(self, changes: list[Change[T]]) -> None:
        if self._reflector.unreadable != self._unreadable:
            self._report_unreadable()
        if self._on_change is not None:
            for change in changes:
                self._on_change(change)

    def _report_unreadable(self) -> None:
        for key, reason in self._reflector.unreadable.items():
            if self._unreadable.get(key) != reason:
                _log.error("%s %s is left out: %s", self._resource.kind, key, reason)
        self._unreadable = dict(self._reflector.unreadable)

    def _complain(self, error: FairwayError) -> None:
        """Log a failure once, until another comes or the watch works again; 410 is everyday business."""
        complaint = str(error)
        if isinstance(error, ApiError) and error.code == 410:
            _log.info("watch of %s: history is gone, listing anew: %s", self._resource.plural, complaint)
        elif complaint != self._complaint:
            _log.warning("watch of %s: %s; trying again", self._resource.plural, complaint)
            self._complaint = complaint

    def _recovered(self) -> None:
        if self._complaint:
            _log.info("watch of %s works again", self._resource.plural)
            self._complaint = ""
