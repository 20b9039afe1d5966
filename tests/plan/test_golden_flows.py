"""393 packets with their fate as kube-proxy 1.36 has it, and its tables of topology and node port addresses.

flows.json: facts of Kubernetes' unit tests of pkg/proxy (Apache-2.0); its `conventions` and `semantics` say how to read
it.
"""

from __future__ import annotations

import json
from functools import cache
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest

from fairway.api.codec import decode_endpoint_slice, decode_node, decode_service
from fairway.api.core import Service
from fairway.base.addresses import Family
from fairway.dataplane.ipt.frame import accepts_localhost
from fairway.flow.packet import Packet, Protocol
from fairway.flow.trace import Trace
from fairway.plan.compile import compile_plan
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import DoorKind, Plan, Scope
from fairway.plan.options import Mode, parse_options, view_node

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "flows.json").read_text())
CASES = GOLDEN["cases"]
ROWS = [(case, row) for case in range(len(CASES)) for row in range(len(CASES[case]["flows"]))]
FAMILIES = {family.api_name: family for family in Family}


@cache
def evaluator_of(index: int, mode: Mode | None = None) -> Evaluator:
    """The Plan of a case, in its own mode unless another is named."""
    case = CASES[index]
    proxy = case["proxy"]
    options = parse_options(
        family=FAMILIES[proxy["ipFamily"]],
        cluster_cidrs=[proxy["localDetector"].get("clusterCIDR", "")],
        node_port_addresses=proxy.get("nodePortAddresses", ()),
        node_addresses=proxy["localAddresses"],
        masquerade_all=proxy["masqueradeAll"],
        localhost_node_ports=proxy.get("localhostNodePorts", False),
        mode=mode or Mode(proxy["mode"]),
        service_cidrs=[proxy.get("serviceCIDRs", "")],
    )
    services = [decode_service(obj) for obj in case["services"]]
    slices = [decode_endpoint_slice(obj) for obj in case["endpointSlices"]]
    node = decode_node({"metadata": {"name": proxy["nodeName"]}})
    return Evaluator(compile_plan(services, slices, node, options=options))


def packet_of(flow: dict[str, Any]) -> Packet:
    return Packet(
        source=ip_address(flow["sourceIP"]),
        destination=ip_address(flow["destIP"]),
        port=flow["destPort"],
        protocol=Protocol(flow["protocol"].lower()),
        from_node=flow["sourceKind"] in ("node", "localhost"),
    )


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
def test_a_packet_meets_the_fate_it_has_under_kube_proxy(place: tuple[int, int]):
    case, row = place
    flow = CASES[case]["flows"][row]
    assert our_answer(evaluator_of(case).evaluate(packet_of(flow)), flow["expect"]) == expected_answer(flow["expect"])


def test_all_recorded_packets_are_covered():
    assert len(ROWS) == 393


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


@pytest.mark.parametrize("case", GOLDEN["nodePortAddresses"]["getNodeIPs"], ids=lambda case: case["name"])
def test_the_addresses_that_are_chosen_take_node_ports(case: dict[str, Any]):
    """On the loopback address of IPv6 none is open, chosen or not."""
    local = [ip_interface(text).ip for each in case["interfaces"] for text in each["addresses"]]
    for family in Family:
        options = parse_options(
            family=family, node_port_addresses=case["nodePortAddresses"], node_addresses=map(str, local)
        )
        plan = compile_plan([], [], decode_node({"metadata": {"name": "n"}}), options=options)
        taking = {str(each) for each in local if each.version == family and Evaluator(plan).takes_node_ports(each)}
        assert taking == set(case["expected"][family.api_name]["nodeIPs"]) - {"::1"}


@pytest.mark.parametrize("case", GOLDEN["nodePortAddresses"]["containsIPv4Loopback"], ids=lambda case: case["name"])
def test_loopback_is_let_in_where_a_network_of_node_port_addresses_touches_it(case: dict[str, Any]):
    options = parse_options(node_port_addresses=case["cidrs"])
    view = view_node(decode_node({"metadata": {"name": "n"}}), options)
    assert accepts_localhost(view) is case["ipv4ContainsLoopback"]
