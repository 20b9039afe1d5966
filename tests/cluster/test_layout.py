"""What a lab file leaves out is filled in; what it cannot mean is refused."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from fairway.base.errors import Refused
from fairway.cluster.labfile import LabFile, decode_lab_file, plain
from fairway.cluster.layout import lay_out, spell_out
from fairway.cluster.layout_nodes import MAX_NODES
from fairway.cluster.scenario import CONTROL_PLANE_TAINT, ZONE_LABEL, Scenario
from fairway.plan.options import Mode


def laid_out(text: str) -> Scenario:
    return lay_out(decode_lab_file(text, source="lab.yaml"), source="lab.yaml", text=text)


def test_a_number_of_nodes_is_a_lab() -> None:
    lab = laid_out("{name: few, nodes: 3}")
    assert [(node.name, str(node.address), str(node.pod_cidr)) for node in lab.topology.nodes] == [
        ("few-control-plane", "172.18.0.2", "10.10.0.0/24"),
        ("few-worker", "172.18.0.3", "10.10.1.0/24"),
        ("few-worker2", "172.18.0.4", "10.10.2.0/24"),
    ]
    assert (lab.client, lab.client_address) == ("mypc", "172.18.0.100")
    assert str(lab.topology.load_balancers) == "172.18.255.200-172.18.255.250"
    assert (lab.mode, lab.modes, lab.labels) == (Mode.NFTABLES, {}, {})


def test_as_many_nodes_as_there_may_be_have_an_address_and_a_pod_network_each() -> None:
    lab = laid_out(f"{{nodes: {MAX_NODES}, dualStack: true}}")
    assert len(lab.nodes) == MAX_NODES  # a Topology refuses what is given twice
    last = lab.topology.nodes[-1]
    assert (str(last.pod_cidr), str(last.pod_cidr6)) == ("10.10.249.0/24", "fd00:10:10:f9::/64")
    assert (str(last.address), str(last.address6)) == ("172.18.0.252", "fd00:172:18::252")


def test_what_is_given_is_kept_and_the_rest_goes_around_it() -> None:
    lab = laid_out("""
        nodes: [{name: a, address: 172.18.0.3}, {count: 2}, {name: b, podCIDR: 10.10.0.0/23}]
        clients: [{name: laptop, address: 172.18.0.2}]
    """)
    assert lab.node_addresses == {
        "a": "172.18.0.3",
        "myk8s-worker": "172.18.0.4",
        "myk8s-worker2": "172.18.0.5",
        "b": "172.18.0.6",
    }
    assert [str(node.pod_cidr) for node in lab.topology.nodes] == [
        "10.10.2.0/24",
        "10.10.3.0/24",
        "10.10.4.0/24",
        "10.10.0.0/23",
    ]


def test_zones_go_in_turn_to_the_nodes_without_one() -> None:
    lab = laid_out("{zones: 2, nodes: [{}, {zone: far}, {count: 2, labels: {disk: ssd}}]}")
    assert lab.labels == {
        "myk8s-control-plane": {ZONE_LABEL: "zone-1"},
        "myk8s-worker": {ZONE_LABEL: "far"},
        "myk8s-worker2": {"disk": "ssd", ZONE_LABEL: "zone-2"},
        "myk8s-worker3": {"disk": "ssd", ZONE_LABEL: "zone-1"},
    }


def test_the_control_plane_is_the_one_that_is_told_and_comes_first() -> None:
    lab = laid_out("nodes: [{name: a}, {name: b, role: control-plane}]")
    assert (lab.nodes, lab.control_plane) == (("b", "a"), "b")


@pytest.mark.parametrize(
    ("nodes", "taints"),
    [
        ("2", [str(CONTROL_PLANE_TAINT)]),
        ("1", []),
        ("[{taints: []}, {}]", []),
        ("[{taints: ['a=b:NoExecute', 'c:NoSchedule']}, {}]", ["a=b:NoExecute", "c:NoSchedule"]),
    ],
)
def test_a_control_plane_keeps_pods_away_unless_it_is_alone_or_told_otherwise(nodes: str, taints: list[str]) -> None:
    lab = laid_out(f"nodes: {nodes}")
    assert [str(taint) for taint in lab.taints_of(lab.topology.nodes[0])] == taints


def test_a_node_may_have_a_mode_of_its_own() -> None:
    lab = laid_out("nodes: [{}, {proxyMode: iptables}]")
    assert [lab.mode_of(node) for node in lab.nodes] == [Mode.NFTABLES, Mode.IPTABLES]


@pytest.mark.parametrize(
    ("text", "families"),
    [("nodes: 2", 1), ("dualStack: true", 2), ("networks: {pods: 'fd00:1::/56'}", 2), ("dualStack: false", 1)],
)
def test_a_lab_has_ipv6_if_told_or_if_an_address_is(text: str, families: int) -> None:
    assert len(laid_out(text).families) == families


@pytest.mark.parametrize("prefix", [24, 29])
def test_a_small_network_has_no_addresses_for_load_balancers(prefix: int) -> None:
    pool = laid_out(f"{{nodes: 2, networks: {{nodes: 10.0.0.0/{prefix}}}}}").topology.load_balancers
    assert str(pool) == {24: "10.0.0.200-10.0.0.250", 29: "None"}[prefix]


NODES, PODS = "networks.nodes 172.18.0.0/16", "networks.pods 10.10.0.0/16"
USABLE = f"{NODES}; give one from 172.18.0.1 to 172.18.255.254"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: Lab", "name: 'Lab' is no name of a lab; use a-z, 0-9 and '-', at most 32 characters"),
        # Names
        ("nodes: [{name: a}, {name: a}]", "nodes[1].name: the name a is given twice; nodes[0] has it"),
        ("{nodes: [{name: a}], clients: [{name: a}]}", "clients[0].name: the name a is given twice; nodes[0] has it"),
        ("clients: [{name: a}, {name: a}]", "clients[1].name: the name a is given twice; clients[0] has it"),
        (
            "nodes: [{name: a, count: 3}, {name: a2}]",
            "nodes[1].name: the name a2 is given twice; nodes[0] (count 3 makes names of it) has it",
        ),
        (
            "nodes: [{name: a2}, {name: a, count: 2}]",
            "nodes[1].name: the name a2 is given twice (count 2 makes names of it); nodes[0] has it",
        ),
        (
            "nodes: [{name: My_Node}]",
            "nodes[0].name: 'My_Node' is no host name; use a-z, 0-9 and '-', at most 63 characters",
        ),
        ("clients: [{name: ''}]", "clients[0].name: '' is no host name; use a-z, 0-9 and '-', at most 63 characters"),
        # Numbers and roles
        ("nodes: 251", "nodes: 251 is no number of nodes; a lab has from 1 to 250"),
        ("nodes: [{count: 0}]", "nodes[0].count: 0 is no number of nodes; a lab has from 1 to 250"),
        ("nodes: []", "nodes: 0 is no number of nodes; a lab has from 1 to 250"),
        *(
            (
                f"nodes: [{{count: 2, {field}: {value}}}]",
                f"nodes[0].{field}: it is of one node, and count is 2; list the nodes one by one",
            )
            for field, value in (
                ("address", "172.18.0.9"),
                ("podCIDR", "10.10.0.0/24"),
                ("lastPodAddress", "10.10.0.9"),
            )
        ),
        (
            "nodes: [{role: control-plane}, {role: control-plane}]",
            "nodes[1].role: a lab has one control plane, and this is the second; make it a worker",
        ),
        (
            "nodes: [{role: control-plane, count: 2}]",
            "nodes[0].role: a lab has one control plane, and this is the second; make it a worker",
        ),
        ("nodes: [{role: worker}]", "nodes: all are workers; a lab needs one node with role: control-plane"),
        # Zones, labels, taints
        ("zones: -1", "zones: -1 is no number of zones; give from 1 to 250, or their names"),
        (
            "nodes: [{taints: ['a:Never']}]",
            (
                "nodes[0].taints[0]: 'a:Never' is no taint; write KEY=VALUE:EFFECT, "
                "the effect one of NoSchedule, PreferNoSchedule, NoExecute"
            ),
        ),
        (
            "nodes: [{taints: ['a=b:NoExecute', 'a=c:NoExecute']}]",
            "nodes[0].taints: a with NoExecute is given twice; give it once",
        ),
        # Networks
        (
            "networks: {nodes: 10.10.0.0/16}",
            f"networks.nodes: networks.nodes 10.10.0.0/16 and {PODS} overlap; give one of them another",
        ),
        (
            "networks: {pods: 10.0.0.0/8}",
            (
                "networks.pods: networks.pods 10.0.0.0/8 and networks.services 10.200.1.0/24 overlap; "
                "give one of them another"
            ),
        ),
        (
            "networks: {pods: ['fd00:172:18::/64', 10.10.0.0/16]}",
            (
                "networks.pods: networks.nodes fd00:172:18::/64 and networks.pods fd00:172:18::/64 overlap; "
                "give one of them another"
            ),
        ),
        (
            "networks: {nodes: [10.0.0.0/16, 10.1.0.0/16]}",
            "networks.nodes: 10.0.0.0/16 and 10.1.0.0/16 are both IPv4; give one of each family",
        ),
        (
            "networks: {nodes: 10.0.0.0/31}",
            "networks.nodes: 10.0.0.0/31 has no room for a bridge and a node; give a larger network",
        ),
        (
            "{nodes: 7, networks: {nodes: 10.0.0.0/29}}",
            "nodes: networks.nodes 10.0.0.0/29 has no address left; give a larger network",
        ),
        (
            "{nodes: 3, networks: {pods: 10.10.0.0/23}}",
            "networks.pods: 10.10.0.0/23 has no room for 3 nodes; give a larger network",
        ),
        ("networks: {gateway: 10.0.0.1}", f"networks.gateway: 10.0.0.1 is no host address of {USABLE}"),
        (
            "networks: {gateway: 172.18.255.200}",
            (
                "networks.gateway: 172.18.255.200 is among networks.loadBalancers 172.18.255.200-172.18.255.250; "
                "give another"
            ),
        ),
        (
            "networks: {loadBalancers: 172.18.0.9}",
            "networks.loadBalancers: '172.18.0.9' is no pool; write FIRST-LAST, two addresses of networks.nodes",
        ),
        (
            "networks: {loadBalancers: 172.18.0.9-172.19.0.9}",
            f"networks.loadBalancers: 172.19.0.9 is no host address of {USABLE}",
        ),
        (
            "networks: {loadBalancers: 172.18.0.9-172.18.0.8}",
            "networks.loadBalancers: 172.18.0.9-172.18.0.8 ends before it begins; write FIRST-LAST",
        ),
        (
            "networks: {loadBalancers: '172.18.0.9-fd00:172:18::9'}",
            "networks.loadBalancers: '172.18.0.9-fd00:172:18::9' begins in one address family and ends in the other",
        ),
        # Addresses
        ("nodes: [{address: 10.0.0.9}]", f"nodes[0].address: 10.0.0.9 is no host address of {USABLE}"),
        (
            "clients: [{name: a, address: 172.18.255.255}]",
            f"clients[0].address: 172.18.255.255 is no host address of {USABLE}",
        ),
        (
            "{nodes: [{address: 172.18.0.9}], clients: [{name: a, address: 172.18.0.9}]}",
            "nodes[0].address: the address 172.18.0.9 is given twice; clients[0].address has it",
        ),
        (
            "nodes: [{address: 172.18.0.1}]",
            "nodes[0].address: the address 172.18.0.1 is given twice; networks.gateway has it",
        ),
        (
            "nodes: [{address: 172.18.255.201}]",
            (
                "nodes[0].address: 172.18.255.201 is among networks.loadBalancers 172.18.255.200-172.18.255.250; "
                "give another"
            ),
        ),
        (
            "nodes: [{podCIDR: 10.11.0.0/24}]",
            f"nodes[0].podCIDR: 10.11.0.0/24 is not inside {PODS}; give a part of it, or larger networks.pods",
        ),
        (
            "nodes: [{podCIDR: 10.10.0.0/31}]",
            "nodes[0].podCIDR: 10.10.0.0/31 has no room for a gateway and a pod; give a larger network",
        ),
        (
            "nodes: [{name: a, podCIDR: 10.10.0.0/23}, {podCIDR: 10.10.1.0/24}]",
            "nodes[1].podCIDR: 10.10.1.0/24 overlaps 10.10.0.0/23, the podCIDR of a; give another",
        ),
        (
            "nodes: [{lastPodAddress: 10.10.1.4}]",
            "nodes[0].lastPodAddress: 10.10.1.4 is not in 10.10.0.0/24, the node's podCIDR; give one that is",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Refused) as refused:
        laid_out(text)
    assert str(refused.value) == f"lab.yaml, line 1: {problem}"


def test_a_zone_is_a_label() -> None:
    for text, field in (("zones: [a b]", "zones[0]"), ("nodes: [{zone: a b}]", "nodes[0].zone")):
        with pytest.raises(Refused, match=rf"lab\.yaml, line 1: {re.escape(field)}: 'a b' cannot be a zone"):
            laid_out(text)


def test_no_address_is_no_address() -> None:
    with pytest.raises(Refused, match=r"lab\.yaml, line 3: clients\[1\]\.address: .*'172\.18\.0'"):
        laid_out("clients:\n- name: a\n- {name: b, address: 172.18.0}")


def test_a_label_that_the_api_server_would_not_take_is_refused_before_anything_is_made() -> None:
    with pytest.raises(Refused, match=r"lab\.yaml, line 1: nodes\[0\]\.labels: Invalid value: \"a b\""):
        laid_out("nodes: [{labels: {a b: c}}]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nodes: 1",
        "{name: six, nodes: 6, zones: 3, dualStack: true, proxyMode: iptables}",
        "{nodes: [{}, {zone: a, labels: {b: c}, taints: ['d:NoExecute'], proxyMode: iptables}], clients: []}",
        "{nodes: 2, networks: {nodes: 10.0.0.0/29, gateway: 10.0.0.6}}",
        "nodes: [{lastPodAddress: 10.10.0.9}]",
    ],
)
def test_a_lab_spelt_out_is_the_same_lab(text: str) -> None:
    lab = laid_out(text)
    spelt_out: Any = plain(spell_out(lab))
    assert lay_out(msgspec.convert(spelt_out, LabFile), source="printed") == lab
