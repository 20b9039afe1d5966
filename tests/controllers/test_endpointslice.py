from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.api.resources import ENDPOINT_SLICES
from fairway.controllers.endpointslice import EndpointSliceView, reconcile
from fairway.controllers.writes import Create, Delete, Update, Write
from tests.controllers.objects import controlled_by, node, pod, service

NODES = {"n1": node("n1", labels={"topology.kubernetes.io/zone": "z1"}), "n2": node("n2")}
LABELS = {
    "kubernetes.io/service-name": "web",
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
}
HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}


def backend(number: int, *, ready: bool = True, where: str = "n2", **fields: Any) -> dict[str, Any]:
    ip = f"10.10.{number // 250}.{number % 250 + 1}"
    return pod(f"p{number}", node=where, ip=ip, ready=ready, **fields)


def endpoint(number: int, *, ready: bool = True, **fields: Any) -> dict[str, Any]:
    return {
        "addresses": [f"10.10.{number // 250}.{number % 250 + 1}"],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "nodeName": "n2",
        "targetRef": {"kind": "Pod", "namespace": "default", "name": f"p{number}", "uid": f"uid-p{number}"},
    } | fields


def slice_of(name: str, numbers: Any, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "labels": LABELS,
            "ownerReferences": [controlled_by(service())],
        },
        "addressType": "IPv4",
        "endpoints": [endpoint(number) for number in numbers],
        "ports": [HTTP],
    } | fields


def writes(pods: Any, *slices: dict[str, Any], of: dict[str, Any] | None = None) -> list[Write]:
    view = EndpointSliceView(service=of or service(), pods=list(pods), nodes=NODES, slices=slices)
    return reconcile(view)


def numbers_in(write: Write) -> list[int]:
    assert isinstance(write, (Create, Update))
    return [int(one["targetRef"]["name"][1:]) for one in write.body["endpoints"]]


def endpoints_of(*pods: dict[str, Any], of: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    [create] = writes(pods, of=of)
    assert isinstance(create, Create)
    return create.body["endpoints"]


def test_a_new_slice_says_whose_it_is_and_what_it_holds() -> None:
    own = service(labels={"team": "a", "endpointslice.kubernetes.io/managed-by": "me"})
    assert writes([backend(1, where="n1")], of=own) == [
        Create(
            resource=ENDPOINT_SLICES,
            body={
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "generateName": "web-",
                    "namespace": "default",
                    "ownerReferences": [controlled_by(service())],
                    "labels": {"team": "a"} | LABELS,
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2025-06-01T11:00:00Z"},
                },
                "addressType": "IPv4",
                "endpoints": [endpoint(1, nodeName="n1", zone="z1")],
                "ports": [HTTP],
            },
        )
    ]


@pytest.mark.parametrize(
    ("fields", "publish", "conditions"),
    [
        ({"ready": True}, False, (True, True, False)),
        ({"ready": False}, False, (False, False, False)),
        ({"ready": True, "terminating": True}, False, (False, True, True)),
        ({"ready": False, "terminating": True}, False, (False, False, True)),
        ({"ready": False}, True, (True, False, False)),
        ({"ready": True, "terminating": True}, True, (True, True, True)),
    ],
)
def test_conditions_tell_ready_serving_and_terminating(
    fields: dict[str, Any], publish: bool, conditions: tuple[bool, bool, bool]
) -> None:
    of = service(spec={"publishNotReadyAddresses": publish})
    [found] = endpoints_of(backend(1, **fields), of=of)
    assert tuple(found["conditions"].values()) == conditions


@pytest.mark.parametrize(
    ("left_out", "why"),
    [
        (backend(1, phase="Succeeded"), "has ended"),
        (backend(1, phase="Failed"), "has ended"),
        (backend(1, where="gone"), "is on a node nobody knows"),
        (backend(1, labels={"app": "db"}), "is not selected"),
        (backend(1, namespace="else"), "is elsewhere"),
        (pod("p1", node="n2", ready=True), "has no address"),
        (pod("p1", node="n2", ready=True, ip="fd00::1"), "has none of this family"),
    ],
)
def test_a_pod_that_cannot_serve_is_no_endpoint(left_out: dict[str, Any], why: str) -> None:
    assert endpoints_of(left_out) == [], why


