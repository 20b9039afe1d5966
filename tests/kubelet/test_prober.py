"""Probes against real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from fairway.base.errors import Retry
from fairway.kubelet import prober as prober_module
from fairway.kubelet.pod import ExecAction, Handler, HttpGet, ProbeSpec, TcpSocket
from fairway.kubelet.prober import ProbeAnswer, Prober, ProbeTarget, http_url
from fairway.kubelet.probes import Outcome
from tests.watch.authority import Authority

OK = ProbeAnswer(outcome=Outcome.SUCCESS)


async def no_command(argv: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
    raise AssertionError(argv)


def target(port: int = 0, run: Any = no_command) -> ProbeTarget:
    return ProbeTarget(address="127.0.0.1", ports={"http": port}, run=run)


def spec(handler: Handler, timeout_s: int = 5) -> ProbeSpec:
    return ProbeSpec(handler=handler, timeout_s=timeout_s)


async def probe(handler: Handler, to: ProbeTarget, *, timeout_s: int = 5) -> ProbeAnswer:
    async with Prober() as prober:
        return await prober.probe(spec(handler, timeout_s), to)


@asynccontextmanager
async def serving(handler: Any, tls: Any = None) -> AsyncIterator[int]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def answering(status: int, **headers: str) -> Any:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    return handler


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, OK),
        (204, OK),
        (304, OK),
        (399, OK),
        (400, ProbeAnswer(outcome=Outcome.FAILURE, message="HTTP probe failed with statuscode: 400")),
        (503, ProbeAnswer(outcome=Outcome.FAILURE, message="HTTP probe failed with statuscode: 503")),
    ],
)
async def test_an_answer_from_200_to_399_is_success(status: int, answer: ProbeAnswer) -> None:
    async with serving(answering(status)) as port:
        assert await probe(HttpGet(port=port), target()) == answer


async def test_the_request_is_a_kubelets() -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, dict(request.headers)))
        return web.Response()

    async with serving(handler) as port:
        await probe(HttpGet(port="http", path="/ready?deep=1"), target(port))
        await probe(HttpGet(port=port, path="x", headers=(("Host", "web"), ("User-Agent", "me"))), target())

    (method, path, headers), (_, other_path, other) = seen
    assert (method, path, other_path) == ("GET", "/ready?deep=1", "/x")
    assert headers == {
        "Host": f"127.0.0.1:{port}",
        "User-Agent": "kube-probe/1.33",
        "Accept": "*/*",
        "Connection": "close",
    }
    assert (other["Host"], other["User-Agent"]) == ("web", "me")


async def test_a_redirect_on_the_same_host_is_followed() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/":
            return web.Response(status=302, headers={"Location": "/moved"})
        return web.Response(status=500)

    async with serving(handler) as port:
        answer = await probe(HttpGet(port=port), target())

    assert answer == ProbeAnswer(outcome=Outcome.FAILURE, message="HTTP probe failed with statuscode: 500")


async def test_a_redirect_to_another_host_is_success_with_a_warning() -> None:
    async with serving(answering(302, Location="http://elsewhere.example/")) as port:
        answer = await probe(HttpGet(port=port), target())

    message = "Probe terminated redirects: http://elsewhere.example/"
    assert answer == ProbeAnswer(outcome=Outcome.SUCCESS, message=message)


async def test_redirects_are_followed_ten_times() -> None:
    async with serving(answering(302, Location="/again")) as port:
        answer = await probe(HttpGet(port=port), target())

    assert answer.outcome is Outcome.FAILURE
    assert answer.message.endswith("stopped after 10 redirects")


async def test_nobody_verifies_the_certificate(tmp_path: Any) -> None:
    async with serving(answering(200), Authority().server_context(tmp_path)) as port:
        assert await probe(HttpGet(port=port, scheme="HTTPS"), target()) == OK


async def test_a_port_nobody_listens_on_refuses() -> None:
    port = closed_port()
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"

    assert await probe(HttpGet(port=port), target()) == ProbeAnswer(
        outcome=Outcome.FAILURE, message=f'Get "http://127.0.0.1:{port}/": {refused}'
    )
    assert await probe(TcpSocket(port=port), target()) == ProbeAnswer(outcome=Outcome.FAILURE, message=refused)


async def test_a_server_that_says_nothing_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        answer = await probe(HttpGet(port=port), target(), timeout_s=1)

    text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert answer == ProbeAnswer(outcome=Outcome.FAILURE, message=f'Get "http://127.0.0.1:{port}/": {text}')


async def test_a_server_that_talks_no_http_fails() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp ready\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        answer = await probe(HttpGet(port=server.sockets[0].getsockname()[1]), target())

    assert answer.outcome is Outcome.FAILURE


async def test_a_body_without_end_is_read_only_so_far() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionError:
            return response

    async with serving(handler) as port:
        assert await probe(HttpGet(port=port), target()) == OK


async def test_a_port_that_accepts_is_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert await probe(TcpSocket(port=server.getsockname()[1]), target()) == OK


@pytest.mark.parametrize(
    ("code", "answer"),
    [(0, OK), (1, ProbeAnswer(outcome=Outcome.FAILURE, message="said so"))],
)
async def test_a_programs_exit_code_decides(code: int, answer: ProbeAnswer) -> None:
    async def run(argv: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
        assert (argv, timeout_s) == (("check", "me"), 5)
        return code, "said so"

    assert await probe(ExecAction(command=("check", "me")), target(run=run)) == answer


async def test_a_program_that_takes_too_long_has_failed() -> None:
    async def run(_argv: tuple[str, ...], _timeout_s: float) -> tuple[int, str]:
        raise TimeoutError

    assert await probe(ExecAction(command=("check", "me")), target(run=run)) == ProbeAnswer(
        outcome=Outcome.FAILURE, message='command timed out: "check me" timed out after 5s'
    )


async def test_a_probe_that_cannot_be_made_is_tried_three_times_and_is_an_error() -> None:
    tries: list[int] = []

    async def run(_argv: tuple[str, ...], _timeout_s: float) -> tuple[int, str]:
        tries.append(1)
        raise Retry("no connection", after_s=1.0)

    answer = await probe(ExecAction(command=("check",)), target(run=run))

    assert (answer, len(tries)) == (ProbeAnswer(outcome=Outcome.ERROR, message="no connection"), prober_module.ATTEMPTS)


async def test_a_port_name_the_container_lacks_is_an_error() -> None:
    answer = await probe(HttpGet(port="metrics"), target())

    assert answer == ProbeAnswer(outcome=Outcome.ERROR, message="the container has no port named 'metrics'")


@pytest.mark.parametrize(
    ("get", "url"),
    [
        (HttpGet(port=80), "http://10.10.1.2:80/"),
        (HttpGet(port=8443, scheme="HTTPS", path="/a b"), "https://10.10.1.2:8443/a%20b"),
        (HttpGet(port=80, host="web.local", path="/x?a=1&b=2"), "http://web.local:80/x?a=1&b=2"),
        (HttpGet(port=81, host="fd00::1"), "http://[fd00::1]:81/"),
    ],
)
def test_where_a_probe_goes(get: HttpGet, url: str) -> None:
    assert http_url(get, "10.10.1.2", 80 if get.port == 80 else int(get.port)).human_repr() == url.replace("%20", " ")
