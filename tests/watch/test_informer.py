"""The informer over a real client and a real server on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fairway.api.resources import CONFIG_MAPS
from fairway.api.types import Key, Object
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer
from fairway.watch.kubeconfig import Credentials
from fairway.watch.reflector import Backoff
from tests.watch.fake_api import FakeApi, raw

AT_ONCE = Backoff(initial_s=0.0)


def config_map(name: str, value: str = "") -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


class Follower:
    """An informer of ConfigMaps that notes (name, previous, current) of each change."""

    def __init__(self, client: Client, *, missing_retry_s: float | None = None) -> None:
        self.seen: list[tuple[str, str | None, str | None]] = []
        self._moved = asyncio.Event()
        self.informer: Informer[str] = Informer(
            client,
            CONFIG_MAPS,
            decode=lambda obj: obj["data"]["value"],
            on_change=self._note,
            backoff=AT_ONCE,
            missing_retry_s=missing_retry_s,
        )

    def _note(self, change: Change[str]) -> None:
        self.seen.append((change.key.name, change.previous, change.current))
        self._moved.set()

    async def wait_changes(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.seen) < count:
                self._moved.clear()
                await self._moved.wait()


@asynccontextmanager
async def following(api: FakeApi) -> AsyncIterator[Follower]:
    async with api.serve(), Client(Credentials(server=api.url)) as client, asyncio.TaskGroup() as group:
        follower = Follower(client)
        task = group.create_task(follower.informer.run())
        try:
            async with asyncio.timeout(10):
                await follower.informer.wait_synced()
                await api.wait_watchers(1)
            yield follower
        finally:
            task.cancel()


async def test_the_first_list_is_in_the_cache_and_was_told_before_synced():
    api = FakeApi()
    api.put(config_map("a", "1"))
    async with following(api) as follower:
        assert follower.informer.synced
        assert dict(follower.informer.objects) == {Key("default", "a"): "1"}
        assert follower.seen == [("a", None, "1")]


async def test_every_change_is_told_once_and_in_order():
    api = FakeApi()
    async with following(api) as follower:
        api.put(config_map("a", "1"))
        api.put(config_map("a", "2"))
        api.remove(CONFIG_MAPS, "a", "default")
        api.put(config_map("a", "3"))
        await api.announce()
        await follower.wait_changes(4)
        assert follower.seen == [("a", None, "1"), ("a", "1", "2"), ("a", "2", None), ("a", None, "3")]
        assert dict(follower.informer.objects) == {Key("default", "a"): "3"}


async def test_a_cut_stream_resumes_from_the_last_event_without_a_second_list():
    api = FakeApi()
    async with following(api) as follower:
        api.put(config_map("a", "1"))
        await api.announce()
        await follower.wait_changes(1)
        position = api.version
        api.cut_streams()
        api.put(config_map("b", "2"))
        await follower.wait_changes(2)
        assert follower.seen == [("a", None, "1"), ("b", None, "2")]
        lists = [seen for seen in api.requests if "watch" not in seen.query]
        watches = [seen.query["resourceVersion"] for seen in api.requests if "watch" in seen.query]
        assert len(lists) == 1
        assert watches == ["100", str(position)]


async def test_what_was_deleted_while_history_was_lost_is_told_as_gone():
    api = FakeApi()
    api.put(config_map("a", "1"))
    api.put(config_map("b", "2"))
    async with following(api) as follower:
        api.remove(CONFIG_MAPS, "a", "default")
        api.put(config_map("c", "3"))
        api.forget_history()
        api.cut_streams()
        await follower.wait_changes(4)
        assert follower.seen == [("a", None, "1"), ("b", None, "2"), ("a", "1", None), ("c", None, "3")]


async def test_a_page_that_is_no_api_answer_is_retried():
    api = FakeApi()
    api.put(config_map("a", "1"))
    api.canned.append(raw(b"<html>bad gateway</html>", status=502, content_type="text/html"))
    api.canned.append(raw(b"<html>welcome</html>", content_type="text/html"))
    async with following(api) as follower:
        assert follower.seen == [("a", None, "1")]


@pytest.mark.parametrize("code", [403, 404])
async def test_a_resource_that_need_not_be_there_counts_as_empty_and_is_asked_for_again(code: int) -> None:
    api = FakeApi()
    api.put(config_map("a", "1"))
    api.refused[CONFIG_MAPS] = code
    async with api.serve(), Client(Credentials(server=api.url)) as client, asyncio.TaskGroup() as group:
        follower = Follower(client, missing_retry_s=0.0)
        task = group.create_task(follower.informer.run())
        async with asyncio.timeout(10):
            await follower.informer.wait_synced()
        assert dict(follower.informer.objects) == {}
        del api.refused[CONFIG_MAPS]
        await follower.wait_changes(1)
        assert follower.seen == [("a", None, "1")]
        task.cancel()
