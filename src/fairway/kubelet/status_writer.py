"""Writes a pod's status to the API: the newest only, and only when it is another than the last written."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairway.api.resources import PODS
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import Retry
from fairway.kubelet.pod import PodSpec
from fairway.kubelet.status import OWN_CONDITIONS, status_patch
from fairway.kubelet.times import timestamp
from fairway.watch.client import STRATEGIC_MERGE_PATCH, Client

_log = logging.getLogger(__name__)


class StatusWriter:
    """Of one pod; `run` it in a task group."""

    def __init__(
        self, client: Client, pod: PodSpec, known: Mapping[str, Any], *, clock: Callable[[], float] = time.time
    ) -> None:
        """known: the pod's status as it is now; {} for none. clock: seconds since the epoch."""
        self._client = client
        self._clock = clock
        self._key = pod.key
        self._uid = pod.uid
        self._observed: Sequence[Mapping[str, Any]] = known.get("conditions") or []
        self._observed_version = 0
        self._written_version = 0
        self._addresses = _addresses(known)
        self._wanted: Object | None = None
        self._settled: Object | None = None
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._closed = False

    @property
    def conditions(self) -> Sequence[Mapping[str, Any]]:
        """As best known: our own as last wanted, those of others as last observed."""
        if self._wanted is None:
            return self._observed
        own = [condition for condition in self._wanted["conditions"] if condition["type"] in OWN_CONDITIONS]
        return own + [condition for condition in self._observed if condition["type"] not in OWN_CONDITIONS]

    def observe(self, pod: Object) -> None:
        """The pod changed in the API.

        Controllers take Ready from the pods of a node that was silent. Where it is ours to say, it is said again, as
        of now: what tells it from an echo of an older status of ours is a later version than that of our last writing
        (KEP-5504: versions of one resource are numbers that grow).
        """
        self._observed = (pod.get("status") or {}).get("conditions") or []
        self._observed_version = _version(pod)
        self._say_again_if_taken()

    def _say_again_if_taken(self) -> None:
        if self._wanted is None or self._wanted is not self._settled or self._closed:
            return
        later = self._observed_version > self._written_version
        if later and _is_ready(self._wanted["conditions"], "True") and _is_ready(self._observed, "False"):
            again = [
                {**one, "lastTransitionTime": timestamp(self._clock())} if one["type"] == "Ready" else one
                for one in self._wanted["conditions"]
            ]
            self._write_soon({**self._wanted, "conditions": again})

    def want(self, status: Object) -> None:
        """What the status is to be from now on."""
        if status != self._wanted and not self._closed:
            self._write_soon(status)

    def _write_soon(self, status: Object) -> None:
        self._wanted = status
        self._idle.clear()
        self._changed.set()

    def close(self) -> None:
        """Write nothing more."""
        self._closed = True
        self._idle.set()
        self._changed.set()

    async def flush(self) -> None:
        """Until what is wanted is written, or cannot be."""
        if self._wanted is not self._settled:
            await self._idle.wait()

    async def run(self) -> None:
        """Write for ever, trying again while the API server cannot be reached."""
        while not self._closed:
            await self._changed.wait()
            self._changed.clear()
            while self._wanted is not self._settled and not self._closed:
                wanted = self._wanted
                assert wanted is not None
                if await self._write(wanted):
                    self._settled = wanted
                    self._say_again_if_taken()
            self._idle.set()

    async def _write(self, status: Object) -> bool:
        """Whether it is settled: written, or refused for good."""
        try:
            pod = await self._client.patch(
                PODS,
                self._key.name,
                status_patch(self._uid, status, former=self._addresses),
                self._key.namespace,
                content_type=STRATEGIC_MERGE_PATCH,
                subresource="status",
            )
            self._written_version = _version(pod)
            self._addresses = _addresses(status)
        except Retry as error:
            _log.warning("status of pod %s: %s; trying again", self._key, error)
            await asyncio.sleep(error.after_s)
            return False
        except ApiError as error:
            if error.code in (404, 409):  # the pod is gone, or another has its name
                self.close()
            elif error.code in (429, 500, 503):
                await asyncio.sleep(float((error.details or {}).get("retryAfterSeconds") or 1))
                return False
            else:
                _log.error("status of pod %s is not accepted: %s", self._key, error)
        return True


def _is_ready(conditions: Sequence[Mapping[str, Any]], status: str) -> bool:
    return any(one["type"] == "Ready" and one.get("status") == status for one in conditions)


def _version(pod: Object) -> int:
    text = str((pod.get("metadata") or {}).get("resourceVersion") or "")
    return int(text) if text.isdecimal() else 0


def _addresses(status: Mapping[str, Any]) -> list[str]:
    return [each["ip"] for each in status.get("podIPs") or ()]
