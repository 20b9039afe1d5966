"""Which endpoints may be used, and how slices that overlap are read."""

from __future__ import annotations

import pytest

from fairway.api.core import ApiProtocol
from fairway.base.addresses import parse_address
from fairway.plan.endpoints import Topology, Usable, read_slices, usable_endpoints
from fairway.plan.model import Backend
from fairway.plan.options import view_node
from tests.plan.objects import HERE, OPTIONS, THERE, endpoint, endpoint_slice, ipv6_options, node

VIEW = view_node(node(zone="zone-a"), OPTIONS)
UNNAMED = ("", ApiProtocol.TCP)


def backend(address: str, port: int = 8080, *, local: bool = False) -> Backend:
    return Backend.at(parse_address(address), port, local=local)


def usable(*endpoints, view=VIEW) -> Usable:
    known = read_slices([endpoint_slice(*endpoints)], view)
    return usable_endpoints(known.by_port.get(UNNAMED, ()), view)


def test_unready_endpoints_are_known_but_not_used():
    assert usable(endpoint("10.10.1.3", HERE), endpoint("10.10.2.3", THERE, ready=False)) == Usable(
        cluster=(backend("10.10.1.3", local=True),), local=(backend("10.10.1.3", local=True),), known=2
    )


def test_an_endpoint_of_no_node_is_never_local():
    assert usable(endpoint("10.10.1.3")) == Usable(cluster=(backend("10.10.1.3"),), local=(), known=1)


def test_backends_are_sorted_by_their_text():
    found = usable(*(endpoint(f"10.10.1.{last}") for last in (9, 10, 100, 2)))
    assert [str(each) for each in found.cluster] == [
        "10.10.1.100:8080",
        "10.10.1.10:8080",
        "10.10.1.2:8080",
        "10.10.1.9:8080",
    ]


DRAINING = {"ready": False, "serving": True, "terminating": True}


def hosts(backends: tuple[Backend, ...]) -> list[str]:
    return [str(each.address) for each in backends]


def test_the_local_set_falls_back_to_terminating_endpoints_by_itself():
    found = usable(endpoint("10.10.1.3", HERE, **DRAINING), endpoint("10.10.2.3", THERE))
    assert (hosts(found.cluster), found.cluster_terminating) == (["10.10.2.3"], False)
    assert (hosts(found.local), found.local_terminating) == (["10.10.1.3"], True)


def test_the_cluster_set_falls_back_only_when_no_endpoint_is_ready_anywhere():
    found = usable(endpoint("10.10.1.3", HERE, **DRAINING), endpoint("10.10.2.3", THERE, **DRAINING))
    assert (hosts(found.cluster), found.cluster_terminating) == (["10.10.1.3", "10.10.2.3"], True)
    assert (hosts(found.local), found.local_terminating) == (["10.10.1.3"], True)


@pytest.mark.parametrize(("serving", "terminating"), [(False, True), (True, False), (False, False)])
def test_only_what_serves_while_it_terminates_is_fallen_back_to(serving, terminating):
    found = usable(endpoint("10.10.1.3", HERE, ready=False, serving=serving, terminating=terminating))
    assert found == Usable(cluster=(), local=(), known=1)


def test_the_fallback_pays_no_attention_to_hints():
    found = usable(
        endpoint("10.10.1.3", zones=["zone-a"], **DRAINING), endpoint("10.10.2.3", zones=["zone-b"], **DRAINING)
    )
    assert (hosts(found.cluster), found.topology) == (["10.10.1.3", "10.10.2.3"], Topology.ANY)


@pytest.mark.parametrize(
    ("first", "second", "topology", "cluster"),
    [
        ({"zones": ["zone-a"]}, {"zones": ["zone-b"]}, Topology.SAME_ZONE, ["10.10.1.3"]),
        ({"zones": ["zone-b", "zone-a"]}, {"zones": ["zone-a"]}, Topology.SAME_ZONE, ["10.10.1.3", "10.10.2.3"]),
        ({"zones": ["zone-a"]}, {}, Topology.ANY, ["10.10.1.3", "10.10.2.3"]),
        ({"zones": ["zone-b"]}, {"zones": ["zone-c"]}, Topology.ANY, ["10.10.1.3", "10.10.2.3"]),
        ({"zones": ["zone-a"]}, {"zones": [], "ready": False}, Topology.SAME_ZONE, ["10.10.1.3"]),
        ({"nodes": [THERE]}, {"nodes": [HERE]}, Topology.SAME_NODE, ["10.10.2.3"]),
        ({"nodes": [THERE], "zones": ["zone-a"]}, {"zones": ["zone-b"]}, Topology.SAME_ZONE, ["10.10.1.3"]),
    ],
)
def test_hints_count_when_every_ready_endpoint_has_them_and_one_is_meant_for_here(first, second, topology, cluster):
    found = usable(endpoint("10.10.1.3", **first), endpoint("10.10.2.3", **second))
    assert (found.topology, hosts(found.cluster)) == (topology, cluster)


def test_hints_of_zones_mean_nothing_to_a_node_without_one():
    found = usable(endpoint("10.10.1.3", zones=["zone-a"]), view=view_node(node(), OPTIONS))
    assert (found.topology, hosts(found.cluster)) == (Topology.ANY, ["10.10.1.3"])


def test_hints_never_narrow_the_endpoints_of_this_node():
    found = usable(endpoint("10.10.1.3", HERE, zones=["zone-b"]), endpoint("10.10.2.3", THERE, zones=["zone-a"]))
    assert (hosts(found.cluster), hosts(found.local)) == (["10.10.2.3"], ["10.10.1.3"])


