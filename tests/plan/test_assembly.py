"""Parts put together one after another come to the same as all at once, and what changed is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.api.types import Key
from fairway.plan.assembly import Assembly, assemble_plan
from fairway.plan.compile import compile_service
from fairway.plan.model import Note, Origin, Plan, PortName, ServicePlan
from fairway.plan.options import view_node
from tests.plan.objects import (
    EXTERNAL_IP,
    LOCAL_AND_REMOTE,
    NODE_PORT,
    OPTIONS,
    REMOTE_ONLY,
    endpoint_slice,
    node,
    service,
)

VIEW = view_node(node(), OPTIONS)
A, B, C = (Key("default", name) for name in "abc")


def part(name: str, *slices: Any, **spec: Any) -> ServicePlan:
    return compile_service(service(name, **spec), slices, VIEW)


def doors_of(plan: Plan) -> list[str]:
    return [f"{port.name} {door.address or '*'}:{door.port}" for port in plan.ports for door in port.doors]


def test_a_part_without_rivals_is_taken_as_it_is_and_alone_is_told_of():
    assembly, web = Assembly(VIEW), part("a", LOCAL_AND_REMOTE)
    assert assembly.put(web) == {A}
    assert assembly.parts[A] is web
    assert assembly.put(part("b", clusterIP="10.200.1.6")) == {B}
    assert assembly.put(part("a", REMOTE_ONLY)) == {A}


def test_a_part_that_is_what_it_was_changes_nothing_and_keeps_the_very_plan():
    assembly = Assembly(VIEW)
    assembly.put(part("a", LOCAL_AND_REMOTE))
    before = assembly.plan()
    assert assembly.put(part("a", LOCAL_AND_REMOTE)) == frozenset()
    assert assembly.drop(B) == frozenset()
    assert assembly.plan() is before


OLD, NEW, NEWER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("ages", "owner"),
    [
        ((OLD, NEW, NEWER), A),
        ((NEW, OLD, NEWER), B),
        ((NEWER, NEWER, NEW), C),
        ((NEW, NEW, NEW), A),
        ((None, None, None), A),
        ((None, NEW, NEWER), B),  # what is in a file is yet to be made
        ((None, None, NEWER), C),
        (("", "yesterday", NEWER), C),
        (("2026-01-01T02:00:00+01:00", "2026-01-01T00:30:00Z", "2026-01-01T00:45:00"), B),
    ],
)
@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_the_oldest_has_a_door_that_several_claim(ages, owner, order):
    created = dict(zip("abc", ages, strict=True))
    assembly = Assembly(VIEW)
    for name in order:
        own = f"10.200.1.{ord(name)}"
        assembly.put(part(name, clusterIP=own, externalIPs=[EXTERNAL_IP], created=created[name]))
    assert [door for door in doors_of(assembly.plan()) if EXTERNAL_IP in door] == [f"{owner} {EXTERNAL_IP}:80"]
    taken = {key: [note.taken_by for note in each.notes] for key, each in assembly.parts.items()}
    assert taken == {key: [] if key == owner else [owner] for key in (A, B, C)}


def test_a_service_that_is_made_anew_leaves_its_doors_to_those_who_waited():
    assembly = Assembly(VIEW)
    assembly.put(part("a", externalIPs=[EXTERNAL_IP], created=OLD))
    assembly.put(part("b", clusterIP="10.200.1.6", externalIPs=[EXTERNAL_IP], created=NEW))
    assert assembly.put(part("a", externalIPs=[EXTERNAL_IP], created=NEWER)) == {A, B}
    assert f"default/b {EXTERNAL_IP}:80" in doors_of(assembly.plan())
    assert assembly.put(part("a", externalIPs=[EXTERNAL_IP], created=OLD)) == {A, B}
    assert f"default/a {EXTERNAL_IP}:80" in doors_of(assembly.plan())


def test_what_a_service_claims_twice_itself_is_no_other_services():
    assembly = Assembly(VIEW)
    assembly.put(part("a", externalIPs=["10.200.1.5"]))
    (note,) = assembly.plan().notes
    assert (note.message, note.taken_by) == (
        "10.200.1.5 80/tcp is already default/a's, so it stays with that one",
        None,
    )


def test_the_first_by_name_takes_a_door_from_who_had_it_and_leaves_it_when_it_goes():
    assembly = Assembly(VIEW)
    second = part("b", clusterIP="10.200.1.6", externalIPs=[EXTERNAL_IP])
    assembly.put(second)
    assert assembly.put(part("a", externalIPs=[EXTERNAL_IP])) == {A, B}
    assert doors_of(assembly.plan()) == [
        "default/a 10.200.1.5:80",
        f"default/a {EXTERNAL_IP}:80",
        "default/b 10.200.1.6:80",
    ]
    assert [note.message for note in assembly.parts[B].notes] == [
        f"{EXTERNAL_IP} 80/tcp is already default/a's, so it stays with that one"
    ]
    assert assembly.claimed(B) == second
    assert assembly.drop(A) == {A, B}
    assert assembly.parts == {B: second}


def test_of_three_rivals_the_next_one_takes_the_door():
    assembly = Assembly(VIEW)
    for index, name in enumerate("cba"):
        port = {"port": 80, "nodePort": NODE_PORT}
        assembly.put(part(name, type="NodePort", clusterIP=f"10.200.1.{index + 1}", ports=[port]))
    assert assembly.drop(A) == {A, B, C}
    assert f"default/b *:{NODE_PORT}" in doors_of(assembly.plan())
    assert "already default/b's" in assembly.parts[C].notes[0].message


def test_a_rivals_note_follows_the_name_of_the_port_that_has_the_door():
    assembly = Assembly(VIEW)
    assembly.put(part("a", ports=[{"port": 80, "name": "http"}]))
    assembly.put(part("b"))
    assert assembly.put(part("a", ports=[{"port": 80, "name": "web"}])) == {A, B}
    assert "already default/a:web's" in assembly.parts[B].notes[0].message


def test_a_service_that_claims_a_door_twice_has_it_once():
    assembly = Assembly(VIEW)
    assembly.put(part("a", externalIPs=["10.200.1.5"]))
    assert doors_of(assembly.plan()) == ["default/a 10.200.1.5:80"]
    assert len(assembly.plan().notes) == 1


def test_notes_of_no_service_are_in_the_plan():
    assembly = Assembly(VIEW)
    note = Note(origin=Origin(kind="EndpointSlice", namespace="default", name="x", field=""), message="stray")
    assembly.put(part("a", externalIPs=["nonsense"]))
    assembly.plan()
    assembly.set_notes([note])
    assert assembly.notes == (note,)
    assert [each.message for each in assembly.plan().notes] == [
        "stray",
        "'nonsense' is not an IP address; it is left out",
    ]


@dataclass(frozen=True)
class Step:
    name: str
    part: ServicePlan | None


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A Service goes, or comes to claim a few of the few addresses and ports there are."""
    name = draw(st.sampled_from("abcd"))
    if draw(st.integers(0, 3)) == 0:
        return Step(name, None)
    ports = [
        {"name": port_name, "port": draw(st.sampled_from([80, 81])), "nodePort": draw(st.sampled_from([0, NODE_PORT]))}
        for port_name in draw(st.lists(st.sampled_from(["http", "web"]), min_size=1, max_size=2, unique=True))
    ]
    return Step(
        name,
        part(
            name,
            endpoint_slice(of=name),
            type="NodePort",
            clusterIP=draw(st.sampled_from(["10.200.1.1", "10.200.1.2"])),
            externalIPs=draw(st.lists(st.sampled_from(["10.200.1.1", EXTERNAL_IP]), unique=True)),
            created=draw(st.sampled_from([None, OLD, NEW, NEWER])),
            ports=ports,
        ),
    )


