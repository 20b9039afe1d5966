"""The agent put together: informers, loop, listeners; and `run`, which is the program."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from fairway.agent.addresses import local_addresses
from fairway.agent.changes import ChangeTracker
from fairway.agent.dataplane import Dataplane, IptablesDataplane, NftDataplane
from fairway.agent.events import EventType, make_event, node_reference, service_reference
from fairway.agent.flowcleaner import FlowCleaner
from fairway.agent.health import Answer, ProxyHealth, answer_healthz, answer_livez
from fairway.agent.leftovers import remove_all
from fairway.agent.listeners import BindAddress, Route, ServiceHealthListeners, serve
from fairway.agent.metrics import CONTENT_TYPE, Metrics
from fairway.agent.options import AgentConfig
from fairway.agent.syncloop import Clock, Standing, SyncLoop, SyncSettings, Trigger
from fairway.agent.sysctls import write_sysctls
from fairway.api.codec import decode_endpoint_slice, decode_node, decode_service
from fairway.api.core import SERVICE_PROXY_NAME_LABEL, Node, Service
from fairway.api.discovery import HEADLESS_LABEL, EndpointSlice
from fairway.api.resources import ENDPOINT_SLICES, EVENTS, NODES, SERVICES
from fairway.api.types import Key, Object
from fairway.base.errors import FairwayError
from fairway.base.text import one_line
from fairway.netlink.flows import FlowTable
from fairway.plan.options import Mode, NodeView
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer
from fairway.watch.kubeconfig import Credentials, load_in_cluster, load_kubeconfig

_log = logging.getLogger(__name__)

USER_AGENT = "fairway-proxy"

EVENTS_WAITING = 100
"""More events on Services than this are not kept for an API server that does not take them."""

# What kube-proxy watches; Services without a clusterIP are left out by compile.
_SERVICES = f"!{SERVICE_PROXY_NAME_LABEL}"
_SLICES = f"!{SERVICE_PROXY_NAME_LABEL},!{HEADLESS_LABEL}"

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}


class SystemClock:
    """The real one."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


def run(config: AgentConfig) -> int:
    """Be the agent until SIGTERM or SIGINT, which leave the rules in place; returns the exit status.

    What ends it otherwise (no usable kubeconfig, no iptables, no privilege) is logged as one line, and gives 1.
    """
    status = 0
    try:
        asyncio.run(_run(config))
    except* FairwayError as group:
        status = 1
        for error in _leaves(group):
            _log.critical("%s", error)
    return status


def cleanup() -> None:
    """Remove the rules an agent left in any mode; needs no API server. Raises Unsupported or Retry."""
    remove_all()


