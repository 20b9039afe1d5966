"""When the loop looks at tracked flows, and what becomes of those that are stale."""

from __future__ import annotations

import logging

import pytest

from fairway.agent.flowcleaner import RETRY_S
from fairway.base.errors import Retry, Unsupported
from tests.agent.test_staleflows import flow
from tests.agent.test_syncloop import Bench
from tests.plan.objects import CLUSTER_IP, endpoint, endpoint_slice, service

DELETED = "kubeproxy_conntrack_reconciler_deleted_entries_total"
LOOKS = "kubeproxy_conntrack_reconciler_sync_duration_seconds_count"
DOOR = f"{CLUSTER_IP}:53"
UDP = [{"port": 53, "protocol": "UDP"}]


def serve(bench: Bench, *addresses: str) -> None:
    """The endpoints of the Service of UDP, which are all that changes."""
    bench.put(service(ports=UDP))
    bench.put_slice(endpoint_slice(*map(endpoint, addresses), ports=[{"port": 5353, "protocol": "UDP"}]))


async def test_flows_are_looked_at_once_at_first_and_then_only_where_an_endpoint_went() -> None:
    bench = Bench(
        lambda bench: serve(bench, "10.10.1.1", "10.10.1.2"),
        lambda bench: bench.put(service("web2", clusterIP="10.200.1.7"), name="web2"),
        lambda bench: serve(bench, "10.10.1.2"),
        lambda bench: bench.clock.pass_s(3600),
    )
    serve(bench, "10.10.1.1")
    await bench.play()
    assert bench.flows.looks == [None, [53]]
    assert bench.flows.threads == [True, True]
    assert bench.sample(LOOKS, ip_family="IPv4") == 2


async def test_stale_flows_are_deleted_and_counted() -> None:
    bench = Bench(lambda bench: serve(bench))
    serve(bench, "10.10.1.1")
    others = [flow("8.8.8.8:53", "8.8.8.8:53")]
    bench.flows.listed = [flow(DOOR, "10.10.1.1:5353"), *others]
    await bench.play()
    assert bench.flows.listed == others
    assert bench.sample(DELETED, ip_family="IPv4") == 1


async def test_flows_are_looked_at_only_once_the_rules_stand() -> None:
    bench = Bench(lambda bench: bench.clock.pass_s(0.1))
    seen: list[int] = []
    bench.dataplane.trouble = [Retry("busy", after_s=0.1)]
    bench.dataplane.during = lambda: seen.append(len(bench.flows.looks))
    serve(bench, "10.10.1.1")
    await bench.play()
    assert (seen, len(bench.flows.looks)) == ([0, 0], 1)


async def test_a_look_that_fails_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(lambda bench: bench.clock.pass_s(RETRY_S), lambda bench: bench.clock.pass_s(RETRY_S))
    serve(bench, "10.10.1.1")
    bench.flows.listed = [flow(DOOR, DOOR)]
    bench.flows.trouble = [Retry("conntrack: busy", after_s=1), Retry("conntrack: busy", after_s=1)]
    with caplog.at_level(logging.WARNING):
        await bench.play()
    assert (len(bench.flows.looks), bench.flows.listed) == (3, [])
    assert bench.trigger.waits[:2] == [RETRY_S, RETRY_S]
    assert [record.message for record in caplog.records] == ["stale UDP flows stay for now: conntrack: busy"]


async def test_a_kernel_that_cannot_tell_of_flows_is_asked_no_more_than_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(lambda bench: serve(bench, "10.10.1.2"))
    serve(bench, "10.10.1.1")
    bench.flows.trouble = [Unsupported("no conntrack"), Unsupported("no conntrack")]
    with caplog.at_level(logging.WARNING):
        await bench.play()
    assert len(bench.flows.looks) == 2
    assert [record.message for record in caplog.records] == ["stale UDP flows stay: no conntrack"]
    assert bench.backends()[-1] == ["10.10.1.2:5353"]


async def test_flows_of_a_service_the_kernel_refused_are_left_as_its_doors_are() -> None:
    bench = Bench(lambda bench: serve(bench))
    serve(bench, "10.10.1.1")
    bench.dataplane.refused = [{}, {service().metadata.key: "too many"}]
    bench.flows.listed = [flow(DOOR, "10.10.1.1:5353")]
    await bench.play()
    assert bench.flows.listed == [flow(DOOR, "10.10.1.1:5353")]
