"""Which endpoints are used: by the policies, and while pods end or are not ready, as Kubernetes' own tests have it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fairway.api.resources import PODS
from fairway.api.types import Object
from tests.lab.command import User
from tests.lab.e2e import (
    AGNHOST,
    BOTH_MODES,
    HTTP,
    REFUSED,
    RUN,
    TIMEOUT,
    WEB,
    Cluster,
    Namespace,
    Served,
    bring_up,
    deployment,
    is_ready,
    namespace_for,
    netexec,
    pod,
    port,
    required_node,
)

pytestmark = pytest.mark.lab

GRACE = 100
"""Seconds a pod that is to end goes on serving, which no test waits for."""
LATE = f"--delay-shutdown={GRACE}"
NEAR, FAR = "clients/near", "clients/far"
GATE = "example.com/switched"
HOST = 9080
NO_BALANCER = {"type": "LoadBalancer", "loadBalancerClass": "example.com/none"}


@pytest.fixture(scope="module", params=BOTH_MODES)
def cluster(request: pytest.FixtureRequest, user: User) -> Iterator[Cluster]:
    """A lab, with a client pod on its first worker and one on its second."""
    with bring_up(user, "endpoints", "--proxy-mode", request.param) as cluster:
        first, second, _ = cluster.workers
        cluster.namespace("clients").run(pod("near", node=first), pod("far", node=second))
        yield cluster


@pytest.fixture
def own(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    with namespace_for(cluster, request.node.name) as namespace:
        yield namespace


def is_ending(endpoint: Object, *, serving: bool = True) -> bool:
    return bool(endpoint["conditions"] == {"ready": False, "serving": serving, "terminating": True})


def health(own: Namespace, *, local: int) -> str:
    """What the health check port of the Service web says of so many endpoints, as kube-proxy writes it."""
    service = f'\t"service": {{\n\t\t"namespace": "{own.name}",\n\t\t"name": "web"\n\t}},\n'
    return f'{{\n{service}\t"localEndpoints": {local},\n\t"serviceProxyHealthy": true\n}}'


def end(own: Namespace, name: str) -> None:
    """Delete the pod behind a Service, and wait until its only endpoint is told to be ending."""
    own.delete("pods", name)
    own.endpoints("web", lambda told: len(told) == 1 and is_ending(told[0]))


def one_endpoint(own: Namespace, *args: str, **spec: object) -> Served:
    """A Service with an endpoint on the first worker."""
    web = own.serve("web", *WEB, **spec)
    own.run(pod("server", netexec(*args), app="web", node=own.cluster.workers[0], grace=GRACE if args else 0))
    return web


# Policies


def test_an_internal_policy_of_local(own: Namespace) -> None:
    first, second, _ = own.cluster.workers
    web = one_endpoint(own, internalTrafficPolicy="Local")
    for place in (own.cluster.at(NEAR), own.cluster.at(first)):
        place.steady("http", web.port(), "server")
    for place in (own.cluster.at(FAR), own.cluster.at(second)):
        place.steady("http", web.port(), TIMEOUT, timeout=0.3)
    web.set(internalTrafficPolicy="Cluster")
    own.cluster.at(FAR).steady("http", web.port(), "server")


def test_an_internal_policy_of_local_with_an_endpoint_on_its_nodes_network(own: Namespace) -> None:
    first, second, _ = own.cluster.workers
    server = netexec(f"--http-port={HOST}", f"--udp-port={HOST + 1}")
    web = own.serve("web", port(80, HOST), internalTrafficPolicy="Local")
    own.run(
        pod("server", server, app="web", node=first, hostNetwork=True), pod("near", node=first), pod("far", node=second)
    )
    for place in (own.cluster.at(NEAR), own.cluster.at(first)):
        place.steady("http", web.port(), first)
    for place in (own.cluster.at(FAR), own.cluster.at(second)):
        place.steady("http", web.port(), TIMEOUT, timeout=0.3)


def test_an_external_policy_of_local_keeps_the_clients_address(own: Namespace) -> None:
    web = own.serve("web", port(80, HTTP), type="NodePort", externalTrafficPolicy="Local")
    own.create(deployment("web", 1, pod("", netexec())))
    own.until("deployments", lambda all_: all_["web"].get("status", {}).get("availableReplicas") == 1)
    [server] = own.cluster.list(PODS, own.name)
    node = server["spec"]["nodeName"]
    elsewhere = {"nodeAffinity": required_node("NotIn", node)}
    [other] = own.run(pod("client", netexec(f"--http-port={HOST}"), hostNetwork=True, affinity=elsewhere))
    assert other != own.cluster.nodes[node]
    seen = own.at("client").reach("http", web.node_port(node), "clientip")
    assert seen.rpartition(":")[0] == other


def test_node_port_and_health_check_port_follow_the_external_policy(own: Namespace) -> None:
    first, second, third = own.cluster.workers
    web = one_endpoint(own, externalTrafficPolicy="Local", **NO_BALANCER)
    number = web.object["spec"]["healthCheckNodePort"]
    client, nodes = own.cluster.at("mypc"), own.cluster.nodes

    def is_local(web: Served) -> None:
        client.steady("http", web.node_port(first), "server")
        for node in (second, third):
            client.steady("http", web.node_port(node), TIMEOUT, timeout=0.3)
            client.steady("http", (nodes[node], number), "503 Service Unavailable", request="")
            own.cluster.at(node).steady("http", web.node_port(node), "server")
        client.steady("http", (nodes[first], number), health(own, local=1), request="")

    is_local(web)
    web = web.set(externalTrafficPolicy="Cluster")
    assert "healthCheckNodePort" not in web.object["spec"]
    for node in own.cluster.workers:
        client.steady("http", web.node_port(node), "server")
        client.steady("http", (nodes[node], number), REFUSED)
    is_local(web.set(externalTrafficPolicy="Local", healthCheckNodePort=number))


# Pods that end


def test_pods_that_end_call_and_are_called(own: Namespace) -> None:
    leaving, staying = own.run(pod("leaving", netexec(LATE), grace=GRACE), pod("staying"))
    own.delete("pods", "leaving")
    own.until("pods", lambda pods: "deletionTimestamp" in pods["leaving"]["metadata"])
    own.at("staying").steady("http", (leaving, HTTP), "leaving")
    own.at("staying").steady("http", (staying, HTTP), "staying", via=(leaving, HTTP))


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_a_cluster_address_falls_back_to_endpoints_that_end(own: Namespace, policy: str) -> None:
    first, second, _ = own.cluster.workers
    web = one_endpoint(own, LATE, internalTrafficPolicy=policy)
    end(own, "server")
    far = ("server",) if policy == "Cluster" else (TIMEOUT,)
    for place in (own.cluster.at(NEAR), own.cluster.at(first)):
        place.steady("http", web.port(), "server")
    for place in (own.cluster.at(FAR), own.cluster.at(second)):
        place.steady("http", web.port(), *far, timeout=0.3)


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_a_node_port_falls_back_to_endpoints_that_end(own: Namespace, policy: str) -> None:
    first, second, _ = own.cluster.workers
    web = one_endpoint(own, LATE, type="NodePort", externalTrafficPolicy=policy)
    end(own, "server")
    far = "server" if policy == "Cluster" else TIMEOUT
    for place in (own.cluster.at("mypc"), own.cluster.at(second)):
        place.steady("http", web.node_port(first), "server")
    own.cluster.at("mypc").steady("http", web.node_port(second), far, timeout=0.3)


def test_a_health_check_port_tells_that_all_endpoints_end(own: Namespace) -> None:
    first, *_ = own.cluster.workers
    web = one_endpoint(own, LATE, externalTrafficPolicy="Local", **NO_BALANCER)
    check = own.cluster.nodes[first], web.object["spec"]["healthCheckNodePort"]
    client = own.cluster.at("mypc")
    client.steady("http", check, health(own, local=1), request="")
    end(own, "server")
    client.steady("http", check, "503 Service Unavailable", request="")
    client.steady("http", web.node_port(first), "server")


def test_ready_endpoints_are_preferred_to_those_that_end(own: Namespace) -> None:
    web = one_endpoint(own, LATE)
    own.run(pod("young", app="web"))
    client = own.cluster.at(FAR)
    client.steady("http", web.port(), "server", "young")
    own.delete("pods", "server")
    client.steady("http", web.port(), "young", run=RUN)


def test_a_deployment_of_another_colour_loses_no_call(own: Namespace) -> None:
    gates = [{"conditionType": GATE}]

    def switch(name: str, status: str) -> None:
        condition = {"type": GATE, "status": status}
        own.patch("pods", name, {"status": {"conditions": [condition]}}, form="strategic", subresource="status")

    web = own.serve("web", *WEB)
    for colour in ("blue", "green"):
        own.create(pod(colour, netexec(LATE), app="web", grace=GRACE, readinessGates=gates))
    switch("blue", "True")
    client = own.cluster.at(NEAR)
    client.steady("http", web.port(), "blue", run=RUN)
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(client.steady, "http", web.port(), "green", run=RUN)
        switch("green", "True")
        own.endpoints("web", lambda told: [each["conditions"]["ready"] for each in told] == [True, True])
        switch("blue", "False")
        own.endpoints("web", lambda told: sorted(each["conditions"]["ready"] for each in told) == [False, True])
        own.delete("pods", "blue")
        assert set(later.result()) == {"blue"}


# Pods that are not ready


@pytest.mark.parametrize("published", [True, False])
def test_endpoints_that_end_and_are_not_ready(own: Namespace, published: bool) -> None:
    first, second, _ = own.cluster.workers
    web = own.serve("web", *WEB, type="NodePort", publishNotReadyAddresses=published)
    probe = {"httpGet": {"port": HTTP, "path": "/readyz"}, "periodSeconds": 1, "timeoutSeconds": 10}
    server = netexec(LATE, readinessProbe={**probe, "failureThreshold": 1})
    names = ("one", "two")
    own.run(
        *(
            pod(name, server, app="web", node=node, grace=GRACE)
            for name, node in zip(names, (first, second), strict=True)
        )
    )
    own.cluster.at(first).steady("http", web.port(), *names)
    own.delete("pods", *names)
    own.until("pods", lambda pods: not any(is_ready(pods[name]) for name in names))
    expected = names if published else (REFUSED,)
    for node in (first, second):
        for door in (web.port(), web.node_port(first), web.node_port(second)):
            own.cluster.at(node).steady("http", door, *expected)


def test_endpoints_that_were_never_ready_are_published_where_it_is_wanted(own: Namespace) -> None:
    server = {
        "name": "netexec",
        "image": AGNHOST,
        "args": ["netexec", LATE],
        "readinessProbe": {"exec": {"command": ["/bin/false"]}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sleep", str(GRACE)]}}},
    }
    own.create(deployment("web", 1, pod("", server, grace=GRACE)))
    web = own.serve("web", *WEB, publishNotReadyAddresses=True)
    client = own.cluster.at(NEAR)
    [name] = own.until("pods", lambda pods: pods, labelSelector="app=web")
    for published in (True, False, True):
        web = web.set(publishNotReadyAddresses=published)
        client.steady("http", (f"web.{own.name}", 80), name if published else REFUSED)
    own.patch("deployments", "web", {"spec": {"replicas": 0}})
    own.endpoints("web", lambda told: len(told) == 1 and told[0]["conditions"]["terminating"])
    client.steady("http", (f"web.{own.name}", 80), name)
