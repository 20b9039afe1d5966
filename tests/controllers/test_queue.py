from __future__ import annotations

from fairway.controllers.queue import WorkQueue
from fairway.watch.reflector import Backoff


def drained(queue: WorkQueue[str], now: float = 0.0) -> list[str]:
    keys = []
    while (key := queue.get(now)) is not None:
        keys.append(key)
    return keys


def test_keys_come_in_the_order_they_were_added_and_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("b", "a", "b", "c", "a"):
        queue.add(key)
    assert len(queue) == 3
    assert drained(queue) == ["b", "a", "c"]


def test_a_key_is_never_worked_on_twice_at_a_time_and_comes_again_after() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.get(0.0) == "a"
    queue.add("a")
    queue.add("a")
    assert queue.get(0.0) is None
    queue.done("a")
    assert drained(queue) == ["a"]


def test_a_key_that_failed_waits_longer_each_time() -> None:
    queue: WorkQueue[str] = WorkQueue(Backoff(initial_s=1.0, factor=2.0, limit_s=5.0, jitter=0.0))
    queue.add("a")
    now, waits = 0.0, []
    for _ in range(5):
        assert queue.get(now) == "a"
        waits.append(queue.failed("a", now))
        assert queue.get(now) is None
        due = queue.next_at()
        assert due == now + waits[-1]
        now = due
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_success_forgets_failures() -> None:
    queue: WorkQueue[str] = WorkQueue(Backoff(initial_s=1.0, jitter=0.0))
    queue.add("a")
    queue.get(0.0)
    queue.failed("a", 0.0)
    assert queue.failures("a") == 1
    assert queue.get(1.0) == "a"
    queue.done("a")
    assert queue.failures("a") == 0
    queue.add("a")
    queue.get(1.0)
    assert queue.failed("a", 1.0) == 1.0


def test_a_failed_key_waits_at_least_as_long_as_asked() -> None:
    queue: WorkQueue[str] = WorkQueue(Backoff(initial_s=1.0, jitter=0.0))
    queue.add("a")
    queue.get(0.0)
    assert queue.failed("a", 0.0, after_s=7.0) == 7.0
    assert queue.next_at() == 7.0


def test_a_change_brings_a_failed_key_back_at_once() -> None:
    queue: WorkQueue[str] = WorkQueue(Backoff(initial_s=1.0, jitter=0.0))
    queue.add("a")
    queue.get(0.0)
    queue.add("a")
    queue.failed("a", 0.0)
    assert queue.get(0.0) == "a"
    assert queue.next_at() is None


def test_a_key_added_for_later_comes_at_the_earliest_of_its_times() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_at("a", 5.0)
    queue.add_at("a", 3.0)
    queue.add_at("a", 9.0)
    queue.add_at("b", 4.0)
    assert queue.next_at() == 3.0
    assert queue.get(2.9) is None
    assert drained(queue, 3.0) == ["a"]
    queue.done("a")
    assert drained(queue, 100.0) == ["b"]
    assert queue.next_at() is None


def test_a_key_that_rests_comes_once_after_its_rest_and_holds_up_nobody() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("dear")
    assert queue.get(0.0) == "dear"
    queue.add("dear")
    queue.done("dear", rest_until=2.0)
    queue.add("dear")
    queue.add("other")
    assert drained(queue, 1.0) == ["other"]
    assert queue.next_at() == 2.0
    assert drained(queue, 2.0) == ["dear"]


def test_a_key_that_has_rested_comes_at_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("dear")
    queue.get(0.0)
    queue.done("dear", rest_until=2.0)
    assert queue.next_at() is None
    queue.add("dear")
    assert drained(queue, 3.0) == ["dear"]
