"""The state under one revision, and its log: what is seen when, and what a resumed watch replays."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.api.resources import CONFIG_MAPS, LEASES
from fairway.api.types import Key, Object
from fairway.apiserver.revisions import CompactedError, EventType, Revisions
from fairway.apiserver.selectors import Selection, parse_labels
from fairway.apiserver.watching import WatchStream

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def config_map(name: str, namespace: str = "default", **labels: str) -> Object:
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    }


def put(revisions: Revisions, name: str, namespace: str = "default", **labels: str) -> int:
    return revisions.put(CONFIG_MAPS, Key(namespace, name), config_map(name, namespace, **labels)).revision


def names(revisions: Revisions, namespace: str = "") -> list[str]:
    return [str(record.key) for record in revisions.records(CONFIG_MAPS, namespace)]


def test_a_write_is_seen_by_decisions_at_once_and_by_readers_when_it_is_published():
    revisions = Revisions()
    put(revisions, "a")
    assert revisions.latest(CONFIG_MAPS, Key("default", "a")) is not None
    assert revisions.get(CONFIG_MAPS, Key("default", "a")) is None
    assert (revisions.revision, revisions.accepted) == (0, 1)
    revisions.publish(1)
    assert revisions.get(CONFIG_MAPS, Key("default", "a")) is not None
    assert (revisions.revision, revisions.accepted) == (1, 1)


def test_abandoned_writes_leave_no_trace_and_their_revisions_are_given_again():
    revisions = Revisions()
    put(revisions, "a")
    revisions.publish(1)
    put(revisions, "b")
    revisions.remove(CONFIG_MAPS, Key("default", "a"))
    revisions.abandon()
    assert [str(record.key) for record in revisions.latest_records(CONFIG_MAPS)] == ["default/a"]
    assert put(revisions, "c") == 2


def test_a_record_carries_its_revision_and_its_json_leaves_out_kind_and_version():
    record = Revisions().put(CONFIG_MAPS, Key("default", "a"), config_map("a"))
    assert record.obj["metadata"]["resourceVersion"] == "1"
    assert msgspec.json.decode(record.json) == {
        "metadata": {"name": "a", "namespace": "default", "labels": {}, "resourceVersion": "1"}
    }
    assert msgspec.json.decode(record.typed_json) == record.obj


def test_records_are_listed_by_namespace_and_name_and_a_namespace_holds_only_its_own():
    revisions = Revisions()
    for namespace, name in (("b", "x"), ("a", "z"), ("ab", "y"), ("a", "b")):
        put(revisions, name, namespace)
    revisions.publish(4)
    assert names(revisions) == ["a/b", "a/z", "ab/y", "b/x"]
    assert names(revisions, "a") == ["a/b", "a/z"]
    assert names(revisions, "none") == []


def test_accepted_and_published_records_are_merged_for_decisions():
    revisions = Revisions()
    put(revisions, "a")
    put(revisions, "b")
    revisions.publish(2)
    put(revisions, "c")
    revisions.remove(CONFIG_MAPS, Key("default", "a"))
    put(revisions, "d", "other")
    assert [str(one.key) for one in revisions.latest_records(CONFIG_MAPS, "default")] == ["default/b", "default/c"]
    assert [str(one.key) for one in revisions.latest_records(CONFIG_MAPS)] == ["default/b", "default/c", "other/d"]


def test_the_state_at_an_older_revision_is_rebuilt_from_the_log():
    revisions = Revisions()
    put(revisions, "a")
    put(revisions, "b")
    at = put(revisions, "a", color="red")
    put(revisions, "a", color="blue")
    revisions.remove(CONFIG_MAPS, Key("default", "b"))
    put(revisions, "c")
    revisions.publish(6)
    found = revisions.records_at(CONFIG_MAPS, "", at)
    assert [(record.key.name, record.revision) for record in found] == [("a", 3), ("b", 2)]
    assert found[0].obj["metadata"]["labels"] == {"color": "red"}


def test_a_deletion_carries_the_last_state_under_its_own_revision():
    revisions = Revisions()
    put(revisions, "a", color="red")
    revisions.remove(CONFIG_MAPS, Key("default", "a"))
    revisions.publish(2)
    deleted = revisions.events(CONFIG_MAPS, 1)[0]
    assert deleted.type is EventType.DELETED
    assert deleted.record.obj["metadata"]["resourceVersion"] == "2"
    assert deleted.record.obj["metadata"]["labels"] == {"color": "red"}
    assert deleted.previous is not None
    assert deleted.previous.revision == 1


def test_compaction_drops_the_oldest_events_and_names_the_revisions_nobody_needs():
    revisions = Revisions(max_events=10)
    for turn in range(8):
        put(revisions, "a", turn=str(turn))
    put(revisions, "b")
    revisions.remove(CONFIG_MAPS, Key("default", "b"))
    revisions.publish(10)
    assert revisions.compact() is None
    put(revisions, "c")
    revisions.publish(11)
    compaction = revisions.compact()
    assert compaction is not None
    assert compaction.floor == 2
    assert compaction.revisions == (1,)
    with pytest.raises(CompactedError) as caught:
        revisions.events(CONFIG_MAPS, 1)
    assert str(caught.value) == "too old resource version: 1 (2)"
    assert [event.revision for event in revisions.events(CONFIG_MAPS, 2)] == list(range(3, 12))


def test_a_compacted_deletion_is_forgotten_with_the_object():
    revisions = Revisions(max_events=4)
    put(revisions, "b")
    revisions.remove(CONFIG_MAPS, Key("default", "b"))
    for turn in range(3):
        put(revisions, "a", turn=str(turn))
    revisions.publish(5)
    compaction = revisions.compact()
    assert compaction is not None
    assert compaction.revisions == (1, 2)


def test_compaction_by_bytes_keeps_the_newest_event():
    revisions = Revisions(max_bytes=100)
    put(revisions, "a", filler="x" * 200)
    revisions.publish(1)
    assert revisions.compact() is None
    put(revisions, "b")
    revisions.publish(2)
    compaction = revisions.compact()
    assert compaction is not None
    assert compaction.floor == 1


def test_a_quiet_resource_is_not_refused_because_another_is_busy():
    revisions = Revisions(max_events=10)
    revisions.put(LEASES, Key("default", "quiet"), {"metadata": {"name": "quiet", "namespace": "default"}})
    start = revisions.accepted
    for turn in range(30):
        put(revisions, "busy", turn=str(turn))
    revisions.publish(31)
    revisions.compact()
    assert revisions.floor > start
    assert revisions.events(LEASES, start) == []
    with pytest.raises(CompactedError):
        revisions.events(CONFIG_MAPS, start)


# Watches


def watch(revisions: Revisions, cursor: int, labels: str = "", **options: object) -> WatchStream:
    return WatchStream(
        resource=CONFIG_MAPS,
        selection=Selection(fields_of=lambda obj: {}, labels=parse_labels(labels)),
        cursor=cursor,
        encode=lambda record, _: record.typed_json,
        encode_bookmark=msgspec.json.encode,
        timeout_s=60,
        **options,
    )


def drain(stream: WatchStream, revisions: Revisions) -> list[tuple[str, str, str]]:
    """(type, name, resourceVersion) of every line until there is nothing to say."""
    seen = []
    while lines := stream.read(revisions, NOW):
        for line in lines.splitlines():
            event = msgspec.json.decode(line)
            metadata = event["object"].get("metadata", {})
            seen.append((event["type"], metadata.get("name", ""), metadata.get("resourceVersion", "")))
    return seen


def test_an_object_that_enters_a_selection_is_added_and_one_that_leaves_is_deleted():
    revisions = Revisions()
    put(revisions, "a", x="1")
    put(revisions, "a", x="1", y="1")
    put(revisions, "a", x="2")
    put(revisions, "a", x="3")
    put(revisions, "a", x="1")
    revisions.remove(CONFIG_MAPS, Key("default", "a"))
    revisions.publish(6)
    assert drain(watch(revisions, 0, "x=1"), revisions) == [
        ("ADDED", "a", "1"),
        ("MODIFIED", "a", "2"),
        ("DELETED", "a", "3"),
        ("ADDED", "a", "5"),
        ("DELETED", "a", "6"),
    ]


def test_an_object_leaving_the_selection_is_shown_as_it_was_while_selected():
    revisions = Revisions()
    put(revisions, "a", x="1")
    put(revisions, "a", x="2")
    revisions.publish(2)
    line = watch(revisions, 1, "x=1").read(revisions, NOW)
    assert msgspec.json.decode(line)["object"]["metadata"] == {
        "name": "a",
        "namespace": "default",
        "labels": {"x": "1"},
        "resourceVersion": "2",
    }


def test_an_object_that_already_matched_at_the_start_is_modified():
    revisions = Revisions()
    put(revisions, "a", x="1")
    put(revisions, "a", x="1", y="2")
    revisions.publish(2)
    assert drain(watch(revisions, 1, "x=1"), revisions) == [("MODIFIED", "a", "2")]


def test_initial_events_come_before_their_bookmark_and_later_events_after_it():
    revisions = Revisions()
    put(revisions, "a")
    put(revisions, "b")
    revisions.publish(2)
    initial = revisions.records(CONFIG_MAPS)
    stream = watch(revisions, 2, initial=initial, announce_end=True, allow_bookmarks=True)
    put(revisions, "c")
    revisions.publish(3)
    assert drain(stream, revisions) == [
        ("ADDED", "a", "1"),
        ("ADDED", "b", "2"),
        ("BOOKMARK", "", "2"),
        ("ADDED", "c", "3"),
    ]


def test_the_bookmark_after_initial_events_carries_the_annotation():
    revisions = Revisions()
    stream = watch(revisions, 0, announce_end=True, allow_bookmarks=True)
    assert msgspec.json.decode(stream.read(revisions, NOW)) == {
        "type": "BOOKMARK",
        "object": {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "0", "annotations": {"k8s.io/initial-events-end": "true"}},
        },
    }


def test_a_bookmark_names_the_newest_revision_also_of_other_resources_and_only_where_wanted():
    revisions = Revisions()
    revisions.put(LEASES, Key("default", "l"), {"metadata": {"name": "l", "namespace": "default"}})
    revisions.publish(1)
    stream = watch(revisions, 0, allow_bookmarks=True)
    assert drain(stream, revisions) == []
    assert msgspec.json.decode(stream.bookmark(revisions))["object"]["metadata"]["resourceVersion"] == "1"
    assert watch(revisions, 0).bookmark(revisions) == b""


def test_a_watch_that_fell_behind_the_log_ends_with_410():
    revisions = Revisions(max_events=10)
    stream = watch(revisions, 0)
    for turn in range(30):
        put(revisions, "a", turn=str(turn))
    revisions.publish(30)
    revisions.compact()
    line = msgspec.json.decode(stream.read(revisions, NOW))
    assert (line["type"], line["object"]["code"], line["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert stream.ended
    assert stream.read(revisions, NOW) == b""


def test_a_long_backlog_comes_in_several_reads_without_loss():
    revisions = Revisions()
    for number in range(1234):
        put(revisions, f"n{number:04}")
    revisions.publish(1234)
    stream = watch(revisions, 0)
    first = stream.read(revisions, NOW).splitlines()
    assert len(first) == 500
    rest = drain(stream, revisions)
    assert [name for _, name, _ in rest] == [f"n{number:04}" for number in range(500, 1234)]


# Any history

KEYS = [Key("default", name) for name in "abc"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from(["1", "2"])),
        st.tuples(st.just("remove"), st.sampled_from(KEYS), st.just("")),
        st.tuples(st.just("publish"), st.integers(0, 5), st.just("")),
        st.tuples(st.just("abandon"), st.just(0), st.just("")),
        st.tuples(st.just("compact"), st.just(0), st.just("")),
        st.tuples(st.just("read"), st.integers(0, 3), st.just("")),
        st.tuples(st.just("resume"), st.integers(0, 3), st.just("")),
    ),
    max_size=60,
)


class Watcher:
    """A client's cache, kept by a watch that may be cut and resumed at any line."""

    def __init__(self, revisions: Revisions, labels: str) -> None:
        self.labels = labels
        self.state: dict[str, str] = {}
        self.relist(revisions)

    def relist(self, revisions: Revisions) -> None:
        self.stream = watch(revisions, revisions.revision, self.labels, allow_bookmarks=True)
        selected = self.stream.selection
        self.state = {
            record.key.name: str(record.revision)
            for record in revisions.records(CONFIG_MAPS)
            if selected.matches(record.key, record.obj)
        }
        self.version = revisions.revision

    def resume(self, revisions: Revisions) -> None:
        self.stream = watch(revisions, self.version, self.labels, allow_bookmarks=True)

    def read(self, revisions: Revisions) -> None:
        for line in self.stream.read(revisions, NOW).splitlines():
            event = msgspec.json.decode(line)
            if event["type"] == "ERROR":
                assert event["object"]["code"] == 410
                self.relist(revisions)
                return
            metadata = event["object"]["metadata"]
            version = int(metadata["resourceVersion"])
            assert version > self.version, "an event came twice or out of order"
            self.version = version
            name = metadata["name"]
            match event["type"]:
                case "ADDED":
                    assert name not in self.state
                    self.state[name] = str(version)
                case "MODIFIED":
                    assert name in self.state
                    self.state[name] = str(version)
                case "DELETED":
                    del self.state[name]


