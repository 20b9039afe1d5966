"""What each health port must answer. Pure: the time is a parameter.

Facts: Kubernetes 1.36 pkg/proxy/healthcheck (proxy_health.go, service_health.go), KEP-3836, KEP-1669.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fairway.api.core import Node
from fairway.base.addresses import Family

TO_BE_DELETED_TAINT = "ToBeDeletedByClusterAutoscaler"
"""The autoscaler's taint: load balancers are to drain the node before it goes."""

_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyHealth:
    """Of one address family: when its rules were last written, and whether an update has been waiting too long."""

    last_updated: datetime
    healthy: bool


class ProxyHealth:
    """Whether what was asked of the kernel was done in time.

    timeout_s: an update that waits as long makes its family unhealthy; kube-proxy has twice the sync period.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._last_updated: dict[Family, datetime] = {}
        self._oldest_queued: dict[Family, datetime] = {}

    def queued(self, family: Family, now: datetime) -> None:
        """An update has to be written from now on, if none waits already."""
        self._oldest_queued.setdefault(family, now)

    def updated(self, family: Family, now: datetime) -> None:
        """Everything that was asked for is written."""
        self._oldest_queued.pop(family, None)
        self._last_updated[family] = now

    def forget(self, family: Family) -> None:
        """The family is not served here."""
        self._oldest_queued.pop(family, None)
        self._last_updated.pop(family, None)

    def families(self, now: datetime) -> dict[Family, FamilyHealth]:
        """Families that were written at least once; one that is starting up is not unhealthy yet."""
        return {
            family: FamilyHealth(last_updated=written, healthy=not self._is_late(family, now))
            for family, written in self._last_updated.items()
        }

    def healthy(self, now: datetime) -> bool:
        return all(health.healthy for health in self.families(now).values())

    def _is_late(self, family: Family, now: datetime) -> bool:
        queued = self._oldest_queued.get(family)
        return queued is not None and (now - queued).total_seconds() >= self._timeout_s


def node_eligible(node: Node | None) -> bool:
    """Whether load balancers should send to this node at all: it exists, is not being deleted or scaled away."""
    if node is None or node.metadata.deletion_timestamp is not None:
        return False
    return all(taint.key != TO_BE_DELETED_TAINT for taint in node.spec.taints)


def answer_healthz(health: ProxyHealth, node: Node | None, now: datetime) -> Answer:
    """`/healthz`: a load balancer's question whether to use this node."""
    eligible = node_eligible(node)
    return _answer(health, now, healthy=health.healthy(now) and eligible, more={"nodeEligible": eligible})


def answer_livez(health: ProxyHealth, now: datetime) -> Answer:
    """`/livez`: the kubelet's question whether to restart the agent, whatever becomes of the node."""
    return _answer(health, now, healthy=health.healthy(now), more={})


def answer_service(namespace: str, name: str, local_endpoints: int, *, proxy_healthy: bool) -> Answer:
    """A health check node port: whether this node has ready endpoints of the Service."""
    lines = (
        "{",
        '\t"service": {',
        f'\t\t"namespace": {json.dumps(namespace)},',
        f'\t\t"name": {json.dumps(name)}',
        "\t},",
        f'\t"localEndpoints": {local_endpoints},',
        f'\t"serviceProxyHealthy": {json.dumps(proxy_healthy)}',
        "}",
    )
    return Answer(
        status=200 if local_endpoints and proxy_healthy else 503,
        headers={**_HEADERS, "X-Load-Balancing-Endpoint-Weight": str(local_endpoints)},
        body="\n".join(lines).encode(),
    )


_HEADERS = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}


def _answer(health: ProxyHealth, now: datetime, *, healthy: bool, more: Mapping[str, Any]) -> Answer:
    families = health.families(now)
    latest = max((family.last_updated for family in families.values()), default=None)
    # A healthy proxy is up to date as of now, though it may have written nothing for hours.
    shown = now if healthy else latest
    body: dict[str, Any] = {
        "lastUpdated": _format_time(shown) if shown is not None else _NEVER,
        "currentTime": _format_time(now),
        **more,
        "healthy": all(family.healthy for family in families.values()),
    }
    if families:
        body["status"] = {
            family.api_name: {"lastUpdated": _format_time(state.last_updated), "healthy": state.healthy}
            for family, state in sorted(families.items())
        }
    return Answer(
        status=200 if healthy else 503, headers=_HEADERS, body=json.dumps(body, separators=(",", ":")).encode()
    )


def _format_time(time: datetime) -> str:
    """RFC 3339 as Go prints it: no zeros at the end of a fraction, no fraction of nothing."""
    text = time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"
