"""Take stale UDP flows out of the kernel's table once the rules that follow from a change stand. I/O in threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from fairway.agent.staleflows import DoorBook
from fairway.api.types import Key
from fairway.base.addresses import Family, IPAddress
from fairway.base.errors import Retry, Unsupported
from fairway.base.text import one_line
from fairway.netlink.conntrack import IPPROTO_UDP, Flow
from fairway.plan.model import ServicePlan
from fairway.plan.options import NodeView

_log = logging.getLogger(__name__)

RETRY_S = 10.0
"""How long after a failure the table is looked at again."""


class Flows(Protocol):
    """What is asked of `netlink.flows.FlowTable`."""

    def flows(
        self, family: Family, protocol: int | None = None, *, ports: Collection[int] | None = None
    ) -> Iterable[Flow]: ...

    def delete(self, flow: Flow) -> bool: ...


class FlowCleaner:
    """For one family. open_table: the flows of the agent's network namespace, anew each time they are looked at.

    The table is looked at only where a UDP door changed in a way that can have left flows behind, and once at first.
    """

    def __init__(
        self,
        *,
        open_table: Callable[[], AbstractContextManager[Flows]],
        local_addresses: Callable[[], Sequence[IPAddress]],
    ) -> None:
        self._open_table = open_table
        self._local_addresses = local_addresses
        self._book = DoorBook()
        self._complaint = ""

    def heed(self, parts: Mapping[Key, ServicePlan], changed: Iterable[Key]) -> None:
        """These parts are in the kernel now, or gone from it."""
        self._book.update(parts, changed)

    def is_due(self, view: NodeView) -> bool:
        """Whether there is anything to look for."""
        return self._book.is_due(view)

    async def clean(self, view: NodeView) -> int | None:
        """Delete what is stale: how many flows; None where it has to be tried again, which is logged once."""
        try:
            deleted = await asyncio.to_thread(self._clean, view)
        except Unsupported as error:
            self._complain(f"stale UDP flows stay: {error}")
            deleted = 0
        except Retry as error:
            self._complain(f"stale UDP flows stay for now: {error}")
            return None
        else:
            self._complaint = ""
        self._book.settle()
        return deleted

    def _clean(self, view: NodeView) -> int:
        with self._open_table() as table:
            flows = table.flows(view.family, IPPROTO_UDP, ports=self._book.ports)
            stale = self._book.stale(flows, view, self._local_addresses())
            return sum([table.delete(flow) for flow in stale])

    def _complain(self, words: str) -> None:
        if words != self._complaint:
            self._complaint = words
            _log.warning("%s", one_line(words))
