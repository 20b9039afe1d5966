"""The list+watch state machine: rows for each rule, and any history of trouble."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.api.status import ApiError
from fairway.api.types import Key, Object
from fairway.base.errors import FairwayError, Refused, Retry
from fairway.watch.reflector import Backoff, Change, ListRequest, Reflector, WatchRequest

GONE = ApiError(410, "Expired", "too old resource version")
BROKEN = Retry("connection reset", after_s=1.0)


def obj(name: str, version: int, *, uid: str = "u1", value: str = "") -> Object:
    metadata = {"name": name, "namespace": "ns", "resourceVersion": str(version), "uid": uid}
    return {"metadata": metadata, "value": value}


def answer(version: int, *items: Object) -> Object:
    return {"metadata": {"resourceVersion": str(version)}, "items": list(items)}


def bookmark(version: int) -> Object:
    return {"metadata": {"resourceVersion": str(version)}}


def status(code: int, reason: str) -> Object:
    return {"kind": "Status", "code": code, "reason": reason, "message": "no"}


def decode(item: Object) -> str:
    if item["value"] == "bad":
        raise Refused("spec.type is no type")
    return f"{item['metadata']['name']}@{item['metadata']['resourceVersion']}"


def reflector(*, chance: float = 0.0) -> Reflector[str]:
    return Reflector(decode, backoff=Backoff(initial_s=1.0, factor=2.0, limit_s=8.0), chance=lambda: chance)


def told(changes: list[Change[str]]) -> list[tuple[str | None, str | None]]:
    return [(change.previous, change.current) for change in changes]


def listed_at(version: int, *items: Object) -> Reflector[str]:
    machine = reflector()
    machine.listed(answer(version, *items))
    return machine


def test_it_starts_with_a_list_of_any_state_the_server_has_at_hand():
    machine = reflector()
    assert machine.next_request() == ListRequest(resource_version="0", after_s=0.0)
    assert (machine.synced, machine.watching) == (False, False)


def test_after_the_list_it_watches_from_the_version_of_the_list():
    machine = reflector()
    changes = machine.listed(answer(7, obj("a", 3), obj("b", 5)))
    assert told(changes) == [(None, "a@3"), (None, "b@5")]
    assert machine.next_request() == WatchRequest(resource_version="7", after_s=0.0)
    assert dict(machine.objects) == {Key("ns", "a"): "a@3", Key("ns", "b"): "b@5"}
    assert machine.synced


def test_an_empty_first_list_is_a_state_like_any_other():
    machine = reflector()
    assert machine.listed(answer(7)) == []
    assert machine.synced
    assert machine.next_request() == WatchRequest(resource_version="7", after_s=0.0)


@pytest.mark.parametrize(
    ("kind", "item", "expected", "position"),
    [
        ("ADDED", obj("b", 8), [(None, "b@8")], "8"),
        ("MODIFIED", obj("a", 8), [("a@3", "a@8")], "8"),
        ("DELETED", obj("a", 8), [("a@3", None)], "8"),
        ("DELETED", obj("a", 3), [("a@3", None)], "7"),
        ("DELETED", obj("unknown", 8), [], "8"),
        ("BOOKMARK", bookmark(9), [], "9"),
        ("MODIFIED", obj("a", 8, uid="u2"), [("a@3", None), (None, "a@8")], "8"),
        # Known already: a server that repeats itself.
        ("ADDED", obj("a", 3), [], "7"),
        ("MODIFIED", obj("a", 2), [], "7"),
        ("DELETED", obj("a", 2), [], "7"),
        ("ADDED", obj("gone-before", 6), [], "7"),
        ("BOOKMARK", bookmark(6), [], "7"),
    ],
)
def test_an_event_tells_what_it_changes_and_moves_the_position(kind, item, expected, position):
    machine = listed_at(7, obj("a", 3))
    assert told(machine.event(kind, item)) == expected
    assert machine.position == position


def test_versions_that_are_no_numbers_are_taken_as_they_come():
    machine = reflector()
    first = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "xyz", "uid": "u"}, "value": ""}
    machine.listed({"metadata": {"resourceVersion": "abc"}, "items": [first]})
    second = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "aaa", "uid": "u"}, "value": ""}
    assert told(machine.event("MODIFIED", second)) == [("a@xyz", "a@aaa")]
    assert machine.next_request() == WatchRequest(resource_version="aaa", after_s=0.0)


@pytest.mark.parametrize(
    ("error", "request_after"),
    [
        (BROKEN, WatchRequest(resource_version="7", after_s=1.0)),
        (ApiError(503, "ServiceUnavailable", "starting"), WatchRequest(resource_version="7", after_s=1.0)),
        (ApiError(403, "Forbidden", "no role"), WatchRequest(resource_version="7", after_s=1.0)),
        (ApiError(429, "TooManyRequests", "slow down"), WatchRequest(resource_version="7", after_s=1.0)),
        (GONE, ListRequest(resource_version="", after_s=1.0)),
        (ApiError(400, "BadRequest", "invalid resourceVersion"), ListRequest(resource_version="7", after_s=1.0)),
    ],
)
def test_a_refused_watch_resumes_unless_its_history_is_gone(error, request_after):
    machine = listed_at(7, obj("a", 3))
    machine.failed(error)
    assert machine.next_request() == request_after


@pytest.mark.parametrize(
    ("error", "version"),
    [
        (BROKEN, "0"),
        (ApiError(503, "ServiceUnavailable", "starting"), "0"),
        (ApiError(504, "Timeout", "Too large resource version: 7, current: 3"), ""),
        (ApiError(410, "Expired", "too old"), ""),
    ],
)
def test_a_refused_list_asks_for_the_newest_state_where_the_version_was_the_trouble(error, version):
    machine = reflector()
    machine.failed(error)
    assert machine.next_request() == ListRequest(resource_version=version, after_s=1.0)


@pytest.mark.parametrize(("code", "reason", "version"), [(410, "Expired", ""), (500, "InternalError", "7")])
def test_an_error_event_ends_the_watch_and_lists_anew(code, reason, version):
    machine = listed_at(7, obj("a", 3))
    assert machine.event("ERROR", status(code, reason)) == []
    assert not machine.watching
    assert machine.next_request() == ListRequest(resource_version=version, after_s=1.0)


def test_a_new_list_tells_the_difference_deletions_first():
    machine = listed_at(7, obj("a", 3), obj("b", 4), obj("c", 5), obj("d", 6, uid="old"))
    machine.failed(GONE)
    changes = machine.listed(answer(20, obj("e", 15), obj("b", 4), obj("c", 18), obj("d", 19, uid="new")))
    assert told(changes) == [
        ("a@3", None),
        (None, "e@15"),
        ("c@5", "c@18"),
        ("d@6", None),
        (None, "d@19"),
    ]
    assert sorted(machine.objects.values()) == ["b@4", "c@18", "d@19", "e@15"]
    assert machine.next_request() == WatchRequest(resource_version="20", after_s=0.0)


def test_a_list_of_an_earlier_time_is_believed():
    """A server restored from a backup counts from there again."""
    machine = listed_at(70, obj("a", 60))
    machine.failed(GONE)
    assert told(machine.listed(answer(10, obj("a", 5)))) == [("a@60", "a@5")]
    assert told(machine.event("MODIFIED", obj("a", 11))) == [("a@5", "a@11")]


def test_an_empty_list_after_objects_must_be_said_twice():
    machine = listed_at(7, obj("a", 3))
    machine.failed(GONE)
    assert machine.listed(answer(9)) == []
    assert dict(machine.objects) == {Key("ns", "a"): "a@3"}
    assert machine.next_request() == ListRequest(resource_version="", after_s=2.0)
    assert told(machine.listed(answer(9))) == [("a@3", None)]
    assert machine.next_request() == WatchRequest(resource_version="9", after_s=0.0)


def test_a_doubtful_empty_list_that_is_taken_back_changes_nothing():
    machine = listed_at(7, obj("a", 3))
    machine.failed(GONE)
    machine.listed(answer(9))
    assert machine.listed(answer(9, obj("a", 3))) == []
    assert dict(machine.objects) == {Key("ns", "a"): "a@3"}


def test_an_object_that_cannot_be_read_is_left_out_and_the_others_are_not():
    machine = reflector()
    changes = machine.listed(answer(7, obj("a", 3), obj("b", 4, value="bad")))
    assert told(changes) == [(None, "a@3")]
    assert machine.unreadable == {Key("ns", "b"): "spec.type is no type"}
    assert told(machine.event("MODIFIED", obj("a", 8, value="bad"))) == [("a@3", None)]
    assert told(machine.event("MODIFIED", obj("b", 9))) == [(None, "b@9")]
    assert machine.unreadable == {Key("ns", "a"): "spec.type is no type"}
    assert machine.event("DELETED", obj("a", 10)) == []
    assert machine.unreadable == {}


def test_failures_wait_longer_each_time_up_to_the_limit_and_a_word_from_the_server_forgives():
    machine = listed_at(7, obj("a", 3))
    waits = []
    for _ in range(6):
        machine.failed(BROKEN)
        waits.append(machine.next_request().after_s)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    machine.event("BOOKMARK", bookmark(8))
    assert machine.next_request().after_s == 0.0
    machine.failed(BROKEN)
    assert machine.next_request().after_s == 1.0


def test_410_after_410_backs_off_although_every_list_succeeds():
    machine = listed_at(7, obj("a", 3))
    waits = []
    for version in (8, 9, 10):
        machine.failed(GONE)
        waits.append(machine.next_request().after_s)
        machine.listed(answer(version, obj("a", 3)))
    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("after_s", "wait"),
    [(0.1, 1.0), (300.0, 0.0)],
)
def test_a_watch_that_ends_at_once_without_a_word_counts_as_failed(after_s, wait):
    machine = listed_at(7)
    machine.ended(after_s=after_s)
    assert machine.next_request() == WatchRequest(resource_version="7", after_s=wait)


def test_a_short_watch_that_told_something_resumes_at_once():
    machine = listed_at(7)
    machine.event("ADDED", obj("a", 8))
    machine.ended(after_s=0.1)
    assert machine.next_request() == WatchRequest(resource_version="8", after_s=0.0)


@pytest.mark.parametrize(
    ("failures", "chance", "expected"),
    [(0, 0.9, 0.0), (1, 0.0, 0.1), (1, 0.5, 0.15), (2, 0.0, 0.2), (3, 0.5, 0.6), (1000, 0.0, 30.0), (1000, 0.9, 30.0)],
)
def test_the_default_back_off_grows_from_a_tenth_of_a_second_to_half_a_minute(failures, chance, expected):
    assert Backoff().delay_s(failures, chance) == pytest.approx(expected)


# -- any history


@dataclass
class World:
    """A server whose every event is known, and one client of it."""

    machine: Reflector[str]
    version: int = 10
    objects: dict[str, Object] = field(default_factory=dict)
    history: list[tuple[int, str, Object]] = field(default_factory=list)
    forgotten: int = 0
    stream: int | None = None
    changes: list[Change[str]] = field(default_factory=list)
    list_versions: list[int] = field(default_factory=list)
    listed_changes: int = 0

    def put(self, name: str) -> None:
        self.version += 1
        known = self.objects.get(name)
        uid = known["metadata"]["uid"] if known else f"u{self.version}"
        self.objects[name] = obj(name, self.version, uid=uid)
        self.history.append((self.version, "MODIFIED" if known else "ADDED", self.objects[name]))

    def delete(self, name: str) -> None:
        gone = self.objects.pop(name, None)
        if gone is not None:
            self.version += 1
            self.history.append((self.version, "DELETED", obj(name, self.version, uid=gone["metadata"]["uid"])))

    def connect(self) -> None:
        """Do what the machine asks for."""
        if self.stream is not None:
            return
        request = self.machine.next_request()
        if isinstance(request, ListRequest):
            self.list_versions.append(self.version)
            self.changes += self.machine.listed(answer(self.version, *self.objects.values()))
            self.listed_changes = len(self.changes)
        elif int(request.resource_version) < self.forgotten:
            self.machine.failed(GONE)
        else:
            self.stream = int(request.resource_version)

    def deliver(self) -> None:
        pending = [event for event in self.history if self.stream is not None and event[0] > self.stream]
        if pending:
            version, kind, item = pending[0]
            self.stream = version
            self.changes += self.machine.event(kind, item)

    def repeat(self) -> None:
        """Send the last event again."""
        sent = [event for event in self.history if self.stream is not None and event[0] <= self.stream]
        if sent:
            self.changes += self.machine.event(sent[-1][1], sent[-1][2])

    def bookmark(self) -> None:
        if self.stream is not None and not [event for event in self.history if event[0] > self.stream]:
            self.stream = self.version
            self.machine.event("BOOKMARK", bookmark(self.version))

    def forget(self) -> None:
        self.forgotten = self.version

    def error_event(self) -> None:
        if self.stream is not None:
            self.machine.event("ERROR", status(500, "InternalError"))
            self.stream = None

    def break_off(self, error: FairwayError | None) -> None:
        if self.stream is not None:
            if error is None:
                self.machine.ended(after_s=0.5)
            else:
                self.machine.failed(error)
            self.stream = None

    def settle(self) -> None:
        """Let the client catch up, undisturbed."""
        for _ in range(10):
            self.connect()
        for _ in self.history:
            self.deliver()


_NAMES = st.sampled_from("abc")
_ACTIONS = st.one_of(
    st.tuples(st.just("put"), _NAMES),
    st.tuples(st.just("delete"), _NAMES),
    st.tuples(st.sampled_from(["connect", "deliver", "deliver", "repeat", "bookmark", "cut", "end"])),
    st.tuples(st.sampled_from(["forget", "error_event"])),
)


def _play(world: World, action: tuple[str, ...]) -> None:
    match action[0]:
        case "cut":
            world.break_off(BROKEN)
        case "end":
            world.break_off(None)
        case name:
            getattr(world, name)(*action[1:])


@settings(max_examples=400, deadline=None)
@given(st.lists(_ACTIONS, max_size=60))
def test_any_history_of_trouble_converges_with_each_change_told_once_and_in_order(actions):
    world = World(machine=reflector())
    for action in actions:
        _play(world, action)
    world.settle()

    assert sorted(world.machine.objects.values()) == sorted(decode(item) for item in world.objects.values())
    replayed: dict[Key, str] = {}
    versions: dict[Key, int] = {}
    for change in world.changes:
        assert change.previous == replayed.get(change.key)
        assert change.previous != change.current
        if change.current is None:
            del replayed[change.key]
            continue
        version = int(change.current.partition("@")[2])
        assert version > versions.get(change.key, 0)
        versions[change.key] = version
        replayed[change.key] = change.current
    assert replayed == dict(world.machine.objects)
    if len(world.list_versions) == 1:
        # One list, then watches: every event since is told, none is merged or left out.
        later = [(kind, item) for version, kind, item in world.history if version > world.list_versions[0]]
        expected = [None if kind == "DELETED" else decode(item) for kind, item in later]
        assert [change.current for change in world.changes[world.listed_changes :]] == expected
