from __future__ import annotations

from datetime import timedelta

from fairway.api.resources import EVENTS
from fairway.api.types import Key
from fairway.controllers.events import MAX_REMEMBERED, EventRecorder
from fairway.controllers.writes import Create, EventType, Patch, Record
from tests.controllers.objects import NOW, node, pod

ABOUT = pod("web-1", resourceVersion="7")
NAME = "web-1.1844e96abe978000"


def record(message: str = "Created", **fields: object) -> Record:
    return Record(regarding=ABOUT, reason="Made", message=message, **fields)


def test_an_event_names_its_object_its_component_and_its_time() -> None:
    write = EventRecorder("replicaset-controller").write(record(type=EventType.WARNING), NOW)
    assert write == Create(
        resource=EVENTS,
        body={
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": NAME, "namespace": "default"},
            "involvedObject": {
                "kind": "Pod",
                "namespace": "default",
                "name": "web-1",
                "uid": "uid-web-1",
                "apiVersion": "v1",
                "resourceVersion": "7",
            },
            "reason": "Made",
            "message": "Created",
            "source": {"component": "replicaset-controller"},
            "firstTimestamp": "2025-06-01T12:00:00Z",
            "lastTimestamp": "2025-06-01T12:00:00Z",
            "count": 1,
            "type": "Warning",
            "eventTime": None,
            "reportingComponent": "replicaset-controller",
            "reportingInstance": "",
        },
    )


def test_an_event_with_an_action_has_one_exact_time_and_a_series_where_it_repeats() -> None:
    recorder = EventRecorder("default-scheduler")
    made = recorder.write(record(action="Binding"), NOW)
    assert isinstance(made, Create)
    common = {"apiVersion", "kind", "metadata", "involvedObject"}
    assert {field: value for field, value in made.body.items() if field not in common} == {
        "reason": "Made",
        "message": "Created",
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "type": "Normal",
        "eventTime": "2025-06-01T12:00:00.000000Z",
        "action": "Binding",
        "reportingComponent": "default-scheduler",
        "reportingInstance": "default-scheduler",
    }
    series = {"count": 2, "lastObservedTime": "2025-06-01T12:00:03.000000Z"}
    again = recorder.write(record(action="Binding"), NOW + timedelta(seconds=3))
    assert again == Patch(resource=EVENTS, key=Key("default", NAME), body={"series": series})


def test_the_same_words_about_the_same_object_are_counted() -> None:
    recorder = EventRecorder("c")
    recorder.write(record(), NOW)
    again = [recorder.write(record(), NOW + timedelta(seconds=n)) for n in (1, 2)]
    assert again == [
        Patch(resource=EVENTS, key=Key("default", NAME), body={"count": 2, "lastTimestamp": "2025-06-01T12:00:01Z"}),
        Patch(resource=EVENTS, key=Key("default", NAME), body={"count": 3, "lastTimestamp": "2025-06-01T12:00:02Z"}),
    ]
    assert isinstance(recorder.write(record("Another"), NOW), Create)


def test_an_event_whose_write_failed_is_new_when_it_comes_again() -> None:
    recorder = EventRecorder("c")
    recorder.write(record(), NOW)
    recorder.forget(recorder.write(record(), NOW))
    assert isinstance(recorder.write(record(), NOW), Create)


def test_events_of_one_moment_have_names_of_their_own() -> None:
    recorder = EventRecorder("c")
    writes = [recorder.write(record(f"message {n}"), NOW) for n in range(3)]
    assert len({write.body["metadata"]["name"] for write in writes}) == 3


def test_an_event_about_an_object_without_a_namespace_is_in_the_default_one() -> None:
    told = Record(regarding=node("n1"), reason="R", message="m")
    write = EventRecorder("c").write(told, NOW)
    assert write.body["metadata"]["namespace"] == "default"
    assert "namespace" not in write.body["involvedObject"]


def test_a_long_message_is_cut_and_old_series_are_forgotten() -> None:
    recorder = EventRecorder("c")
    assert len(recorder.write(record("x" * 2000), NOW).body["message"]) == 1024
    for number in range(MAX_REMEMBERED):
        recorder.write(record(f"message {number}"), NOW)
    assert isinstance(recorder.write(record("x" * 2000), NOW), Create)
    assert isinstance(recorder.write(record(f"message {MAX_REMEMBERED - 1}"), NOW), Patch)
