"""The program: watches Services and EndpointSlices, and answers over UDP and TCP until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import dns.name
import dns.rcode
from dns.name import Name

from fairway.api.resources import ENDPOINT_SLICES, SERVICES
from fairway.api.types import Key
from fairway.base.addresses import IPAddress
from fairway.base.errors import FairwayError
from fairway.dns.answer import View, Zone
from fairway.dns.catalog import Catalog
from fairway.dns.objects import ServiceNames, SliceNames, read_service, read_slice
from fairway.dns.wire import MAX_MESSAGE, failure, respond
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer
from fairway.watch.kubeconfig import load_kubeconfig

_log = logging.getLogger(__name__)

PORT = 53
"""RFC 1035 4.2."""

IDLE_S = 10.0
"""A connection over which nobody asks is closed (CoreDNS `core/dnsserver` idle timeout)."""

MAX_CONNECTIONS = 200
"""More are closed at once: a client that asks over TCP asks one thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsServerConfig:
    """kubeconfig: the API server and who we are to it. addresses: where to listen, over UDP and TCP.

    domain: the cluster's. service: the Service that leads here. machines: names outside the zone, with their addresses.
    """

    kubeconfig: Path
    addresses: tuple[IPAddress, ...]
    domain: str
    service: Key
    machines: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    port: int = PORT

    @property
    def zone(self) -> Zone:
        domain = dns.name.from_text(self.domain)
        return Zone(
            domain=domain,
            server=dns.name.from_text(f"{self.service.name}.{self.service.namespace}.svc", domain),
            machines={_machine(name): addresses for name, addresses in self.machines.items()},
        )


def run(config: DnsServerConfig) -> int:
    """Be the server until SIGTERM or SIGINT; returns the exit status.

    What ends it otherwise (no usable kubeconfig, a port that is taken) is logged as one line, and gives 1.
    """
    status = 0
    try:
        asyncio.run(_until_signalled(config))
    except* (FairwayError, OSError) as group:
        status = 1
        for error in group.exceptions:
            _log.critical("%s", error)
    return status


async def serve(config: DnsServerConfig, sockets: Sequence[socket.socket]) -> None:
    """Answer over sockets that are bound, and listening where they are streams, until cancelled.

    Questions that come before the cluster is known wait in their sockets. Raises Refused for a bad kubeconfig.
    """
    view = View(zone=config.zone, catalog=Catalog())
    async with Client(load_kubeconfig(config.kubeconfig), user_agent="fairway-dns") as client:
        async with asyncio.TaskGroup() as group:
            for one in _informers(client, view.catalog):
                group.create_task(one.run())
                await one.wait_synced()
            await answer_over(sockets, view)


async def answer_over(sockets: Sequence[socket.socket], view: View) -> None:
    """Answer with what `view` says at the time, until cancelled."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        for each in sockets:
            if each.type == socket.SOCK_DGRAM:
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(view), sock=each)
                stack.callback(transport.close)
            else:
                server = await asyncio.start_server(_Connections(view).serve, sock=each)
                stack.callback(server.close)
        await asyncio.Event().wait()


def bind(addresses: Sequence[IPAddress], port: int) -> list[socket.socket]:
    """A socket for datagrams and a listening one at each address. Raises OSError where one is taken."""
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        for address in addresses:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            datagrams = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            datagrams.bind((str(address), port))
            streams = socket.create_server((str(address), datagrams.getsockname()[1]), family=family, backlog=128)
            sockets += [datagrams, stack.enter_context(streams)]
        stack.pop_all()
    return sockets


async def _until_signalled(config: DnsServerConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(serve(config, bind(config.addresses, config.port)))
        await stop.wait()
        work.cancel()


def _informers(client: Client, catalog: Catalog) -> tuple[Informer[ServiceNames], Informer[SliceNames]]:
    def service(change: Change[ServiceNames]) -> None:
        catalog.observe_service(change.previous, change.current)

    def endpoint_slice(change: Change[SliceNames]) -> None:
        catalog.observe_slice(change.previous, change.current)

    return (
        Informer(client, SERVICES, decode=read_service, on_change=service),
        Informer(client, ENDPOINT_SLICES, decode=read_slice, on_change=endpoint_slice),
    )


def _machine(name: str) -> Name:
    return dns.name.from_text(name).canonicalize()


def _respond(wire: bytes, view: View, *, datagram: bool) -> bytes | None:
    try:
        return respond(wire, view, datagram=datagram)
    except Exception:
        # One object or question that cannot be digested must not end the answers to all others.
        _log.exception("a question could not be answered")
        return failure(wire, dns.rcode.SERVFAIL)


class _Datagrams(asyncio.DatagramProtocol):
    """One UDP socket."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No subclass of DatagramTransport in 3.11, but one in all it does.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        told = _respond(data, self._view, datagram=True)
        if told is not None and self._transport is not None:
            self._transport.sendto(told, addr)


class _Connections:
    """Of one listening TCP socket: messages one after another, each behind its length (RFC 7766)."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            # TimeoutError is an OSError; a client may go whenever it likes.
            with suppress(OSError, asyncio.IncompleteReadError):
                while self._open <= MAX_CONNECTIONS and await self._answer_one(reader, writer):
                    pass
        finally:
            self._open -= 1
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with asyncio.timeout(IDLE_S):
            length = int.from_bytes(await reader.readexactly(2), "big")
            wire = await reader.readexactly(length)
        told = _respond(wire, self._view, datagram=False)
        if told is None:
            return False
        assert len(told) <= MAX_MESSAGE
        writer.write(len(told).to_bytes(2, "big") + told)
        async with asyncio.timeout(IDLE_S):
            await writer.drain()
        return True
