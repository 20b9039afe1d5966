"""What a Service costs a connection's first packet: the time of connect(), and of the first UDP answer.

One client reaches one backend through nodes side by side (`wires`): a bare one, and one for each data plane and number
of Services (`planes`). All stand ready before anything is measured, and the rounds go over all of them, to and fro, so
that noise hits all alike. The Service measured sits in the middle of its node's; every connection has a fresh port.
"""

from __future__ import annotations

import gc
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from typing import Any

from fairway.api.core import ServiceType
from fairway.base.errors import FairwayError, Refused
from fairway.cluster.bench import objects
from fairway.cluster.bench.figures import percentile, ratio, rounded
from fairway.cluster.bench.objects import Shape
from fairway.cluster.bench.planes import Plane, load, version, why_not
from fairway.cluster.bench.program_target import MakeTarget, nftables_target
from fairway.cluster.bench.wires import MOST_NODES, NodeWire, Wires, wired
from fairway.cluster.scratch import in_child_of, in_scratch
from fairway.flow.packet import Protocol

ROUTE, CLUSTER_IP, NODE_PORT = "route", "clusterIP", "nodePort"
"""What a cell goes via."""

_WARM_UP = 3
"""Uncounted packets of each cell: neighbours are found, caches filled."""
_PATIENCE = struct.pack("@ll", 2, 0)
"""struct timeval: an answer within these wires takes a thousandth of it at most."""
_RESET_ON_CLOSE = struct.pack("@ii", 1, 0)
"""struct linger: close() resets the connection, so that no port waits in TIME_WAIT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """What to measure. connects: for each cell; batch: how many of them at one visit of it.

    load_limit_s: a plane whose rules take longer to load is left out at that size. limit_s: rounds end after it.
    """

    services: tuple[int, ...]
    endpoints: int = 1
    connects: int = 3000
    batch: int = 25
    planes: tuple[Plane, ...] = tuple(Plane)
    load_limit_s: float = 60.0
    limit_s: float = 600.0


@dataclass(slots=True, kw_only=True)
class Cell:
    """One way to the backend; samples: nanoseconds."""

    plane: Plane
    via: str
    services: int
    protocol: Protocol
    address: str
    port: int
    samples: list[int] = field(default_factory=list)

    def percentile_us(self, percent: float) -> float | None:
        return percentile(self.samples, percent) / 1000 if self.samples else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The rules of one node; skipped: why it has none, and so no cells; None where it has."""

    plane: Plane
    services: int
    seconds: float | None = None
    skipped: str | None = None


def bench_connect(
    options: ConnectOptions, *, say: Callable[[str], None], make: MakeTarget = nftables_target
) -> dict[str, Any]:
    """The figures as JSON has them. Raises Unsupported where the machine gives no namespaces, Refused for too much."""
    check(options)
    loads, cells = in_scratch(lambda: measure(options, say, make))
    return report(options, loads, cells)


def check(options: ConnectOptions) -> None:
    """Raises Refused for what does not fit."""
    if len(options.services) * len(Plane) > MOST_NODES:
        raise Refused(f"{len(options.services)} numbers of Services are too many; ask for fewer")
    for services in options.services:
        if services < 2:
            raise Refused(f"{services} Services: at least 2 are needed, one of TCP and one of UDP")
        _shape(services, options.endpoints, 0)


def measure(options: ConnectOptions, say: Callable[[str], None], make: MakeTarget) -> tuple[list[Load], list[Cell]]:
    """Load all planes, then measure all cells; in a scratch network namespace, which becomes the client's."""
    pods = {pod for services in options.services for pod in _measured_pods(_shape(services, options.endpoints, 0))}
    with ExitStack() as stack:
        wires = stack.enter_context(wired(sorted(pods), objects.TARGET_PORT))
        loads: list[Load] = []
        cells: list[Cell] = []
        for plane, shape in _nodes(options):
            loaded, reached = _prepare(stack, wires, plane, shape, options, make)
            say(_describe(loaded))
            loads.append(loaded)
            cells += reached
        run_rounds(cells, options, say)
    return loads, cells


def _nodes(options: ConnectOptions) -> Iterator[tuple[Plane, Shape]]:
    """The bare node first. The cluster IPs of one node are no other's, so that the client's routes tell them apart."""
    if Plane.BARE in options.planes:
        yield Plane.BARE, _shape(options.services[0], options.endpoints, 0)
    spared = 0
    for services in options.services:
        for plane in Plane:
            if plane in options.planes and plane is not Plane.BARE:
                yield plane, _shape(services, options.endpoints, spared)
                spared += services


def _prepare(
    stack: ExitStack, wires: Wires, plane: Plane, shape: Shape, options: ConnectOptions, make: MakeTarget
) -> tuple[Load, list[Cell]]:
    """A node with the plane's rules, and the cells that go through it."""
    services = 0 if plane is Plane.BARE else shape.services
    lacking = why_not(plane)
    if lacking is not None:
        return Load(plane=plane, services=services, skipped=lacking), []
    node = stack.enter_context(wires.node(_measured_pods(shape)))
    put = partial(load, plane, shape, str(node.address), limit_s=options.load_limit_s, make=make)
    try:
        seconds = in_child_of(node.pid, put)
    except FairwayError as error:
        return Load(plane=plane, services=services, skipped=str(error)), []
    cells = _bare_cells(wires, node, shape) if plane is Plane.BARE else _service_cells(wires, node, plane, shape)
    return Load(plane=plane, services=services, seconds=seconds), cells


