"""Connections to an API server that go on soon after an outage."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from fairway.api.resources import NODES
from fairway.watch.client import Client
from fairway.watch.kubeconfig import Credentials
from fairway.watch.retransmission import LONGEST_WAIT_MS, TCP_RTO_MAX_MS, go_on_soon, new_socket
from tests.watch.fake_api import FakeApi


def longest_wait(connection: socket.socket) -> int:
    return connection.getsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS)


def has_option() -> bool:
    with closing(socket.socket()) as connection:
        try:
            longest_wait(connection)
        except OSError:
            return False
    return True


knows_the_option = pytest.mark.skipif(not has_option(), reason="a kernel before Linux 6.15")


@knows_the_option
def test_what_is_accepted_has_it_of_its_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        go_on_soon(listener)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert longest_wait(accepted) == LONGEST_WAIT_MS


@knows_the_option
async def test_a_client_s_connections_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    connect = asyncio.get_running_loop().sock_connect

    async def connecting(connection: socket.socket, address: object) -> None:
        waits.append(longest_wait(connection))
        await connect(connection, address)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", connecting)
    api = FakeApi()
    async with api.serve(), Client(Credentials(server=api.url)) as client:
        await client.list(NODES)

    assert waits == [LONGEST_WAIT_MS]


def test_a_kernel_without_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairway.watch.retransmission.TCP_RTO_MAX_MS", 0x7FFF)
    with new_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as connection:
        assert connection.type == socket.SOCK_STREAM
