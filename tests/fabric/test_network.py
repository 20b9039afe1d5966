from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from fairway.base.errors import Refused
from fairway.fabric.network import add_address, host_interface_name
from fairway.fabric.spawner import HostKind, HostSpec, Spawner
from fairway.fabric.steps import mac_of
from tests.fabric.labs import Lab, lab
from tests.fabric.topologies import dual_stack_topology, topology

pytestmark = pytest.mark.kernel

VIP, VIP6 = "172.18.255.200", "fd00:172:18::255:200"


def create(up: Lab, name: str, node: str, *addresses: str) -> int:
    """A pod on a node, attached, that serves; its holder's pid."""

    async def make() -> int:
        async with await Spawner.connect(up.socket) as spawner:
            spec = HostSpec(name=f"default/{name}", kind=HostKind.POD, hostname=name)
            return (await spawner.create_host(spec)).pid

    pid = asyncio.run(make())
    up.do(node, "attach", host_interface=host_interface_name("default", name), pid=pid, addresses=addresses)
    up.do(node, "serve", name=name, pid=pid)
    return pid


def remove(up: Lab, name: str) -> None:
    async def go() -> None:
        async with await Spawner.connect(up.socket) as spawner:
            await spawner.remove_host(f"default/{name}")

    asyncio.run(go())


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, dict[str, int]]]:
    """A lab with two pods on alpha and one on beta; the pods' holders."""
    with lab(tmp_path_factory.mktemp("pods")) as up:
        holders = {
            "web1": create(up, "web1", "alpha", "10.10.0.2/24"),
            "web2": create(up, "web2", "alpha", "10.10.0.3/24"),
            "web3": create(up, "web3", "beta", "10.10.1.2/24"),
        }
        for host in ("alpha", "beta", "mypc"):
            up.do(host, "serve", name=host)
        yield up, holders


def routes(up: Lab, host: str) -> list[str]:
    code, text = up.run(host, "ip", "route")
    assert code == 0, text
    return [line.strip() for line in text.splitlines()]


def test_pods_reach_each_other_over_nodes_and_keep_their_addresses(pods: tuple[Lab, dict[str, int]]) -> None:
    up, holders = pods
    calls = {
        (source, target): up.do("alpha", "call", pid=holders[source], address=target)
        for source in ("web1", "web3")
        for target in ("10.10.0.3", "10.10.1.2", "172.18.0.3", "172.18.0.5")
    }
    assert calls == {
        ("web1", "10.10.0.3"): "web2 10.10.0.2",
        ("web1", "10.10.1.2"): "web3 10.10.0.2",
        ("web1", "172.18.0.3"): "alpha 10.10.0.2",
        ("web1", "172.18.0.5"): "beta 10.10.0.2",
        ("web3", "10.10.0.3"): "web2 10.10.1.2",
        ("web3", "10.10.1.2"): "web3 10.10.1.2",
        ("web3", "172.18.0.3"): "alpha 10.10.1.2",
        ("web3", "172.18.0.5"): "beta 10.10.1.2",
    }


def test_a_node_calls_its_own_pods_from_the_gateway_and_others_from_its_own_address(
    pods: tuple[Lab, dict[str, int]],
) -> None:
    up, _ = pods
    assert [up.do("alpha", "call", address=address) for address in ("10.10.0.2", "10.10.1.2")] == [
        "web1 10.10.0.1",
        "web3 172.18.0.3",
    ]


def test_a_client_reaches_nodes_and_learns_at_once_that_pods_are_not_for_it(
    pods: tuple[Lab, dict[str, int]],
) -> None:
    up, _ = pods
    assert up.do("mypc", "call", address="172.18.0.5") == "beta 172.18.0.100"
    with pytest.raises(AssertionError, match="Network is unreachable"):
        up.do("mypc", "call", address="10.10.0.2")


