"""The bench in the kernel: its scratch namespaces, the baselines it loads, and connections through each plane."""

from __future__ import annotations

import socket
import subprocess

import pytest

from fairway.api.core import ServiceType
from fairway.base.errors import FairwayError
from fairway.cluster.bench import objects
from fairway.cluster.bench.connect import ConnectOptions, bench_connect
from fairway.cluster.bench.kubeproxy_shape import nftables_text
from fairway.cluster.bench.objects import Shape
from fairway.cluster.bench.planes import Plane, load
from fairway.cluster.bench.program import ProgramOptions, bench_program
from fairway.cluster.scratch import in_scratch
from tests.cluster.bench.fakes import FakeTarget
from tests.cluster.bench.nft import commanded, listed
from tests.cluster.bench.test_objects import plan_of

pytestmark = pytest.mark.kernel

NODE_ADDRESS = "192.0.2.1"
SHAPE = Shape(services=30, endpoints=3, type=ServiceType.NODE_PORT, udp_at=7)


def test_the_kernel_takes_kube_proxys_nftables_rules_and_holds_just_them() -> None:
    def child() -> str:
        load(Plane.KUBE_PROXY, SHAPE, NODE_ADDRESS, limit_s=30)
        command = ["nft", "--stateless", "list", "table", "ip", "kube-proxy"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    text = nftables_text(plan_of(SHAPE), objects.SERVICE_NETWORK)
    assert listed(in_scratch(child)) == commanded(text)


def test_the_kernel_takes_kube_proxys_iptables_rules() -> None:
    def child() -> list[str]:
        load(Plane.IPTABLES, SHAPE, NODE_ADDRESS, limit_s=30)
        listing = subprocess.run(["iptables-save", "-t", "nat"], check=True, capture_output=True, text=True).stdout
        return [line for line in listing.splitlines() if "--to-destination" in line]

    assert len(in_scratch(child)) == SHAPE.services * SHAPE.endpoints


def test_programming_is_measured_in_children_beside_kube_proxys_rules() -> None:
    options = ProgramOptions(services=(5,), endpoints=(2,), changes=3, baseline_services=20, runs=2)
    answer = bench_program(options, say=lambda _: None, make=FakeTarget)
    assert (answer["elements"], answer["change"]["n"], answer["restart"]["messages"]) == (10, 3, 0)
    assert [len(answer["baseline"][name]) for name in ("runs_s", "fairway_runs_s")] == [2, 2]
    assert answer["ratio"] > 0


def test_a_load_that_takes_too_long_is_told() -> None:
    with pytest.raises(FairwayError, match="nft took longer than"):
        in_scratch(lambda: load(Plane.KUBE_PROXY, Shape(services=300, endpoints=1), NODE_ADDRESS, limit_s=0.001))


def test_connections_get_through_every_plane_that_is_there() -> None:
    planes = (Plane.BARE, Plane.FAIRWAY, Plane.KUBE_PROXY, Plane.IPTABLES)
    options = ConnectOptions(services=(2, 12), endpoints=2, connects=6, batch=2, planes=planes)
    before = socket.if_nameindex()
    answer = bench_connect(options, say=lambda _: None)
    assert answer["connects"] == 6
    assert [load for load in answer["loads"] if load["skipped"]] == []
    cells = {(cell["plane"], cell["services"], cell["via"], cell["protocol"]) for cell in answer["cells"]}
    assert cells == {("bare", 0, "route", protocol) for protocol in ("tcp", "udp")} | {
        (plane.value, services, via, protocol)
        for plane in planes[1:]
        for services in (2, 12)
        for via in ("clusterIP", "nodePort")
        for protocol in ("tcp", "udp")
    }
    assert all(cell["p50_us"] > 0 and cell["ratio_to_bare"] > 0 for cell in answer["cells"])
    assert socket.if_nameindex() == before
