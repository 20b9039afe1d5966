"""The pods of the default namespace, followed while figures are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from fairway.api.resources import PODS
from fairway.api.types import Object
from fairway.base.errors import FairwayError
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer

_LIMIT_S = 120.0
"""What takes longer will not come."""


class Pods:
    """The pods as they are now, and a way to wait for what they become."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self._changed = asyncio.Event()

    def note(self, change: Change[Object]) -> None:
        if change.current is None:
            self.objects.pop(change.key.name, None)
        else:
            self.objects[change.key.name] = change.current
        self._changed.set()

    async def until(self, satisfied: Callable[[Mapping[str, Object]], bool], what: str) -> None:
        """Wait for it. Raises FairwayError with `what` was waited for, where it does not come."""
        try:
            async with asyncio.timeout(_LIMIT_S):
                while not satisfied(self.objects):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise FairwayError(f"waited {_LIMIT_S:.0f} s in vain: {what}") from None

    def of(self, app: str) -> dict[str, Object]:
        """Those with the label `app`, by name."""
        return {
            name: pod for name, pod in self.objects.items() if (pod["metadata"].get("labels") or {}).get("app") == app
        }

    async def until_ready(self, app: str, count: int) -> None:
        """Until so many pods of an app are there, and all of them Ready."""

        def satisfied(_: Mapping[str, Object]) -> bool:
            pods = self.of(app).values()
            return len(pods) == count and all(map(is_ready, pods))

        await self.until(satisfied, f"{count} pods of {app}, all Ready")


@asynccontextmanager
async def followed_pods(client: Client) -> AsyncIterator[Pods]:
    """Followed for the time of the block."""
    pods = Pods()
    informer = Informer(client, PODS, namespace="default", on_change=pods.note)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(informer.run())
        await informer.wait_synced()
        yield pods
        running.cancel()


def is_ready(pod: Object) -> bool:
    """Its condition Ready is True."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
