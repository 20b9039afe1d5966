"""Probes for real: HTTP and TCP from the node's network namespace, where the kubelet runs, and programs in containers.

Texts and rules of the kubelet's `pkg/probe/{http,tcp,exec}` and `pkg/kubelet/prober/prober.go`.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from fairway.base.errors import FairwayError
from fairway.kubelet.pod import ExecAction, HttpGet, ProbeSpec, TcpSocket
from fairway.kubelet.probes import Outcome

USER_AGENT = "kube-probe/1.33"
MAX_BODY_BYTES = 10 * 1024
MAX_REDIRECTS = 10
ATTEMPTS = 3
"""A probe that could not be made is tried again at once, so often in all (prober.go maxProbeRetries)."""

_REASONS = {
    errno.ECONNREFUSED: "connect: connection refused",
    errno.EHOSTUNREACH: "connect: no route to host",
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.ECONNRESET: "read: connection reset by peer",
}

RunCommand = Callable[[tuple[str, ...], float], Awaitable[tuple[int, str]]]
"""Runs a program in the container, for at most so many seconds: its exit code and output. Raises TimeoutError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """message: why it failed, or with success what is odd about it (then a ProbeWarning)."""

    outcome: Outcome
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """A container to probe. ports: its named ones. run: runs a program in it."""

    address: str
    ports: Mapping[str, int]
    run: RunCommand


class Prober:
    """Makes probes; an async context manager."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Prober:
        # A connection for each probe, and certificates are not verified (KEP: probes test the program, not its name).
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0, ssl=False),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def probe(self, spec: ProbeSpec, target: ProbeTarget) -> ProbeAnswer:
        """One probe, tried again while it cannot be made at all."""
        answer = ProbeAnswer(outcome=Outcome.ERROR)
        for _ in range(ATTEMPTS):
            answer = await self._attempt(spec, target)
            if answer.outcome is not Outcome.ERROR:
                break
        return answer

    async def reaches(self, get: HttpGet, target: ProbeTarget, timeout_s: float) -> bool:
        """Whether somebody answers, whatever the status."""
        port = _number(get.port, target)
        if port is None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._get(http_url(get, target.address, port), get)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return False
        return True

    async def _attempt(self, spec: ProbeSpec, target: ProbeTarget) -> ProbeAnswer:
        match spec.handler:
            case HttpGet(port=port) | TcpSocket(port=port):
                number = _number(port, target)
                if number is None:
                    return ProbeAnswer(outcome=Outcome.ERROR, message=f"the container has no port named {port!r}")
                if isinstance(spec.handler, HttpGet):
                    return await self._http(spec.handler, target, number, spec.timeout_s)
                return await _tcp(spec.handler.host or target.address, number, spec.timeout_s)
            case ExecAction(command=command):
                return await _exec(command, target, spec.timeout_s)

    async def _http(self, get: HttpGet, target: ProbeTarget, port: int, timeout_s: float) -> ProbeAnswer:
        url = http_url(get, target.address, port)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._get(url, get)
        except TimeoutError:
            message = f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f'Get "{url}": {_why(error, url)}'
        return ProbeAnswer(outcome=Outcome.FAILURE, message=message)

    async def _get(self, url: URL, get: HttpGet) -> ProbeAnswer:
        assert self._session is not None, "the Prober is not entered: use 'async with'"
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*"} | dict(get.headers)
        first_host = url.host
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                await _read_some(response)
                location = response.headers.get("Location", "")
                if response.status not in (301, 302, 303, 307, 308) or not location:
                    return _judge(response.status)
                url = url.join(URL(location))
                if url.host != first_host:
                    text = f"Probe terminated redirects: {location}"
                    return ProbeAnswer(outcome=Outcome.SUCCESS, message=text)
        return ProbeAnswer(outcome=Outcome.FAILURE, message=f'Get "{url}": stopped after {MAX_REDIRECTS} redirects')


def _number(port: int | str, target: ProbeTarget) -> int | None:
    """None for a name that no port of the container has."""
    return target.ports.get(port) if isinstance(port, str) and not port.isdecimal() else int(port)


def http_url(get: HttpGet, address: str, port: int) -> URL:
    """Where an httpGet goes; its path may carry a query."""
    host = get.host or address
    host = f"[{host}]" if ":" in host else host
    path = get.path if get.path.startswith("/") else f"/{get.path}"
    return URL(f"{get.scheme.lower()}://{host}:{port}{path}")


def _judge(status: int) -> ProbeAnswer:
    if 200 <= status < 400:
        return ProbeAnswer(outcome=Outcome.SUCCESS)
    return ProbeAnswer(outcome=Outcome.FAILURE, message=f"HTTP probe failed with statuscode: {status}")


async def _read_some(response: aiohttp.ClientResponse) -> None:
    """The body as far as it matters: a server that never stops talking has answered all the same."""
    left = MAX_BODY_BYTES
    while left > 0 and (data := await response.content.read(left)):
        left -= len(data)


async def _tcp(host: str, port: int, timeout_s: float) -> ProbeAnswer:
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return ProbeAnswer(outcome=Outcome.FAILURE, message=f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, str(error))
        return ProbeAnswer(outcome=Outcome.FAILURE, message=f"dial tcp {host}:{port}: {reason}")
    writer.close()
    return ProbeAnswer(outcome=Outcome.SUCCESS)


async def _exec(command: tuple[str, ...], target: ProbeTarget, timeout_s: float) -> ProbeAnswer:
    try:
        code, output = await target.run(command, timeout_s)
    except TimeoutError:
        text = f'command timed out: "{" ".join(command)}" timed out after {timeout_s}s'
        return ProbeAnswer(outcome=Outcome.FAILURE, message=text)
    except FairwayError as error:
        return ProbeAnswer(outcome=Outcome.ERROR, message=str(error))
    if code == 0:
        return ProbeAnswer(outcome=Outcome.SUCCESS)
    return ProbeAnswer(outcome=Outcome.FAILURE, message=output[:MAX_BODY_BYTES])


def _why(error: Exception, url: URL) -> str:
    """The reason in the words of Go's net package where the kernel gave it."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _REASONS:
        return f"dial tcp {url.host}:{url.port}: {_REASONS[number]}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__
