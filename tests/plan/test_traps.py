"""Corners of Services that every proxy has fallen into once, where no other test of this folder has them."""

from __future__ import annotations

import pytest

from fairway.flow.packet import Protocol
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import Evaluator, evaluate
from fairway.plan.model import DoorKind
from fairway.plan.options import Mode, parse_options
from tests.plan.objects import (
    BALANCER_IP,
    CLIENT,
    CLUSTER_IP,
    HERE,
    LOCAL_AND_REMOTE,
    NODE_ADDRESS,
    NODE_PORT,
    POD,
    REMOTE_ONLY,
    THERE,
    endpoint,
    endpoint_slice,
    every_door,
    fate_of,
    ipv6_options,
    node,
    packet,
    plan_of,
    service,
)

DNS = endpoint_slice(endpoint("10.10.1.3", HERE), of="dns", name="dns-1", ports=[{"port": 5353, "protocol": "UDP"}])


def test_an_external_address_that_is_the_nodes_takes_its_own_port_and_leaves_the_node_ports():
    """Each rule has its port: neither shadows the other, and what is for neither is the node's own."""
    own = service(externalIPs=[NODE_ADDRESS], type="NodePort", ports=[{"port": 80, "nodePort": NODE_PORT}])
    evaluator = Evaluator(plan_of(own, LOCAL_AND_REMOTE))
    kinds = {port: evaluator.opening(packet(CLIENT, NODE_ADDRESS, port)) for port in (80, NODE_PORT, 22)}
    assert {port: each and each.door.kind for port, each in kinds.items()} == {
        80: DoorKind.EXTERNAL_IP,
        NODE_PORT: DoorKind.NODE_PORT,
        22: None,
    }


def test_an_external_address_with_the_number_of_another_services_node_port_comes_first():
    taker = service("a", externalIPs=[NODE_ADDRESS], ports=[{"port": NODE_PORT}])
    owner = service("b", clusterIP="10.200.1.6", type="NodePort", ports=[{"port": 80, "nodePort": NODE_PORT}])
    evaluator = Evaluator(plan_of([taker, owner], LOCAL_AND_REMOTE, on=node(NODE_ADDRESS, "10.0.0.5")))
    at = {
        address: str(evaluator.opening(packet(CLIENT, address, NODE_PORT)).port.name)
        for address in (NODE_ADDRESS, "10.0.0.5")
    }
    assert at == {NODE_ADDRESS: "default/a", "10.0.0.5": "default/b"}


@pytest.mark.parametrize("protocol", Protocol)
def test_two_protocols_on_one_number_are_two_doors_with_their_own_endpoints(protocol):
    """As DNS has it, node ports too: the API gives both the same number."""
    ports = [{"name": each, "port": 53, "protocol": each.api_name, "nodePort": NODE_PORT} for each in Protocol]
    slices = [
        endpoint_slice(
            endpoint(f"10.10.2.{10 + number}", THERE), name=f"web-{each}", ports=[{**port, "port": 5300 + number}]
        )
        for number, (each, port) in enumerate(zip(Protocol, ports, strict=True))
    ]
    plan = plan_of(service(type="NodePort", ports=ports), *slices)
    index = list(Protocol).index(protocol)
    backend = f"10.10.2.{10 + index}:{5300 + index}"
    assert fate_of(plan, POD, CLUSTER_IP, 53, protocol) == backend
    assert fate_of(plan, CLIENT, NODE_ADDRESS, NODE_PORT, protocol) == f"{backend}*"


def test_a_door_of_one_protocol_is_none_of_another():
    plan = plan_of(service("dns", ports=[{"port": 53, "protocol": "UDP"}]), DNS)
    assert fate_of(plan, POD, CLUSTER_IP, 53, "udp") == "10.10.1.3:5353"
    assert fate_of(plan, POD, CLUSTER_IP, 53, "tcp") == "NONE"


def test_endpoints_of_the_other_family_alone_are_none_in_this_one():
    dual = every_door(
        clusterIPs=[CLUSTER_IP, "fd00:200::5"], ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="RequireDualStack"
    )
    six = endpoint_slice(endpoint("fd00:10::3", HERE), addressType="IPv6")
    in_four = plan_of(dual, six)
    in_six = plan_of(dual, six, options=ipv6_options(), on=node("fd00::5"))
    assert fate_of(in_four, CLIENT, NODE_ADDRESS, NODE_PORT) == "REJECT"
    assert fate_of(in_six, "2001:db8::9", "fd00::5", NODE_PORT) == "[fd00:10::3]:8080*"


