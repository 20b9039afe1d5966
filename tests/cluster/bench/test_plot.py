"""Figures become pictures, in the form the file's name says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from fairway.base.errors import Unsupported
from fairway.cluster.bench.connect import Cell, ConnectOptions, report
from fairway.cluster.bench.planes import Plane
from fairway.cluster.bench.plot import need_matplotlib, plot_connect, plot_program
from fairway.cluster.bench.program import Baseline
from fairway.cluster.bench.program import report as program_report
from fairway.flow.packet import Protocol
from tests.cluster.bench.test_program import run_of


def program_figures() -> dict[str, Any]:
    baseline = Baseline(what="kube-proxy", services=2000, endpoints=10, seconds=(3.0,), fairway_seconds=(2.0,))
    runs = [run_of(100, 0.1), run_of(1000, 1.0), run_of(100, 0.2, endpoints=1)]
    return program_report(runs, {10: baseline, 1: Baseline(what="no nft", services=2000, endpoints=1)})


def connect_figures() -> dict[str, Any]:
    cells = [
        Cell(plane=plane, via=via, services=services, protocol=protocol, address="", port=1, samples=[services + 1000])
        for plane, via, services in (
            (Plane.BARE, "route", 0),
            (Plane.KUBE_PROXY, "clusterIP", 10),
            (Plane.KUBE_PROXY, "clusterIP", 1000),
            (Plane.IPTABLES, "nodePort", 10),
        )
        for protocol in (Protocol.TCP, Protocol.UDP)
    ]
    return report(ConnectOptions(services=(10, 1000), planes=()), [], cells)


def begins_as_its_name_says(file: Path) -> bool:
    begin = file.read_bytes()[:200]
    return begin.startswith(b"\x89PNG\r\n\x1a\n") if file.suffix == ".png" else b"<?xml" in begin


@pytest.mark.parametrize("name", ["figures.png", "figures.svg"])
def test_a_picture_is_written(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    plot_program(program_figures(), file)
    assert begins_as_its_name_says(file)
    file.unlink()
    plot_connect(connect_figures(), file)
    assert begins_as_its_name_says(file)


def test_a_picture_says_what_it_shows(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_connect(connect_figures(), tmp_path / "connect.svg")
        plot_program(program_figures(), tmp_path / "program.svg")
    drawn = (tmp_path / "connect.svg").read_text()
    for words in (
        "kube-proxy-nftables",
        "kube-proxy-iptables",
        "first tcp packet, clusterIP",
        "first udp packet, nodePort",
    ):
        assert words in drawn
    assert "fairway, 10 endpoints each" in (tmp_path / "program.svg").read_text()


def test_nothing_measured_still_makes_a_picture(tmp_path: Path) -> None:
    plot_connect(report(ConnectOptions(services=(10,), planes=()), [], []), tmp_path / "none.png")
    assert begins_as_its_name_says(tmp_path / "none.png")


def test_without_matplotlib_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Unsupported, match=r"pip install 'fairway\[plot\]'"):
        need_matplotlib()
