"""What is counted part by part is what counting them all comes to, and each Note is told once."""

from __future__ import annotations

from fairway.agent.overview import NoteBook, Overview
from fairway.api.types import Key
from fairway.plan.compile import compile_service
from fairway.plan.model import Note, Origin, ServicePlan
from fairway.plan.options import view_node
from tests.plan.objects import LOCAL_AND_REMOTE, OPTIONS, REMOTE_ONLY, every_door, node, service

WEB = Key("default", "web")
VIEW = view_node(node(), OPTIONS)
LOCAL = {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local", "healthCheckNodePort": 32000}


def part(*slices, **spec) -> ServicePlan:
    return compile_service(every_door(**spec), slices, VIEW)


def note(message: str) -> Note:
    return Note(origin=Origin(kind="Service", namespace="default", name="web", field=""), message=message)


def test_ports_without_local_endpoints_are_counted_once_each_inside_and_outside():
    overview = Overview()
    overview.update({WEB: part(REMOTE_ONLY, **LOCAL)}, [WEB])
    assert overview.no_local == (1, 1)
    overview.update({WEB: part(REMOTE_ONLY, internalTrafficPolicy="Local")}, [WEB])
    assert overview.no_local == (1, 0)
    overview.update({WEB: part(LOCAL_AND_REMOTE, **LOCAL)}, [WEB])
    assert overview.no_local == (0, 0)
    overview.update({WEB: part(REMOTE_ONLY, **LOCAL)}, [WEB])
    overview.update({}, [WEB])
    assert overview.no_local == (0, 0)


def test_a_port_without_any_endpoint_lacks_no_local_one():
    overview = Overview()
    overview.update({WEB: part(**LOCAL)}, [WEB])
    assert overview.no_local == (0, 0)


def test_health_checks_are_the_very_same_until_one_changes():
    overview, other = Overview(), compile_service(service("a"), [], VIEW)
    parts = {WEB: part(REMOTE_ONLY, **LOCAL), Key("default", "a"): other}
    overview.update(parts, parts)
    before = overview.health_checks
    assert [(check.service, check.port, check.local_endpoints) for check in before] == [("web", 32000, 0)]
    overview.update(parts, [Key("default", "a")])
    assert overview.health_checks is before
    overview.update({WEB: part(LOCAL_AND_REMOTE, **LOCAL)}, [WEB])
    assert [check.local_endpoints for check in overview.health_checks] == [1]
    overview.update({}, [WEB])
    assert overview.health_checks == ()


def test_a_note_is_new_once_for_as_long_as_it_stands():
    book = NoteBook()
    one, two = note("one"), note("two")
    assert book.general([one]) == [one]
    assert book.general([one, two]) == [two]
    assert book.general([]) == []
    assert book.general([one]) == [one]
    with_one, with_both = (ServicePlan(key=WEB, notes=notes) for notes in ((one,), (one, two)))
    assert book.of_parts({WEB: with_one}, [WEB]) == [(WEB, one)]
    assert book.of_parts({WEB: with_both}, [WEB]) == [(WEB, two)]
    assert book.of_parts({WEB: with_both}, [WEB]) == []
    assert book.of_parts({}, [WEB]) == []
    assert book.of_parts({WEB: with_one}, [WEB]) == [(WEB, one)]
