from __future__ import annotations

from typing import Any

from fairway.api.types import Key, key_of
from fairway.controllers.cache import Cache
from tests.controllers.objects import pod, replica_set

KEY = Key("default", "p")


def at(version: int, **fields: Any) -> dict[str, Any]:
    return pod("p", resourceVersion=str(version), **fields)


def test_an_object_is_found_by_key_namespace_and_owner() -> None:
    cache, owner = Cache(), replica_set()
    mine, free, other = pod("mine", owner=owner), pod("free"), pod("other", namespace="else")
    for one in (mine, free, other):
        cache.observe(key_of(one), None, one)
    assert dict(cache) == {key_of(mine): mine, key_of(free): free, key_of(other): other}
    assert cache.in_namespace("default") == [mine, free]
    assert cache.owned_by(owner["metadata"]["uid"]) == [mine]
    assert cache.without_controller("default") == [free]


def test_an_object_that_goes_is_found_nowhere() -> None:
    cache, owner = Cache(), replica_set()
    mine = pod("mine", owner=owner)
    cache.observe(key_of(mine), None, mine)
    cache.observe(key_of(mine), mine, None)
    assert (len(cache), cache.in_namespace("default"), cache.owned_by(owner["metadata"]["uid"])) == (0, [], [])


def test_a_change_of_owner_moves_an_object() -> None:
    cache, owner = Cache(), replica_set()
    free, adopted = at(1), at(2, owner=owner)
    cache.observe(KEY, None, free)
    cache.observe(KEY, free, adopted)
    assert cache.without_controller("default") == []
    assert cache.owned_by(owner["metadata"]["uid"]) == [adopted]


def test_the_answer_to_a_create_is_known_before_the_watch_tells() -> None:
    cache = Cache()
    cache.created(at(5))
    assert cache[KEY] == at(5)
    cache.observe(KEY, None, at(5))
    cache.observe(KEY, at(5), at(6))
    assert cache[KEY] == at(6)


def test_an_old_event_does_not_undo_a_newer_answer() -> None:
    cache = Cache()
    cache.observe(KEY, None, at(5))
    cache.updated(at(8, ready=True))
    cache.observe(KEY, at(5), at(6))
    assert cache[KEY] == at(8, ready=True)


def test_an_answer_that_comes_after_its_event_is_old_news() -> None:
    cache = Cache()
    cache.observe(KEY, None, at(5))
    cache.observe(KEY, at(5), None)
    cache.created(at(5))
    assert KEY not in cache
    cache.updated(at(6))
    assert KEY not in cache


def test_a_created_object_that_the_watch_passed_by_is_forgotten() -> None:
    cache = Cache()
    cache.created(at(5))
    later = pod("later", resourceVersion="9")
    cache.observe(key_of(later), None, later)
    assert list(cache) == [key_of(later)]


def test_the_end_of_a_namesake_does_not_remove_its_successor() -> None:
    cache = Cache()
    old, new = at(3, uid="old"), at(7, uid="new")
    cache.observe(KEY, None, old)
    cache.created(new)
    cache.observe(KEY, old, None)
    assert cache[KEY] == new


def test_what_is_assumed_holds_until_the_watch_tells_more() -> None:
    cache = Cache()
    cache.observe(KEY, None, at(5))
    cache.assume(at(5), at(5, node="n1"))
    cache.observe(KEY, None, at(5))
    assert cache[KEY]["spec"]["nodeName"] == "n1"
    cache.observe(KEY, at(5), at(6))
    assert cache[KEY] == at(6)


def test_nothing_is_assumed_of_an_object_that_changed() -> None:
    cache = Cache()
    cache.observe(KEY, None, at(6))
    cache.assume(at(5), at(5, node="n1"))
    assert cache[KEY] == at(6)


def test_a_deleted_object_counts_as_terminating_until_it_goes() -> None:
    cache = Cache()
    cache.observe(KEY, None, at(5))
    cache.deleted(KEY, "uid-p", "2025-06-01T12:00:00Z")
    assert cache[KEY]["metadata"]["deletionTimestamp"] == "2025-06-01T12:00:00Z"
    cache.observe(KEY, at(5), None)
    assert KEY not in cache


def test_the_deletion_of_another_of_that_name_changes_nothing() -> None:
    cache = Cache()
    cache.observe(KEY, None, at(5))
    cache.deleted(KEY, "uid-q", "2025-06-01T12:00:00Z")
    cache.deleted(Key("default", "q"), "uid-q", "2025-06-01T12:00:00Z")
    assert dict(cache) == {KEY: at(5)}
