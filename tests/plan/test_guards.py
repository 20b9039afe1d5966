"""What mode nftables does to packets for addresses of Services that no door is open for."""

from __future__ import annotations

import pytest

from fairway.plan.evaluate import evaluate
from fairway.plan.options import Mode, parse_options
from tests.plan.objects import (
    CLIENT,
    CLUSTER_IP,
    EXTERNAL_IP,
    LOCAL_AND_REMOTE,
    NODE_ADDRESS,
    NODE_PORT,
    POD,
    every_door,
    fate_of,
    node,
    packet,
    plan_of,
    service,
)

NFTABLES = parse_options(mode=Mode.NFTABLES, cluster_cidrs=["10.10.0.0/16"], service_cidrs=["10.200.1.0/24"])
PLAN = plan_of(every_door(externalTrafficPolicy="Local", healthCheckNodePort=32000), LOCAL_AND_REMOTE, options=NFTABLES)


@pytest.mark.parametrize(("port", "protocol"), [(81, "tcp"), (80, "udp"), (80, "sctp"), (NODE_PORT, "tcp")])
def test_a_cluster_ip_rejects_what_nothing_is_open_for(port, protocol):
    for source in (CLIENT, POD, NODE_ADDRESS):
        assert fate_of(PLAN, source, CLUSTER_IP, port, protocol) == "REJECT"


def test_an_open_door_of_a_cluster_ip_stays_open():
    assert fate_of(PLAN, POD, CLUSTER_IP, 80) == "10.10.1.3:8080 10.10.2.3:8080"


def test_an_unallocated_address_of_the_service_network_drops():
    assert fate_of(PLAN, CLIENT, "10.200.1.77", 80) == "DROP"
    assert fate_of(PLAN, CLIENT, "10.200.2.77", 80) == "NONE"


def test_other_addresses_of_services_are_left_alone():
    assert fate_of(PLAN, CLIENT, EXTERNAL_IP, 81) == "NONE"


def test_the_nodes_own_addresses_are_left_alone_even_where_services_have_them():
    options = parse_options(mode=Mode.NFTABLES, service_cidrs=["172.18.0.0/24"])
    plan = plan_of(service(clusterIP=NODE_ADDRESS), LOCAL_AND_REMOTE, options=options)
    assert fate_of(plan, CLIENT, NODE_ADDRESS, 81) == "NONE"
    unused = plan_of([], options=options, on=node())
    assert fate_of(unused, CLIENT, NODE_ADDRESS, 81) == "NONE"


def test_health_checks_need_no_leave():
    assert fate_of(PLAN, CLIENT, NODE_ADDRESS, 32000) == "NONE"


def test_a_headless_service_has_no_address_to_guard():
    plan = plan_of(service(clusterIP="None"), options=parse_options(mode=Mode.NFTABLES))
    assert fate_of(plan, CLIENT, CLUSTER_IP, 81) == "NONE"


def test_both_name_what_decided_it():
    rejected = evaluate(PLAN, packet(POD, CLUSTER_IP, 81))
    assert rejected.reason == (
        "10.200.1.5 is the clusterIP of default/web, but nothing is open at 81/tcp; "
        "it is rejected, so that the sender learns at once"
    )
    assert str(rejected.steps[-1].origin) == "Service default/web: spec.clusterIP=10.200.1.5"
    dropped = evaluate(PLAN, packet(POD, "10.200.1.77", 80))
    assert dropped.reason == "10.200.1.77 is in 10.200.1.0/24, but no Service has it; it is dropped"
    assert str(dropped.steps[-1].origin) == "ServiceCIDR 10.200.1.0/24: spec.cidrs=10.200.1.0/24"