def test_the_routes_are_those_of_the_ptp_plugin_and_of_the_topology(pods: tuple[Lab, dict[str, int]]) -> None:
    up, _ = pods
    assert routes(up, "alpha") == [
        "default via 172.18.0.1 dev eth0 proto static",
        f"10.10.0.2 dev {host_interface_name('default', 'web1')} proto static scope link",
        f"10.10.0.3 dev {host_interface_name('default', 'web2')} proto static scope link",
        "10.10.1.0/24 via 172.18.0.5 dev eth0 proto static",
        "172.18.0.0/16 dev eth0 proto kernel scope link src 172.18.0.3",
    ]
    assert routes(up, "default/web3") == [
        "default via 10.10.1.1 dev eth0 proto static",
        "10.10.1.0/24 via 10.10.1.1 dev eth0 proto static src 10.10.1.2",
        "10.10.1.1 dev eth0 proto static scope link src 10.10.1.2",
    ]


def test_a_pods_address_has_the_length_of_its_network_and_its_node_the_gateways_alone(
    pods: tuple[Lab, dict[str, int]],
) -> None:
    up, _ = pods
    link = host_interface_name("default", "web3")

    def addresses(host: str, name: str) -> list[tuple[str, int]]:
        code, text = up.run(host, "ip", "-j", "-4", "address", "show", "dev", name)
        assert code == 0, text
        return [(info["local"], info["prefixlen"]) for info in json.loads(text)[0]["addr_info"]]

    assert addresses("default/web3", "eth0") == [("10.10.1.2", 24)]
    assert addresses("beta", link) == [("10.10.1.1", 32)]
    assert up.run("default/web3", "cat", "/sys/class/net/eth0/address") == (0, "0a:58:0a:0a:01:02\n")


def test_a_node_has_the_kernel_settings_of_a_node(pods: tuple[Lab, dict[str, int]]) -> None:
    up, _ = pods
    keys = {
        "net/ipv4/ip_forward": "1\n",
        "net/ipv4/conf/all/rp_filter": "0\n",
        "net/ipv4/conf/eth0/rp_filter": "0\n",
        "net/ipv4/conf/eth0/send_redirects": "0\n",
        f"net/ipv4/conf/{host_interface_name('default', 'web3')}/rp_filter": "0\n",
        "net/netfilter/nf_conntrack_events": "1\n",
    }
    assert {key: up.do("beta", "read", path=f"/proc/sys/{key}") for key in keys} == keys


def test_a_removed_pod_takes_its_link_and_route_along_and_may_come_again(pods: tuple[Lab, dict[str, int]]) -> None:
    up, _ = pods
    before = up.do("beta", "links")
    link = host_interface_name("default", "brief")
    for _ in range(3):
        create(up, "brief", "beta", "10.10.1.9/24")
        assert up.do("alpha", "call", address="10.10.1.9") == "brief 172.18.0.3"
        assert up.do("beta", "links") == sorted([*before, link])
        remove(up, "brief")
        assert up.do("beta", "links") == before
        assert [route for route in routes(up, "beta") if "10.10.1.9" in route] == []


def test_detaching_deletes_the_link_and_is_no_error_twice(pods: tuple[Lab, dict[str, int]]) -> None:
    up, _ = pods
    before = up.do("beta", "links")
    pid = create(up, "loose", "beta", "10.10.1.8/24")
    for _ in range(2):
        up.do("beta", "detach", host_interface=host_interface_name("default", "loose"))
        assert up.do("beta", "links") == before
        assert up.do("beta", "links", pid=pid) == ["lo"]
    remove(up, "loose")