def apply_step(revisions: Revisions, step: tuple[str, object, str]) -> None:
    name, argument, value = step
    match name:
        case "put":
            assert isinstance(argument, Key)
            revisions.put(CONFIG_MAPS, argument, config_map(argument.name, x=value))
        case "remove":
            assert isinstance(argument, Key)
            if revisions.latest(CONFIG_MAPS, argument) is not None:
                revisions.remove(CONFIG_MAPS, argument)
        case "publish":
            assert isinstance(argument, int)
            revisions.publish(revisions.revision + argument)
        case "abandon":
            revisions.abandon()
        case "compact":
            revisions.compact()


@given(steps)
@settings(max_examples=300, deadline=None)
def test_any_interleaving_of_writes_and_resumed_watches_replays_to_the_same_state(history):
    revisions = Revisions(max_events=12)
    watchers = [Watcher(revisions, labels) for labels in ("", "x=1", "x!=1", "x=2")]
    for step in history:
        if step[0] == "read":
            watchers[step[1]].read(revisions)
        elif step[0] == "resume":
            watchers[step[1]].resume(revisions)
        else:
            apply_step(revisions, step)
    revisions.publish(revisions.accepted)
    for watcher in watchers:
        while watcher.version < revisions.revision:
            before = watcher.version
            watcher.read(revisions)
            if watcher.version == before:
                break
        wanted = {
            record.key.name: str(record.revision)
            for record in revisions.records(CONFIG_MAPS)
            if watcher.stream.selection.matches(record.key, record.obj)
        }
        assert watcher.state == wanted