def _bare_cells(wires: Wires, node: NodeWire, shape: Shape) -> list[Cell]:
    pod = objects.pod_address(shape, _measured(shape)[Protocol.TCP], 0)
    wires.send_by(node, pod)
    return [
        Cell(
            plane=Plane.BARE,
            via=ROUTE,
            services=0,
            protocol=protocol,
            address=str(pod),
            port=objects.TARGET_PORT,
        )
        for protocol in (Protocol.TCP, Protocol.UDP)
    ]


def _service_cells(wires: Wires, node: NodeWire, plane: Plane, shape: Shape) -> list[Cell]:
    cells = []
    for protocol, service in _measured(shape).items():
        cluster_ip = objects.cluster_ip(shape, service)
        wires.send_by(node, cluster_ip)
        ways: dict[str, tuple[IPv4Address, int]] = {
            CLUSTER_IP: (cluster_ip, objects.PORT),
            NODE_PORT: (node.address, objects.node_port(service)),
        }
        cells += [
            Cell(plane=plane, via=via, services=shape.services, protocol=protocol, address=str(address), port=port)
            for via, (address, port) in ways.items()
        ]
    return cells


def _shape(services: int, endpoints: int, spared_ips: int) -> Shape:
    return Shape(
        services=services,
        endpoints=endpoints,
        type=ServiceType.NODE_PORT,
        udp_at=_udp_at(services),
        spared_ips=spared_ips,
    )


def _udp_at(services: int) -> int:
    """The neighbour of the one in the middle."""
    return services // 2 - 1


def _measured(shape: Shape) -> dict[Protocol, int]:
    return {Protocol.TCP: shape.services // 2, Protocol.UDP: _udp_at(shape.services)}


def _measured_pods(shape: Shape) -> list[IPv4Address]:
    return [
        objects.pod_address(shape, service, endpoint)
        for service in _measured(shape).values()
        for endpoint in range(shape.endpoints)
    ]


def run_rounds(cells: Sequence[Cell], options: ConnectOptions, say: Callable[[str], None]) -> None:
    """Fill the cells' samples, a batch of each in turn, every second round in the opposite order."""
    for cell in cells:
        for _ in range(_WARM_UP):
            _sample(cell)
    until = time.monotonic() + options.limit_s
    gc.collect()
    gc.disable()
    try:
        for number, batch in enumerate(batches(options.connects, options.batch)):
            if time.monotonic() > until:
                say(f"the rounds end early, after {options.limit_s:g} s")
                return
            for cell in cells if number % 2 == 0 else reversed(cells):
                cell.samples += [_sample(cell) for _ in range(batch)]
    finally:
        gc.enable()


def batches(total: int, size: int) -> Iterator[int]:
    """The sizes of the batches that make up `total`, the last one smaller where it must be."""
    for begun in range(0, total, size):
        yield min(size, total - begun)


def _sample(cell: Cell) -> int:
    """Nanoseconds of one connection's first packet, there and back. Raises FairwayError where no answer comes."""
    try:
        return (_connect if cell.protocol is Protocol.TCP else _ask)((cell.address, cell.port))
    except OSError as error:
        where = f"{cell.plane} with {cell.services} Services, {cell.via}, {cell.protocol.value}"
        raise FairwayError(f"no way through {where} to {cell.address}:{cell.port}: {error.strerror}") from error


def _connect(to: tuple[str, int]) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        # Not settimeout: with it Python makes the socket non-blocking and polls, which would be measured too.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        begun = time.perf_counter_ns()
        client.connect(to)
        return time.perf_counter_ns() - begun


def _ask(to: tuple[str, int]) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        begun = time.perf_counter_ns()
        client.sendto(b"?", to)
        client.recv(16)
        return time.perf_counter_ns() - begun


def _describe(loaded: Load) -> str:
    what = f"{loaded.plane}, {loaded.services} Services"
    return f"{what}: left out, {loaded.skipped}" if loaded.skipped else f"{what}: loaded in {loaded.seconds:.3f} s"


def report(options: ConnectOptions, loads: Sequence[Load], cells: Sequence[Cell]) -> dict[str, Any]:
    """As JSON has it. connects: how many each cell really had."""
    return {
        "connects": min((len(cell.samples) for cell in cells), default=0),
        "endpoints": options.endpoints,
        "programs": {str(plane): said for plane in options.planes if (said := version(plane)) is not None},
        "loads": [
            {
                "plane": str(loaded.plane),
                "services": loaded.services,
                "seconds": rounded(loaded.seconds, 3),
                "skipped": loaded.skipped,
            }
            for loaded in loads
        ],
        "cells": [cell_json(cell, cells) for cell in cells],
    }


def cell_json(cell: Cell, cells: Sequence[Cell]) -> dict[str, Any]:
    """One cell, its median beside that of the bare route and of kube-proxy's nftables rules for the same."""
    p50, p99 = cell.percentile_us(50), cell.percentile_us(99)
    bare = _p50(cells, plane=Plane.BARE, protocol=cell.protocol)
    kube_proxy = _p50(cells, plane=Plane.KUBE_PROXY, protocol=cell.protocol, via=cell.via, services=cell.services)
    return {
        "plane": str(cell.plane),
        "via": cell.via,
        "services": cell.services,
        "protocol": cell.protocol.value,
        "p50_us": rounded(p50, 1),
        "p99_us": rounded(p99, 1),
        "ratio_to_bare": rounded(ratio(p50, bare), 3),
        "ratio_to_kube_proxy": rounded(ratio(p50, kube_proxy), 3),
    }


def _p50(cells: Sequence[Cell], **wanted: object) -> float | None:
    """Of the first cell with these attributes."""
    for cell in cells:
        if all(getattr(cell, name) == value for name, value in wanted.items()):
            return cell.percentile_us(50)
    return None
