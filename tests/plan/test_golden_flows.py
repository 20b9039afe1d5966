"""393 packets with their fate as kube-proxy 1.36 has it, and its tables of topology and node port addresses.

flows.json: facts of Kubernetes' unit tests of pkg/proxy (Apache-2.0); its `conventions` and `semantics` say how to read
it. A packet is left out only for a reason named here, and only as long as its fate differs.
"""

from __future__ import annotations

import json
from collections import Counter
from enum import StrEnum
from functools import cache
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from fairway.api.codec import decode_endpoint_slice, decode_node, decode_service
from fairway.api.core import Service
from fairway.base.addresses import Family, parse_address
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Trace
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import DoorKind, Plan, Scope
from fairway.plan.options import parse_options, view_node

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "flows.json").read_text())
CASES = GOLDEN["cases"]
ROWS = [(case, row) for case in range(len(CASES)) for row in range(len(CASES[case]["flows"]))]
FAMILIES = {family.api_name: family for family in Family}


class Left(StrEnum):
    """Why a packet is left for later."""

    SERVICE_NETWORK = "left: nftables mode also answers for the service network where no door is"


EXPECTED_COUNTS = {"covered": 390, Left.SERVICE_NETWORK: 3}


def reason_to_leave(case: dict[str, Any], flow: dict[str, Any]) -> Left | None:
    """From the case's objects and settings alone, never from our answer."""
    proxy, destination = case["proxy"], ip_address(flow["destIP"])
    if proxy["mode"] != "nftables" or destination not in ip_network(proxy["serviceCIDRs"]):
        return None
    doors = {
        (parse_address(service["spec"]["clusterIP"]), port["port"], port["protocol"])
        for service in case["services"]
        for port in service["spec"]["ports"]
    }
    return None if (destination, flow["destPort"], flow["protocol"]) in doors else Left.SERVICE_NETWORK


@cache
def evaluator_of(index: int) -> Evaluator:
    case = CASES[index]
    proxy = case["proxy"]
    options = parse_options(
        family=FAMILIES[proxy["ipFamily"]],
        cluster_cidrs=[proxy["localDetector"].get("clusterCIDR", "")],
        node_port_addresses=proxy.get("nodePortAddresses", ()),
        node_addresses=proxy["localAddresses"],
        masquerade_all=proxy["masqueradeAll"],
        localhost_node_ports=proxy.get("localhostNodePorts", False),
    )
    services = [decode_service(obj) for obj in case["services"]]
    slices = [decode_endpoint_slice(obj) for obj in case["endpointSlices"]]
    node = decode_node({"metadata": {"name": proxy["nodeName"]}})
    return Evaluator(compile_plan(services, slices, node, options=options))


def trace_of(case: int, flow: dict[str, Any]) -> Trace:
    packet = Packet(
        source=ip_address(flow["sourceIP"]),
        destination=ip_address(flow["destIP"]),
        port=flow["destPort"],
        protocol=Protocol(flow["protocol"].lower()),
        from_node=flow["sourceKind"] in ("node", "localhost"),
    )
    return evaluator_of(case).evaluate(packet)


def expected_answer(expect: dict[str, Any]) -> dict[str, Any]:
    action = expect["action"]
    answer = {"action": "NONE" if action == "none" else action, "endpoints": set(expect["endpoints"])}
    if "masqueradeByEndpoint" in expect:
        answer["masquerade"] = expect["masqueradeByEndpoint"]
    elif expect["masqueradeSignificant"]:
        answer["masquerade"] = dict.fromkeys(expect["endpoints"], expect["masquerade"])
    return answer


def our_answer(trace: Trace, expect: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "action": trace.disposition.value,
        "endpoints": {str(candidate) for candidate in trace.candidates},
    }
    if expect["masqueradeSignificant"]:
        answer["masquerade"] = {str(candidate): candidate.masquerade for candidate in trace.candidates}
    return answer