def test_slices_are_joined_and_each_names_its_own_port_numbers():
    known = read_slices(
        [
            endpoint_slice(endpoint("10.10.1.3", HERE), name="b", ports=[{"name": "http", "port": 8080}]),
            endpoint_slice(
                endpoint("10.10.2.3", THERE),
                name="a",
                ports=[{"name": "http", "port": 9090}, {"name": "dns", "port": 53, "protocol": "UDP"}],
            ),
        ],
        VIEW,
    )
    assert {port: [str(each.backend) for each in endpoints] for port, endpoints in known.by_port.items()} == {
        ("http", ApiProtocol.TCP): ["10.10.1.3:8080", "10.10.2.3:9090"],
        ("dns", ApiProtocol.UDP): ["10.10.2.3:53"],
    }
    assert known.slices == ("a", "b")


def test_of_one_backend_in_two_slices_the_one_that_does_not_terminate_is_believed():
    slices = [
        endpoint_slice(endpoint("10.10.1.3", HERE, **DRAINING), name="a"),
        endpoint_slice(endpoint("10.10.1.3", HERE), name="b"),
        endpoint_slice(endpoint("10.10.1.3", HERE, ready=False), name="c"),
    ]
    for order in (slices, slices[::-1]):
        (known,) = read_slices(order, VIEW).by_port[UNNAMED]
        assert (known.ready, known.serving, known.terminating) == (True, True, False)


def test_ports_without_a_number_and_slices_of_the_other_family_are_left_aside():
    known = read_slices(
        [
            endpoint_slice(endpoint("10.10.1.3", HERE), name="a", ports=[{"name": "http"}, {"name": "b", "port": 0}]),
            endpoint_slice(endpoint("fd00:10::3", HERE), name="b", addressType="IPv6"),
            endpoint_slice(endpoint("10.10.1.3", HERE), name="c", labels={"service.kubernetes.io/headless": ""}),
        ],
        VIEW,
    )
    assert (known.by_port, known.ready_here, known.slices, known.notes) == ({}, 0, ("a",), ())


def test_ipv6_endpoints_are_those_of_an_ipv6_view():
    known = read_slices(
        [
            endpoint_slice(endpoint("fd00:10::03", HERE), name="a", addressType="IPv6"),
            endpoint_slice(endpoint("10.10.1.3", HERE), name="b"),
        ],
        view_node(node("fd00::5"), ipv6_options()),
    )
    assert [str(each.backend) for each in known.by_port[UNNAMED]] == ["[fd00:10::3]:8080"]


def test_ready_addresses_of_this_node_count_once_whatever_their_ports():
    slices = [
        endpoint_slice(
            endpoint("10.10.1.3", HERE),
            endpoint("10.10.1.4", HERE, ready=False),
            endpoint("10.10.1.5", HERE, **DRAINING),
            endpoint("10.10.2.3", THERE),
            ports=[{"name": "a", "port": 1}, {"name": "b", "port": 2}],
        ),
        endpoint_slice(endpoint("10.10.1.3", HERE), name="again"),
    ]
    assert read_slices(slices, VIEW).ready_here == 1


@pytest.mark.parametrize(
    ("endpoints", "more", "note"),
    [
        (
            [endpoint("10.10.1")],
            {},
            (
                "EndpointSlice default/web-1: endpoints[0].addresses[0]=10.10.1: "
                "'10.10.1' is not an IP address; it is left out"
            ),
        ),
        (
            [{"addresses": []}],
            {},
            "EndpointSlice default/web-1: endpoints[0].addresses[0]: the endpoint has no address; it is left out",
        ),
        (
            [endpoint("fd00::1")],
            {},
            (
                "EndpointSlice default/web-1: endpoints[0].addresses[0]=fd00::1: "
                "'fd00::1' is not an IPv4 address; it is left out"
            ),
        ),
        *(
            (
                [endpoint(written)],
                {},
                (
                    f"EndpointSlice default/web-1: endpoints[0].addresses[0]={written}: {address!r} is {what}, and no "
                    "endpoint's own; it is left out"
                ),
            )
            for written, address, what in (
                ("0.0.0.0", "0.0.0.0", "unspecified"),
                ("127.0.0.1", "127.0.0.1", "in the loopback range (127.0.0.0/8, ::1/128)"),
                (" 127.010.000.009 ", "127.10.0.9", "in the loopback range (127.0.0.0/8, ::1/128)"),
                ("::ffff:127.0.0.1", "127.0.0.1", "in the loopback range (127.0.0.0/8, ::1/128)"),
                ("169.254.169.254", "169.254.169.254", "in the link-local range (169.254.0.0/16, fe80::/10)"),
                ("224.0.0.1", "224.0.0.1", "in the link-local multicast range (224.0.0.0/24, ff02::/16)"),
                ("239.255.0.1", "239.255.0.1", "a multicast address"),
            )
        ),
        (
            [endpoint("example.org")],
            {"addressType": "FQDN"},
            (
                "EndpointSlice default/web-1: addressType=FQDN: "
                "its endpoints are names, and packets can only be sent on to addresses; it is left out"
            ),
        ),
    ],
)
def test_what_cannot_be_used_becomes_a_note(endpoints, more, note):
    good = endpoint_slice(endpoint("10.10.1.3"), name="good")
    known = read_slices([endpoint_slice(*endpoints, **more), good], VIEW)
    assert [str(each.backend) for each in known.by_port[UNNAMED]] == ["10.10.1.3:8080"]
    assert [f"{each.origin}: {each.message}" for each in known.notes] == [note]