def owners(parts: dict[Key, ServicePlan]) -> dict[tuple[Any, ...], PortName]:
    """Who has each door: the first that claims it, by the ages and names of Services, then of ports."""
    found: dict[tuple[Any, ...], PortName] = {}
    for key in sorted(parts, key=lambda key: (parts[key].created_s, key)):
        for port in parts[key].ports:
            for door in port.doors:
                found.setdefault((door.address, door.protocol, door.port), port.name)
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(steps(), max_size=12))
def test_any_history_comes_to_the_plan_of_the_parts_as_they_are_and_tells_all_that_changed(history):
    assembly, claimed = Assembly(VIEW), {}
    for step in history:
        key, before = Key("default", step.name), dict(assembly.parts)
        if step.part is None:
            claimed.pop(key, None)
            told = assembly.drop(key)
        else:
            claimed[key] = step.part
            told = assembly.put(step.part)
        keys = before.keys() | assembly.parts.keys()
        assert told == {each for each in keys if before.get(each) != assembly.parts.get(each)}
        plan = assembly.plan()
        assert plan == assemble_plan(claimed.values(), VIEW)
        got = {(door.address, door.protocol, door.port): port.name for port in plan.ports for door in port.doors}
        assert got == owners(claimed)
        assert sum(len(port.doors) for port in plan.ports) == len(got)
        assert [port.name for port in plan.ports] == sorted(port.name for port in plan.ports)


def test_thousands_that_claim_one_door_are_met_only_where_its_owner_changes():
    assembly, settled = Assembly(VIEW), []
    own = assembly._own
    assembly._own = lambda claimed: settled.append(claimed.key) or own(claimed)
    for number in range(1000):
        assembly.put(
            part(f"s{number:03}", clusterIP=f"10.200.{number // 250}.{number % 250}", externalIPs=[EXTERNAL_IP])
        )
    assert len(settled) == 1000
    assert assembly.drop(Key("default", "s500")) == {Key("default", "s500")}
    assert len(settled) == 1000
    assert len(assembly.drop(Key("default", "s000"))) == 999
