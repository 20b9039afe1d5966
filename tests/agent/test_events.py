"""Events as the API takes them."""

from datetime import UTC, datetime

from fairway.agent.events import EventType, make_event, node_reference, service_reference

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_an_event_on_a_service_lives_in_its_namespace():
    event = make_event(
        service_reference("web", "front", "u1"),
        kind=EventType.WARNING,
        reason="FailedToStartServiceHealthcheck",
        action="Listen",
        message="no",
        node="here",
        now=NOON,
    )
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"front.{1767268800 * 10**9:x}", "namespace": "web"},
        "involvedObject": {"apiVersion": "v1", "kind": "Service", "namespace": "web", "name": "front", "uid": "u1"},
        "reason": "FailedToStartServiceHealthcheck",
        "message": "no",
        "type": "Warning",
        "action": "Listen",
        "source": {"component": "fairway-proxy", "host": "here"},
        "reportingComponent": "fairway-proxy",
        "reportingInstance": "fairway-proxy-here",
        "firstTimestamp": "2026-01-01T12:00:00Z",
        "lastTimestamp": "2026-01-01T12:00:00Z",
        "eventTime": None,
        "count": 1,
    }


def test_an_event_on_a_node_lives_in_default():
    event = make_event(
        node_reference("here"),
        kind=EventType.NORMAL,
        reason="Starting",
        action="Start",
        message="",
        node="here",
        now=NOON,
    )
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == {"kind": "Node", "name": "here", "uid": "here"}
