"""HTTP servers of the agent, on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import aiohttp
import pytest

from fairway.agent import listeners
from fairway.agent.health import Answer, answer_service
from fairway.agent.listeners import BindAddress, ServiceHealthListeners, serve
from fairway.api.types import Key
from fairway.base.errors import Refused
from fairway.plan.model import HealthCheck
from tests.waiting import until

WEB, OTHER = Key("default", "web"), Key("default", "other")
HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        yield holder.getsockname()[1]


def check(key: Key, port: int, endpoints: int) -> HealthCheck:
    return HealthCheck(namespace=key.namespace, service=key.name, port=port, local_endpoints=endpoints)


async def fetch(port: int, path: str = "/") -> tuple[int, dict[str, str], bytes]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}{path}") as response:
        headers = {name: value for name, value in response.headers.items() if name not in ("Date", "Content-Length")}
        return response.status, headers, await response.read()


def refuses(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((HOST, port)) != 0


class Bench:
    """Listeners whose proxy is as healthy as `healthy` says; failures to bind are kept."""

    def __init__(self) -> None:
        self.healthy = True
        self.failures: list[tuple[Key, int, str]] = []
        self.listeners = ServiceHealthListeners(proxy_healthy=lambda: self.healthy, on_bind_failure=self._failed)

    async def _failed(self, key: Key, port: int, reason: str) -> None:
        self.failures.append((key, port, reason))

    async def sync(self, *checks: HealthCheck) -> None:
        await self.listeners.sync(checks, [HOST])


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.listeners.close()


async def test_a_service_answers_on_its_port_whatever_the_path(bench):
    port = free_port()
    await bench.sync(check(WEB, port, 2))
    expected = (
        200,
        {
            "Content-Type": "application/json",
            "X-Content-Type-Options": "nosniff",
            "X-Load-Balancing-Endpoint-Weight": "2",
            "Server": "fairway",
        },
        answer_service("default", "web", 2, proxy_healthy=True).body,
    )
    assert await fetch(port) == expected
    assert await fetch(port, "/any/path?at=all") == expected


async def test_a_new_count_is_answered_on_the_same_socket(bench):
    port = free_port()
    await bench.sync(check(WEB, port, 2))
    async with aiohttp.ClientSession() as session:
        statuses = []
        for count in (2, 0, 1):
            await bench.sync(check(WEB, port, count))
            async with session.get(f"http://{HOST}:{port}/") as response:
                statuses.append((response.status, response.headers["X-Load-Balancing-Endpoint-Weight"]))
                assert response.connection is None or not response.connection.transport.is_closing()
    assert statuses == [(200, "2"), (503, "0"), (200, "1")]


async def test_a_sick_proxy_answers_503_although_there_are_endpoints(bench):
    port = free_port()
    await bench.sync(check(WEB, port, 2))
    bench.healthy = False
    status, _, body = await fetch(port)
    assert (status, b'"serviceProxyHealthy": false' in body) == (503, True)


async def test_ports_open_move_and_close_as_services_do(bench):
    first, second, third = free_port(), free_port(), free_port()
    await bench.sync(check(WEB, first, 1), check(OTHER, second, 0))
    assert dict(bench.listeners.ports) == {WEB: first, OTHER: second}
    assert (await fetch(second))[0] == 503
    await bench.sync(check(WEB, third, 1))
    assert dict(bench.listeners.ports) == {WEB: third}
    assert (refuses(first), refuses(second), refuses(third)) == (True, True, False)
    await bench.sync()
    assert refuses(third)


async def test_two_services_may_swap_their_ports(bench):
    first, second = free_port(), free_port()
    await bench.sync(check(WEB, first, 1), check(OTHER, second, 0))
    await bench.sync(check(WEB, second, 1), check(OTHER, first, 0))
    assert ((await fetch(second))[0], (await fetch(first))[0]) == (200, 503)
    assert bench.failures == []


async def test_a_taken_port_is_told_once_tried_at_each_sync_and_keeps_no_other_away(bench):
    with taken_port() as port:
        free = free_port()
        for _ in range(3):
            await bench.sync(check(WEB, port, 1), check(OTHER, free, 1))
        assert [(key, failed) for key, failed, _ in bench.failures] == [(WEB, port)]
        assert bench.failures[0][2] == "Address already in use"
        assert (await fetch(free))[0] == 200
    await bench.sync(check(WEB, port, 1), check(OTHER, free, 1))
    assert (await fetch(port))[0] == 200
    assert len(bench.failures) == 1


async def test_a_port_that_fails_on_one_address_is_open_on_none(bench):
    with taken_port() as port:
        await bench.listeners.sync([check(WEB, port, 1)], ["127.0.0.2", HOST])
        with closing(socket.socket()) as probe:
            assert probe.connect_ex(("127.0.0.2", port)) != 0
    assert dict(bench.listeners.ports) == {}


async def test_no_client_is_left_hanging_when_a_port_closes_while_it_connects(bench):
    port = free_port()
    done = False
    answered = 0

    async def ask_on_and_on() -> None:
        nonlocal answered
        while not done:
            try:
                await fetch(port)
                answered += 1
            except aiohttp.ClientError:
                await asyncio.sleep(0)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(ask_on_and_on())
        for turns in range(120):
            await bench.sync(check(WEB, port, 1))
            for _ in range(turns % 40):
                await asyncio.sleep(0)
            await bench.sync()
        await bench.sync(check(WEB, port, 1))
        await until(lambda: answered > 0)
        done = True
    assert bench.failures == []


@asynccontextmanager
async def serving(address: BindAddress, **more: object) -> AsyncIterator[None]:
    routes = {"/livez": lambda: Answer(status=503, headers={"X-Content-Type-Options": "nosniff"}, body=b"late")}
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(address, routes, **more))
        try:
            yield
        finally:
            task.cancel()


async def test_a_route_answers_and_others_are_not_there():
    address = BindAddress(host=HOST, port=free_port())
    async with serving(address):
        await until(lambda: not refuses(address.port))
        status, headers, body = await fetch(address.port, "/livez")
        assert (status, headers["X-Content-Type-Options"], body) == (503, "nosniff", b"late")
        assert (await fetch(address.port, "/nothing"))[0] == 404


async def test_a_taken_address_is_refused_where_that_is_asked_for():
    with taken_port() as port:
        with pytest.raises(Refused, match=rf"^cannot listen on {HOST}:{port}: .*address already in use"):
            await serve(BindAddress(host=HOST, port=port), {}, hard_fail=True)


async def test_a_taken_address_is_told_and_tried_again(monkeypatch):
    monkeypatch.setattr(listeners, "BIND_RETRY_S", 0.0)
    told = []

    async def tell(message: str) -> None:
        told.append(message)

    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        address = BindAddress(host=HOST, port=holder.getsockname()[1])
        async with serving(address, on_bind_failure=tell):
            await until(lambda: bool(told))
            holder.close()
            await until(lambda: not refuses(address.port))
            assert (await fetch(address.port, "/livez"))[0] == 503
    assert len(told) == 1


def test_an_address_is_written_as_a_url_has_it():
    assert (str(BindAddress(host="0.0.0.0", port=1)), str(BindAddress(host="::1", port=2))) == ("0.0.0.0:1", "[::1]:2")
