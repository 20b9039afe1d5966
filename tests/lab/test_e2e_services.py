"""Services as Kubernetes' own tests use them: ports, addresses, types, names and clients that stay with an endpoint."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fairway.api.types import Object
from tests.lab.command import User
from tests.lab.e2e import (
    AGNHOST,
    HTTP,
    REFUSED,
    RUN,
    TIMEOUT,
    WEB,
    Caller,
    Cluster,
    Namespace,
    Target,
    bring_up,
    deployment,
    is_ready,
    namespace_for,
    netexec,
    pod,
    port,
    slice_of,
)

pytestmark = pytest.mark.lab

SERVE = 9376
"""Port of serve-hostname."""
OUTSIDE = "203.0.113.250"
"""An address of no node (RFC 5737)."""
DOMAIN = "svc.cluster.local"


@pytest.fixture(scope="module")
def cluster(user: User) -> Iterator[Cluster]:
    with bring_up(user, "services") as cluster:
        yield cluster


@pytest.fixture
def own(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    with namespace_for(cluster, request.node.name) as namespace:
        yield namespace


def servers(own: Namespace, name: str, replicas: int, *args: str) -> list[str]:
    """The names of the pods of a Deployment of serve-hostname that is complete."""
    container = {"name": "serve", "image": AGNHOST, "args": ["serve-hostname", *args]}
    own.create(deployment(name, replicas, pod("", container)))
    made = own.until("deployments", lambda all_: all_[name].get("status", {}).get("availableReplicas") == replicas)
    assert made[name]["status"]["updatedReplicas"] == replicas
    pods = own.until("pods", lambda pods: len(pods) == replicas, **of(name))
    return sorted(pods)


def addresses(endpoints: list[Object]) -> set[str]:
    return {address for endpoint in endpoints for address in endpoint["addresses"]}


def of(app: str) -> dict[str, str]:
    return {"labelSelector": f"app={app}"}


# Pods, ports and protocols


def test_endpoints_are_the_pods_there_are(own: Namespace) -> None:
    own.run(pod("client"))
    web, client = own.serve("web", *WEB), own.at("client")
    client.steady("http", web.port(), REFUSED)
    for come in ("one", "two"):
        own.run(pod(come, app="web"))
    pods = own.until("pods", lambda pods: len(pods) == 3)
    expected = {pods[name]["status"]["podIP"] for name in ("one", "two")}
    found = own.endpoints("web", lambda told: addresses(told) == expected)
    assert {endpoint["targetRef"]["uid"] for endpoint in found} == {pods[n]["metadata"]["uid"] for n in ("one", "two")}
    for to in (web.port(), ("web", 80), (f"web.{own.name}", 80)):
        client.steady("http", to, "one", "two")
    own.delete("pods", "one")
    client.steady("http", ("web", 80), "two", run=RUN)
    own.delete("pods", "two")
    own.endpoints("web", lambda told: not told)
    client.steady("http", ("web", 80), REFUSED)


def test_each_port_has_pods_of_its_own(own: Namespace) -> None:
    one = {**netexec("--http-port=100"), "ports": [{"name": "portname1", "containerPort": 100}]}
    two = {**netexec("--http-port=101"), "ports": [{"name": "portname2", "containerPort": 101}]}
    multi = own.serve("multi", port(80, "portname1"), port(81, "portname2"))
    own.run(pod("pod1", one, app="multi"), pod("client"))
    client = own.at("client")
    client.steady("http", multi.port(0), "pod1")
    client.steady("http", multi.port(1), REFUSED)
    own.run(pod("pod2", two, app="multi"))
    for name, number in (("pod1", 80), ("pod2", 81)):
        client.steady("http", ("multi", number), name)
    own.delete("pods", "pod1")
    client.steady("http", multi.port(0), REFUSED)
    client.steady("http", multi.port(1), "pod2")


def test_ports_come_and_go(own: Namespace) -> None:
    second = {**netexec("--http-port=101", "--udp-port=8082"), "name": "second"}
    both = pod("both", netexec("--http-port=100"), second, app="web")
    own.run(both, pod("client"))
    web, client = own.serve("web", port(80, 100)), own.at("client")
    client.steady("http", web.port(), "both")
    client.steady("http", (web.host, 81), REFUSED)
    web = web.set(ports=[port(80, 100), port(81, 101)])
    for to in (("web", 80), ("web", 81)):
        client.steady("http", to, "both")
    web.set(ports=[port(81, 101)])
    client.steady("http", ("web", 80), REFUSED)
    client.steady("http", ("web", 81), "both")


def test_one_port_number_of_two_protocols(own: Namespace) -> None:
    own.run(pod("both", netexec("--http-port=80", "--udp-port=80"), app="web"), pod("client"))
    tcp, udp = port(80), port(80, protocol="UDP")
    web, client = own.serve("web", tcp, udp), own.at("client")
    for over in ("http", "udp"):
        client.steady(over, web.port(), "both")
    versions = [web.object, *(web.set(ports=[kept]).object for kept in (tcp,))]
    client.steady("udp", web.port(), REFUSED)
    client.steady("http", web.port(), "both")
    versions.append(web.set(ports=[udp]).object)
    client.steady("http", web.port(), REFUSED)
    client.steady("udp", web.port(), "both")
    numbers = [int(each["metadata"]["resourceVersion"]) for each in versions]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("target", [HTTP, "web"])
def test_a_port_of_a_restartable_init_container(own: Namespace, target: int | str) -> None:
    sidecar = {**netexec(ports=[{"name": "web", "containerPort": HTTP}]), "restartPolicy": "Always"}
    main = {"name": "main", "image": "registry.k8s.io/pause"}
    own.run(pod("sidecar", main, app="web", initContainers=[sidecar]), pod("client"))
    own.at("client").steady("http", own.serve("web", port(80, target)).port(), "sidecar")


def test_a_named_target_port_is_another_number_on_another_pod(own: Namespace) -> None:
    for name, number in (("one", 8080), ("two", 9090)):
        container = netexec(f"--http-port={number}", ports=[{"name": "web", "containerPort": number}])
        own.create(pod(name, container, app="web"))
    own.run(pod("client"))
    own.serve("web", port(80, "web"))
    own.at("client").steady("http", ("web", 80), "one", "two")
    slices = own.until("endpointslices", lambda all_: len(all_) == 2)
    assert sorted(each["ports"][0]["port"] for each in slices.values()) == [8080, 9090]


# Addresses


def test_the_clients_address_is_kept_through_a_cluster_address(own: Namespace) -> None:
    """From each node: of a Deployment whose pods keep apart."""
    own.run(pod("server", app="web", node=own.cluster.workers[0]))
    web, count = own.serve("web", *WEB), len(own.cluster.workers)
    apart = {"labelSelector": {"matchLabels": {"app": "client"}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}
    pause = {"name": "pause", "image": "registry.k8s.io/pause"}
    own.create(deployment("client", count, pod("", pause, affinity=affinity)))
    clients = own.until("pods", lambda pods: len(pods) == count and all(map(is_ready, pods.values())), **of("client"))
    assert {client["spec"]["nodeName"] for client in clients.values()} == set(own.cluster.workers)
    for name, client in clients.items():
        seen = own.at(name).reach("http", web.port(), "clientip")
        assert seen.rpartition(":")[0] == client["status"]["podIP"]


def test_a_pod_calls_itself_through_its_service(own: Namespace) -> None:
    own.run(pod("hairpin", app="web"))
    own.serve("web", *WEB)
    own.at("hairpin").steady("http", ("web", 80), "hairpin")


def test_services_come_and_go_and_come_again(own: Namespace) -> None:
    own.run(pod("client"))
    clients = [own.at("client"), own.cluster.at(own.cluster.workers[0])]
    first, second = ((name, servers(own, name, 3)) for name in ("one", "two"))
    one, two = (own.serve(name, port(80, SERVE)) for name, _ in (first, second))
    for client in clients:
        client.steady("http", one.port(), *first[1])
        client.steady("http", two.port(), *second[1])
    own.delete("services", "one")
    for client in clients:
        client.steady("http", one.port(), TIMEOUT, timeout=0.5)
        client.steady("http", two.port(), *second[1])
    third = servers(own, "three", 3)
    three = own.serve("three", port(80, SERVE))
    again = own.serve("one", port(80, SERVE), clusterIP=one.host)
    for client in clients:
        client.steady("http", again.port(), *first[1])
        client.steady("http", three.port(), *third)


def test_a_node_port_is_one_way_of_four(own: Namespace) -> None:
    pods = servers(own, "web", 2, "--http=false", "--tcp", "--udp")
    own.run(pod("client"))
    web = own.serve("web", port(80, SERVE), port(80, SERVE, "UDP"), type="NodePort")
    for index, over in enumerate(("tcp", "udp")):
        for door in (("web", 80), *web.everywhere(index)):
            own.at("client").steady(over, door, *pods)


def test_an_external_address_that_no_node_has(own: Namespace) -> None:
    pods = servers(own, "web", 2)
    own.run(pod("client"))
    own.serve("web", port(80, SERVE), externalIPs=[OUTSIDE])
    for door in ((OUTSIDE, 80), ("web", 80)):
        own.at("client").steady("http", door, *pods)


def test_a_load_balancer_of_two_protocols_is_called_from_within(own: Namespace) -> None:
    own.run(pod("both", netexec("--http-port=80", "--udp-port=80"), app="web"), pod("client"))
    web = own.serve(
        "web", port(80), port(80, protocol="UDP"), type="LoadBalancer", loadBalancerClass="example.com/none"
    )
    for over, index in (("http", 0), ("udp", 1)):
        for door in (("web", 80), *web.everywhere(index)):
            own.at("client").steady(over, door, "both")
    assert not own.get("services", "web")["status"]["loadBalancer"]


# Changes of type


def test_a_cluster_address_becomes_a_node_port_of_two_protocols(own: Namespace) -> None:
    pods = servers(own, "web", 2, "--http=false", "--tcp", "--udp")
    web = own.serve("web", port(80, SERVE))
    assert "nodePort" not in web.object["spec"]["ports"][0]
    web = web.set(type="NodePort")
    host = web.host
    client = own.cluster.at("mypc")
    number = web.object["spec"]["ports"][0]["nodePort"]
    ports = [{**port(80, SERVE), "nodePort": number}, {**port(80, SERVE, "UDP"), "nodePort": number}]
    web = web.set(ports=ports)
    assert [each["nodePort"] for each in web.object["spec"]["ports"]] == [number, number]
    assert web.host == host
    for index, over in enumerate(("tcp", "udp")):
        client.steady(over, web.node_port(own.cluster.workers[0], index), *pods)


@pytest.mark.parametrize("type_", ["ClusterIP", "NodePort"])
def test_an_external_name_becomes_a_service_with_an_address(own: Namespace, type_: str) -> None:
    pods = servers(own, "web", 2)
    own.run(pod("client"))
    web = own.serve("web", type="ExternalName", externalName="foo.example.com", selector=None)
    assert "clusterIP" not in web.object["spec"]
    web = web.set(type=type_, externalName=None, selector={"app": "web"}, ports=[port(80, SERVE)])
    for door in (("web", 80), *web.everywhere()):
        own.at("client").steady("http", door, *pods)
    assert (len(web.everywhere()) > 1) == (type_ == "NodePort")
    assert own.at("client").resolve("web") == (f"web.{own.name}.{DOMAIN}", [web.host])


@pytest.mark.parametrize("type_", ["ClusterIP", "NodePort"])
def test_a_service_with_an_address_becomes_an_external_name(own: Namespace, type_: str) -> None:
    servers(own, "web", 2)
    own.run(pod("client"), pod("other", app="other"))
    other = own.serve("other", *WEB)
    web = own.serve("web", port(80, SERVE), type=type_)
    before, client = web, own.at("client")
    client.reach("http", ("web", 80))
    full = f"other.{own.name}.{DOMAIN}"
    web = web.set(type="ExternalName", externalName=full, clusterIP=None, clusterIPs=None, ports=[port(80, HTTP)])
    assert not {"clusterIP", "clusterIPs"} & web.object["spec"].keys()
    assert not any("nodePort" in each for each in web.object["spec"]["ports"])
    client.steady("http", ("web", 80), "other")
    assert client.resolve("web") == (full, [other.host])
    for door in before.everywhere()[1:]:
        client.steady("http", door, REFUSED)
    if type_ == "NodePort":
        number = before.object["spec"]["ports"][0]["nodePort"]
        own.serve("heir", port(80, HTTP, nodePort=number), type="NodePort")


# Clients that stay


def door_of(own: Namespace, type_: str, **spec: object) -> tuple[Target, Caller]:
    """A Service with three endpoints, where a client calls it, and the client: a pod on a node."""
    own.run(*(pod(name, app="web") for name in ("one", "two", "three")), pod("client"))
    web = own.serve("web", *WEB, type=type_, **spec)
    return (web.node_port(own.cluster.workers[0]) if type_ == "NodePort" else web.port()), own.at("client")


@pytest.mark.parametrize("type_", ["ClusterIP", "NodePort"])
def test_affinity_is_switched_on_and_off_and_on(own: Namespace, type_: str) -> None:
    door, client = door_of(own, type_, sessionAffinity="ClientIP")
    client.faithful("http", door)
    web = own.service("web").set(sessionAffinity="None", sessionAffinityConfig=None)
    client.steady("http", door, "one", "two", "three")
    web.set(sessionAffinity="ClientIP")
    client.settled("http", door)


@pytest.mark.parametrize("type_", ["ClusterIP", "NodePort"])
def test_affinity_ends_when_its_time_is_over(own: Namespace, type_: str) -> None:
    config = {"clientIP": {"timeoutSeconds": 2}}
    door, client = door_of(own, type_, sessionAffinity="ClientIP", sessionAffinityConfig=config)
    first = client.faithful("http", door)
    assert client.other("http", door, first, after=2.2) in {"one", "two", "three"} - {first}


# Whom a proxy serves


def test_a_service_of_another_proxy_is_left_alone(own: Namespace) -> None:
    own.run(pod("server", app="web"), pod("client"))
    web = own.serve("web", *WEB)
    clients = [own.at("client"), own.cluster.at(own.cluster.workers[0])]
    for label, said in ((None, "server"), ("other-proxy", TIMEOUT), (None, "server")):
        labels = {"service.kubernetes.io/service-proxy-name": label}
        own.patch("services", "web", {"metadata": {"labels": labels}})
        for client in clients:
            client.steady("http", web.port(), said, timeout=0.5)


def test_slices_of_a_headless_service_are_left_alone(own: Namespace) -> None:
    [address] = own.run(pod("server"))
    web = own.serve("web", port(80, HTTP), selector=None)
    own.create(slice_of("web", "mine", [address], [{"name": "tcp-80", "port": HTTP}]))
    client = own.cluster.at(own.cluster.workers[0])
    client.steady("http", web.port(), "server")
    for label, said in (("", REFUSED), (None, "server")):
        for resource, name in (("services", "web"), ("endpointslices", "mine")):
            labels = {"service.kubernetes.io/headless": label}
            own.patch(resource, name, {"metadata": {"labels": labels}})
        client.steady("http", web.port(), said)


def test_a_service_without_endpoints_refuses(own: Namespace) -> None:
    for node in own.cluster.workers:
        own.create(pod(f"on-{node}", node=node))
    web = own.serve("web", *WEB, type="NodePort")
    names = [f"on-{node}" for node in own.cluster.workers]
    own.until("pods", lambda pods: all(pods[name]["status"].get("podIP") for name in names))
    for client in names:
        for door in (("web", 80), web.port(), web.node_port(own.cluster.workers[0])):
            own.at(client).steady("http", door, REFUSED)
    call = ["/agnhost", "connect", "--timeout=3s", "web:80"]
    told = own.cluster.user.run(
        ["kubectl", "-n", own.name, "exec", names[0], "--", *call],
        KUBECONFIG=str(own.cluster.user.state / own.cluster.name / "kubeconfig"),
    )
    assert told.code == 1
    assert told.err.startswith("REFUSED\n")
