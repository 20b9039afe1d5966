"""The server over real sockets, asked by a resolver that is not ours, and fed by an API server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.rcode
import pytest
import yaml
from dns.message import Message, make_query

from fairway.api.types import Key
from fairway.base.addresses import IPAddress, parse_address
from fairway.base.errors import Refused
from fairway.dns.answer import View
from fairway.dns.server import MAX_CONNECTIONS, DnsServerConfig, answer_over, bind, serve
from tests.dns.clusters import CLUSTER, HTTP, endpoint, endpoint_slice, service, view
from tests.watch.fake_api import FakeApi

LIMIT_S = 30.0
WEB = make_query("web.default.svc.cluster.local", "A")
HOST = "127.0.53.1"
"""On loopback, and nobody else's: the port that is free for datagrams is free for streams too."""
LOOPBACK = parse_address(HOST)


@asynccontextmanager
async def answering(of: View = CLUSTER, at: IPAddress = LOOPBACK) -> AsyncIterator[int]:
    """The port of a server that runs meanwhile."""
    sockets = bind([at], 0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(answer_over(sockets, of))
        try:
            async with asyncio.timeout(LIMIT_S):
                yield sockets[0].getsockname()[1]
        finally:
            task.cancel()


async def udp(query: Message, port: int, at: str = HOST) -> Message:
    return await dns.asyncquery.udp(query, at, port=port, timeout=LIMIT_S)


async def tcp(query: Message, port: int) -> Message:
    return await dns.asyncquery.tcp(query, HOST, port=port, timeout=LIMIT_S)


def addresses(answer: Message) -> list[str]:
    return sorted(str(record) for each in answer.answer for record in each)


async def test_datagrams_and_streams_are_answered_at_one_port() -> None:
    async with answering() as port:
        assert addresses(await udp(WEB, port)) == ["10.200.1.7"]
        assert addresses(await tcp(WEB, port)) == ["10.200.1.7"]


async def test_ipv6_is_answered_as_well() -> None:
    async with answering(at=parse_address("::1")) as port:
        assert addresses(await udp(WEB, port, "::1")) == ["10.200.1.7"]


async def test_what_no_datagram_holds_is_asked_for_again_over_a_stream() -> None:
    endpoints = [endpoint(f"10.10.3.{n}") for n in range(200)]
    large = view([service("a/db", "None", ports=[HTTP])], [endpoint_slice("a/db", *endpoints, of="db", ports=[HTTP])])
    query = make_query("db.a.svc.cluster.local", "A")
    async with answering(large) as port:
        assert (await udp(query, port)).flags & dns.flags.TC
        answer, over_tcp = await dns.asyncquery.udp_with_fallback(query, HOST, port=port, timeout=LIMIT_S)
    assert over_tcp
    assert len(addresses(answer)) == len(endpoints)


async def test_a_connection_carries_one_question_after_another() -> None:
    async with answering() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        wire = WEB.to_wire(prepend_length=True)
        writer.write(wire * 3)
        lengths = []
        for _ in range(3):
            lengths.append(int.from_bytes(await reader.readexactly(2), "big"))
            await reader.readexactly(lengths[-1])
        writer.close()
        await writer.wait_closed()
    assert len(set(lengths)) == 1


async def test_rubbish_ends_a_connection_and_nothing_else() -> None:
    async with answering() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"\x00\x03abc")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"rubbish", (HOST, port))
        assert addresses(await udp(WEB, port)) == ["10.200.1.7"]


async def test_connections_beyond_the_limit_are_closed_until_one_ends() -> None:
    async with answering() as port:
        held = [await asyncio.open_connection(HOST, port) for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await reader.read() == b""
        for each in (writer, *(writer for _, writer in held)):
            each.close()
            await each.wait_closed()


async def test_a_question_that_breaks_the_server_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    # The API accepts it, and no name can have a label of more than 63 octets (RFC 1035 2.3.4).
    broken = view([service("a/far", type="ExternalName", externalName="x" * 64 + ".com")], [])
    async with answering(broken) as port:
        answer = await udp(make_query("far.a.svc.cluster.local", "A"), port)
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert "a question could not be answered" in caplog.text


async def test_it_follows_the_api_server(tmp_path: Path) -> None:
    api = FakeApi()
    api.put(service("default/web", "10.200.1.7", ports=[HTTP]))
    db = make_query("db.shop.svc.cluster.local", "A")
    sockets = bind([LOOPBACK], 0)
    port = sockets[0].getsockname()[1]
    async with api.serve(), asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        # Asked before it has begun, it answers once it knows.
        early = group.create_task(udp(WEB, port))
        task = group.create_task(serve(_config(tmp_path, api.url), sockets))
        assert addresses(await early) == ["10.200.1.7"]
        await api.wait_watchers(2)

        api.put(service("shop/db", "None", ports=[HTTP]))
        api.put(endpoint_slice("shop/db-a", endpoint("10.10.1.2"), of="db", ports=[HTTP]))
        await api.announce()
        while addresses(await udp(db, port)) != ["10.10.1.2"]:
            pass

        api.put(endpoint_slice("shop/db-a", endpoint("10.10.1.2", ready=False), of="db", ports=[HTTP]))
        await api.announce()
        while (await udp(db, port)).rcode() != dns.rcode.NXDOMAIN:
            pass
        task.cancel()


async def test_a_kubeconfig_that_is_not_there_is_refused(tmp_path: Path) -> None:
    config = DnsServerConfig(
        kubeconfig=tmp_path / "none", addresses=(), domain="cluster.local", service=Key("kube-system", "kube-dns")
    )
    with pytest.raises(Refused, match="none"):
        await serve(config, [])


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    with socket.create_server((HOST, 0)) as taken, pytest.raises(OSError, match="in use"):
        bind([LOOPBACK], taken.getsockname()[1])


def _config(folder: Path, server: str) -> DnsServerConfig:
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path.write_text(yaml.safe_dump(document))
    return DnsServerConfig(
        kubeconfig=path, addresses=(LOOPBACK,), domain="cluster.local", service=Key("kube-system", "kube-dns")
    )