def test_a_node_nobody_knows_is_no_matter_where_all_addresses_are_published() -> None:
    [found] = endpoints_of(backend(1, where="gone"), of=service(spec={"publishNotReadyAddresses": True}))
    assert found["nodeName"] == "gone"


def test_a_service_without_pods_has_one_empty_slice() -> None:
    [create] = writes([])
    assert isinstance(create, Create)
    assert (create.body["endpoints"], create.body["ports"]) == ([], [])
    assert writes([], slice_of("a", [], ports=[])) == []


def test_the_last_pod_empties_the_slice_it_was_in() -> None:
    [update] = writes([], slice_of("a", [1]))
    assert isinstance(update, Update)
    assert (update.body["metadata"]["name"], update.body["endpoints"], update.body["ports"]) == ("a", [], [])


def test_the_first_pod_fills_the_empty_slice() -> None:
    [update] = writes([backend(1)], slice_of("a", [], ports=[]))
    assert isinstance(update, Update)
    assert (update.body["metadata"]["name"], numbers_in(update), update.body["ports"]) == ("a", [1], [HTTP])


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName"}])
def test_a_service_whose_endpoints_are_not_ours_is_left_alone(spec: dict[str, Any]) -> None:
    assert writes([backend(1)], slice_of("a", [7]), of=service(spec=spec)) == []


def test_slices_of_other_managers_are_never_touched() -> None:
    by_hand = slice_of("hand", [7])
    by_hand["metadata"]["labels"] = {"kubernetes.io/service-name": "web"}
    mirrored = slice_of("mirror", [8])
    mirrored["metadata"]["labels"] = LABELS | {
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"
    }
    [create] = writes([backend(1)], by_hand, mirrored)
    assert numbers_in(create) == [1]


def test_slices_of_a_former_service_of_that_name_go() -> None:
    former = slice_of("a", [1])
    former["metadata"]["ownerReferences"][0] = {**controlled_by(service()), "uid": "another"}
    [create, delete] = writes([backend(1)], former)
    assert isinstance(create, Create)
    assert isinstance(delete, Delete)
    assert (delete.key.name, delete.uid) == ("a", "uid-a")


def test_nothing_to_change_is_nothing_to_write() -> None:
    assert writes([backend(n) for n in range(150)], slice_of("a", range(100)), slice_of("b", range(100, 150))) == []


def test_250_pods_are_three_slices_of_at_most_100() -> None:
    found = writes([backend(n) for n in range(250)])
    assert [len(numbers_in(one)) for one in found] == [100, 100, 50]
    assert sorted(n for one in found for n in numbers_in(one)) == list(range(250))


def test_a_changed_pod_changes_its_slice_only() -> None:
    pods = [backend(n, ready=n != 42) for n in range(250)]
    slices = slice_of("a", range(100)), slice_of("b", range(100, 200)), slice_of("c", range(200, 250))
    [update] = writes(pods, *slices)
    assert isinstance(update, Update)
    assert update.body["metadata"]["name"] == "a"
    assert update.body["endpoints"] == [endpoint(n, ready=n != 42) for n in range(100)]


def test_full_slices_are_not_reshuffled_when_some_have_room() -> None:
    slices = slice_of("a", range(60)), slice_of("b", range(60, 150)), slice_of("c", range(150, 170))
    [update] = writes([backend(n) for n in range(175)], *slices)
    assert isinstance(update, Update)
    assert update.body["metadata"]["name"] == "b", "the fullest that has room for all five"
    assert numbers_in(update) == [*range(60, 150), *range(170, 175)]


def test_a_new_pod_takes_the_place_of_an_old_one_in_one_write() -> None:
    slices = slice_of("a", range(100)), slice_of("b", range(100, 150))
    [update] = writes([backend(n) for n in range(151) if n != 3], *slices)
    assert isinstance(update, Update)
    assert update.body["metadata"]["name"] == "a"
    assert sorted(numbers_in(update)) == [n for n in range(100) if n != 3] + [150]


