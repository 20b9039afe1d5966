"""What holds of every Plan and every packet, whatever the objects say."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fairway.api.core import Node, Service
from fairway.api.discovery import EndpointSlice
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Disposition
from fairway.plan.compile import compile_plan
from fairway.plan.endpoints import read_slices, usable_endpoints
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Backends, Plan, Refusal, RejectReason, ServicePort, Source
from fairway.plan.options import Options, parse_options, view_node
from tests.plan.objects import HERE, THERE, endpoint, endpoint_slice, node, service

# Small pools, so that services meet at doors, endpoints in slices and packets at services.
POD_ADDRESSES = ["10.10.1.3", "10.10.1.10", "10.10.2.3", "172.18.0.5"]
PROTOCOLS = ["TCP", "UDP"]
PORT_NAMES = ["", "http"]
ZONES = ["zone-a", "zone-b"]
POLICIES = ["Cluster", "Local"]


def subsets(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=2)


@st.composite
def endpoints(draw: st.DrawFn) -> dict[str, Any]:
    condition = st.sampled_from([None, True, False])
    return endpoint(
        draw(st.sampled_from(POD_ADDRESSES)),
        draw(st.sampled_from([HERE, THERE, None])),
        ready=draw(condition),
        serving=draw(condition),
        terminating=draw(condition),
        zones=draw(subsets(ZONES)),
        nodes=draw(subsets([HERE, THERE])),
    )


@st.composite
def slices(draw: st.DrawFn) -> list[EndpointSlice]:
    ports = st.fixed_dictionaries(
        {"name": st.sampled_from(PORT_NAMES), "port": st.sampled_from([8080, 9090])},
        optional={"protocol": st.sampled_from(PROTOCOLS)},
    )
    return [
        endpoint_slice(*draw(st.lists(endpoints(), max_size=3)), name=f"s-{index}", of=of, ports=draw(st.lists(ports)))
        for index, of in enumerate(draw(st.lists(st.sampled_from(["a", "b"]), max_size=4)))
    ]


@st.composite
def services(draw: st.DrawFn) -> list[Service]:
    return [draw(one_service(name, address)) for name, address in (("a", "10.200.1.1"), ("b", "10.200.1.2"))]


@st.composite
def one_service(draw: st.DrawFn, name: str, cluster_ip: str) -> Service:
    node_port = draw(st.sampled_from([0, 30080, 30081]))
    protocol = draw(st.sampled_from(PROTOCOLS))
    port = {"name": draw(st.sampled_from(PORT_NAMES)), "protocol": protocol, "port": 80, "nodePort": node_port}
    return service(
        name,
        type=draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"])),
        clusterIP=cluster_ip,
        ports=[port],
        externalIPs=draw(subsets(["192.0.2.1", "172.18.0.5"])),
        ingress=[{"ip": ip} for ip in draw(subsets(["172.18.255.200", "192.0.2.1"]))],
        internalTrafficPolicy=draw(st.sampled_from(POLICIES)),
        externalTrafficPolicy=draw(st.sampled_from(POLICIES)),
        sessionAffinity=draw(st.sampled_from(["None", "ClientIP"])),
        loadBalancerSourceRanges=draw(subsets(["172.18.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "fd00::/8"])),
    )


options = st.builds(
    lambda cidrs, masquerade_all: parse_options(cluster_cidrs=cidrs, masquerade_all=masquerade_all),
    st.sampled_from([[], ["10.10.0.0/16"]]),
    st.booleans(),
)
nodes = st.builds(lambda zone: node(zone=zone), st.sampled_from(["", *ZONES]))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    return compile_plan(draw(services()), draw(slices()), draw(nodes), options=draw(options))


packets = st.builds(
    Packet,
    source=st.sampled_from([ip_address(text) for text in [*POD_ADDRESSES, "172.18.0.100", "127.0.0.1", "203.0.113.9"]]),
    destination=st.sampled_from(
        [ip_address(text) for text in ["10.200.1.1", "10.200.1.2", "192.0.2.1", "172.18.255.200", "172.18.0.5"]]
    ),
    port=st.sampled_from([80, 30080, 30081]),
    protocol=st.sampled_from([Protocol.TCP, Protocol.UDP]),
)


@given(plans(), packets)
def test_a_packet_has_backends_exactly_when_it_is_sent_to_one_and_their_chances_sum_to_one(plan: Plan, sent: Packet):
    trace = Evaluator(plan).evaluate(sent)
    assert bool(trace.candidates) == (trace.disposition is Disposition.DNAT)
    if trace.candidates:
        assert sum(candidate.probability for candidate in trace.candidates) == 1
        texts = [str(candidate) for candidate in trace.candidates]
        assert texts == sorted(set(texts))
        assert all(each.masquerade for each in trace.candidates if each.address == sent.source)
    assert trace.reason
    assert trace.steps


@given(plans(), packets)
def test_a_fate_follows_from_the_sets_of_the_port_it_meets(plan: Plan, sent: Packet):
    evaluator = Evaluator(plan)
    opening, trace = evaluator.opening(sent), evaluator.evaluate(sent)
    if opening is None:
        assert trace.disposition is Disposition.NONE
        return
    allowed = opening.door.allowed_sources
    if allowed is not None and not any(sent.source in network for network in allowed):
        assert trace.disposition is Disposition.DROP
        return
    port = opening.port
    if not port.cluster:
        assert trace.disposition is Disposition.REJECT
    elif trace.disposition is Disposition.DROP:
        assert not port.local
    else:
        chosen = {str(candidate) for candidate in trace.candidates}
        assert chosen in ({str(each) for each in port.cluster}, {str(each) for each in port.local})


@given(services(), slices(), nodes, options, st.randoms(use_true_random=False))
def test_the_order_of_objects_and_of_endpoints_does_not_matter(
    services: list[Service], slices: list[EndpointSlice], on: Node, options: Options, random: Any
):
    plan = compile_plan(services, slices, on, options=options)
    random.shuffle(services)
    random.shuffle(slices)
    assert compile_plan(services, slices, on, options=options) == plan


@given(st.lists(endpoints(), max_size=5, unique_by=lambda each: each["addresses"][0]), nodes, st.integers(0, 5))
def test_how_endpoints_are_cut_into_slices_does_not_matter(endpoints: list[dict[str, Any]], on: Node, cut: int):
    view = view_node(on, Options())
    together = [endpoint_slice(*endpoints)]
    apart = [endpoint_slice(*endpoints[:cut], name="x"), endpoint_slice(*endpoints[cut:], name="y")]
    assert read_slices(together, view).by_port == read_slices(apart, view).by_port


@given(plans())
def test_no_two_doors_are_in_one_place_and_each_has_a_way_for_every_source(plan: Plan):
    doors = [door for port in plan.ports for door in port.doors]
    assert len({(door.address, door.protocol, door.port) for door in doors}) == len(doors)
    assert all(set(door.ways) == set(Source) for door in doors)
    assert [port.name for port in plan.ports] == sorted(port.name for port in plan.ports)


@given(plans())
def test_outcomes_are_the_sets_of_their_port(plan: Plan):
    for port in plan.ports:
        for outcome in outcomes_of(port):
            if isinstance(outcome, Backends):
                assert outcome.choices == (port.cluster if outcome.scope.value == "cluster" else port.local)
                assert outcome.choices
            elif outcome.reason is RejectReason.NO_ENDPOINTS:
                assert not port.cluster
            else:
                assert port.cluster
                assert not port.local


def outcomes_of(port: ServicePort) -> list[Backends | Refusal]:
    return [way.outcome for door in port.doors for way in door.ways.values()]


@given(st.lists(endpoints(), max_size=5), nodes)
def test_endpoints_of_this_node_are_used_somewhere_only_if_the_cluster_has_usable_ones(
    endpoints: list[dict[str, Any]], on: Node
):
    view = view_node(on, Options())
    (known,) = read_slices([endpoint_slice(*endpoints)], view).by_port.values() or [()]
    usable = usable_endpoints(known, view)
    assert bool(usable.cluster) == any(each.ready or (each.serving and each.terminating) for each in known)
    assert bool(usable.cluster) or not usable.local
    assert all(backend.local for backend in usable.local)
    assert {*usable.cluster, *usable.local} <= {each.backend for each in known}
