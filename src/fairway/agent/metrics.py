"""The agent's metrics, by kube-proxy's names, labels and buckets (Kubernetes 1.36 pkg/proxy/metrics/metrics.go)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from fairway.agent.changes import Pending
from fairway.base.addresses import Family
from fairway.plan.options import Mode

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SYNC_BUCKETS = tuple(0.001 * 2**power for power in range(15))
_PROGRAMMING_BUCKETS = (0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30))
_FINE_BUCKETS = tuple(0.001 * 2**power for power in range(12))
"""kube-proxy's first bucket for programming is 0.25 s, in which all of ours would end up."""

_FAILURES = {
    Mode.IPTABLES: "sync_proxy_rules_iptables_restore_failures_total",
    Mode.NFTABLES: "sync_proxy_rules_nftables_sync_failures_total",
}

# A `_created` series for each counter doubles them, and kube-proxy has none.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it is declared without types


class Metrics:
    """A registry of its own, so that two agents in one process count for themselves."""

    def __init__(self, mode: Mode = Mode.IPTABLES) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._sync = self._histogram("sync_proxy_rules_duration_seconds", "Seconds one sync took", _SYNC_BUCKETS)
        self._full = self._histogram(
            "sync_full_proxy_rules_duration_seconds", "Seconds one sync took that compiled all Services", _SYNC_BUCKETS
        )
        self._partial = self._histogram(
            "sync_partial_proxy_rules_duration_seconds",
            "Seconds one sync took that compiled only changed Services",
            _SYNC_BUCKETS,
        )
        programming = "Seconds from a change of a Pod or Service to the rules that follow from it"
        self._programming = self._histogram("network_programming_duration_seconds", programming, _PROGRAMMING_BUCKETS)
        self._fine = Histogram(
            "fairway_network_programming_duration_seconds",
            f"{programming}, finely",
            ["ip_family"],
            buckets=_FINE_BUCKETS,
            registry=self._registry,
        )
        self._last_sync = self._gauge("sync_proxy_rules_last_timestamp_seconds", "When the last sync ended")
        self._last_queued = self._gauge(
            "sync_proxy_rules_last_queued_timestamp_seconds", "When a sync was last asked for"
        )
        self._no_local = self._gauge(
            "sync_proxy_rules_no_local_endpoints_total",
            "Service ports with a Local policy and endpoints, but none here",
            "traffic_policy",
        )
        self._rules = self._gauge("sync_proxy_rules_iptables_total", "Rules there are", "table")
        self._written = self._gauge("sync_proxy_rules_iptables_last", "Rules the last sync wrote", "table")
        self._failures = self._counter(_FAILURES[mode], "Writes that failed", "ip_family")
        self._sent = {
            what: self._own_counter(f"nftables_{what}_sent", f"{what.capitalize()} sent to the kernel", "ip_family")
            for what in ("elements", "messages")
        }
        self._repairs = self._own_counter("repairs", "Times the rules were mended after somebody else", "ip_family")
        self._flows = self._histogram(
            "conntrack_reconciler_sync_duration_seconds", "Seconds it took to look for stale flows", _SYNC_BUCKETS
        )
        self._flows_deleted = self._counter(
            "conntrack_reconciler_deleted_entries_total", "Stale flows that were deleted", "ip_family"
        )
        self._slice_pending = self._plain_gauge("sync_proxy_rules_endpoint_changes_pending", "Slice changes to sync")
        self._service_pending = self._plain_gauge("sync_proxy_rules_service_changes_pending", "Service changes to sync")
        self._slice_changes = self._counter("sync_proxy_rules_endpoint_changes_total", "Slice changes seen")
        self._service_changes = self._counter("sync_proxy_rules_service_changes_total", "Service changes seen")
        self._healthz = self._counter("proxy_healthz_total", "Answers of /healthz", "code")
        self._livez = self._counter("proxy_livez_total", "Answers of /livez", "code")

    def render(self) -> bytes:
        """In Prometheus' text format, CONTENT_TYPE."""
        return generate_latest(self._registry)

    def queued(self, family: Family, now: datetime) -> None:
        self._last_queued.labels(family.api_name).set(now.timestamp())

    def service_change(self) -> None:
        self._service_changes.inc()
        self._service_pending.inc()

    def slice_change(self) -> None:
        self._slice_changes.inc()
        self._slice_pending.inc()

    def taken(self, pending: Pending) -> None:
        """A sync took these up."""
        self._service_pending.dec(pending.service_changes)
        self._slice_pending.dec(pending.slice_changes)

    def synced(self, family: Family, *, took_s: float, full: bool, now: datetime) -> None:
        for histogram in (self._sync, self._full if full else self._partial):
            histogram.labels(family.api_name).observe(took_s)
        self._last_sync.labels(family.api_name).set(now.timestamp())

    def programmed(self, family: Family, triggered: Iterable[datetime], now: datetime) -> None:
        """What these changes asked for is in the kernel now."""
        for began in triggered:
            latency_s = max(0.0, (now - began).total_seconds())
            self._programming.labels(family.api_name).observe(latency_s)
            self._fine.labels(family.api_name).observe(latency_s)

    def failed(self, family: Family) -> None:
        self._failures.labels(family.api_name).inc()

    def sent(self, family: Family, *, elements: int, messages: int) -> None:
        """What went to nf_tables."""
        self._sent["elements"].labels(family.api_name).inc(elements)
        self._sent["messages"].labels(family.api_name).inc(messages)

    def repaired(self, family: Family) -> None:
        """What somebody else did to the rules is undone."""
        self._repairs.labels(family.api_name).inc()

    def flows_cleaned(self, family: Family, *, deleted: int, took_s: float) -> None:
        """The tracked flows were looked at, and so many were stale."""
        self._flows.labels(family.api_name).observe(took_s)
        self._flows_deleted.labels(family.api_name).inc(deleted)

    def rules(self, family: Family, *, total: Mapping[str, int], written: Mapping[str, int]) -> None:
        """Rules by table: all, and those the last sync wrote."""
        for table in total.keys() | written.keys():
            self._rules.labels(family.api_name, table).set(total.get(table, 0))
            self._written.labels(family.api_name, table).set(written.get(table, 0))

    def no_local(self, family: Family, *, internal: int, external: int) -> None:
        """How many Service ports have a Local policy and endpoints, but none here."""
        self._no_local.labels(family.api_name, "internal").set(internal)
        self._no_local.labels(family.api_name, "external").set(external)

    def healthz(self, code: int) -> None:
        self._healthz.labels(str(code)).inc()

    def livez(self, code: int) -> None:
        self._livez.labels(str(code)).inc()

    def _histogram(self, name: str, text: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(f"kubeproxy_{name}", text, ["ip_family"], buckets=tuple(buckets), registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"kubeproxy_{name}", text, ["ip_family", *labels], registry=self._registry)

    def _plain_gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"kubeproxy_{name}", text, registry=self._registry)

    def _own_counter(self, name: str, text: str, *labels: str) -> Counter:
        """Of what kube-proxy does not count."""
        return Counter(f"fairway_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"kubeproxy_{name}", text, labels, registry=self._registry)