def test_more_new_pods_than_any_slice_has_room_for_make_a_new_slice() -> None:
    slices = slice_of("a", range(95)), slice_of("b", range(95, 185))
    [create] = writes([backend(n) for n in range(200)], *slices)
    assert isinstance(create, Create)
    assert numbers_in(create) == list(range(185, 200))


def test_a_slice_that_empties_goes_while_others_stay() -> None:
    [delete] = writes([backend(n) for n in range(100)], slice_of("a", range(100)), slice_of("b", [100]))
    assert delete == Delete(
        resource=ENDPOINT_SLICES,
        key=delete.key,
        uid="uid-b",
    )


def test_changed_labels_of_the_service_reach_every_slice() -> None:
    slices = slice_of("a", range(100)), slice_of("b", range(100, 150))
    found = writes([backend(n) for n in range(150)], *slices, of=service(labels={"team": "b"}))
    assert [one.body["metadata"]["labels"] for one in found if isinstance(one, Update)] == [{"team": "b"} | LABELS] * 2


def test_a_headless_service_marks_its_slices() -> None:
    [create] = writes([backend(1)], of=service(spec={"clusterIP": "None", "ports": None}))
    assert isinstance(create, Create)
    assert create.body["metadata"]["labels"] == LABELS | {"service.kubernetes.io/headless": ""}
    assert create.body["ports"] == []
    assert numbers_in(create) == [1]


def offering(number: int, name: str, port: int, *, init: str | None = None) -> dict[str, Any]:
    container = {"name": "c", "ports": [{"name": name, "containerPort": port, "protocol": "TCP"}]}
    if init is None:
        return backend(number, spec={"containers": [container]})
    return backend(number, spec={"containers": [], "initContainers": [{**container, "restartPolicy": init}]})


NAMED = service(
    spec={"ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP", "appProtocol": "h2c"}]}
)


def test_a_named_port_that_resolves_differently_makes_slices_of_its_own() -> None:
    found = writes([offering(1, "web", 8080), offering(2, "web", 9090), offering(3, "web", 8080)], of=NAMED)
    assert [(numbers_in(one), one.body["ports"]) for one in found if isinstance(one, Create)] == [
        ([1, 3], [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}]),
        ([2], [{"name": "http", "port": 9090, "protocol": "TCP", "appProtocol": "h2c"}]),
    ]


@pytest.mark.parametrize(
    ("offered", "ports"),
    [
        (offering(1, "other", 8080), []),
        (offering(1, "web", 8080, init="Always"), [8080]),
        (offering(1, "web", 8080, init="Never"), []),
    ],
)
def test_a_named_port_is_looked_for_in_containers_and_sidecars(offered: dict[str, Any], ports: list[int]) -> None:
    [create] = writes([offered], of=NAMED)
    assert isinstance(create, Create)
    assert [one["port"] for one in create.body["ports"]] == ports


def test_a_changed_target_port_reuses_the_slice() -> None:
    moved = service(spec={"ports": [{"name": "http", "port": 80, "targetPort": 9090, "protocol": "TCP"}]})
    [update] = writes([backend(1)], slice_of("a", [1]), of=moved)
    assert isinstance(update, Update)
    assert (update.body["metadata"]["name"], update.body["ports"]) == ("a", [{**HTTP, "port": 9090}])


def test_two_families_have_slices_of_their_own() -> None:
    dual = backend(1)
    dual["status"]["podIPs"].append({"ip": "fd00::1"})
    found = writes([dual], of=service(spec={"ipFamilies": ["IPv4", "IPv6"]}))
    assert [(one.body["addressType"], one.body["endpoints"][0]["addresses"]) for one in found] == [
        ("IPv4", ["10.10.0.2"]),
        ("IPv6", ["fd00::1"]),
    ]


