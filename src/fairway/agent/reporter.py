"""Events, written by and by: what they are about has to go on meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.agent.events import EventType, make_event, service_reference
from fairway.api.resources import EVENTS
from fairway.api.types import Key, Object
from fairway.base.errors import FairwayError
from fairway.base.text import one_line
from fairway.watch.client import Client

_log = logging.getLogger(__name__)

EVENTS_WAITING = 100
"""More events on Services than this are not kept for an API server that does not take them."""
SAME = timedelta(minutes=1)
"""What both address families find of one Service in so short a time is told once."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a Service here."""

    service: Key
    reason: str
    message: str


class Reporter:
    """Writes Events of one node. uid_of: that of a Service, "" where it is gone."""

    def __init__(
        self, client: Client, *, node_name: str, now: Callable[[], datetime], uid_of: Callable[[Key], str]
    ) -> None:
        self._client = client
        self._node_name = node_name
        self._now = now
        self._uid_of = uid_of
        self._waiting: asyncio.Queue[Trouble] = asyncio.Queue(EVENTS_WAITING)
        self._told: dict[Trouble, datetime] = {}

    def unprogrammed(self, key: Key, reason: str) -> None:
        """Have it reported that a Service is not programmed as it is."""
        message = f'node {self._node_name} failed to program Service "{key}": {reason}'
        self._put(Trouble(key, "FailedToProgramService", message))

    def door_taken(self, key: Key, reason: str) -> None:
        """Have it reported that an address and port a Service asks for is another's."""
        self._put(
            Trouble(key, "AddressTaken", f'node {self._node_name} leaves out a part of Service "{key}": {reason}')
        )

    async def run(self) -> None:
        """Write what waits, for ever."""
        while True:
            trouble = await self._waiting.get()
            await self.report_on_service(trouble.service, trouble.reason, "Sync", trouble.message)

    async def report_on_service(self, key: Key, reason: str, action: str, message: str) -> None:
        """A Warning."""
        about = service_reference(*key, self._uid_of(key))
        await self.report(about, EventType.WARNING, reason, action, message)

    async def report(self, about: Object, kind: EventType, reason: str, action: str, message: str) -> None:
        """Write an Event; one that cannot be written is not worth more than a line."""
        event = make_event(
            about, kind=kind, reason=reason, action=action, message=message, node=self._node_name, now=self._now()
        )
        try:
            await self._client.create(EVENTS, event)
        except FairwayError as error:
            _log.info("event %s was not written: %s", reason, error)

    def _put(self, trouble: Trouble) -> None:
        now = self._now()
        while self._told and now - next(iter(self._told.values())) >= SAME:
            del self._told[next(iter(self._told))]
        if trouble in self._told:
            return
        try:
            self._waiting.put_nowait(trouble)
        except asyncio.QueueFull:
            _log.info("no event for Service %s: too many wait to be written", one_line(str(trouble.service)))
        else:
            self._told[trouble] = now
