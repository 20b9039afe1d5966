"""Performs what controllers want done and puts the answers into the caches: the one place that writes to the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from fairway.api.resources import PODS, Resource
from fairway.api.status import ApiError
from fairway.api.types import Key, Object
from fairway.base.errors import FairwayError
from fairway.controllers.cache import Cache
from fairway.controllers.objects import format_time, is_terminating, meta, namespace, spec, uid
from fairway.controllers.writes import Absent, Bind, Create, Delete, Owner, Patch, Recheck, Record, Update, Write
from fairway.watch.client import Client

LARGEST_BATCH = 16
"""Creates or deletes of one kind sent at a time: 1, then 2, 4, ... while they succeed (`slowStartBatch`), up to this:
more would not make one API server faster."""
RECHECK_S = 1.0
"""How soon to look again at what depends on an object that the API knows and the cache does not."""
_NAMESPACE_TERMINATING = "NamespaceTerminating"


class WriteError(Exception):
    """A write did not succeed, and those after it were not tried.

    error: why. failure: what `Create.failed` or `Delete.failed` says of it, for a person; None where there is nothing
    to tell.
    """

    def __init__(self, error: FairwayError, failure: Record | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.failure = failure


class Writer:
    """Writes for one controller.

    tell: hands over a Record. recheck: asks for the key to come again after so many seconds.
    """

    def __init__(
        self,
        client: Client,
        caches: Mapping[Resource, Cache],
        now: Callable[[], datetime],
        tell: Callable[[Record], None],
    ) -> None:
        self._client = client
        self._caches = caches
        self._now = now
        self._tell = tell

    async def perform(self, writes: Sequence[Write], recheck: Callable[[float], None]) -> None:
        """Perform writes in order; raises WriteError at the first that fails.

        Creates, and deletes, that follow one another in one resource go out together.
        """
        for batch in _batches(writes):
            if isinstance(absent := batch[0], Absent):
                if await self._is_there(absent):
                    recheck(RECHECK_S)
                    return
            elif len(batch) == 1:
                await self._perform(batch[0], recheck)
            else:
                async with asyncio.TaskGroup() as tasks:
                    sent = [tasks.create_task(self._settle(write, recheck)) for write in batch]
                for error in [error for task in sent if (error := task.result()) is not None]:
                    raise error

    async def _settle(self, write: Write, recheck: Callable[[float], None]) -> WriteError | None:
        """Perform a write and return its failure: those sent with it must not be cancelled half way."""
        try:
            await self._perform(write, recheck)
        except WriteError as error:
            return error
        return None

    async def _perform(self, write: Write, recheck: Callable[[float], None]) -> None:
        match write:
            case Record():
                self._tell(write)
            case Recheck():
                recheck(write.after_s)
            case Create() | Delete():
                try:
                    await (self._create(write) if isinstance(write, Create) else self._delete(write, recheck))
                except ApiError as error:
                    if not _is_pointless(error):
                        raise WriteError(error, _told(write.failed, error)) from error
                except FairwayError as error:
                    raise WriteError(error, None) from error
            case Update() | Patch() | Bind():
                try:
                    await self._change(write)
                except FairwayError as error:
                    raise WriteError(error, None) from error

    async def _is_there(self, absent: Absent) -> bool:
        try:
            return await self._found(absent.resource, absent.key) is not None
        except FairwayError as error:
            raise WriteError(error, None) from error

    async def _change(self, write: Update | Patch | Bind) -> None:
        match write:
            case Update():
                answer = await self._client.update(write.resource, write.body, subresource=write.subresource)
                self._updated(write.resource, answer)
            case Patch():
                answer = await self._client.patch(
                    write.resource, write.key.name, write.body, write.key.namespace, subresource=write.subresource
                )
                self._updated(write.resource, answer)
            case Bind():
                await self._bind(write)

    async def _create(self, write: Create) -> None:
        answer = await self._client.create(write.resource, write.body)
        if write.resource in self._caches:
            self._caches[write.resource].created(answer)

    async def _bind(self, write: Bind) -> None:
        key = write.key
        binding: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid(write.pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": write.node},
        }
        await self._client.create(PODS, binding, namespace(write.pod), name=key.name, subresource="binding")
        bound = {**write.pod, "spec": {**spec(write.pod), "nodeName": write.node}}
        self._caches[PODS].assume(write.pod, bound)

    async def _delete(self, write: Delete, recheck: Callable[[float], None]) -> None:
        for owner in write.unless:
            if await self._exists(owner):
                recheck(RECHECK_S)
                return
        propagation = str(write.propagation) if write.propagation else None
        try:
            answer = await self._client.delete(
                write.resource,
                write.key.name,
                write.key.namespace,
                grace_period_s=write.grace_s,
                propagation=propagation,
                uid=write.uid,
            )
        except ApiError as error:
            if error.code != 404:
                raise
            answer = {}
        cache = self._caches.get(write.resource)
        if cache is None:
            return
        if meta(answer).get("uid") == write.uid and is_terminating(answer):
            cache.updated(answer)
        else:
            cache.deleted(write.key, write.uid, format_time(self._now()))

    async def _exists(self, owner: Owner) -> bool:
        found = await self._found(owner.resource, owner.key)
        return found is not None and uid(found) == owner.uid

    async def _found(self, resource: Resource, key: Key) -> Object | None:
        """The object as the API itself has it, None where there is none."""
        try:
            return await self._client.get(resource, key.name, key.namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def _updated(self, resource: Resource, answer: Object) -> None:
        if resource in self._caches and meta(answer).get("name"):
            self._caches[resource].updated(answer)


def _batches(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """Writes to send together, in order."""
    for together, run in groupby(writes, key=_is_batched):
        rest = list(run)
        size = 1
        while rest:
            batch = rest[:size] if together else rest[:1]
            yield batch
            rest = rest[len(batch) :]
            size = min(2 * size, LARGEST_BATCH)


def _is_batched(write: Write) -> tuple[type[Write], Resource] | None:
    return (type(write), write.resource) if isinstance(write, (Create, Delete)) else None


def _told(failed: Record | None, error: ApiError) -> Record | None:
    return replace(failed, message=failed.message + error.message) if failed else None


def _is_pointless(error: ApiError) -> bool:
    """Whether trying again, or telling anybody, is of no use: the namespace is going away."""
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == _NAMESPACE_TERMINATING for cause in causes)
