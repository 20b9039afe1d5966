from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from fairway.api.types import Key, key_of
from fairway.controllers.cache import Cache
from fairway.controllers.controller import Change
from fairway.controllers.endpointslice_mirroring import MirroringView, reconcile
from fairway.controllers.wiring_services import ENDPOINT_SLICE_MIRRORING
from fairway.controllers.writes import Create, Delete, Record, Update, Write
from tests.controllers.objects import LONG_AGO, controlled_by, metadata, service
from tests.controllers.simulation import Simulation

Json = dict[str, Any]

HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}
DNS = {"name": "dns", "port": 53, "protocol": "UDP"}
MIRRORED = {
    "kubernetes.io/service-name": "web",
    "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
}
BY_HAND = {"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "staff"}


def subset(*ips: str, not_ready: tuple[str, ...] = (), ports: tuple[Json, ...] = (HTTP,)) -> Json:
    made: Json = {"ports": [*ports]}
    made |= {"addresses": [{"ip": ip} for ip in ips]} if ips else {}
    return made | ({"notReadyAddresses": [{"ip": ip} for ip in not_ready]} if not_ready else {})


def endpoints(*subsets: Json, **fields: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": metadata("web", **fields),
        "subsets": list(subsets),
    }


def unselecting(**fields: Any) -> Json:
    return service(spec={"selector": None}, **fields)


def slice_of(one: Create, name: str = "web-x") -> Json:
    """A created slice as the API server stores it."""
    body = one.body
    stored = {key: value for key, value in body["metadata"].items() if key != "generateName"}
    return {**body, "metadata": {**metadata(name), **stored}}


def writes(given: Json | None, *slices: Json, of: Json | None = None) -> list[Write]:
    return reconcile(MirroringView(endpoints=given, service=of or unselecting(), slices=slices))


def created(given: Json) -> list[Json]:
    """The slices made of Endpoints, of which all is mirrored."""
    bodies = []
    for write in writes(given):
        assert isinstance(write, Create)
        bodies.append(write.body)
    return bodies


def test_a_slice_says_what_the_subset_says_and_belongs_to_the_endpoints() -> None:
    reference = {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u"}
    told = subset("10.0.0.1", not_ready=("10.0.0.2",), ports=({**HTTP, "appProtocol": "h2c"},))
    told["addresses"][0] |= {"hostname": "a", "nodeName": "n1", "targetRef": reference}
    notes = {
        "team": "a",
        "endpoints.kubernetes.io/last-change-trigger-time": "t",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    given = endpoints(told, labels={"app": "x"}, annotations=notes)
    assert created(given) == [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": "web-",
                "namespace": "default",
                "ownerReferences": [controlled_by(given)],
                "labels": {"app": "x"} | MIRRORED,
                "annotations": {"team": "a"},
            },
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": ["10.0.0.1"],
                    "conditions": {"ready": True},
                    "hostname": "a",
                    "nodeName": "n1",
                    "targetRef": reference,
                },
                {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
            ],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}],
        }
    ]


@pytest.mark.parametrize(
    ("subsets", "slices"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(
            [subset("10.0.0.1", "fd00::1")],
            [("IPv4", "http", "10.0.0.1"), ("IPv6", "http", "fd00::1")],
            id="two families",
        ),
        pytest.param(
            [subset("10.0.0.1"), subset("10.0.0.2", ports=(DNS,))],
            [("IPv4", "http", "10.0.0.1"), ("IPv4", "dns", "10.0.0.2")],
            id="other ports",
        ),
        pytest.param(
            [subset("10.0.0.1"), subset("10.0.0.1", ports=(DNS,))],
            [("IPv4", "http", "10.0.0.1"), ("IPv4", "dns", "10.0.0.1")],
            id="one address at other ports",
        ),
        pytest.param(
            [subset("10.0.0.1"), subset("10.0.0.2")], [("IPv4", "http", "10.0.0.1,10.0.0.2")], id="two subsets alike"
        ),
        pytest.param([subset("10.0.0.1", not_ready=("10.0.0.1",))], [("IPv4", "http", "10.0.0.1")], id="ready and not"),
        pytest.param(
            [subset("10.0.0.1", ports=(DNS, HTTP)), subset("10.0.0.2", ports=(HTTP, DNS))],
            [("IPv4", "dns,http", "10.0.0.1,10.0.0.2")],
            id="the order of ports",
        ),
        pytest.param([subset("10.0.0.1", ports=())], [("IPv4", "", "10.0.0.1")], id="no port"),
    ],
)
def test_endpoints_share_a_slice_where_family_and_ports_are_the_same(
    subsets: list[Json], slices: list[tuple[str, str, str]]
) -> None:
    found = [
        (
            one["addressType"],
            ",".join(port["name"] for port in one["ports"]),
            ",".join(endpoint["addresses"][0] for endpoint in one["endpoints"]),
        )
        for one in created(endpoints(*subsets))
    ]
    assert found == slices
    assert all(endpoint["conditions"]["ready"] for one in created(endpoints(*subsets)) for endpoint in one["endpoints"])


