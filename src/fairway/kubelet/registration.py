"""The node makes itself known: the Node object when it starts, then the Lease as its heartbeat."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from fairway.api.resources import LEASES, NODES
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import FairwayError, Retry
from fairway.kubelet import node
from fairway.kubelet.config import KubeletConfig
from fairway.kubelet.events import About, EventType
from fairway.watch.client import STRATEGIC_MERGE_PATCH, Client

RETRY_S = 0.1
MAX_RETRY_S = 5.0

_log = logging.getLogger(__name__)


def read_machine() -> node.Machine:
    """Facts about this machine; what cannot be read is empty or zero."""
    uname = os.uname()
    stat = os.statvfs("/")
    return node.Machine(
        cpus=os.cpu_count() or 1,
        memory_kib=node.total_memory_kib(_read("/proc/meminfo")),
        storage_kib=stat.f_blocks * stat.f_frsize // 1024,
        machine_id=_read("/etc/machine-id").strip(),
        boot_id=_read("/proc/sys/kernel/random/boot_id").strip(),
        kernel_version=uname.release,
        os_image=node.os_image(_read("/etc/os-release")),
        architecture=node.go_architecture(uname.machine),
        runtime_version=version("fairway"),
        huge_pages=_huge_pages(Path("/sys/kernel/mm/hugepages")),
    )


def _huge_pages(folder: Path) -> dict[int, int]:
    """Pages by their size in KiB (Documentation/admin-guide/mm/hugetlbpage.rst); nothing where the kernel has none."""
    sizes = {one: node.huge_page_kib(one.name) for one in folder.glob("hugepages-*")}
    return {kib: int(_read(str(one / "nr_hugepages")) or 0) for one, kib in sizes.items() if kib is not None}


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


class Teller(Protocol):
    """Who takes events: `fairway.kubelet.events.Recorder`."""

    def event(self, about: About, kind: EventType, reason: str, message: str) -> None: ...


class Registration:
    """Keeps the Node and its Lease, and tells of them in events; `run` it in a task group."""

    def __init__(self, client: Client, config: KubeletConfig, machine: node.Machine, teller: Teller) -> None:
        self._client = client
        self._config = config
        self._machine = machine
        self._teller = teller
        self._unschedulable = False
        self._ready_since = time.time()
        self._lease: Object | None = None
        self.registered = asyncio.Event()

    async def run(self) -> None:
        """Register, then renew the Lease and now and then the status, for ever."""
        uid = await self._until_done_register()
        self.registered.set()
        self._tell("Starting", "Starting kubelet.")
        self._tell_of_health()
        next_status = time.monotonic() + node.STATUS_REFRESH_S
        renewed = checked = time.monotonic()
        doubts = 0
        while True:
            await asyncio.sleep(node.LEASE_RENEW_S)
            try:
                await self._renew(uid)
                if time.monotonic() - renewed > node.LATE_S:
                    doubts = node.LATE_CHECKS
                    # A renewal that was long on its way tells a time long past: not to be lost again by it, once more.
                    await self._renew(uid)
                renewed = time.monotonic()
                if doubts or renewed - checked >= node.STATUS_CHECK_S:
                    await self._look()
                    doubts, checked = max(doubts - 1, 0), renewed
                if time.monotonic() >= next_status:
                    await self._post_status()
                    next_status = time.monotonic() + node.STATUS_REFRESH_S
            except FairwayError as error:
                _log.warning("heartbeat of node %s: %s", self._config.node_name, error)
                self._lease = None
                if isinstance(error, ApiError) and error.code == 404:
                    uid = await self._until_done_register()

    async def _until_done_register(self) -> str:
        """Register, waiting for the API server as long as it takes: the Node's uid."""
        delay = RETRY_S
        while True:
            try:
                return await self._register()
            except (ApiError, Retry) as error:
                _log.info("registering node %s: %s; trying again", self._config.node_name, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, MAX_RETRY_S)

    async def _register(self) -> str:
        """Create the Node, or bring the one that is there up to date; a person's own labels and taints stay.

        The Lease is renewed before the status is posted: an old one would have the node lost again at once.
        """
        self._lease = None
        wanted = node.node_object(self._config, self._machine, self._ready_since)
        try:
            created = await self._client.create(NODES, wanted)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            body = {"metadata": {field: wanted["metadata"][field] for field in ("labels", "annotations")}}
            created = await self._client.patch(NODES, self._config.node_name, body)
        uid = str(created["metadata"]["uid"])
        await self._renew(uid)
        await self._post_status()
        self._unschedulable = node.is_unschedulable(created)
        return uid

    async def _look(self) -> None:
        """Where the Node is held to be lost, as controllers do with one that was silent for long: say that it is not.

        A node that goes through no such time never finds anything to say here, but that somebody has cordoned it.
        """
        found = await self._client.get(NODES, self._config.node_name)
        if not node.is_ready(found):
            self._ready_since = time.time()
            await self._post_status()
            self._tell_of_health()
        if node.is_unschedulable(found) != self._unschedulable:
            self._unschedulable = not self._unschedulable
            self._tell(*node.schedulable_event(self._config.node_name, unschedulable=self._unschedulable))

    def _tell_of_health(self) -> None:
        for reason, message in node.fine_events(self._config.node_name):
            self._tell(reason, message)

    def _tell(self, reason: str, message: str) -> None:
        # A kubelet refers to its Node by the name in place of the uid (`pkg/kubelet/kubelet.go`, nodeRef).
        name = self._config.node_name
        self._teller.event(About(kind="Node", namespace="", name=name, uid=name), EventType.NORMAL, reason, message)

    async def _post_status(self) -> None:
        status = node.node_status(self._config, self._machine, ready_since=self._ready_since, now=time.time())
        await self._client.patch(
            NODES,
            self._config.node_name,
            {"status": {**status, "addresses": [*status["addresses"], node.REPLACE]}},
            content_type=STRATEGIC_MERGE_PATCH,
            subresource="status",
        )

    async def _renew(self, uid: str) -> None:
        """Renew the Lease; without one in hand, read or make it."""
        fresh = node.lease_object(self._config.node_name, uid, time.time())
        if self._lease is None:
            try:
                self._lease = await self._client.get(LEASES, self._config.node_name, node.LEASE_NAMESPACE)
            except ApiError as error:
                if error.code != 404:
                    raise
                self._lease = await self._client.create(LEASES, fresh)
                return
        metadata = {**fresh["metadata"], "resourceVersion": self._lease["metadata"].get("resourceVersion")}
        self._lease = await self._client.update(LEASES, {**fresh, "metadata": metadata})
