from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import DEPLOYMENTS, PODS, REPLICA_SETS, SERVICES
from fairway.api.status import ApiError
from fairway.api.types import Key, key_of
from fairway.base.errors import Retry
from fairway.controllers.cache import Cache
from fairway.controllers.writer import WriteError, Writer
from fairway.controllers.writes import (
    Absent,
    Bind,
    Create,
    Delete,
    EventType,
    Owner,
    Patch,
    Recheck,
    Record,
    Update,
    Write,
)
from tests.controllers.objects import deployment, pod, replica_set, service
from tests.controllers.simulation import Clock, FakeApi

POD = Key("default", "p")


class Bench:
    """A Writer with all it touches."""

    def __init__(self) -> None:
        self.api = FakeApi(Clock())
        self.caches = {resource: Cache() for resource in (PODS, SERVICES, REPLICA_SETS)}
        self.told: list[Record] = []
        self.rechecks: list[float] = []
        self._writer = Writer(self.api, self.caches, self.api.clock.now, self.told.append)

    async def perform(self, *writes: Write) -> None:
        await self._writer.perform(writes, self.rechecks.append)

    def store(self, resource: Any, obj: dict[str, Any]) -> dict[str, Any]:
        """Put an object into the API and the cache."""
        self.api.put(resource, obj)
        stored = self.api[resource][key_of(obj)]
        self.caches[resource].observe(key_of(obj), None, stored)
        return stored


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_is_created_is_in_the_cache_at_once(bench: Bench) -> None:
    await bench.perform(Create(resource=PODS, body=pod("p")))
    assert bench.caches[PODS][POD] == bench.api[PODS][POD]


async def test_what_no_cache_is_kept_of_is_created_all_the_same(bench: Bench) -> None:
    await bench.perform(Create(resource=DEPLOYMENTS, body=deployment()))
    assert list(bench.api[DEPLOYMENTS]) == [Key("default", "web")]


async def test_updates_and_patches_are_in_the_cache_at_once(bench: Bench) -> None:
    stored = bench.store(PODS, pod("p"))
    changed = {**stored, "metadata": {**stored["metadata"], "labels": {"app": "db"}}}
    await bench.perform(Update(resource=PODS, body=changed))
    assert bench.caches[PODS][POD]["metadata"]["labels"] == {"app": "db"}
    await bench.perform(Patch(resource=PODS, key=POD, body={"status": {"phase": "Failed"}}, subresource="status"))
    assert bench.caches[PODS][POD] == bench.api[PODS][POD]
    assert bench.api[PODS][POD]["status"]["phase"] == "Failed"


async def test_a_bound_pod_counts_as_bound_before_the_watch_says_so(bench: Bench) -> None:
    stored = bench.store(PODS, pod("p"))
    await bench.perform(Bind(pod=stored, node="n1"))
    assert bench.api[PODS][POD]["spec"]["nodeName"] == "n1"
    assert bench.caches[PODS][POD]["spec"]["nodeName"] == "n1"


@pytest.mark.parametrize("node", [None, "n1"])
async def test_a_deleted_object_counts_as_terminating_at_once(bench: Bench, node: str | None) -> None:
    stored = bench.store(PODS, pod("p", node=node))
    await bench.perform(Delete(resource=PODS, key=POD, uid=stored["metadata"]["uid"]))
    assert bench.caches[PODS][POD]["metadata"]["deletionTimestamp"] == "2025-06-01T12:00:00Z"
    assert (POD in bench.api[PODS]) is (node is not None), "a pod on a node goes in its own time"


async def test_deleting_what_is_gone_is_no_failure(bench: Bench) -> None:
    await bench.perform(Delete(resource=PODS, key=POD, uid="u1"))
    assert bench.api.requests["delete", "pods"] == 1


async def test_another_object_of_that_name_is_not_deleted(bench: Bench) -> None:
    bench.store(PODS, pod("p"))
    with pytest.raises(WriteError, match="precondition"):
        await bench.perform(Delete(resource=PODS, key=POD, uid="another"))
    assert POD in bench.api[PODS]


@pytest.mark.parametrize(("uid", "deleted"), [("u1", False), ("another", True)])
async def test_nothing_is_deleted_while_the_api_knows_an_owner(bench: Bench, uid: str, deleted: bool) -> None:
    bench.store(REPLICA_SETS, replica_set("rs"))
    stored = bench.store(PODS, pod("p"))
    owner = Owner(resource=REPLICA_SETS, key=Key("default", "rs"), uid=uid)
    await bench.perform(Delete(resource=PODS, key=POD, uid=stored["metadata"]["uid"], unless=(owner,)))
    assert (POD not in bench.api[PODS]) is deleted
    assert bench.rechecks == ([] if deleted else [1.0]), "an owner that our view lacks is looked for again"


