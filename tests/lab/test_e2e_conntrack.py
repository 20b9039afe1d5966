"""UDP clients that never change their port get to the endpoint there is now, as Kubernetes' conntrack tests have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fairway.api.types import Object
from tests.lab.command import User
from tests.lab.e2e import (
    BOTH_MODES,
    REFUSED,
    UDP,
    Cluster,
    Namespace,
    Target,
    bring_up,
    is_ready,
    namespace_for,
    netexec,
    pod,
    port,
)

pytestmark = pytest.mark.lab

CLIENT = "clients/client"
SOURCE = ("", 12345)
DOOR = port(80, UDP, "UDP")


@pytest.fixture(scope="module", params=BOTH_MODES)
def cluster(request: pytest.FixtureRequest, user: User) -> Iterator[Cluster]:
    """A lab, with a client pod on its first worker."""
    with bring_up(user, "conntrack", "--proxy-mode", request.param) as cluster:
        cluster.namespace("clients").run(pod("client", node=cluster.workers[0]))
        yield cluster


@pytest.fixture
def own(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    with namespace_for(cluster, request.node.name) as namespace:
        yield namespace


def told(own: Namespace, client: str, to: Target, wanted: str, request: str = "hostname") -> list[str]:
    """Call from one source until the wanted one answers; the others' answers."""
    return own.cluster.at(client).steady("udp", to, wanted, request=request, source=SOURCE, timeout=0.3)


@pytest.mark.parametrize("way", ["NodePort", "ClusterIP", "ClusterIP from a node"])
def test_a_client_finds_the_next_server(own: Namespace, way: str) -> None:
    first, second, _ = own.cluster.workers
    web = own.serve("web", DOOR, type=way.partition(" ")[0])
    own.run(pod("server-1", app="web", node=second))
    client = first if "node" in way else CLIENT
    to = web.node_port(first) if way == "NodePort" else web.port()
    told(own, client, to, "server-1")
    own.run(pod("server-2", app="web", node=second))
    own.delete("pods", "server-1")
    told(own, client, to, "server-2")


def test_a_client_finds_the_next_server_of_its_node(own: Namespace) -> None:
    first, *_ = own.cluster.workers
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("")["spec"]}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    own.create({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"}, "spec": spec})
    web = own.serve("web", DOOR, internalTrafficPolicy="Local")

    def there(pods: dict[str, Object]) -> list[str]:
        return [name for name, each in pods.items() if each["spec"].get("nodeName") == first and is_ready(each)]

    [server] = there(own.until("pods", there, labelSelector="app=web"))
    told(own, CLIENT, web.port(), server)
    own.delete("pods", server)
    pods = own.until("pods", lambda pods: server not in pods and there(pods), labelSelector="app=web")
    told(own, CLIENT, web.port(), *there(pods))


def test_a_client_that_came_before_the_first_endpoint(own: Namespace) -> None:
    web = own.serve("web", DOOR)
    told(own, CLIENT, web.port(), REFUSED)
    waits = {"name": "waits", "image": "busybox", "command": ["sleep", "1"]}
    own.create(pod("server", app="web", initContainers=[waits]))
    told(own, CLIENT, web.port(), "server")


def test_another_target_port_is_used_at_once(own: Namespace) -> None:
    first, second, _ = own.cluster.workers
    second_server = {**netexec("--http-port=9090", "--udp-port=9091"), "name": "second"}
    web = own.serve("web", DOOR, type="NodePort")
    own.run(pod("server", netexec(), second_server, app="web", node=second))
    to = web.node_port(first)
    told(own, CLIENT, to, str(UDP), "serverport")
    web.set(ports=[{**web.object["spec"]["ports"][0], "targetPort": 9091}])
    told(own, CLIENT, to, "9091", "serverport")
