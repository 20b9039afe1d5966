"""The agent put together: informers, a loop for each address family, listeners."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fairway.agent.addresses import local_addresses
from fairway.agent.changes import ChangeTracker
from fairway.agent.dataplane import Dataplane
from fairway.agent.events import EventType, node_reference
from fairway.agent.flowcleaner import FlowCleaner
from fairway.agent.health import Answer, ProxyHealth, answer_healthz, answer_livez
from fairway.agent.listeners import BindAddress, Route, ServiceHealthListeners, serve
from fairway.agent.metrics import CONTENT_TYPE, Metrics
from fairway.agent.options import AgentConfig
from fairway.agent.reporter import Reporter
from fairway.agent.syncloop import Clock, Standing, SyncLoop, SyncSettings, Trigger
from fairway.agent.sysctls import write_sysctls
from fairway.api.codec import decode_endpoint_slice, decode_node, decode_service, decode_service_cidr
from fairway.api.core import SERVICE_PROXY_NAME_LABEL, Node, Service
from fairway.api.discovery import HEADLESS_LABEL, EndpointSlice
from fairway.api.networking import ServiceCIDR
from fairway.api.resources import ENDPOINT_SLICES, NODES, SERVICE_CIDRS, SERVICES
from fairway.api.types import Key
from fairway.base.addresses import Family
from fairway.base.errors import FairwayError, Unsupported
from fairway.base.text import one_line
from fairway.netlink.flows import FlowTable
from fairway.plan.options import LocalMode, Mode, NodeView, internal_addresses
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer

_log = logging.getLogger(__name__)

MISSING_RETRY_S = 600.0
"""How often ServiceCIDRs are asked for again where the API server serves none, as those before Kubernetes 1.33."""

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


class NodeChanged(FairwayError):
    """The Node is not what the agent was started for; it has to be started again."""


class Agent:
    """One node's agent, over a client and a data plane of each address family that it serves."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        client: Client,
        dataplanes: Mapping[Family, Dataplane],
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._dataplanes = dataplanes
        self._clock = clock or SystemClock()
        self._objects = ChangeTracker(started=self._clock.now())
        self._health = ProxyHealth(timeout_s=2 * config.sync_period_s)
        self._metrics = Metrics(config.options.mode)
        self._reporter = Reporter(
            client, node_name=config.node_name, now=self._clock.now, uid_of=lambda key: self._uid_of(key)
        )
        self._node_seen = asyncio.Event()
        self._pod_cidrs_seen = asyncio.Event()
        self._pod_cidrs: tuple[str, ...] | None = None
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done, with the reason, once the Node is not what this agent was started for."""
        self._standing: set[Family] = set()
        self._absent: set[Family] = set()
        self._loops = {family: self._new_loop(family) for family in dataplanes}
        self._service_health = {
            family: ServiceHealthListeners(
                proxy_healthy=lambda: self._health.healthy(self._clock.now()), on_bind_failure=self._service_port_taken
            )
            for family in dataplanes
        }
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
        self._service_cidrs = Informer(
            client,
            SERVICE_CIDRS,
            decode=decode_service_cidr,
            on_change=self._service_cidrs_changed,
            missing_retry_s=MISSING_RETRY_S,
        )

    async def run(self) -> None:
        """Until cancelled. Raises Unsupported where this machine cannot hold the rules, Refused as `serve` does.

        NodeChanged where it was told to go by the Node's pod networks and these are others now.
        """
        write_sysctls(self._config.conntrack.sysctls(len(os.sched_getaffinity(0))))
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._informers():
                    group.create_task(informer.run())
                if self._config.healthz is not None:
                    group.create_task(self._serve("healthz", self._config.healthz, self._healthz_routes()))
                if self._config.metrics is not None:
                    group.create_task(self._serve("metrics", self._config.metrics, self._metrics_routes()))
                group.create_task(self._sync_when_ready())
                group.create_task(self._end_when_told())
        finally:
            for listeners in self._service_health.values():
                await listeners.close()

    async def _end_when_told(self) -> None:
        raise NodeChanged(await self._ended)

    def _informers(self) -> Iterator[Informer[Any]]:
        yield from (self._services, self._slices, self._nodes)
        if self._config.options.mode is Mode.NFTABLES:  # the other mode has no rule that depends on them
            yield self._service_cidrs

    async def _sync_when_ready(self) -> None:
        """Nothing is written before all is known: after a restart the former rules serve until then."""
        for informer in self._informers():
            if informer is not self._nodes:
                await informer.wait_synced()
        await self._wait_node()
        await self._wait_pod_cidrs()
        primary = self._primary()
        if primary not in self._dataplanes:
            raise Unsupported(
                f"the first address of Node {self._config.node_name} is of {primary.api_name}, which this machine "
                "cannot serve: enable it in the kernel, or give the node an address of the other family"
            )
        for family, loop in self._loops.items():
            loop.leads = family is primary
        about = node_reference(self._config.node_name)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reporter.report(about, EventType.NORMAL, "Starting", "StartFairwayProxy", ""))
            group.create_task(self._reporter.run())
            for family in sorted(self._loops, key=lambda family: family is not primary):
                group.create_task(self._keep_synced(family, optional=family is not primary))

    async def _wait_node(self) -> None:
        try:
            async with asyncio.timeout(self._config.node_wait_s):
                await self._node_seen.wait()
        except TimeoutError:
            _log.warning(
                "there is no Node %s after %g s; going on without it: nothing is local here until it appears",
                self._config.node_name,
                self._config.node_wait_s,
            )

    async def _wait_pod_cidrs(self) -> None:
        """Where pods are told by the Node's pod networks: kube-proxy waits as long, and ends as this does."""
        if self._config.options.local_mode is not LocalMode.NODE_CIDR:
            return
        try:
            async with asyncio.timeout(self._config.pod_cidr_wait_s):
                await self._pod_cidrs_seen.wait()
        except TimeoutError:
            raise NodeChanged(
                f"Node {self._config.node_name} has no spec.podCIDRs after {self._config.pod_cidr_wait_s:g} s, by "
                "which detectLocalMode NodeCIDR tells pods: have them allocated, or choose another detectLocalMode"
            ) from None
        node = self._objects.node
        self._pod_cidrs = node.spec.pod_networks if node is not None else ()

    def _primary(self) -> Family:
        """The family that has to work, as in kube-proxy: of the address it was given, else of the Node's first one."""
        options = self._config.options
        node = self._objects.node
        for address in options.node_addresses or (internal_addresses(node) if node is not None else ()):
            return Family(address.version)
        return next(iter(self._dataplanes), Family.IPV4)

    def _new_loop(self, family: Family) -> SyncLoop:
        config = self._config
        return SyncLoop(
            SyncSettings(
                node_name=config.node_name,
                options=replace(config.options, family=family),
                period_s=config.sync_period_s,
            ),
            objects=self._objects,
            dataplane=self._dataplanes[family],
            trigger=Trigger(),
            health=self._health,
            metrics=self._metrics,
            clock=self._clock,
            on_applied=self._applied,
            on_unprogrammed=self._reporter.unprogrammed,
            on_door_taken=self._reporter.door_taken,
            local_addresses=lambda: local_addresses(family),
            flows=FlowCleaner(open_table=FlowTable, local_addresses=lambda: local_addresses(family)),
        )

    async def _keep_synced(self, family: Family, *, optional: bool) -> None:
        try:
            await self._loops[family].run()
        except Unsupported as error:
            if not optional:
                raise
            _log.warning("%s is not served: %s", family.api_name, one_line(str(error)))
            del self._loops[family]
            self._health.forget(family)
            self._absent.add(family)
            self._settle_down()

    # -- what the informers say

    def _service_changed(self, change: Change[Service]) -> None:
        if self._objects.service_changed(change):
            self._metrics.service_change()
            self._change_seen()

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        if self._objects.slice_changed(change):
            self._metrics.slice_change()
            self._change_seen()

    def _node_changed(self, change: Change[Node]) -> None:
        if change.key.name != self._config.node_name:
            return  # a server that knows no field selectors
        if self._objects.node_changed(change):
            self._change_seen()
        if self._objects.node is None:
            return
        self._node_seen.set()
        pod_cidrs = self._objects.node.spec.pod_networks
        if pod_cidrs:
            self._pod_cidrs_seen.set()
        if self._pod_cidrs is not None and pod_cidrs != self._pod_cidrs and not self._ended.done():
            self._ended.set_result(
                f"spec.podCIDRs of Node {self._config.node_name} changed from {', '.join(self._pod_cidrs)} to "
                f"{', '.join(pod_cidrs) or 'none'}, and detectLocalMode NodeCIDR tells pods by them: start again"
            )

    def _service_cidrs_changed(self, _: Change[ServiceCIDR]) -> None:
        if self._objects.service_cidrs_changed(self._service_cidrs.objects.values()):
            self._change_seen()

    def _change_seen(self) -> None:
        for loop in self._loops.values():
            loop.change_seen()

    # -- what follows from a write

    async def _applied(self, standing: Standing) -> None:
        family = standing.view.family
        dataplane = self._dataplanes[family]
        if family not in self._standing:
            await asyncio.to_thread(dataplane.remove_others)
            self._standing.add(family)
            self._settle_down()
        write_sysctls(dataplane.sysctls(standing.view))
        await self._service_health[family].sync(standing.health_checks, _health_check_hosts(standing.view))

    def _settle_down(self) -> None:
        """What was read at the start mostly stays: the collector need not look at it again and again."""
        if self._standing | self._absent == self._dataplanes.keys():
            gc.collect()
            gc.freeze()

    async def _service_port_taken(self, key: Key, port: int, reason: str) -> None:
        message = f'node {self._config.node_name} failed to start healthcheck "{key}" on port {port}: {reason}'
        _log.error("%s", one_line(message))
        await self._reporter.report_on_service(key, "FailedToStartServiceHealthcheck", "Listen", message)

    def _uid_of(self, key: Key) -> str:
        service = self._objects.services.get(key)
        return service.metadata.uid if service is not None else ""

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
            await self._reporter.report(about, EventType.WARNING, reason, "StartFairwayProxy", message)

        await serve(address, routes, hard_fail=self._config.hard_fail, on_bind_failure=taken)


def _health_check_hosts(view: NodeView) -> list[str]:
    """Where health check node ports listen: wherever node ports do."""
    if view.node_port_addresses is None:
        return ["0.0.0.0" if view.family == 4 else "::"]  # noqa: S104 - load balancers ask from outside
    return [
        str(address)
        for address in view.node_addresses
        if any(address in network for network in view.node_port_addresses)
    ]
