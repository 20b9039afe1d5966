"""Which Services a change of an object touches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import pytest

from fairway.agent.changes import ChangeTracker, Pending
from fairway.api.codec import decode_endpoint_slice, decode_service_cidr
from fairway.api.discovery import EndpointSlice
from fairway.api.types import Key
from fairway.watch.informer import Change
from tests.plan.objects import endpoint, endpoint_slice, node, service

T = TypeVar("T")

STARTED = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
WEB, OTHER = Key("default", "web"), Key("default", "other")
SLICE = Key("default", "web-1")


def change(key: Key, previous: T | None, current: T | None) -> Change[T]:
    return Change(key=key, previous=previous, current=current)


def tracker() -> ChangeTracker:
    return ChangeTracker(started=STARTED)


def triggered_slice(time: str, address: str = "10.10.1.1") -> EndpointSlice:
    annotations = {"endpoints.kubernetes.io/last-change-trigger-time": time} if time else {}
    labels = {"kubernetes.io/service-name": "web"}
    metadata = {"name": "web-1", "namespace": "default", "labels": labels, "annotations": annotations}
    return decode_endpoint_slice(
        {"metadata": metadata, "addressType": "IPv4", "endpoints": [endpoint(address)], "ports": [{"port": 80}]}
    )


def test_a_service_is_pending_until_it_is_taken():
    objects = tracker()
    feed = objects.feed()
    web = service()
    assert objects.service_changed(change(WEB, None, web))
    assert dict(objects.services) == {WEB: web}
    assert feed.take() == Pending(services=frozenset({WEB}), service_changes=1)
    assert feed.take() == Pending()


def test_an_update_that_says_nothing_new_is_not_worth_a_sync():
    objects = tracker()
    feed = objects.feed()
    objects.service_changed(change(WEB, None, service()))
    feed.take()
    assert not objects.service_changed(change(WEB, service(), service()))
    assert not objects.slice_changed(change(SLICE, endpoint_slice(), endpoint_slice()))
    assert feed.take() == Pending()


def test_a_service_that_went_is_pending_too():
    objects = tracker()
    feed = objects.feed()
    objects.service_changed(change(WEB, None, service()))
    assert objects.service_changed(change(WEB, service(), None))
    assert dict(objects.services) == {}
    assert feed.take() == Pending(services=frozenset({WEB}), service_changes=2)


def test_a_slice_touches_the_service_it_names_and_is_found_by_it():
    objects = tracker()
    feed = objects.feed()
    current = endpoint_slice(endpoint("10.10.1.1"))
    assert objects.slice_changed(change(SLICE, None, current))
    assert feed.take() == Pending(services=frozenset({WEB}), slice_changes=1)
    assert dict(objects.slices_of(WEB)) == {SLICE: current}
    assert dict(objects.slices_of(OTHER)) == {}


def test_a_slice_that_moves_to_another_service_touches_both():
    objects = tracker()
    feed = objects.feed()
    before, after = endpoint_slice(of="web"), endpoint_slice(of="other")
    objects.slice_changed(change(SLICE, None, before))
    feed.take()
    assert objects.slice_changed(change(SLICE, before, after))
    assert feed.take().services == {WEB, OTHER}
    assert (dict(objects.slices_of(WEB)), dict(objects.slices_of(OTHER))) == ({}, {SLICE: after})


def test_a_slice_of_no_service_is_kept_apart_until_it_names_one():
    objects = tracker()
    feed = objects.feed()
    orphan, adopted = endpoint_slice(of=""), endpoint_slice(of="web")
    objects.slice_changed(change(SLICE, None, orphan))
    assert dict(objects.orphans) == {SLICE: orphan}
    assert feed.take() == Pending(slice_changes=1, orphans=True)
    objects.slice_changed(change(SLICE, orphan, adopted))
    assert dict(objects.orphans) == {}
    assert feed.take() == Pending(services=frozenset({WEB}), slice_changes=1, orphans=True)


def test_each_feed_is_told_of_everything_once():
    objects = tracker()
    first = objects.feed()
    objects.service_changed(change(WEB, None, service()))
    second = objects.feed()
    objects.slice_changed(change(SLICE, None, endpoint_slice()))
    assert first.take() == Pending(services=frozenset({WEB}), service_changes=1, slice_changes=1)
    assert second.take() == Pending(services=frozenset({WEB}), slice_changes=1)
    assert (first.take(), second.take()) == (Pending(), Pending())


@pytest.mark.parametrize(
    ("cidrs", "expected"),
    [
        ([["10.96.0.0/12"]], ["10.96.0.0/12"]),
        ([["10.96.0.0/12", "fd00:96::/112"], ["10.64.0.0/16"]], ["10.64.0.0/16", "10.96.0.0/12", "fd00:96::/112"]),
        ([["10.96.0.0/12"], ["10.96.0.0/12"]], ["10.96.0.0/12"]),
        ([["nonsense", "10.96.0.0/12"]], ["10.96.0.0/12"]),
        ([], []),
    ],
)
def test_the_networks_of_clusterips_are_those_of_all_servicecidrs(cidrs, expected):
    objects = tracker()
    known = [decode_service_cidr({"metadata": {"name": "c"}, "spec": {"cidrs": each}}) for each in cidrs]
    assert objects.service_cidrs_changed(known) is bool(expected)
    assert [str(network) for network in objects.service_cidrs] == expected
    assert not objects.service_cidrs_changed(known)


def test_a_slice_that_went_is_forgotten():
    objects = tracker()
    feed = objects.feed()
    current = endpoint_slice()
    objects.slice_changed(change(SLICE, None, current))
    objects.slice_changed(change(SLICE, current, None))
    assert dict(objects.slices_of(WEB)) == {}
    assert feed.take() == Pending(services=frozenset({WEB}), slice_changes=2)


def test_the_node_is_the_one_last_seen():
    objects = tracker()
    key = Key("", "here")
    assert objects.node is None
    assert objects.node_changed(change(key, None, node()))
    assert not objects.node_changed(change(key, node(), node()))
    assert objects.node == node()
    assert objects.node_changed(change(key, node(), None))
    assert objects.node is None


@pytest.mark.parametrize(
    ("previous", "current", "expected"),
    [
        (None, "2026-01-01T12:00:05Z", ["2026-01-01T12:00:05+00:00"]),
        (None, "2026-01-01T12:00:05.123456789Z", ["2026-01-01T12:00:05.123456+00:00"]),
        (None, "2026-01-01T21:00:05+09:00", ["2026-01-01T21:00:05+09:00"]),
        ("2026-01-01T12:00:01Z", "2026-01-01T12:00:05Z", ["2026-01-01T12:00:05+00:00"]),
        # The same trigger again, one from before the agent, none, and what is no time.
        ("2026-01-01T12:00:05Z", "2026-01-01T12:00:05Z", []),
        (None, "2026-01-01T11:59:59Z", []),
        (None, "", []),
        (None, "yesterday", []),
        (None, "2026-01-01T12:00:05", []),
        ("2026-01-01T12:00:05Z", None, []),
    ],
)
def test_the_time_a_change_began_counts_once_and_only_since_the_start(previous, current, expected):
    objects = tracker()
    feed = objects.feed()
    before = triggered_slice(previous) if previous is not None else None
    after = triggered_slice(current, "10.10.1.2") if current is not None else None
    objects.slice_changed(change(SLICE, before, after))
    assert [time.isoformat() for time in feed.take().triggered] == expected
