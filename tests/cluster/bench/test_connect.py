"""`bench connect`: which rounds, and what is said of the samples."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.base.errors import Refused
from fairway.cluster.bench import connect, objects
from fairway.cluster.bench.connect import Cell, ConnectOptions, Load, batches, check, report, run_rounds
from fairway.cluster.bench.planes import Plane
from fairway.flow.packet import Protocol


def cell(plane: Plane, services: int, *samples: int, via: str = "clusterIP", protocol: Protocol = Protocol.TCP) -> Cell:
    return Cell(
        plane=plane,
        via=via,
        services=services,
        protocol=protocol,
        address="10.96.0.1",
        port=80,
        samples=list(samples),
    )


def options(*services: int, **more: Any) -> ConnectOptions:
    return ConnectOptions(services=services, **more)


def test_rounds_go_to_and_fro_over_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(connect, "_sample", lambda cell: asked.append(cell.services) or 1)
    cells = [cell(Plane.KUBE_PROXY, services) for services in (1, 2, 3)]
    run_rounds(cells, options(10, connects=4, batch=1), lambda _: None)
    warm_up = len(cells) * 3
    assert asked[:warm_up] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert asked[warm_up:] == [1, 2, 3, 3, 2, 1, 1, 2, 3, 3, 2, 1]
    assert [len(one.samples) for one in cells] == [4, 4, 4]


def test_rounds_end_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(connect, "_sample", lambda cell: 1)
    monkeypatch.setattr(connect.time, "monotonic", lambda: next(now))
    said: list[str] = []
    cells = [cell(Plane.KUBE_PROXY, 10)]
    run_rounds(cells, options(10, connects=100, batch=10, limit_s=3), said.append)
    assert len(cells[0].samples) == 30
    assert said == ["the rounds end early, after 3 s"]


@pytest.mark.parametrize(("total", "size", "expected"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 25, [3]), (0, 5, [])])
def test_batches_make_up_the_total(total: int, size: int, expected: list[int]) -> None:
    assert list(batches(total, size)) == expected


def test_each_cell_is_compared_with_its_like() -> None:
    cells = [
        cell(Plane.BARE, 0, 20_000, via="route"),
        cell(Plane.BARE, 0, 40_000, via="route", protocol=Protocol.UDP),
        cell(Plane.KUBE_PROXY, 10, 30_000),
        cell(Plane.KUBE_PROXY, 1000, 50_000),
        cell(Plane.KUBE_PROXY, 10, 60_000, protocol=Protocol.UDP),
        cell(Plane.IPTABLES, 10, 90_000),
        cell(Plane.IPTABLES, 10, 120_000, protocol=Protocol.UDP),
        cell(Plane.IPTABLES, 5000, 100_000),
    ]
    ratios = [(one["ratio_to_bare"], one["ratio_to_kube_proxy"]) for one in report(options(10), [], cells)["cells"]]
    assert ratios == [(1, None), (1, None), (1.5, 1), (2.5, 1), (1.5, 1), (4.5, 3), (3, 2), (5, None)]


def test_the_report_has_what_its_reference_says() -> None:
    loads = [
        Load(plane=Plane.IPTABLES, services=10, seconds=0.12345),
        Load(plane=Plane.FAIRWAY, services=10, skipped="there is none"),
    ]
    samples = range(1000, 101_000, 1000)
    answer = report(options(10, planes=()), loads, [cell(Plane.IPTABLES, 10, *samples)])
    assert answer == {
        "connects": 100,
        "endpoints": 1,
        "programs": {},
        "loads": [
            {"plane": "kube-proxy-iptables", "services": 10, "seconds": 0.123, "skipped": None},
            {"plane": "fairway", "services": 10, "seconds": None, "skipped": "there is none"},
        ],
        "cells": [
            {
                "plane": "kube-proxy-iptables",
                "via": "clusterIP",
                "services": 10,
                "protocol": "tcp",
                "p50_us": 50.0,
                "p99_us": 99.0,
                "ratio_to_bare": None,
                "ratio_to_kube_proxy": None,
            }
        ],
    }


def test_the_services_asked_are_in_the_middle_and_no_address_leads_to_two_nodes() -> None:
    nodes = list(connect._nodes(options(2, 10, 11)))
    assert [plane for plane, _ in nodes] == [Plane.BARE, *[Plane.FAIRWAY, Plane.KUBE_PROXY, Plane.IPTABLES] * 3]
    asked = [connect._measured(shape) for _, shape in nodes[1:]]
    assert [tuple(one.values()) for one in asked] == [(1, 0)] * 3 + [(5, 4)] * 6
    addresses = [
        objects.cluster_ip(shape, service)
        for (_, shape), one in zip(nodes[1:], asked, strict=True)
        for service in one.values()
    ]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize(
    ("services", "why"), [((1,), "at least 2 are needed"), ((40_000,), "35536 ports"), ((10,) * 100, "too many")]
)
def test_what_does_not_fit_is_refused_before_anything_is_made(services: tuple[int, ...], why: str) -> None:
    with pytest.raises(Refused, match=why):
        check(options(*services))