def test_a_node_that_goes_by_another_name_than_its_slices_say_has_no_local_endpoints():
    """hostnameOverride: every Local policy then drops, and only the name is to blame."""
    local = every_door(externalTrafficPolicy="Local", internalTrafficPolicy="Local")
    plan = plan_of(local, endpoint_slice(endpoint("10.10.1.3", HERE)), on=node(name=HERE.upper()))
    assert fate_of(plan, CLIENT, NODE_ADDRESS, NODE_PORT) == "DROP"
    assert fate_of(plan, POD, CLUSTER_IP, 80) == "DROP"


def test_one_endpoint_that_is_meant_for_this_node_takes_all_of_its_clients():
    """PreferSameNode guards against no overload."""
    others = [endpoint(f"10.10.2.{number}", THERE, nodes=[THERE]) for number in range(3, 9)]
    plan = plan_of(service(), endpoint_slice(endpoint("10.10.1.3", HERE, nodes=[HERE]), *others))
    assert fate_of(plan, POD, CLUSTER_IP, 80) == "10.10.1.3:8080"


def test_a_service_of_a_proxy_mode_proxy_is_not_caught_on_its_way_to_the_balancer():
    """Its address is nobody's here, also where a second one is served."""
    balanced = service(
        type="LoadBalancer", ingress=[{"ip": "192.0.2.7", "ipMode": "Proxy"}, {"ip": "192.0.2.8", "ipMode": "VIP"}]
    )
    plan = plan_of(balanced, REMOTE_ONLY)
    assert fate_of(plan, POD, "192.0.2.7", 80) == "NONE"
    assert fate_of(plan, POD, "192.0.2.8", 80) != "NONE"


@pytest.mark.parametrize("protocol", Protocol)
def test_a_refusal_is_the_same_for_every_protocol(protocol):
    """A UDP client must learn at once too, or it waits for its own timeout."""
    plan = plan_of(service(ports=[{"port": 53, "protocol": protocol.api_name}]))
    assert fate_of(plan, POD, CLUSTER_IP, 53, protocol) == "REJECT"


def test_a_port_that_is_renamed_is_another_port_of_the_plan():
    """So its chain, its lists and with them its affinity begin anew."""
    names = {plan_of(service(ports=[{"name": name, "port": 80}])).ports[0].name for name in ("", "http", "web")}
    assert {str(name) for name in names} == {"default/web", "default/web:http", "default/web:web"}


@pytest.mark.parametrize("mode", Mode)
def test_addresses_of_a_service_however_they_are_written_are_met_by_packets(mode):
    written = service(
        clusterIP="010.200.001.05",
        clusterIPs=["010.200.001.05"],
        externalIPs=[" 192.000.2.1 ", "::ffff:192.0.2.2"],
        ingress=[{"ip": "172.018.255.200"}],
        type="LoadBalancer",
        loadBalancerSourceRanges=[" 172.018.000.100/24 "],
    )
    slices = endpoint_slice(endpoint("010.010.001.003", HERE), endpoint(" 10.10.2.3", THERE))
    plan = plan_of(written, slices, options=parse_options(cluster_cidrs=["010.010.0.1/16"], mode=mode))
    both = "10.10.1.3:8080 10.10.2.3:8080"
    rewritten = "10.10.1.3:8080* 10.10.2.3:8080*"
    assert plan.notes == ()
    assert fate_of(plan, POD, CLUSTER_IP, 80) == both
    assert [fate_of(plan, CLIENT, address, 80) for address in ("192.0.2.1", "192.0.2.2", "172.18.255.200")] == [
        rewritten
    ] * 3
    assert fate_of(plan, "172.18.1.100", "172.18.255.200", 80) == "DROP"


@pytest.mark.parametrize(
    ("mode", "kind"), [(Mode.NFTABLES, DoorKind.LOAD_BALANCER_IP), (Mode.IPTABLES, DoorKind.EXTERNAL_IP)]
)
def test_a_balancers_address_that_is_external_too_is_guarded_as_the_mode_has_it(mode, kind):
    """kube-proxy's nftables mode looks at the ranges before everything, its iptables mode at the external address."""
    both = every_door(externalIPs=[BALANCER_IP], loadBalancerSourceRanges=["10.0.0.0/8"])
    plan = plan_of(both, REMOTE_ONLY, options=parse_options(mode=mode))
    assert Evaluator(plan).opening(packet(CLIENT, BALANCER_IP, 80)).door.kind is kind
    assert (fate_of(plan, CLIENT, BALANCER_IP, 80) == "DROP") is (mode is Mode.NFTABLES)


def test_masquerade_all_is_for_cluster_ips_and_spares_nobody_there():
    plan = plan_of(service(), REMOTE_ONLY, options=parse_options(cluster_cidrs=["10.10.0.0/16"], masquerade_all=True))
    trace = evaluate(plan, packet(POD, CLUSTER_IP, 80))
    assert trace.disposition is Disposition.DNAT
    assert trace.masquerade