def test_a_family_given_up_loses_its_slice() -> None:
    six = slice_of("six", [], addressType="IPv6", ports=[])
    [delete] = writes([backend(1)], slice_of("a", [1]), six)
    assert isinstance(delete, Delete)
    assert delete.key.name == "six"


@pytest.mark.parametrize(
    ("distribution", "ready", "hints"),
    [
        ("PreferClose", True, {"forZones": [{"name": "z1"}]}),
        ("PreferSameZone", True, {"forZones": [{"name": "z1"}]}),
        ("PreferSameNode", True, {"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}),
        ("PreferSameZone", False, None),
        (None, True, None),
    ],
)
def test_hints_name_where_a_ready_endpoint_is(distribution: str | None, ready: bool, hints: Any) -> None:
    of = service(spec={"trafficDistribution": distribution})
    [found] = endpoints_of(backend(1, where="n1", ready=ready), of=of)
    assert found.get("hints") == hints


def test_a_pod_with_a_name_in_the_subdomain_has_it_as_hostname() -> None:
    [found] = endpoints_of(backend(1, spec={"hostname": "one", "subdomain": "web"}))
    assert found["hostname"] == "one"
    [other] = endpoints_of(backend(1, spec={"hostname": "one", "subdomain": "else"}))
    assert "hostname" not in other


def test_the_trigger_time_is_the_newest_change_not_told_yet() -> None:
    note = "endpoints.kubernetes.io/last-change-trigger-time"
    old = slice_of("a", [1])
    old["metadata"]["annotations"] = {note: "2025-06-01T11:30:00Z", "mine": "stays"}
    [update] = writes([backend(1, ready=False, ready_since="2025-06-01T11:59:59Z")], old)
    assert isinstance(update, Update)
    assert update.body["metadata"]["annotations"] == {note: "2025-06-01T11:59:59Z", "mine": "stays"}
    [vanished] = writes([backend(2)], old)
    assert isinstance(vanished, Update)
    assert vanished.body["metadata"]["annotations"] == {"mine": "stays"}


def applied(slices: list[dict[str, Any]], found: list[Write]) -> list[dict[str, Any]]:
    """The slices after these writes."""
    stored = {one["metadata"]["name"]: one for one in slices}
    for number, write in enumerate(found):
        if isinstance(write, Delete):
            del stored[write.key.name]
        elif isinstance(write, Update):
            stored[write.body["metadata"]["name"]] = copy.deepcopy(write.body)
        elif isinstance(write, Create):
            made = copy.deepcopy(write.body)
            made["metadata"] |= {"name": f"s{len(stored)}-{number}-{id(made)}", "uid": f"uid-{id(made)}"}
            stored[made["metadata"]["name"]] = made
    return list(stored.values())


POPULATIONS = st.lists(st.sets(st.integers(0, 260), max_size=260), min_size=1, max_size=5)


@given(POPULATIONS, st.sets(st.integers(0, 260)))
def test_slices_always_hold_the_truth_in_a_form_that_needs_no_more_writes(
    populations: list[set[int]], failing: set[int]
) -> None:
    slices: list[dict[str, Any]] = []
    for population in populations:
        pods = [backend(n, ready=n not in failing) for n in sorted(population)]
        slices = applied(slices, writes(pods, *slices))
        held = [one for a_slice in slices for one in a_slice["endpoints"]]
        assert sorted(held, key=str) == sorted((endpoint(n, ready=n not in failing) for n in population), key=str)
        assert all(len(one["endpoints"]) <= 100 for one in slices)
        assert writes(pods, *slices) == []


@given(st.sets(st.integers(0, 260), min_size=1), st.data())
def test_one_changed_pod_is_always_one_write(population: set[int], data: st.DataObject) -> None:
    pods = [backend(n) for n in sorted(population)]
    slices = applied([], writes(pods))
    changed = data.draw(st.sampled_from(sorted(population)))
    flipped = [backend(n, ready=n != changed) for n in sorted(population)]
    assert [type(one) for one in writes(flipped, *slices)] == [Update]
    gone = [backend(n) for n in sorted(population - {changed})]
    assert len(writes(gone, *slices)) == 1
