"""Endpoints and slices of pods and by hand, and the pods behind them, as Kubernetes' own tests have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fairway.api.types import Object
from tests.lab.command import User
from tests.lab.e2e import (
    AGNHOST,
    HTTP,
    Cluster,
    Namespace,
    bring_up,
    namespace_for,
    netexec,
    pod,
    port,
    slice_of,
)

pytestmark = pytest.mark.lab

MANY = 200
SLICE_LABEL = "kubernetes.io/service-name"


@pytest.fixture(scope="module")
def cluster(user: User) -> Iterator[Cluster]:
    with bring_up(user, "slices") as cluster:
        yield cluster


@pytest.fixture
def own(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    with namespace_for(cluster, request.node.name) as namespace:
        yield namespace


def nginx(name: str, *ports: tuple[str, int], **labels: str) -> Object:
    container = {
        "name": "container1",
        "image": "nginx",
        "ports": [{"name": called, "containerPort": number} for called, number in ports],
    }
    made = pod(name, container)
    made["metadata"]["labels"] = labels
    return made


def targets(slices: dict[str, Object]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Pod and ports of each endpoint, sorted."""
    return sorted(
        (endpoint["targetRef"]["name"], sorted((each["name"], each["port"]) for each in one["ports"]))
        for one in slices.values()
        for endpoint in one["endpoints"] or ()
    )


def test_pods_of_two_services_are_in_the_endpoints_and_slices_of_each(own: Namespace) -> None:
    first, second = {"foo": "bar", "shared": "1"}, {"baz": "qux", "shared": "1"}
    own.serve("every", port(80, "web"), selector={"shared": "1"})
    own.serve("first", port(80, "web"), port(81, 8080), selector={"foo": "bar"})
    addresses = own.run(nginx("one", ("web", 3000), **first), nginx("two", ("web", 3001), **second))

    def holds(service: str, *expected: tuple[str, list[tuple[str, int]]]) -> dict[str, Object]:
        selector = {"labelSelector": f"{SLICE_LABEL}={service}"}
        return own.until("endpointslices", lambda slices: targets(slices) == sorted(expected), **selector)

    both = holds("every", ("one", [("tcp-80", 3000)]), ("two", [("tcp-80", 3001)]))
    alone = holds("first", ("one", [("tcp-80", 3000), ("tcp-81", 8080)]))
    told = own.until("endpoints", lambda all_: len((all_.get("every") or {}).get("subsets") or ()) == 2)["every"]
    assert sorted(each["addresses"][0]["ip"] for each in told["subsets"]) == sorted(addresses)
    references = [each["addresses"][0]["targetRef"]["uid"] for each in told["subsets"]]
    assert sorted(references) == sorted(own.get("pods", name)["metadata"]["uid"] for name in ("one", "two"))

    own.delete("endpointslices", *both, *alone)
    again = holds("every", ("one", [("tcp-80", 3000)]), ("two", [("tcp-80", 3001)]))
    holds("first", ("one", [("tcp-80", 3000), ("tcp-81", 8080)]))
    assert not again.keys() & both.keys()
    own.delete("pods", "two")
    holds("every", ("one", [("tcp-80", 3000)]))


def http_and_other() -> list[Object]:
    """Containers of one pod, at two ports; the answers tell the port, by what is on it."""
    env = [{"name": "SERVE_PORT_8091", "value": "porter"}]
    return [netexec(), {"name": "porter", "image": AGNHOST, "args": ["porter"], "env": env}]


def test_a_service_of_several_ports_in_several_slices_by_hand(own: Namespace) -> None:
    [address, _] = own.run(pod("server", *http_and_other()), pod("client"))
    web = own.serve("web", port(80), port(81), selector=None)
    own.create(
        slice_of("web", "one", [address], [{"name": "tcp-80", "port": HTTP, "protocol": "TCP"}]),
        slice_of("web", "two", [address], [{"name": "tcp-81", "port": 8091, "protocol": "TCP"}]),
    )
    own.at("client").steady("http", web.port(0), "server")
    own.at("client").steady("http", web.port(1), "porter")


def test_a_service_of_several_addresses_in_several_slices_by_hand(own: Namespace) -> None:
    names = ("one", "two", "three")
    [*addresses, _] = own.run(*(pod(name) for name in names), pod("client"))
    web = own.serve("web", port(80, HTTP), selector=None)
    ports = [{"name": "tcp-80", "port": HTTP, "protocol": "TCP"}]
    own.create(slice_of("web", "one", addresses[:1], ports), slice_of("web", "others", addresses[1:], ports))
    own.at("client").steady("http", web.port(), *names)


def test_endpoints_of_two_hundred_services(own: Namespace) -> None:
    """All have their endpoint within `LIMIT_S`; Kubernetes asks for half of them within 20 s."""
    container = {"name": "pause", "image": "registry.k8s.io/pause"}
    own.run(pod("server", container, app="web"))
    names = [f"svc-{number}" for number in range(MANY)]
    for name in names:
        own.serve(name, port(80), selector={"app": "web"})
    own.until("endpoints", lambda all_: all((all_.get(name) or {}).get("subsets") for name in names))

    def whole(slices: dict[str, Object]) -> bool:
        return {each["metadata"]["labels"][SLICE_LABEL] for each in slices.values() if each["endpoints"]} >= set(names)

    own.until("endpointslices", whole)
