"""Packets and their fates. A star behind a backend says that the source is rewritten on the way to it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from fairway.base.addresses import parse_address
from fairway.flow.trace import Candidate, Disposition, Origin, Step, Trace
from fairway.plan.evaluate import Evaluator, evaluate
from fairway.plan.model import Backend, Source
from fairway.plan.options import parse_options
from tests.plan.objects import (
    BALANCER_IP,
    CLIENT,
    CLUSTER_IP,
    EXTERNAL_IP,
    HERE,
    LOCAL_AND_REMOTE,
    NO_POD_NETWORK,
    NODE_ADDRESS,
    NODE_PORT,
    OPTIONS,
    POD,
    REMOTE_ONLY,
    THERE,
    endpoint,
    endpoint_slice,
    every_door,
    fate,
    fate_of,
    ipv6_options,
    node,
    packet,
    plan_of,
    service,
)

BOTH = "10.10.1.3:8080 10.10.2.3:8080"
BOTH_REWRITTEN = "10.10.1.3:8080* 10.10.2.3:8080*"
LOCAL = "10.10.1.3:8080"
REMOTE = "10.10.2.3:8080 10.10.3.4:8080"
REMOTE_REWRITTEN = "10.10.2.3:8080* 10.10.3.4:8080*"

SOURCES = (POD, NODE_ADDRESS, CLIENT)
DOORS = {
    "clusterIP": (CLUSTER_IP, 80),
    "externalIP": (EXTERNAL_IP, 80),
    "loadBalancer": (BALANCER_IP, 80),
    "nodePort": (NODE_ADDRESS, NODE_PORT),
}
EXTERNAL_DOORS = ("externalIP", "loadBalancer", "nodePort")


def fates(plan, door: str) -> tuple[str, ...]:
    """What a pod, this node and a client meet at a door."""
    return tuple(fate_of(plan, source, *DOORS[door]) for source in SOURCES)


@pytest.mark.parametrize(
    ("policy", "slices", "fates_at_cluster_ip"),
    [
        ("Cluster", [LOCAL_AND_REMOTE], (BOTH, BOTH_REWRITTEN, BOTH_REWRITTEN)),
        ("Local", [LOCAL_AND_REMOTE], (LOCAL, f"{LOCAL}*", f"{LOCAL}*")),
        ("Local", [REMOTE_ONLY], ("DROP", "DROP", "DROP")),
        ("Cluster", [], ("REJECT", "REJECT", "REJECT")),
        ("Local", [], ("REJECT", "REJECT", "REJECT")),
    ],
)
def test_the_internal_policy_decides_at_the_cluster_ip(policy, slices, fates_at_cluster_ip):
    plan = plan_of(every_door(internalTrafficPolicy=policy, externalTrafficPolicy="Cluster"), *slices)
    assert fates(plan, "clusterIP") == fates_at_cluster_ip


@pytest.mark.parametrize("door", EXTERNAL_DOORS)
@pytest.mark.parametrize(
    ("policy", "slices", "fates_outside"),
    [
        ("Cluster", [LOCAL_AND_REMOTE], (BOTH_REWRITTEN, BOTH_REWRITTEN, BOTH_REWRITTEN)),
        ("Local", [LOCAL_AND_REMOTE], (BOTH, BOTH_REWRITTEN, LOCAL)),
        ("Local", [REMOTE_ONLY], (REMOTE, REMOTE_REWRITTEN, "DROP")),
        ("Cluster", [], ("REJECT", "REJECT", "REJECT")),
        ("Local", [], ("REJECT", "REJECT", "REJECT")),
    ],
)
def test_the_external_policy_decides_at_every_other_door(door, policy, slices, fates_outside):
    plan = plan_of(every_door(externalTrafficPolicy=policy, internalTrafficPolicy="Cluster"), *slices)
    assert fates(plan, door) == fates_outside


def test_neither_policy_reaches_into_the_other_doors():
    plan = plan_of(every_door(externalTrafficPolicy="Local", internalTrafficPolicy="Local"), LOCAL_AND_REMOTE)
    assert fates(plan, "clusterIP") == (LOCAL, f"{LOCAL}*", f"{LOCAL}*")
    assert fates(plan, "nodePort") == (BOTH, BOTH_REWRITTEN, LOCAL)


def test_without_a_pod_network_nobody_is_rewritten_at_the_cluster_ip_and_pods_are_from_elsewhere():
    plan = plan_of(every_door(externalTrafficPolicy="Local"), LOCAL_AND_REMOTE, options=NO_POD_NETWORK)
    assert fates(plan, "clusterIP") == (BOTH, BOTH, BOTH)
    assert fates(plan, "nodePort") == (LOCAL, BOTH_REWRITTEN, LOCAL)


def test_without_a_pod_network_a_pod_is_dropped_where_the_node_has_no_endpoint():
    plan = plan_of(every_door(externalTrafficPolicy="Local"), REMOTE_ONLY, options=NO_POD_NETWORK)
    assert fate_of(plan, POD, NODE_ADDRESS, NODE_PORT) == "DROP"


BY_BRIDGE = {"detect_local_mode": "BridgeInterface", "bridge_interface": "cni0"}
BY_PREFIX = {"detect_local_mode": "InterfaceNamePrefix", "interface_name_prefix": "veth"}


@pytest.mark.parametrize(
    ("flags", "interface", "is_pod"),
    [
        (BY_BRIDGE, "cni0", True),
        (BY_BRIDGE, "cni01", False),
        (BY_BRIDGE, "cni", False),
        (BY_BRIDGE, "eth0", False),
        (BY_BRIDGE, "", False),
        (BY_PREFIX, "veth", True),
        (BY_PREFIX, "veth7f3a", True),
        (BY_PREFIX, "vet", False),
        (BY_PREFIX, "", False),
    ],
)
@pytest.mark.parametrize("source", [POD, CLIENT])
def test_the_link_it_comes_in_by_tells_a_pod_whatever_its_address(flags, interface, is_pod, source):
    options = parse_options(cluster_cidrs=["10.10.0.0/16"], **flags)
    plan = plan_of(every_door(externalTrafficPolicy="Local"), REMOTE_ONLY, options=options)
    at_cluster_ip, at_node_port = (
        fate(evaluate(plan, packet(source, *DOORS[door], interface=interface))) for door in ("clusterIP", "nodePort")
    )
    assert (at_cluster_ip, at_node_port) == ((REMOTE, REMOTE) if is_pod else (REMOTE_REWRITTEN, "DROP"))


@pytest.mark.parametrize("flags", [BY_BRIDGE, BY_PREFIX])
def test_what_the_node_sends_comes_in_by_no_link(flags):
    plan = plan_of(service(), REMOTE_ONLY, options=parse_options(**flags))
    sent = packet(NODE_ADDRESS, CLUSTER_IP, 80, from_node=True, interface="cni0" if flags is BY_BRIDGE else "veth1")
    assert Evaluator(plan).source_of(sent) is Source.NODE
    assert fate(evaluate(plan, sent)) == REMOTE_REWRITTEN


@pytest.mark.parametrize(
    ("interface", "text"),
    [
        ("cni0", "it comes in by the link cni0, and what comes by cni0 is from pods"),
        (
            "eth0",
            "its source 172.18.0.100 is not this node, and it comes in by the link eth0, not by cni0 as from a pod",
        ),
        (
            "",
            (
                "its source 172.18.0.100 is not this node, and it comes in by a link that is not told, not by cni0 as "
                "from a pod"
            ),
        ),
    ],
)
def test_a_step_names_the_link_that_told(interface, text):
    plan = plan_of(service(), REMOTE_ONLY, options=parse_options(**BY_BRIDGE))
    assert evaluate(plan, packet(CLIENT, CLUSTER_IP, 80, interface=interface)).steps[1].text == text


def test_other_nodes_pods_are_clients_where_only_this_nodes_pod_network_tells():
    options = parse_options(cluster_cidrs=["10.10.0.0/16"], detect_local_mode="NodeCIDR")
    plan = plan_of(
        every_door(externalTrafficPolicy="Local"), REMOTE_ONLY, options=options, on=node(pod_cidrs=["10.10.1.0/24"])
    )
    assert fate_of(plan, "10.10.1.9", NODE_ADDRESS, NODE_PORT) == REMOTE
    assert fate_of(plan, "10.10.2.9", NODE_ADDRESS, NODE_PORT) == "DROP"


def test_masquerade_all_rewrites_pods_at_the_cluster_ip_and_changes_no_other_door():
    everything = parse_options(cluster_cidrs=["10.10.0.0/16"], masquerade_all=True)
    plan = plan_of(every_door(externalTrafficPolicy="Local"), LOCAL_AND_REMOTE, options=everything)
    assert fates(plan, "clusterIP") == (BOTH_REWRITTEN, BOTH_REWRITTEN, BOTH_REWRITTEN)
    assert fates(plan, "nodePort") == (BOTH, BOTH_REWRITTEN, LOCAL)


@pytest.mark.parametrize("door", DOORS)
def test_a_pod_that_reaches_itself_is_rewritten_and_one_that_reaches_another_is_not(door):
    plan = plan_of(every_door(externalTrafficPolicy="Local"), LOCAL_AND_REMOTE)
    trace = evaluate(plan, packet("10.10.1.3", *DOORS[door]))
    assert fate(trace) == "10.10.1.3:8080* 10.10.2.3:8080"
    assert not trace.masquerade


def test_an_endpoint_on_the_nodes_own_address_is_a_hairpin_for_all_that_the_node_sends():
    plan = plan_of(service(), endpoint_slice(endpoint(NODE_ADDRESS, HERE)), options=NO_POD_NETWORK)
    assert fate_of(plan, NODE_ADDRESS, CLUSTER_IP, 80) == "172.18.0.5:8080*"


@pytest.mark.parametrize(
    ("destination", "flags", "outcome"),
    [
        ("172.18.0.5", {}, BOTH_REWRITTEN),
        ("10.0.0.5", {}, BOTH_REWRITTEN),
        ("127.0.0.1", {}, BOTH_REWRITTEN),
        ("127.9.9.9", {}, BOTH_REWRITTEN),
        ("172.18.0.2", {}, "NONE"),
        ("127.0.0.1", {"localhost_node_ports": False}, "NONE"),
        ("172.18.0.5", {"node_port_addresses": ["172.18.0.0/16"]}, BOTH_REWRITTEN),
        ("10.0.0.5", {"node_port_addresses": ["172.18.0.0/16"]}, "NONE"),
        ("127.0.0.1", {"node_port_addresses": ["172.18.0.0/16"]}, "NONE"),
        ("127.0.0.1", {"node_port_addresses": ["127.0.0.0/8"]}, BOTH_REWRITTEN),
        ("127.9.9.9", {"node_port_addresses": ["127.0.0.0/8"]}, "NONE"),
        ("172.18.0.5", {"node_port_addresses": ["primary"]}, BOTH_REWRITTEN),
        ("10.0.0.5", {"node_port_addresses": ["primary"]}, "NONE"),
    ],
)
def test_node_ports_are_open_at_local_addresses_the_options_admit(destination, flags, outcome):
    plan = plan_of(every_door(), LOCAL_AND_REMOTE, options=parse_options(**flags), on=node("172.18.0.5", "10.0.0.5"))
    source = "127.0.0.1" if destination.startswith("127.") else CLIENT
    assert fate_of(plan, source, destination, NODE_PORT) == outcome


def test_ipv6_works_alike_and_its_loopback_takes_no_node_ports():
    slices = endpoint_slice(endpoint("fd00:10::3", HERE), endpoint("fd00:11::3", THERE), addressType="IPv6")
    dual = every_door(clusterIPs=[CLUSTER_IP, "fd00:200::5"], externalTrafficPolicy="Local")
    plan = plan_of(dual, slices, LOCAL_AND_REMOTE, options=ipv6_options(), on=node(NODE_ADDRESS, "fd00::5"))
    assert fate_of(plan, "fd00:10::9", "fd00:200::5", 80) == "[fd00:10::3]:8080 [fd00:11::3]:8080"
    assert fate_of(plan, "2001:db8::1", "fd00::5", NODE_PORT) == "[fd00:10::3]:8080"
    assert fate_of(plan, "::1", "::1", NODE_PORT) == "NONE"
    assert fate_of(plan, CLIENT, CLUSTER_IP, 80) == "NONE"


def test_ports_are_told_apart_by_protocol():
    ports = [{"name": name, "port": 53, "protocol": name.upper()} for name in ("tcp", "udp", "sctp")]
    slice_ports = [{**port, "port": port["port"] + n} for n, port in enumerate(ports)]
    plan = plan_of(service(ports=ports), endpoint_slice(endpoint("10.10.1.3"), ports=slice_ports))
    assert [fate_of(plan, POD, CLUSTER_IP, 53, protocol) for protocol in ("tcp", "udp", "sctp")] == [
        "10.10.1.3:53",
        "10.10.1.3:54",
        "10.10.1.3:55",
    ]


@pytest.mark.parametrize(
    ("source", "outcome"),
    [("203.0.113.9", BOTH_REWRITTEN), ("203.0.113.200", "DROP"), (POD, "DROP"), (NODE_ADDRESS, "DROP")],
)
def test_source_ranges_guard_the_load_balancers_address_and_no_other_door(source, outcome):
    plan = plan_of(every_door(loadBalancerSourceRanges=["203.0.113.0/25"]), LOCAL_AND_REMOTE)
    assert fate_of(plan, source, *DOORS["loadBalancer"]) == outcome
    assert fate_of(plan, source, *DOORS["nodePort"]) == BOTH_REWRITTEN
    assert fate_of(plan, source, *DOORS["externalIP"]) == BOTH_REWRITTEN


def test_source_ranges_drop_before_the_lack_of_endpoints_rejects():
    plan = plan_of(every_door(loadBalancerSourceRanges=["203.0.113.0/25"]))
    assert fate_of(plan, CLIENT, *DOORS["loadBalancer"]) == "DROP"
    assert fate_of(plan, "203.0.113.9", *DOORS["loadBalancer"]) == "REJECT"


def test_where_the_node_may_use_the_balancer_the_balancers_address_may_too():
    ranges = ["172.18.0.0/24"]
    plan = plan_of(every_door(loadBalancerSourceRanges=ranges), LOCAL_AND_REMOTE)
    assert fate_of(plan, BALANCER_IP, *DOORS["loadBalancer"]) == BOTH_REWRITTEN
    assert fate_of(plan, "172.18.255.201", *DOORS["loadBalancer"]) == "DROP"


def test_an_address_of_a_service_comes_before_a_node_port_of_another():
    at_node = service("a", externalIPs=[NODE_ADDRESS], ports=[{"port": NODE_PORT}])
    by_port = service("b", clusterIP="10.200.1.6", type="NodePort", ports=[{"port": 80, "nodePort": NODE_PORT}])
    plan = plan_of(
        [at_node, by_port],
        endpoint_slice(endpoint("10.10.1.1"), of="a"),
        endpoint_slice(endpoint("10.10.1.2"), of="b", name="b-1"),
    )
    assert fate_of(plan, CLIENT, NODE_ADDRESS, NODE_PORT) == "10.10.1.1:8080*"


def test_the_health_check_node_port_is_let_in_and_is_no_door():
    plan = plan_of(every_door(externalTrafficPolicy="Local", healthCheckNodePort=32000), REMOTE_ONLY)
    assert fate_of(plan, CLIENT, NODE_ADDRESS, 32000) == "ACCEPT"
    assert fate_of(plan, CLIENT, NODE_ADDRESS, 32000, "udp") == "NONE"
    assert fate_of(plan, CLIENT, "172.18.0.2", 32000) == "NONE"


def test_affinity_keeps_a_client_on_the_backend_it_met_if_that_may_still_be_chosen():
    plan = plan_of(every_door(sessionAffinity="ClientIP", externalTrafficPolicy="Local"), LOCAL_AND_REMOTE)
    met = Backend.at(parse_address("10.10.2.3"), 8080)
    from_pod = evaluate(plan, packet(POD, *DOORS["nodePort"]), remembered=met)
    assert (fate(from_pod), from_pod.candidates[0].probability) == ("10.10.2.3:8080", 1)
    assert from_pod.reason == "session affinity keeps 10.10.1.9 on 10.10.2.3:8080"
    from_client = evaluate(plan, packet(CLIENT, *DOORS["nodePort"]), remembered=met)
    assert fate(from_client) == LOCAL


def test_without_affinity_nothing_is_remembered():
    plan = plan_of(service(), LOCAL_AND_REMOTE)
    met = Backend.at(parse_address("10.10.2.3"), 8080)
    assert fate(evaluate(plan, packet(POD, CLUSTER_IP, 80), remembered=met)) == BOTH


@pytest.mark.parametrize(
    ("source", "from_node", "expected"),
    [
        (POD, False, Source.POD),
        (NODE_ADDRESS, False, Source.NODE),
        ("127.0.0.1", False, Source.NODE),
        (CLIENT, False, Source.ELSEWHERE),
        # an address of the node that it was not told of: what it sends itself still comes from it
        ("172.18.255.200", True, Source.NODE),
        # the node's end of a pod's link lies in the pod network, whose rule stands first
        ("10.10.1.1", True, Source.POD),
    ],
)
def test_sources_are_classed_by_address_the_pod_network_first(source, from_node, expected):
    evaluator = Evaluator(plan_of(service(), options=OPTIONS))
    assert evaluator.source_of(packet(source, CLUSTER_IP, 80, from_node=from_node)) is expected


@pytest.mark.parametrize(
    ("destination", "port", "protocol", "reason"),
    [
        ("192.0.2.77", 80, "tcp", "no Service has 192.0.2.77:80/tcp"),
        (CLUSTER_IP, 81, "tcp", "10.200.1.5 is an address of default/web, but nothing is open at 81/tcp"),
        (CLUSTER_IP, 80, "udp", "10.200.1.5 is an address of default/web, but nothing is open at 80/udp"),
        (
            "172.18.0.2",
            NODE_PORT,
            "tcp",
            "30080/tcp is a node port of default/web, but 172.18.0.2 is not an address of here",
        ),
        (
            "127.0.0.1",
            NODE_PORT,
            "tcp",
            "30080/tcp is a node port of default/web, but node ports are not open at 127.0.0.1",
        ),
        ("fd00::1", 80, "tcp", "this is the Plan for IPv4, and fd00::1 is of the other family"),
    ],
)
def test_the_reason_for_nothing_names_what_comes_nearest(destination, port, protocol, reason):
    plan = plan_of(every_door(), LOCAL_AND_REMOTE, options=parse_options(localhost_node_ports=False))
    trace = evaluate(plan, packet(CLIENT if "." in destination else "fd00::9", destination, port, protocol))
    assert (trace.disposition, trace.reason, trace.candidates) == (Disposition.NONE, reason, ())


def test_a_trace_tells_each_decision_with_the_object_and_field_behind_it():
    plan = plan_of(every_door(externalTrafficPolicy="Local"), LOCAL_AND_REMOTE)
    sent = packet(CLIENT, NODE_ADDRESS, NODE_PORT)
    entry = "default/web nodePort 30080/tcp"

    def of_service(field: str, value: str, reason: str) -> Origin:
        return Origin(kind="Service", namespace="default", name="web", field=field, value=value, reason=reason)

    endpoints = Origin(
        kind="EndpointSlice",
        namespace="default",
        name="web-1",
        field="endpoints",
        reason="1 of 2 endpoints is ready on here",
    )
    kept = "the policy keeps traffic from elsewhere on this node, so the client keeps its address"
    assert evaluate(plan, sent) == Trace(
        packet=sent,
        disposition=Disposition.DNAT,
        steps=(
            Step(
                text="it is sent to 172.18.0.5:30080/tcp",
                origin=of_service("spec.ports[0].nodePort", "30080", "this is the node port of the Service's port 80"),
                entry=entry,
            ),
            Step(text="its source 172.18.0.100 is neither in the pod network nor this node", entry=entry),
            Step(
                text=f"it keeps its source: {kept}",
                origin=of_service("spec.externalTrafficPolicy", "Local", kept),
                entry=entry,
            ),
            Step(
                text="default/web sends it to 10.10.1.3:8080: 1 of 2 endpoints is ready on here",
                origin=endpoints,
                entry=entry,
            ),
        ),
        reason="default/web sends it to 10.10.1.3:8080: 1 of 2 endpoints is ready on here",
        candidates=(
            Candidate(
                address=parse_address("10.10.1.3"), port=8080, probability=Fraction(1), masquerade=False, local=True
            ),
        ),
    )


def reason_of(plan, source: str, door: str) -> tuple[str, str]:
    trace = evaluate(plan, packet(source, *DOORS[door]))
    return trace.reason, str(trace.steps[-1].origin)


@pytest.mark.parametrize(
    ("slices", "reason", "origin"),
    [
        (
            [],
            "no EndpointSlice of IPv4 has the label kubernetes.io/service-name=web",
            "Service default/web",
        ),
        ([endpoint_slice()], "its EndpointSlices hold no endpoints", "EndpointSlice default/web-1: endpoints"),
        (
            [endpoint_slice(endpoint("10.10.1.3", ready=False))],
            "its only endpoint is not ready",
            "EndpointSlice default/web-1: endpoints",
        ),
        (
            [
                endpoint_slice(endpoint("10.10.1.3", ready=False)),
                endpoint_slice(endpoint("10.10.2.3", ready=False), name="web-2"),
            ],
            "none of its 2 endpoints is ready, in 2 slices",
            "EndpointSlice default/web-1: endpoints",
        ),
        (
            [endpoint_slice(endpoint("10.10.1.3"), ports=[{"name": "http", "port": 80}])],
            "none of its EndpointSlices has a TCP port without a name",
            "EndpointSlice default/web-1: endpoints",
        ),
    ],
)
def test_a_refusal_says_why_there_is_no_endpoint(slices, reason, origin):
    plan = plan_of(every_door(), *slices)
    text = f"default/web has no endpoints: {reason}; it is rejected, so that the sender learns at once"
    assert reason_of(plan, CLIENT, "nodePort") == (text, origin)


def test_a_drop_for_lack_of_local_endpoints_says_where_they_are():
    plan = plan_of(every_door(externalTrafficPolicy="Local"), REMOTE_ONLY)
    text, origin = reason_of(plan, CLIENT, "nodePort")
    assert text == (
        "default/web has no local endpoints: the policy admits endpoints of this node only, and 2 usable endpoints "
        "of the Service run on others; it is dropped, so that a load balancer tries another node"
    )
    assert origin == "Service default/web: spec.externalTrafficPolicy=Local"


def test_a_drop_by_source_ranges_names_them():
    plan = plan_of(every_door(loadBalancerSourceRanges=["203.0.113.0/25", "10.0.0.0/8"]), REMOTE_ONLY)
    assert reason_of(plan, CLIENT, "loadBalancer") == (
        "its source 172.18.0.100 is in none of the source ranges of default/web; it is dropped",
        "Service default/web: spec.loadBalancerSourceRanges=203.0.113.0/25, 10.0.0.0/8",
    )


def test_the_index_answers_as_the_doors_themselves_would():
    plan = plan_of(every_door(), LOCAL_AND_REMOTE)
    evaluator = Evaluator(plan)
    for port in plan.ports:
        for door in port.doors:
            opening = evaluator.opening(packet(CLIENT, str(door.address or NODE_ADDRESS), door.port, door.protocol))
            assert opening is not None
            assert (opening.port, opening.door) == (port, door)