async def _run(config: AgentConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with closing(_dataplane(config)) as dataplane:
        async with Client(_credentials(config), user_agent=USER_AGENT) as client, asyncio.TaskGroup() as group:
            agent = Agent(config, client=client, dataplane=dataplane)
            task = group.create_task(agent.run())
            await stop.wait()
            _log.info("stopping; the rules stay")
            task.cancel()


class Agent:
    """One node's agent, over a client and a data plane."""

    def __init__(
        self, config: AgentConfig, *, client: Client, dataplane: Dataplane, clock: Clock | None = None
    ) -> None:
        self._config = config
        self._client = client
        self._dataplane = dataplane
        self._clock = clock or SystemClock()
        self._objects = ChangeTracker(started=self._clock.now())
        self._health = ProxyHealth(timeout_s=2 * config.sync_period_s)
        self._metrics = Metrics(config.options.mode)
        self._node_seen = asyncio.Event()
        self._unreported: asyncio.Queue[tuple[Key, str]] = asyncio.Queue(EVENTS_WAITING)
        self._frozen = False
        self._alone = False
        self._service_health = ServiceHealthListeners(
            proxy_healthy=lambda: self._health.healthy(self._clock.now()), on_bind_failure=self._service_port_taken
        )
        self._loop = SyncLoop(
            SyncSettings(node_name=config.node_name, options=config.options, period_s=config.sync_period_s),
            objects=self._objects,
            dataplane=dataplane,
            trigger=Trigger(),
            health=self._health,
            metrics=self._metrics,
            clock=self._clock,
            on_applied=self._applied,
            on_unprogrammed=self._unprogrammed,
            local_addresses=lambda: local_addresses(config.options.family),
            flows=FlowCleaner(open_table=FlowTable, local_addresses=lambda: local_addresses(config.options.family)),
        )
        self._services = Informer(
            client, SERVICES, decode=decode_service, label_selector=_SERVICES, on_change=self._service_changed
        )
        self._slices = Informer(
            client, ENDPOINT_SLICES, decode=decode_endpoint_slice, label_selector=_SLICES, on_change=self._slice_changed
        )
        self._nodes = Informer(
            client,
            NODES,
            decode=decode_node,
            field_selector=f"metadata.name={config.node_name}",
            on_change=self._node_changed,
        )

    async def run(self) -> None:
        """Until cancelled. Raises Unsupported where this machine cannot hold the rules, Refused as `serve` does."""
        write_sysctls(self._config.conntrack.sysctls(len(os.sched_getaffinity(0))))
        try:
            async with asyncio.TaskGroup() as group:
                for informer in (self._services, self._slices, self._nodes):
                    group.create_task(informer.run())
                if self._config.healthz is not None:
                    group.create_task(self._serve("healthz", self._config.healthz, self._healthz_routes()))
                if self._config.metrics is not None:
                    group.create_task(self._serve("metrics", self._config.metrics, self._metrics_routes()))
                group.create_task(self._sync_when_ready())
        finally:
            await self._service_health.close()

    async def _sync_when_ready(self) -> None:
        """Nothing is written before all is known: after a restart the former rules serve until then."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        try:
            async with asyncio.timeout(self._config.node_wait_s):
                await self._node_seen.wait()
        except TimeoutError:
            _log.warning(
                "there is no Node %s after %g s; going on without it: nothing is local here until it appears",
                self._config.node_name,
                self._config.node_wait_s,
            )
        about = node_reference(self._config.node_name)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report(about, EventType.NORMAL, "Starting", "StartFairwayProxy", ""))
            group.create_task(self._report_unprogrammed())
            group.create_task(self._loop.run())

    # -- what the informers say

    def _service_changed(self, change: Change[Service]) -> None:
        if self._objects.service_changed(change):
            self._metrics.service_change()
            self._loop.change_seen()

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        if self._objects.slice_changed(change):
            self._metrics.slice_change()
            self._loop.change_seen()

    def _node_changed(self, change: Change[Node]) -> None:
        if change.key.name != self._config.node_name:
            return  # a server that knows no field selectors
        if self._objects.node_changed(change):
            self._loop.change_seen()
        if self._objects.node is not None:
            self._node_seen.set()

    # -- what follows from a write

    async def _applied(self, standing: Standing) -> None:
        if not self._alone:
            await asyncio.to_thread(self._dataplane.remove_others)
            self._alone = True
        write_sysctls(self._dataplane.sysctls(standing.view))
        await self._service_health.sync(standing.health_checks, _health_check_hosts(standing.view))
        if not self._frozen:
            # What was read at the start mostly stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            self._frozen = True

    async def _service_port_taken(self, key: Key, port: int, reason: str) -> None:
        message = f'node {self._config.node_name} failed to start healthcheck "{key}" on port {port}: {reason}'
        _log.error("%s", one_line(message))
        about = self._service_reference(key)
        await self._report(about, EventType.WARNING, "FailedToStartServiceHealthcheck", "Listen", message)

    def _unprogrammed(self, key: Key, reason: str) -> None:
        """Have it reported, by and by: the loop has other Services to go on with."""
        try:
            self._unreported.put_nowait((key, reason))
        except asyncio.QueueFull:
            _log.info("no event for Service %s: too many wait to be written", one_line(str(key)))

    async def _report_unprogrammed(self) -> None:
        while True:
            key, reason = await self._unreported.get()
            message = f'node {self._config.node_name} failed to program Service "{key}": {reason}'
            about = self._service_reference(key)
            await self._report(about, EventType.WARNING, "FailedToProgramService", "Sync", message)

    def _service_reference(self, key: Key) -> Object:
        service = self._objects.services.get(key)
        return service_reference(*key, service.metadata.uid if service is not None else "")

    # -- what is served

    def _healthz_routes(self) -> dict[str, Route]:
        return {"/healthz": self._healthz, "/livez": self._livez}

    def _metrics_routes(self) -> dict[str, Route]:
        return {
            "/metrics": lambda: Answer(status=200, headers={"Content-Type": CONTENT_TYPE}, body=self._metrics.render()),
            "/healthz": lambda: Answer(status=200, headers=_TEXT, body=b"ok"),
            "/proxyMode": lambda: Answer(status=200, headers=_TEXT, body=self._config.options.mode.encode()),
        }

    def _healthz(self) -> Answer:
        answer = answer_healthz(self._health, self._objects.node, self._clock.now())
        self._metrics.healthz(answer.status)
        return answer

    def _livez(self) -> Answer:
        answer = answer_livez(self._health, self._clock.now())
        self._metrics.livez(answer.status)
        return answer

    async def _serve(self, name: str, address: BindAddress, routes: dict[str, Route]) -> None:
        async def taken(message: str) -> None:
            reason = "FailedToStartProxierHealthcheck" if name == "healthz" else "FailedToStartMetricServer"
            about = node_reference(self._config.node_name)
            await self._report(about, EventType.WARNING, reason, "StartFairwayProxy", message)

        await serve(address, routes, hard_fail=self._config.hard_fail, on_bind_failure=taken)

    async def _report(self, about: Object, kind: EventType, reason: str, action: str, message: str) -> None:
        """Write an Event; one that cannot be written is not worth more than a line."""
        event = make_event(
            about,
            kind=kind,
            reason=reason,
            action=action,
            message=message,
            node=self._config.node_name,
            now=self._clock.now(),
        )
        try:
            await self._client.create(EVENTS, event)
        except FairwayError as error:
            _log.info("event %s was not written: %s", reason, error)


def _dataplane(config: AgentConfig) -> Dataplane:
    return NftDataplane() if config.options.mode is Mode.NFTABLES else IptablesDataplane(config.variant)


def _health_check_hosts(view: NodeView) -> list[str]:
    """Where health check node ports listen: wherever node ports do."""
    if view.node_port_addresses is None:
        return ["0.0.0.0" if view.family == 4 else "::"]  # noqa: S104 - load balancers ask from outside
    return [
        str(address)
        for address in view.node_addresses
        if any(address in network for network in view.node_port_addresses)
    ]


def _credentials(config: AgentConfig) -> Credentials:
    if config.kubeconfig is not None:
        credentials = load_kubeconfig(config.kubeconfig)
    elif config.master:
        return Credentials(server=config.master.rstrip("/"), origin="--master")
    else:
        credentials = load_in_cluster()
    return replace(credentials, server=config.master.rstrip("/")) if config.master else credentials


def _leaves(group: BaseExceptionGroup[FairwayError]) -> list[FairwayError]:
    leaves: list[FairwayError] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
