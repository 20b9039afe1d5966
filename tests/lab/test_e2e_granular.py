"""Kubernetes' granular checks: pods, nodes and endpoints call each other and Services, by HTTP and UDP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.command import User
from tests.lab.e2e import (
    BOTH_MODES,
    HTTP,
    REFUSED,
    RUN,
    UDP,
    WEB,
    Cluster,
    Namespace,
    Target,
    bring_up,
    namespace_for,
    netexec,
    pod,
    port,
)

pytestmark = pytest.mark.lab

SERVERS = ("netserver-0", "netserver-1")
HOST = 9080
"""Port of the server on a node's own network; datagrams go to the next one."""
PROTOCOLS = pytest.mark.parametrize("over", ["http", "udp"])
INDEX = {"http": 0, "udp": 1}
PORT = {"http": HTTP, "udp": UDP}


@pytest.fixture(scope="module", params=BOTH_MODES)
def cluster(request: pytest.FixtureRequest, user: User) -> Iterator[Cluster]:
    with bring_up(user, "granular", "--proxy-mode", request.param) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def net(cluster: Cluster) -> Namespace:
    """Two endpoints on two nodes, a pod that is none on the first one, and a pod on that node's own network."""
    net = cluster.namespace("net")
    first, second, *_ = cluster.workers
    on_host = netexec(f"--http-port={HOST}", f"--udp-port={HOST + 1}")
    net.run(
        pod(SERVERS[0], app="netserver", nodeSelector={"kubernetes.io/hostname": first}),
        pod(SERVERS[1], app="netserver", nodeSelector={"kubernetes.io/hostname": second}),
        pod("test-container", node=first),
        pod("host-test-container", on_host, node=first, hostNetwork=True),
    )
    net.serve("netserver", *WEB, type="NodePort")
    return net


@pytest.fixture
def own(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    with namespace_for(cluster, request.node.name) as namespace:
        yield namespace


def address(net: Namespace, pod: str) -> str:
    return str(net.get("pods", pod)["status"]["podIP"])


def dialer(net: Namespace, origin: str) -> Target:
    """Where to ask for calls from a pod, an endpoint or a node."""
    match origin:
        case "pod":
            return address(net, "test-container"), HTTP
        case "endpoint":
            return address(net, SERVERS[0]), HTTP
        case _:
            return address(net, "host-test-container"), HOST


@PROTOCOLS
@pytest.mark.parametrize("origin", ["pod", "node", "endpoint"])
def test_a_service_is_answered_by_both_its_endpoints(net: Namespace, origin: str, over: str) -> None:
    """By its cluster address, and by node ports of either endpoint's node and of one without; also by an endpoint."""
    here = net.cluster.at(net.cluster.workers[0])
    for door in net.service("netserver").everywhere(INDEX[over]):
        here.steady(over, door, *SERVERS, via=dialer(net, origin))


@PROTOCOLS
@pytest.mark.parametrize("origin", ["pod", "node"])
def test_pods_are_reached_by_their_own_addresses(net: Namespace, origin: str, over: str) -> None:
    here = net.cluster.at(net.cluster.workers[0])
    for server in SERVERS:
        here.steady(over, (address(net, server), PORT[over]), server, via=dialer(net, origin))


def test_pods_see_each_others_own_addresses(net: Namespace) -> None:
    here, pods = (
        net.cluster.at(net.cluster.workers[0]),
        {name: address(net, name) for name in (*SERVERS, "test-container")},
    )
    for source in pods.values():
        for target in pods.values():
            [seen] = here.many("http", (target, HTTP), "clientip", via=(source, HTTP))
            assert seen.rpartition(":")[0] == source


@PROTOCOLS
def test_two_services_have_the_same_endpoints(net: Namespace, over: str) -> None:
    here = net.cluster.at(net.cluster.workers[0])
    second = net.serve(f"second-{over}", *WEB, type="NodePort", selector={"app": "netserver"})
    for door in (*net.service("netserver").everywhere(INDEX[over]), *second.everywhere(INDEX[over])):
        here.steady(over, door, *SERVERS)
    net.delete("services", second.name)
    for node in net.cluster.workers:
        here.steady(over, second.node_port(node, INDEX[over]), REFUSED)
    here.steady(over, net.service("netserver").port(INDEX[over]), *SERVERS)


@PROTOCOLS
def test_a_node_port_closes_with_its_service(net: Namespace, over: str) -> None:
    doomed = net.serve(f"doomed-{over}", *WEB, type="NodePort", selector={"app": "netserver"})
    door = doomed.node_port(net.cluster.workers[2], INDEX[over])
    places = [net.cluster.at(place) for place in ("mypc", *net.cluster.workers[1:])]
    for place in places:
        place.steady(over, door, *SERVERS)
    net.delete("services", doomed.name)
    for place in places:
        place.steady(over, door, REFUSED)


@PROTOCOLS
def test_endpoints_follow_pods(own: Namespace, over: str) -> None:
    own.run(pod("staying", app="web"), pod("leaving", app="web"))
    web, here = own.serve("web", *WEB, type="NodePort"), own.cluster.at(own.cluster.workers[0])
    for door in web.everywhere(INDEX[over]):
        here.steady(over, door, "staying", "leaving")
    own.delete("pods", "leaving")
    for door in web.everywhere(INDEX[over]):
        here.steady(over, door, "staying", run=RUN)


@PROTOCOLS
def test_a_client_stays_with_its_endpoint(net: Namespace, over: str) -> None:
    here = net.cluster.at(net.cluster.workers[0])
    sticky = net.serve(
        f"sticky-{over}", *WEB, selector={"app": "netserver"}, sessionAffinity="ClientIP", type="NodePort"
    )
    here.reach(over, sticky.port(INDEX[over]))
    for origin in ("pod", "node", "endpoint"):
        assert here.faithful(over, sticky.port(INDEX[over]), via=dialer(net, origin)) in SERVERS


@PROTOCOLS
def test_a_request_larger_than_a_packet(net: Namespace, over: str) -> None:
    here, text = net.cluster.at(net.cluster.workers[0]), "42" * 2000
    request = f"echo?msg={text}" if over == "http" else f"echo {text}"
    here.steady(over, net.service("netserver").port(INDEX[over]), text, request=request, via=dialer(net, "pod"))


def test_endpoints_on_the_network_of_their_nodes(own: Namespace) -> None:
    args = ["--http-port=9180", "--udp-port=9181", "--udp-listen-addresses=$(HOST_IP),$(POD_IPS)"]
    env = [
        {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "POD_IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
    ]
    first, second, *_ = own.cluster.workers
    spec: dict[str, Any] = {"app": "web", "hostNetwork": True}
    one, two = (pod(f"on-{node}", netexec(*args, env=env), node=node, **spec) for node in (first, second))
    own.run(one, two, pod("client", node=first))
    web = own.serve("web", port(80, 9180), port(90, 9181, "UDP"), type="NodePort")
    for over, index in INDEX.items():
        for place in (own.at("client"), own.cluster.at(first)):
            for door in web.everywhere(index):
                place.steady(over, door, first, second)


def test_the_agent_answers_at_kube_proxys_urls(net: Namespace, request: pytest.FixtureRequest) -> None:
    """From the node itself, as its pods on the node's network see it."""
    for node in net.cluster.nodes:
        here = net.cluster.at(node)
        assert '"lastUpdated"' in here.call("http", ("127.0.0.1", 10256), "healthz")
        assert here.call("http", ("localhost", 10249), "proxyMode") == request.node.callspec.params["cluster"]