def test_attaching_what_is_attached_is_refused_and_leaves_the_first_link_as_it_is(
    pods: tuple[Lab, dict[str, int]],
) -> None:
    up, holders = pods
    links = {host: up.do("beta", "links", pid=pid) for host, pid in (("node", 0), ("pod", holders["web3"]))}
    attempt: dict[str, Any] = {"pid": holders["web3"], "addresses": ["10.10.1.7/24"]}
    name = host_interface_name("default", "web3")
    with pytest.raises(AssertionError) as same_name:
        up.do("beta", "attach", host_interface=name, **attempt)
    assert str(same_name.value) == f"Refused: pod 10.10.1.7 on {name}: File exists"
    with pytest.raises(AssertionError) as same_pod:
        up.do("beta", "attach", host_interface="vethother", **attempt)
    assert str(same_pod.value) == "Refused: pod 10.10.1.7 on vethother: File exists"
    assert {host: up.do("beta", "links", pid=pid) for host, pid in (("node", 0), ("pod", holders["web3"]))} == links
    assert up.do("alpha", "call", address="10.10.1.2") == "web3 172.18.0.3"


def test_attaching_a_process_that_is_not_there_is_refused_and_leaves_no_link(
    pods: tuple[Lab, dict[str, int]],
) -> None:
    up, _ = pods
    before = up.do("beta", "links")
    with pytest.raises(AssertionError) as refused:
        up.do("beta", "attach", host_interface="vethx", pid=4_000_000, addresses=["10.10.1.7/24"])
    assert str(refused.value) == "Refused: pod 10.10.1.7 on vethx: No such process"
    assert up.do("beta", "links") == before


def test_a_load_balancer_address_that_moves_is_found_at_its_new_node_by_the_next_call(
    pods: tuple[Lab, dict[str, int]],
) -> None:
    up, _ = pods
    nodes = {spec.name: spec for spec in topology().nodes}

    def neighbour() -> str:
        _, text = up.run("mypc", "ip", "-j", "neigh", "show", VIP)
        return json.loads(text)[0]["lladdr"]

    for name, former in (("alpha", "beta"), ("beta", "alpha"), ("alpha", "beta")):
        up.do(former, "remove_address", address=VIP)
        for _ in range(2):
            up.do(name, "add_address", address=VIP)
        assert up.do("mypc", "call", address=VIP) == f"{name} 172.18.0.100"
        assert neighbour() == mac_of(nodes[name].address)
    for _ in range(2):
        up.do("alpha", "remove_address", address=VIP)
    _, text = up.run("alpha", "ip", "-j", "-4", "address", "show", "dev", "eth0")
    assert [info["local"] for info in json.loads(text)[0]["addr_info"]] == ["172.18.0.3"]


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, dict[str, int]]]:
    """A dual-stack lab with a pod on each node."""
    with lab(tmp_path_factory.mktemp("dual"), dual_stack_topology()) as up:
        holders = {
            "web1": create(up, "web1", "alpha", "10.10.0.2/24", "fd00:10:10::2/64"),
            "web2": create(up, "web2", "alpha", "10.10.0.3/24", "fd00:10:10::3/64"),
            "web3": create(up, "web3", "beta", "10.10.1.2/24", "fd00:10:10:1::2/64"),
        }
        for host in ("alpha", "beta", "mypc"):
            up.do(host, "serve", name=host)
        yield up, holders


def test_pods_of_a_dual_stack_lab_reach_each_other_in_both_families_at_once(dual: tuple[Lab, dict[str, int]]) -> None:
    up, holders = dual
    calls = {
        (source, target): up.do("alpha", "call", pid=holders[source], address=target)
        for source in ("web1", "web3")
        for target in ("10.10.1.2", "fd00:10:10::3", "fd00:10:10:1::2", "fd00:172:18::3", "fd00:172:18::5")
    }
    assert calls == {
        ("web1", "10.10.1.2"): "web3 10.10.0.2",
        ("web1", "fd00:10:10::3"): "web2 fd00:10:10::2",
        ("web1", "fd00:10:10:1::2"): "web3 fd00:10:10::2",
        ("web1", "fd00:172:18::3"): "alpha fd00:10:10::2",
        ("web1", "fd00:172:18::5"): "beta fd00:10:10::2",
        ("web3", "10.10.1.2"): "web3 10.10.1.2",
        ("web3", "fd00:10:10::3"): "web2 fd00:10:10:1::2",
        ("web3", "fd00:10:10:1::2"): "web3 fd00:10:10:1::2",
        ("web3", "fd00:172:18::3"): "alpha fd00:10:10:1::2",
        ("web3", "fd00:172:18::5"): "beta fd00:10:10:1::2",
    }


