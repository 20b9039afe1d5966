"""Events go an hour after they were last told."""

from __future__ import annotations

import pytest

from fairway.apiserver.expiry import expire_events
from tests.apiserver.harness import Harness, config_map
from tests.apiserver.urls import CONFIG_MAPS

EVENTS = "/api/v1/namespaces/default/events"
HOUR_S = 3600


def event(name="e", **fields):
    about = {"kind": "Pod", "namespace": "default", "name": "p"}
    return {"kind": "Event", "apiVersion": "v1", "metadata": {"name": name}, "involvedObject": about} | fields


@pytest.fixture
def api() -> Harness:
    return Harness()


def left(api: Harness) -> list[str]:
    expire_events(api.registry, api.now)
    api.publish()
    return [one["metadata"]["name"] for one in api.get(EVENTS)[1]["items"]]


def test_an_event_goes_after_an_hour_and_watches_are_told(api):
    api.create(EVENTS, event())
    api.pass_time(1)
    api.create(EVENTS, event("later"))
    api.create(CONFIG_MAPS, config_map("a"))
    api.pass_time(HOUR_S - 1)
    assert left(api) == ["e", "later"]
    watch = api.watch(f"{EVENTS}?watch=true&resourceVersion={api.revisions.revision}")
    api.pass_time(1)
    assert left(api) == ["later"]
    assert watch.seen() == [("DELETED", "e")]
    api.pass_time(10 * HOUR_S)
    assert left(api) == []
    assert api.get(f"{CONFIG_MAPS}/a")[0] == 200, "nothing else expires"


@pytest.mark.parametrize(
    "again",
    [
        {"lastTimestamp": "2026-01-01T00:30:00Z", "count": 2},
        {"eventTime": "2026-01-01T00:30:00.000000Z"},
        {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:30:00.000000Z"}},
    ],
    ids=["counted", "timed", "a series"],
)
def test_an_event_that_is_told_again_stays_for_an_hour_from_then(api, again):
    api.create(EVENTS, event())
    api.pass_time(HOUR_S / 2)
    assert api.patch(f"{EVENTS}/e", again)[0] == 200
    api.pass_time(HOUR_S)
    assert left(api) == ["e"]
    api.pass_time(1)
    assert left(api) == []


def test_an_event_of_a_clock_that_is_behind_lives_from_when_it_came(api):
    api.create(EVENTS, event(lastTimestamp="2020-01-01T00:00:00Z"))
    assert left(api) == ["e"]
    api.pass_time(HOUR_S + 1)
    assert left(api) == []


def test_where_nothing_expires_nothing_is_written(api):
    api.create(EVENTS, event())
    before = api.revisions.accepted
    assert expire_events(api.registry, api.now) == 0
    assert api.revisions.accepted == before
