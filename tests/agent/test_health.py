"""What the health ports answer, to the byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fairway.agent.health import ProxyHealth, answer_healthz, answer_livez, answer_service, node_eligible
from fairway.api.codec import decode_node
from fairway.api.core import Node
from fairway.base.addresses import Family

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
JSON = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def node(*, deleted: bool = False, taint: str = "") -> Node:
    metadata = {"name": "here", **({"deletionTimestamp": "2026-01-01T11:00:00Z"} if deleted else {})}
    taints = [{"key": taint, "effect": "NoSchedule"}] if taint else []
    return decode_node({"metadata": metadata, "spec": {"taints": taints}})


def synced() -> ProxyHealth:
    health = ProxyHealth(timeout_s=60)
    health.updated(Family.IPV4, NOON)
    return health


def test_before_the_first_sync_it_is_healthy_and_knows_no_family():
    answer = answer_healthz(ProxyHealth(timeout_s=60), node(), at(1.5))
    assert (answer.status, answer.headers) == (200, JSON)
    assert answer.body == (
        b'{"lastUpdated":"2026-01-01T12:00:01.5Z","currentTime":"2026-01-01T12:00:01.5Z",'
        b'"nodeEligible":true,"healthy":true}'
    )


def test_a_synced_proxy_was_updated_just_now_and_its_family_when_it_was():
    answer = answer_healthz(synced(), node(), at(90.25))
    assert answer.status == 200
    assert answer.body == (
        b'{"lastUpdated":"2026-01-01T12:01:30.25Z","currentTime":"2026-01-01T12:01:30.25Z",'
        b'"nodeEligible":true,"healthy":true,'
        b'"status":{"IPv4":{"lastUpdated":"2026-01-01T12:00:00Z","healthy":true}}}'
    )


def test_an_update_that_waits_too_long_makes_both_answers_503_and_tells_the_last_write():
    health = synced()
    health.queued(Family.IPV4, at(10))
    healthz, livez = answer_healthz(health, node(), at(70)), answer_livez(health, at(70))
    assert (healthz.status, livez.status) == (503, 503)
    assert healthz.body == (
        b'{"lastUpdated":"2026-01-01T12:00:00Z","currentTime":"2026-01-01T12:01:10Z",'
        b'"nodeEligible":true,"healthy":false,'
        b'"status":{"IPv4":{"lastUpdated":"2026-01-01T12:00:00Z","healthy":false}}}'
    )
    assert livez.body == (
        b'{"lastUpdated":"2026-01-01T12:00:00Z","currentTime":"2026-01-01T12:01:10Z","healthy":false,'
        b'"status":{"IPv4":{"lastUpdated":"2026-01-01T12:00:00Z","healthy":false}}}'
    )


@pytest.mark.parametrize(
    ("queued_s", "asked_s", "healthy"),
    [([10], 69.9, True), ([10], 70, False), ([10, 65], 70, False), ([65], 70, True)],
)
def test_the_oldest_waiting_update_counts(queued_s, asked_s, healthy):
    health = synced()
    for seconds in queued_s:
        health.queued(Family.IPV4, at(seconds))
    assert health.healthy(at(asked_s)) is healthy


def test_a_write_settles_all_updates_that_waited():
    health = synced()
    health.queued(Family.IPV4, at(10))
    health.updated(Family.IPV4, at(65))
    assert health.healthy(at(1000))


@pytest.mark.parametrize(
    ("seen", "eligible"),
    [
        (node(), True),
        (node(taint="node-role.kubernetes.io/control-plane"), True),
        (node(taint="ToBeDeletedByClusterAutoscaler"), False),
        (node(deleted=True), False),
        (None, False),
    ],
)
def test_healthz_knows_the_node_and_livez_does_not(seen, eligible):
    assert node_eligible(seen) is eligible
    healthz = answer_healthz(synced(), seen, at(1))
    assert healthz.status == (200 if eligible else 503)
    assert (b'"nodeEligible":true' in healthz.body) is eligible
    assert b'"healthy":true' in healthz.body
    assert answer_livez(synced(), at(1)).status == 200


def test_a_node_that_is_going_shows_when_the_rules_were_last_written():
    answer = answer_healthz(synced(), node(deleted=True), at(5))
    assert answer.body == (
        b'{"lastUpdated":"2026-01-01T12:00:00Z","currentTime":"2026-01-01T12:00:05Z",'
        b'"nodeEligible":false,"healthy":true,'
        b'"status":{"IPv4":{"lastUpdated":"2026-01-01T12:00:00Z","healthy":true}}}'
    )


def test_an_unknown_node_before_the_first_sync_shows_gos_zero_time():
    answer = answer_healthz(ProxyHealth(timeout_s=60), None, at(5))
    assert answer.status == 503
    assert answer.body.startswith(b'{"lastUpdated":"0001-01-01T00:00:00Z",')


def test_a_service_with_endpoints_here_answers_200_with_its_weight():
    answer = answer_service("default", "web", 2, proxy_healthy=True)
    assert answer.status == 200
    assert answer.headers == {**JSON, "X-Load-Balancing-Endpoint-Weight": "2"}
    assert answer.body == (
        b'{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "web"\n\t},\n'
        b'\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}'
    )


@pytest.mark.parametrize(("count", "healthy"), [(0, True), (2, False), (0, False)])
def test_a_service_without_endpoints_here_or_with_a_sick_proxy_answers_503(count, healthy):
    answer = answer_service("default", "web", count, proxy_healthy=healthy)
    assert answer.status == 503
    assert answer.headers["X-Load-Balancing-Endpoint-Weight"] == str(count)
    assert answer.body.endswith(
        b'\t"localEndpoints": %d,\n\t"serviceProxyHealthy": %s\n}' % (count, b"true" if healthy else b"false")
    )