def test_a_node_calls_pods_and_a_client_nodes_from_their_own_ipv6_addresses(dual: tuple[Lab, dict[str, int]]) -> None:
    up, _ = dual
    assert [up.do("alpha", "call", address=address) for address in ("fd00:10:10::2", "fd00:10:10:1::2")] == [
        "web1 fd00:10:10::1",
        "web3 fd00:172:18::3",
    ]
    assert up.do("mypc", "call", address="fd00:172:18::5") == "beta fd00:172:18::100"
    with pytest.raises(AssertionError, match="Network is unreachable"):
        up.do("mypc", "call", address="fd00:10:10::2")


def test_no_address_of_a_dual_stack_lab_is_ever_tentative(dual: tuple[Lab, dict[str, int]]) -> None:
    up, _ = dual
    for host in ("alpha", "mypc", "default/web3"):
        assert up.run(host, "ip", "-6", "address", "show", "tentative") == (0, ""), host


def test_an_ipv6_load_balancer_address_that_moves_is_found_there_and_never_called_from(
    dual: tuple[Lab, dict[str, int]],
) -> None:
    up, _ = dual
    for name, former in (("alpha", "beta"), ("beta", "alpha"), ("alpha", "beta")):
        up.do(former, "remove_address", address=VIP6)
        for _ in range(2):
            up.do(name, "add_address", address=VIP6)
        assert up.do("mypc", "call", address=VIP6) == f"{name} fd00:172:18::100"
    assert up.do("alpha", "call", address="fd00:172:18::100") == "mypc fd00:172:18::3"
    for _ in range(2):
        up.do("alpha", "remove_address", address=VIP6)


def test_the_undo_of_a_dual_stack_lab_leaves_every_namespace_as_new(tmp_path: Path) -> None:
    with lab(tmp_path, dual_stack_topology()) as up:
        pids = {name: up.do(name, "pid") for name in ("alpha", "beta", "mypc")}
        up.do("alpha", "undo", pids=pids, root=1, dual=True)
        assert [up.do("alpha", "links", pid=pid) for pid in (1, *pids.values())] == [["lo"]] * 4
        assert up.do("alpha", "read", path="/proc/sys/net/ipv6/conf/all/forwarding") == "0\n"


def test_an_address_for_a_link_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        asyncio.run(add_address(IPv4Address(VIP), interface="none0"))
    assert str(refused.value) == f"address {VIP} on none0: no interface with this name"


def test_the_undo_of_the_steps_leaves_every_namespace_as_new(tmp_path: Path) -> None:
    with lab(tmp_path) as up:
        pids = {name: up.do(name, "pid") for name in ("alpha", "beta", "mypc")}
        assert up.do("alpha", "links") == ["eth0", "lo"]
        up.do("alpha", "undo", pids=pids, root=1)
        assert [up.do("alpha", "links", pid=pid) for pid in (1, *pids.values())] == [["lo"]] * 4
        assert up.do("alpha", "read", path="/proc/sys/net/ipv4/ip_forward") == "0\n"


def test_links_of_pods_have_names_the_kernel_takes_and_no_two_the_same() -> None:
    names = [host_interface_name("default", f"deploy-echo-{number:05}") for number in range(1000)]
    assert {len(name) for name in names} == {15}
    assert len(set(names)) == 1000
    assert host_interface_name("default", "web") != host_interface_name("other", "web")