def test_what_is_mirrored_already_is_not_written_again() -> None:
    given = endpoints(subset("10.0.0.1", "10.0.0.2", "fd00::1"), subset("10.0.0.1", ports=()))
    stored = [slice_of(write, f"web-{n}") for n, write in enumerate(writes(given)) if isinstance(write, Create)]
    assert len(stored) == 3
    assert writes(given, *stored) == []
    stored[0]["endpoints"].reverse()
    assert writes(given, *stored) == [], "the order of endpoints says nothing"


def mirrored(*subsets: Json, **fields: Any) -> list[Json]:
    return [
        slice_of(write, f"web-{n}")
        for n, write in enumerate(writes(endpoints(*subsets, **fields)))
        if isinstance(write, Create)
    ]


def test_a_changed_subset_changes_its_slice_alone() -> None:
    before = mirrored(subset("10.0.0.1"), subset("10.0.0.1", ports=(DNS,)))
    [write] = writes(endpoints(subset("10.0.0.1", "10.0.0.2"), subset("10.0.0.1", ports=(DNS,))), *before)
    assert isinstance(write, Update)
    assert write.body["metadata"] == before[0]["metadata"]
    assert [one["addresses"] for one in write.body["endpoints"]] == [["10.0.0.1"], ["10.0.0.2"]]


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"labels": {"a": "b"}}), ({"annotations": {"a": "b"}}, {}), ({}, {"annotations": {"a": "b"}})],
)
def test_labels_and_annotations_follow(before: Json, after: Json) -> None:
    [write] = writes(endpoints(subset("10.0.0.1"), **after), *mirrored(subset("10.0.0.1"), **before))
    assert isinstance(write, Update)
    metadata_ = write.body["metadata"]
    assert metadata_["labels"] == after.get("labels", {}) | MIRRORED
    assert metadata_.get("annotations", {}) == after.get("annotations", {})


def test_a_slice_somebody_changed_is_put_right_and_one_too_many_goes() -> None:
    [stored] = mirrored(subset("10.0.0.1"))
    spoiled = {**stored, "endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": True}}]}
    twin = {**stored, "metadata": {**stored["metadata"], "name": "web-y", "uid": "uid-y"}}
    again, gone = writes(endpoints(subset("10.0.0.1")), spoiled, twin)
    assert isinstance(again, Update)
    assert again.body == stored
    assert gone == Delete(resource=ENDPOINT_SLICES, key=Key("default", "web-y"), uid="uid-y")


def test_slices_of_endpoints_that_were_replaced_make_room() -> None:
    [stored] = mirrored(subset("10.0.0.1"))
    new, gone = writes(endpoints(subset("10.0.0.1"), uid="uid-new"), stored)
    assert isinstance(new, Create)
    assert new.body["metadata"]["ownerReferences"][0]["uid"] == "uid-new"
    assert gone == Delete(resource=ENDPOINT_SLICES, key=key_of(stored), uid="uid-web-0")


LEADER = {"control-plane.alpha.kubernetes.io/leader": "{}"}
SKIPPED = {"endpointslice.kubernetes.io/skip-mirror": "true"}


@pytest.mark.parametrize(
    ("given", "of", "is_mirrored"),
    [
        (endpoints(subset("10.0.0.1")), unselecting(), True),
        (endpoints(subset("10.0.0.1"), labels=dict.fromkeys(SKIPPED, "false")), unselecting(), True),
        (endpoints(subset("10.0.0.1"), labels=SKIPPED), unselecting(), False),
        (endpoints(subset("10.0.0.1"), annotations=LEADER), unselecting(), False),
        (endpoints(subset("10.0.0.1"), deletionTimestamp=LONG_AGO), unselecting(), False),
        (endpoints(subset("10.0.0.1")), service(), False),
        (endpoints(subset("10.0.0.1")), None, False),
        (None, unselecting(), False),
    ],
    ids=["yes", "not skipped", "skipped", "an election", "going", "a selector", "no Service", "no Endpoints"],
)
def test_only_endpoints_made_by_hand_for_a_service_without_a_selector_are_mirrored(
    given: Json | None, of: Json | None, is_mirrored: bool
) -> None:
    made = reconcile(MirroringView(endpoints=given, service=of, slices=[]))
    assert [type(one) for one in made] == ([Create] if is_mirrored else [])
    if not is_mirrored:
        stored = mirrored(subset("10.0.0.1"))
        by_hand = {**stored[0], "metadata": metadata("mine", labels=BY_HAND)}
        found = reconcile(MirroringView(endpoints=given, service=of, slices=[*stored, by_hand]))
        assert found == [Delete(resource=ENDPOINT_SLICES, key=key_of(stored[0]), uid="uid-web-0")]