def row_id(value: tuple[int, int]) -> str:
    case, row = value
    return f"{CASES[case]['id']}/{row}/{CASES[case]['flows'][row]['name']}"


@pytest.mark.parametrize("place", ROWS, ids=row_id)
def test_a_packet_meets_the_fate_it_has_under_kube_proxy(place: tuple[int, int], golden_tally: Counter[str]):
    case, row = place
    flow = CASES[case]["flows"][row]
    expect = flow["expect"]
    ours, expected = our_answer(trace_of(case, flow), expect), expected_answer(expect)
    reason = reason_to_leave(CASES[case], flow)
    golden_tally[reason or "covered"] += 1
    if reason is None:
        assert ours == expected
    else:
        assert ours != expected, f"no longer {reason}: cover it"


def test_the_packets_left_for_later_are_those_of_the_named_reasons():
    reasons = Counter(reason_to_leave(CASES[case], CASES[case]["flows"][row]) or "covered" for case, row in ROWS)
    assert reasons == EXPECTED_COUNTS


def used_backends(plan: Plan, scope: Scope) -> set[str]:
    """The backends of a scope that some door leads to."""
    outcomes = [way.outcome for port in plan.ports for door in port.doors for way in door.ways.values()]
    chosen = [outcome.choices for outcome in outcomes if getattr(outcome, "scope", None) is scope]
    return {str(backend) for choices in chosen for backend in choices}


def external_policy(service: Service) -> str:
    """ "" where nothing outside can reach the Service, so that no policy applies."""
    return service.spec.external_traffic_policy if service.is_externally_reachable else ""


GATE_OFF = "PreferSameNode falls back to same-zone when feature gate disabled"
TOPOLOGY = [case for case in GOLDEN["topology"]["cases"] if case["name"] != GATE_OFF]


def test_only_the_row_for_a_feature_gate_that_is_gone_is_left_of_the_topology_table():
    assert len(GOLDEN["topology"]["cases"]) - len(TOPOLOGY) == 1


@pytest.mark.parametrize("case", TOPOLOGY, ids=lambda case: case["name"])
def test_endpoints_are_categorized_as_in_kube_proxy(case: dict[str, Any]):
    node = decode_node({"metadata": {"name": case["nodeName"], "labels": case["nodeLabels"]}})
    service, slices = decode_service(case["service"]), [decode_endpoint_slice(case["endpointSlice"])]
    plan = compile_plan([service], slices, node, options=parse_options(cluster_cidrs=["10.0.0.0/8"]))
    (port,) = plan.ports
    expected = case["expected"]
    if "Local" in (service.spec.internal_traffic_policy, external_policy(service)):
        assert {str(backend) for backend in port.local} == set(expected["localEndpoints"])
    assert used_backends(plan, Scope.CLUSTER) == set(expected["clusterEndpoints"])
    assert used_backends(plan, Scope.LOCAL) <= set(expected["localEndpoints"])
    assert bool(port.cluster or port.local) == expected["hasAnyEndpoints"]
    assert {door.kind for door in port.doors} <= {DoorKind.CLUSTER_IP, DoorKind.NODE_PORT}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", GOLDEN["nodePortAddresses"]["getNodeIPs"], ids=lambda case: case["name"])
def test_node_port_addresses_are_chosen_as_in_kube_proxy(case: dict[str, Any], family: str):
    options = parse_options(family=FAMILIES[family], node_port_addresses=case["nodePortAddresses"])
    networks = view_node(decode_node({"metadata": {"name": "n"}}), options).node_port_addresses
    local = [ip_interface(text).ip for each in case["interfaces"] for text in each["addresses"]]
    admitted = {
        str(address)
        for address in local
        if address.version == FAMILIES[family] and (networks is None or any(address in network for network in networks))
    }
    expected = case["expected"][family]
    assert (networks is None) == expected["matchAll"]
    assert admitted == set(expected["nodeIPs"])