async def test_an_owner_that_is_gone_saves_nothing(bench: Bench) -> None:
    stored = bench.store(PODS, pod("p"))
    owner = Owner(resource=REPLICA_SETS, key=Key("default", "rs"), uid="u")
    await bench.perform(Delete(resource=PODS, key=POD, uid=stored["metadata"]["uid"], unless=(owner,)))
    assert POD not in bench.api[PODS]


@pytest.mark.parametrize(("name", "goes_on"), [("rs", False), ("other", True)])
async def test_what_follows_is_left_out_where_the_api_knows_the_object(bench: Bench, name: str, goes_on: bool) -> None:
    bench.store(REPLICA_SETS, replica_set("rs"))
    absent = Absent(resource=REPLICA_SETS, key=Key("default", name))
    await bench.perform(absent, Create(resource=PODS, body=pod("p")))
    assert (POD in bench.api[PODS]) is goes_on
    assert bench.rechecks == ([] if goes_on else [1.0])


async def test_a_pod_that_is_given_no_time_is_gone_at_once(bench: Bench) -> None:
    stored = bench.store(PODS, pod("p", node="n"))
    await bench.perform(Delete(resource=PODS, key=POD, uid=stored["metadata"]["uid"], grace_s=0))
    assert POD not in bench.api[PODS]


ABOUT = replica_set()


def told(message: str) -> Record:
    return Record(regarding=ABOUT, reason="FailedCreate", message=message, type=EventType.WARNING)


async def test_a_failure_ends_the_writes_and_tells_what_it_was(bench: Bench) -> None:
    bench.api.refuse = lambda verb, resource, body: ApiError(403, "Forbidden", "no")
    done = Record(regarding=ABOUT, reason="SuccessfulCreate", message="m")
    with pytest.raises(WriteError) as caught:
        await bench.perform(Create(resource=PODS, body=pod("p"), failed=told("Error creating: ")), done)
    assert caught.value.failure == told("Error creating: no")
    assert bench.told == []


async def test_a_namespace_that_is_going_away_is_no_failure(bench: Bench) -> None:
    cause = {"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}
    gone = ApiError(403, "Forbidden", "namespace is being terminated", details={"causes": [cause]})
    bench.api.refuse = lambda verb, resource, body: gone
    await bench.perform(Create(resource=PODS, body=pod("p"), failed=told("Error creating: ")))
    assert bench.api[PODS] == {}


async def test_records_and_rechecks_go_where_they_belong(bench: Bench) -> None:
    record = Record(regarding=ABOUT, reason="R", message="m")
    await bench.perform(record, Recheck(after_s=7.0))
    assert (bench.told, bench.rechecks) == ([record], [7.0])


async def test_creates_start_slowly_so_that_a_hopeless_one_is_tried_once(bench: Bench) -> None:
    tried = []

    def refuse(verb: str, resource: Any, body: Any) -> ApiError:
        tried.append(body["metadata"]["name"])
        return ApiError(403, "Forbidden", "no")

    bench.api.refuse = refuse
    with pytest.raises(WriteError):
        await bench.perform(*(Create(resource=PODS, body=pod(f"p{n}")) for n in range(50)))
    assert tried == ["p0"]


async def test_a_failure_among_writes_sent_together_does_not_undo_the_others(bench: Bench) -> None:
    bench.api.refuse = lambda verb, resource, body: (
        ApiError(500, "InternalError", "no") if body["metadata"]["name"] == "p4" else None
    )
    with pytest.raises(WriteError):
        await bench.perform(*(Create(resource=PODS, body=pod(f"p{n}")) for n in range(20)))
    assert sorted(key.name for key in bench.api[PODS]) == ["p0", "p1", "p2", "p3", "p5", "p6"]


async def test_an_api_server_out_of_reach_is_a_failure_to_be_tried_again(bench: Bench) -> None:
    def refuse(verb: str, resource: Any, body: Any) -> ApiError | None:
        raise Retry("connection refused", after_s=3.0)

    bench.api.refuse = refuse
    for write in (Create(resource=PODS, body=pod("p")), Update(resource=SERVICES, body=service())):
        with pytest.raises(WriteError) as caught:
            await bench.perform(write)
        assert isinstance(caught.value.error, Retry)
        assert caught.value.failure is None
