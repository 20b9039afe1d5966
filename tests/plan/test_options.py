"""What a node is, from its options and its Node."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from fairway.api.codec import decode_node
from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.plan.links import Links
from fairway.plan.options import Mode, NodeView, Options, parse_options, view_node
from tests.plan.objects import node

NO_LINKS = ["br 0", "a/b", 'say"', "it's", "veth+", "veth*", "-t", "br:0", "br\n0", "brücke", "{ a }", ".", ".."]


def bridge(name: str) -> dict[str, str]:
    return {"detect_local_mode": "BridgeInterface", "bridge_interface": name}


def prefix(name: str) -> dict[str, str]:
    return {"detect_local_mode": "InterfaceNamePrefix", "interface_name_prefix": name}


def test_flags_become_options_with_lists_at_commas():
    assert parse_options(
        family=Family.IPV6,
        cluster_cidrs=["10.10.0.0/16,fd00:10::/48"],
        node_port_addresses=["172.18.0.0/16", " 10.0.0.1/8 , "],
        node_addresses=["172.18.0.05", "fd00::5"],
        masquerade_all=True,
        localhost_node_ports=False,
    ) == Options(
        family=Family.IPV6,
        cluster_cidrs=(ip_network("10.10.0.0/16"), ip_network("fd00:10::/48")),
        node_port_addresses=(ip_network("172.18.0.0/16"), ip_network("10.0.0.0/8")),
        node_addresses=(ip_address("172.18.0.5"), ip_address("fd00::5")),
        masquerade_all=True,
        localhost_node_ports=False,
    )


def test_no_flags_are_the_defaults():
    assert parse_options(cluster_cidrs=[""]) == Options()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cluster_cidrs": ["10.10.0.0"]}, "--cluster-cidr: '10.10.0.0' is not a network; "),
        ({"node_port_addresses": ["10.0.0.0/33"]}, "--nodeport-addresses: '10.0.0.0/33' is not a network: "),
        ({"node_port_addresses": ["primary", "10.0.0.0/8"]}, '--nodeport-addresses: "primary" stands alone; '),
        ({"service_cidrs": ["10.200.1.0"]}, "--service-cidr: '10.200.1.0' is not a network; "),
        ({"node_addresses": ["web"]}, "--node-address: 'web' is not an IP address"),
        ({"detect_local_mode": "clustercidr"}, "--detect-local-mode: 'clustercidr' is none of the ways to tell pods"),
        ({"detect_local_mode": "BridgeInterface"}, "--pod-bridge-interface is empty: it must be a link's name, "),
        ({"detect_local_mode": "InterfaceNamePrefix"}, "--pod-interface-name-prefix is empty: it must be the beginnin"),
        (bridge("sixteen-letters-"), "--pod-bridge-interface: 'sixteen-letters-' is longer than the 15 characters "),
        (prefix("fifteen-letters"), "--pod-interface-name-prefix: 'fifteen-letters' is longer than the 14 characters "),
        *((bridge(name), f"--pod-bridge-interface: {name!r} is not a link's name: ") for name in NO_LINKS),
        *((prefix(name), f"--pod-interface-name-prefix: {name!r} is not the beginning") for name in NO_LINKS[:-2]),
    ],
)
def test_a_flag_that_cannot_be_read_is_refused_by_its_name(flags, message):
    with pytest.raises(Refused) as refusal:
        parse_options(**flags)
    assert str(refusal.value).startswith(message)


def test_a_node_has_the_internal_addresses_of_its_family_in_their_order():
    there = decode_node(
        {
            "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "zone-a"}},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "n"},
                    {"type": "ExternalIP", "address": "192.0.2.9"},
                    {"type": "InternalIP", "address": "172.18.0.5"},
                    {"type": "InternalIP", "address": "fd00::5"},
                    {"type": "InternalIP", "address": "10.0.0.5"},
                    {"type": "InternalIP", "address": "172.18.0.5"},
                ]
            },
        }
    )
    assert view_node(there, parse_options(cluster_cidrs=["10.10.0.0/16,fd00:10::/48"])) == NodeView(
        name="n",
        family=Family.IPV4,
        zone="zone-a",
        node_addresses=(ip_address("172.18.0.5"), ip_address("10.0.0.5")),
        cluster_cidrs=(ip_network("10.10.0.0/16"),),
        node_port_addresses=None,
        localhost_node_ports=True,
        masquerade_all=False,
    )


@pytest.mark.parametrize(
    ("flags", "links", "networks"),
    [
        ({}, None, ["10.10.0.0/16"]),
        ({"detect_local_mode": "ClusterCIDR"}, None, ["10.10.0.0/16"]),
        ({"detect_local_mode": "NodeCIDR"}, None, ["10.10.1.0/24"]),
        (bridge("cni0"), Links(name="cni0"), []),
        (prefix("veth"), Links(name="veth", is_prefix=True), []),
        ({**bridge("fifteen-letters"), "interface_name_prefix": "no / link"}, Links(name="fifteen-letters"), []),
        ({"bridge_interface": "cni0"}, None, ["10.10.0.0/16"]),
    ],
)
def test_pods_are_told_in_the_one_way_that_is_chosen(flags, links, networks):
    options = parse_options(cluster_cidrs=["10.10.0.0/16,fd00:10::/48"], **flags)
    view = view_node(node(pod_cidrs=["fd00:10:1::/64", "10.10.1.0/24"]), options)
    assert (view.pod_links, view.cluster_cidrs) == (links, tuple(map(ip_network, networks)))
    assert view.tells_pods
    assert view.notes == ()


@pytest.mark.parametrize("mode", ["", "NodeCIDR"])
def test_without_a_pod_network_pods_cannot_be_told(mode):
    assert not view_node(node(), parse_options(detect_local_mode=mode)).tells_pods


def test_a_node_without_a_pod_network_of_the_family_gets_a_note():
    on = node(pod_cidrs=["fd00:10:1::/64", "10.10.1.0"])
    notes = view_node(on, parse_options(detect_local_mode="NodeCIDR")).notes
    assert [f"{note.origin}: {note.message}" for note in notes] == [
        (
            "Node here: spec.podCIDRs=10.10.1.0: '10.10.1.0' is not a network; expected an address and a prefix length "
            "such as 10.0.0.0/8; it is left out"
        ),
        (
            "Node here: spec.podCIDRs: it has no pod network of IPv4 for detectLocalMode NodeCIDR to compare with, so "
            "pods cannot be told from other sources; have it allocated, or choose another detectLocalMode"
        ),
    ]


def test_the_one_pod_network_of_an_old_node_counts():
    on = decode_node({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.10.1.0/24"}})
    assert view_node(on, parse_options(detect_local_mode="NodeCIDR")).cluster_cidrs == (ip_network("10.10.1.0/24"),)


def test_addresses_that_are_given_take_the_place_of_the_nodes():
    view = view_node(node("172.18.0.5"), parse_options(node_addresses=["10.0.0.7", "fd00::7"]))
    assert view.node_addresses == (ip_address("10.0.0.7"),)


def test_a_node_without_an_address_of_the_family_gets_a_note():
    notes = view_node(node("fd00::5", "nonsense"), Options()).notes
    assert [f"{note.origin}: {note.message}" for note in notes] == [
        "Node here: status.addresses[1].address=nonsense: 'nonsense' is not an IP address",
        "Node here: status.addresses: it has no InternalIP of IPv4, so it is unknown which address is its primary one",
    ]


@pytest.mark.parametrize(
    ("flags", "family", "networks"),
    [
        ([], Family.IPV4, None),
        (["172.18.0.0/16"], Family.IPV4, (ip_network("172.18.0.0/16"),)),
        (["172.18.0.0/16"], Family.IPV6, None),
        (["172.18.0.0/16", "0.0.0.0/0"], Family.IPV4, None),
        (["primary"], Family.IPV4, (ip_network("172.18.0.5/32"),)),
    ],
)
def test_a_family_that_no_network_names_takes_node_ports_everywhere(flags, family, networks):
    options = parse_options(family=family, node_port_addresses=flags)
    assert view_node(node("172.18.0.5", "10.0.0.5"), options).node_port_addresses == networks


@pytest.mark.parametrize("mode", Mode)
def test_a_node_whose_primary_address_is_not_known_takes_node_ports_nowhere(mode):
    options = parse_options(mode=mode, family=Family.IPV6, node_port_addresses=["primary"])
    assert view_node(node("172.18.0.5"), options).node_port_addresses == ()


@pytest.mark.parametrize(
    ("mode", "flags", "networks"),
    [
        (Mode.IPTABLES, [], None),
        (Mode.NFTABLES, [], (ip_network("172.18.0.5/32"),)),
        (Mode.NFTABLES, [""], (ip_network("172.18.0.5/32"),)),
        (Mode.NFTABLES, ["10.0.0.0/8"], (ip_network("10.0.0.0/8"),)),
        (Mode.NFTABLES, ["0.0.0.0/0"], None),
        (Mode.NFTABLES, ["fd00::/8"], None),
    ],
)
def test_in_mode_nftables_only_the_primary_address_takes_node_ports_unless_networks_are_named(mode, flags, networks):
    options = parse_options(mode=mode, node_port_addresses=flags)
    assert view_node(node("172.18.0.5", "10.0.0.5"), options).node_port_addresses == networks


def test_mode_nftables_keeps_loopback_closed_and_guards_the_addresses_of_services():
    options = parse_options(
        mode=Mode.NFTABLES, service_cidrs=["10.200.1.0/24,fd00:20::/112"], localhost_node_ports=True
    )
    view = view_node(node(), options)
    assert not view.localhost_node_ports
    assert view.service_cidrs == (ip_network("10.200.1.0/24"),)
    assert (view.guards_cluster_ips, view.admits_health_checks) == (True, False)


def test_networks_of_services_stand_in_one_order_each_once_whoever_named_them_first():
    orders = (["10.200.1.0/24", "203.0.113.0/24", "10.200.0.0/16"], ["203.0.113.0/24,10.200.0.0/16,10.200.1.0/24"] * 2)
    views = [view_node(node(), parse_options(mode=Mode.NFTABLES, service_cidrs=given)) for given in orders]
    wanted = ("10.200.0.0/16", "10.200.1.0/24", "203.0.113.0/24")
    assert [view.service_cidrs for view in views] == [tuple(map(ip_network, wanted))] * 2


def test_mode_iptables_leaves_alone_what_no_door_is_for_but_lets_health_checks_in():
    view = view_node(node(), parse_options(mode=Mode.IPTABLES, service_cidrs=["10.200.1.0/24"]))
    assert view.localhost_node_ports
    assert view.service_cidrs == ()
    assert (view.guards_cluster_ips, view.admits_health_checks) == (False, True)
