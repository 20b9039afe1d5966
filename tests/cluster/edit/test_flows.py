"""Which living connections lose their backend by an edit, and how they end."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from fairway.base.addresses import Family
from fairway.cluster.edit.flows import LiveFlow, live_flow, lost_flows
from fairway.cluster.edit.rules import rule_changes
from fairway.netlink.conntrack import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, Flow, TcpState, Tuple
from fairway.plan.evaluate import Evaluator
from fairway.plan.model import Plan
from fairway.plan.options import Mode
from tests.plan.objects import (
    CLIENT,
    CLUSTER_IP,
    HERE,
    LOCAL_AND_REMOTE,
    NODE_ADDRESS,
    NODE_PORT,
    POD,
    THERE,
    endpoint,
    endpoint_slice,
    plan_of,
    service,
)

HERE_ONLY = endpoint_slice(endpoint("10.10.1.3", HERE))


def node_port(policy: str = "Cluster", protocol: str = "TCP") -> Any:
    ports = [{"port": 80, "nodePort": NODE_PORT, "protocol": protocol}]
    return service(type="NodePort", externalTrafficPolicy=policy, ports=ports)


def call(
    backend: str, *, client: str = CLIENT, to: str = NODE_ADDRESS, port: int = NODE_PORT, protocol: str = "tcp"
) -> LiveFlow:
    return LiveFlow(
        protocol=protocol, client=client, client_port=40000, address=to, port=port, backend=backend, backend_port=8080
    )


def lost(before: Plan, after: Plan, *flows: LiveFlow) -> list[tuple[str, bool]]:
    return [(flow.backend, flow.cut) for flow in lost_flows(flows, Evaluator(before), Evaluator(after))]


CLUSTER, LOCAL = plan_of(node_port(), LOCAL_AND_REMOTE), plan_of(node_port("Local"), LOCAL_AND_REMOTE)


@pytest.mark.parametrize(
    ("after", "flow", "expected"),
    [
        (CLUSTER, call("10.10.2.3"), []),
        (LOCAL, call("10.10.1.3"), []),
        (LOCAL, call("10.10.2.3"), [("10.10.2.3:8080", False)]),
        (LOCAL, call("10.10.2.3", client=POD), []),  # pods take the short cut
        (LOCAL, call("10.10.2.3", client=NODE_ADDRESS), []),  # and so does the node
        (LOCAL, call("10.10.2.3", to=CLUSTER_IP, port=80), []),  # which is another door
        (LOCAL, call("10.10.2.3", to="172.18.0.2"), []),  # another node's
        (LOCAL, call("10.10.7.7"), []),  # nobody that these rules chose
        (plan_of(node_port(), HERE_ONLY), call("10.10.2.3", to=CLUSTER_IP, port=80), [("10.10.2.3:8080", False)]),
        (plan_of([]), call("10.10.1.3"), [("10.10.1.3:8080", False)]),
    ],
)
def test_a_connection_whose_backend_is_none_for_its_client(
    after: Plan, flow: LiveFlow, expected: list[tuple[str, bool]]
) -> None:
    assert lost(CLUSTER, after, flow) == expected


UDP_SLICE = endpoint_slice(
    endpoint("10.10.1.3", HERE), endpoint("10.10.2.3", THERE), ports=[{"port": 8080, "protocol": "UDP"}]
)


def test_udp_is_cut_where_the_backend_is_gone_and_not_where_it_serves_others() -> None:
    before = plan_of(node_port(protocol="UDP"), UDP_SLICE)
    flow = call("10.10.2.3", protocol="udp")
    here = endpoint_slice(endpoint("10.10.1.3", HERE), ports=[{"port": 8080, "protocol": "UDP"}])
    assert lost(before, plan_of(node_port(protocol="UDP"), here), flow) == [("10.10.2.3:8080", True)]
    assert lost(before, plan_of([]), flow) == [("10.10.2.3:8080", True)]
    assert lost(before, plan_of(node_port("Local", "UDP"), UDP_SLICE), flow) == [("10.10.2.3:8080", False)]


def kernel_flow(protocol: int, backend: str, state: TcpState | None = None) -> Flow:
    client, door = ip_address(CLIENT), ip_address(NODE_ADDRESS)
    port = 8080 if backend != NODE_ADDRESS else NODE_PORT
    return Flow(
        family=Family.IPV4,
        protocol=protocol,
        original=Tuple(client, door, 40000, NODE_PORT),
        reply=Tuple(ip_address(backend), door, port, 40000),
        state=state,
    )


@pytest.mark.parametrize(
    ("flow", "is_told"),
    [
        (kernel_flow(IPPROTO_TCP, "10.10.1.3", TcpState.ESTABLISHED), True),
        (kernel_flow(IPPROTO_TCP, "10.10.1.3", TcpState.TIME_WAIT), False),
        (kernel_flow(IPPROTO_TCP, NODE_ADDRESS, TcpState.ESTABLISHED), False),  # to the node itself
        (kernel_flow(IPPROTO_UDP, "10.10.1.3"), True),
        (kernel_flow(IPPROTO_ICMP, "10.10.1.3"), False),
    ],
)
def test_living_flows_that_somebody_chose_a_backend_for(flow: Flow, is_told: bool) -> None:
    assert live_flow(flow) == (
        call("10.10.1.3", protocol="udp" if flow.protocol == IPPROTO_UDP else "tcp") if is_told else None
    )


@pytest.mark.parametrize("mode", Mode)
def test_rules_are_counted_as_the_kernel_would_be_told(mode: Mode) -> None:
    assert not rule_changes(CLUSTER, CLUSTER, mode)
    gone, come = rule_changes(CLUSTER, plan_of([]), mode), rule_changes(plan_of([]), CLUSTER, mode)
    assert (gone.removed, gone.chains_removed) == (come.added, come.chains_added)
    assert (gone.added, come.removed) == (0, 0)
    one_less = rule_changes(CLUSTER, plan_of(node_port(), HERE_ONLY), mode)
    assert one_less.removed > 0
    assert set(one_less.to_json(mode)) == {"elements" if mode is Mode.NFTABLES else "rules", "chains"}