@pytest.mark.parametrize(("ready", "not_ready", "left_out"), [(1000, 0, 0), (1000, 1, 1), (998, 5, 3), (1200, 0, 200)])
def test_a_subset_is_mirrored_up_to_a_thousand_addresses(ready: int, not_ready: int, left_out: int) -> None:
    ips = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(ready + not_ready)]
    given = endpoints(subset(*ips[:ready], not_ready=tuple(ips[ready:])))
    first, *told = writes(given)
    assert isinstance(first, Create)
    assert [one["addresses"][0] for one in first.body["endpoints"]] == ips[:1000]
    message = (
        "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. "
        f"{left_out} addresses were skipped"
    )
    assert [(one.reason, one.message, one.type) for one in told if isinstance(one, Record)] == (
        [("TooManyAddressesToMirror", message, "Warning")] if left_out else []
    )
    assert writes(given, slice_of(first)) == [], "it is told once, with the write"


def test_an_address_that_is_none_is_left_out_and_told() -> None:
    first, told = writes(endpoints(subset("10.0.0.1", "nonsense")))
    assert isinstance(first, Create)
    assert len(first.body["endpoints"]) == 1
    assert isinstance(told, Record)
    assert (told.reason, told.message) == (
        "InvalidIPAddress",
        "Skipped 1 invalid IP addresses when mirroring to EndpointSlices",
    )


[SLICE] = mirrored(subset("10.0.0.1"))
HAND_MADE = {**SLICE, "metadata": metadata("mine", labels=BY_HAND)}


@pytest.mark.parametrize(
    ("resource", "previous", "current", "news", "keys"),
    [
        (ENDPOINTS, None, endpoints(), True, {"web"}),
        (ENDPOINTS, endpoints(), None, True, {"web"}),
        (SERVICES, None, unselecting(), True, {"web"}),
        (SERVICES, unselecting(), unselecting(labels={"a": "b"}), True, set()),
        (SERVICES, unselecting(), service(), True, {"web"}),
        (ENDPOINT_SLICES, SLICE, None, True, {"web"}),
        (ENDPOINT_SLICES, None, SLICE, False, set()),
        (ENDPOINT_SLICES, HAND_MADE, None, True, set()),
    ],
)
def test_what_gives_it_work(
    resource: Any, previous: Json | None, current: Json | None, news: bool, keys: set[str]
) -> None:
    caches = {one: Cache() for one in ENDPOINT_SLICE_MIRRORING.watches}
    change = Change(resource=resource, previous=previous, current=current, news=news)
    assert {key.name for key in ENDPOINT_SLICE_MIRRORING.keys(change, caches)} == keys


@pytest.mark.parametrize("seed", range(5))
async def test_mirrored_slices_come_change_and_go_with_their_endpoints(seed: int) -> None:
    cluster = Simulation(seed)
    cluster.api.put(ENDPOINT_SLICES, HAND_MADE)
    cluster.api.put(SERVICES, unselecting())
    cluster.api.put(ENDPOINTS, endpoints(subset("10.0.0.1", "fd00::1")))
    await cluster.settle()
    assert {one["addressType"] for one in cluster.slices()} == {"IPv4", "IPv6"}
    assert len(cluster.slices()) == 3
    cluster.api.put(ENDPOINTS, {**cluster.the(ENDPOINTS), "subsets": [subset("10.0.0.2")]})
    await cluster.settle()
    assert sorted(one["endpoints"][0]["addresses"][0] for one in cluster.slices()) == ["10.0.0.1", "10.0.0.2"]
    await cluster.delete(ENDPOINTS, "web")
    await cluster.settle()
    assert [one["metadata"]["name"] for one in cluster.slices()] == ["mine"]
