"""A Service's kind says which elements it has, and of which class; the classes say which chains there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from fairway.api.core import Service
from fairway.api.discovery import EndpointSlice
from fairway.base.addresses import Family
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.layout import DoorClass, Policy
from fairway.dataplane.nft.lower import LARGE_TABLE, Share, join, lower, lower_service, with_spares
from fairway.dataplane.nft.phrase import format_rule
from fairway.dataplane.nft.ruleset import Ruleset
from fairway.dataplane.nft.words import format_element
from fairway.netlink.userdata import COMMENT_LIMIT
from fairway.plan.model import Backends, DoorKind, Scope, Source
from fairway.plan.options import view_node
from tests.dataplane.ipt.build import CLUSTER_BACKENDS as CLUSTER
from tests.dataplane.ipt.build import LOCAL_BACKENDS, NO_ENDPOINTS, ORIGIN, door, port, ways
from tests.dataplane.nft.build import (
    AFFINITY,
    LOCAL,
    NODE6,
    OPTIONS,
    OPTIONS6,
    SLICE6,
    many_endpoints,
    options,
    ruleset_of,
    scenarios,
    service6,
    share,
)
from tests.plan.objects import LOCAL_AND_REMOTE, REMOTE_ONLY, every_door, node, plan_of, service

VIEW = view_node(node(), OPTIONS)
BOTH = LOCAL_AND_REMOTE
SPECS = {family: layout.fixed_sets(family) for family in Family}
RANGES = ["172.18.0.0/16", "172.18.1.0/24", "192.0.2.7/32"]


def words(some: Share, family: Family = Family.IPV4) -> dict[str, list[str]]:
    """Elements as texts, by set; those that others may share among them."""
    elements: dict[str, dict[bytes, Any]] = {name: dict(found) for name, found in some.elements.items()}
    for name, key in some.shared:
        elements.setdefault(name, {})[key] = None
    return {
        name: [format_element(SPECS[family][name], key, found[key]) for key in sorted(found)]
        for name, found in sorted(elements.items())
    }


def classes(some: Share) -> set[str]:
    return {each.chain for each in some.classes}


def rules(ruleset: Ruleset, chain: str) -> list[str]:
    return [format_rule(rule, ruleset.family, ruleset.sets) for rule in ruleset.chains[chain].rules]


HAIRPIN = "10.10.1.3 . 10.10.1.3 . tcp . 8080"
FAR_HAIRPIN = "10.10.2.3 . 10.10.2.3 . tcp . 8080"


@pytest.mark.parametrize(
    ("one", "slices", "expected"),
    [
        (
            service(),
            [BOTH],
            {
                "backends": [
                    "10.200.1.5 . tcp . 80 . 0 : 10.10.1.3 . 8080",
                    "10.200.1.5 . tcp . 80 . 1 : 10.10.2.3 . 8080",
                ],
                "cluster-ips": ["10.200.1.5"],
                "hairpins": [HAIRPIN],
                "services": ["10.200.1.5 . tcp . 80 : 3:2"],
            },
        ),
        (service(), [], {"cluster-ips": ["10.200.1.5"], "services": ["10.200.1.5 . tcp . 80 : 0:1"]}),
        (
            service(internalTrafficPolicy="Local"),
            [REMOTE_ONLY],
            {"cluster-ips": ["10.200.1.5"], "services": ["10.200.1.5 . tcp . 80 : 0:2"]},
        ),
        (
            service(type="NodePort", ports=[{"port": 80, "nodePort": 30080, "protocol": "UDP"}]),
            [],
            {
                "cluster-ips": ["10.200.1.5"],
                "nodeports": ["udp . 30080 : 0:1"],
                "services": ["10.200.1.5 . udp . 80 : 0:1"],
            },
        ),
        (
            service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}], **LOCAL),
            [BOTH],
            {
                "backends": [
                    "10.200.1.5 . tcp . 80 . 0 : 10.10.1.3 . 8080",
                    "10.200.1.5 . tcp . 80 . 1 : 10.10.2.3 . 8080",
                ],
                "cluster-ips": ["10.200.1.5"],
                "hairpins": [HAIRPIN, FAR_HAIRPIN],
                "nodeport-backends": [
                    "tcp . 30080 . 0 : 10.10.1.3 . 8080",
                    "tcp . 30080 . 65536 : 10.10.1.3 . 8080",
                    "tcp . 30080 . 65537 : 10.10.2.3 . 8080",
                ],
                "nodeport-short-cuts": ["tcp . 30080 : 25:2"],
                "nodeports": ["tcp . 30080 : 24:1"],
                "services": ["10.200.1.5 . tcp . 80 : 3:2"],
            },
        ),
        (
            service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}], **AFFINITY),
            [BOTH],
            {
                "cluster-ips": ["10.200.1.5"],
                "hairpins": [HAIRPIN],
                "nodeport-sticky": ["tcp . 30080 : goto sticky-masquerade-cluster-LOLE4ISW44XBNF3G"],
                "nodeports": ["tcp . 30080 : 20:3"],
                "services": ["10.200.1.5 . tcp . 80 : 0:3"],
                "sticky": ["10.200.1.5 . tcp . 80 : goto sticky-masquerade-outside-cluster-LOLE4ISW44XBNF3G"],
            },
        ),
    ],
    ids=["clusterIP", "no endpoints", "none here", "node port", "node port, Local", "affinity"],
)
def test_a_service_is_these_elements(
    one: Service, slices: Iterable[EndpointSlice], expected: Mapping[str, list[str]]
) -> None:
    assert words(share(one, *slices)) == expected


EVERY = {"masquerade-outside-2", "masquerade-2", "nodeport-masquerade-2"}


@pytest.mark.parametrize(
    ("one", "slices", "expected"),
    [
        (every_door(), [BOTH], EVERY),
        (every_door(), [many_endpoints(7)], {"masquerade-outside-7", "masquerade-7", "nodeport-masquerade-7"}),
        (every_door(), [], {"refuse"}),
        (every_door(loadBalancerSourceRanges=RANGES), [], {"refuse", "guarded-refuse"}),
        (every_door(loadBalancerSourceRanges=RANGES), [BOTH], EVERY | {"guarded-masquerade-2"}),
        (
            every_door(**LOCAL),
            [BOTH],
            {"masquerade-outside-2", "local-1", "short-cut-2", "nodeport-local-1", "nodeport-short-cut-2"},
        ),
        (
            every_door(**LOCAL),
            [REMOTE_ONLY],
            {"masquerade-outside-2", "local-0", "short-cut-2", "nodeport-local-0", "nodeport-short-cut-2"},
        ),
        (
            every_door(**LOCAL, loadBalancerSourceRanges=RANGES),
            [BOTH],
            {
                "masquerade-outside-2",
                "local-1",
                "short-cut-2",
                "nodeport-local-1",
                "nodeport-short-cut-2",
                "guarded-local-1",
            },
        ),
        (every_door(**AFFINITY), [BOTH], {"sticky", "nodeport-sticky"}),
        (every_door(**AFFINITY), [], {"refuse"}),
        (service(internalTrafficPolicy="Local"), [BOTH], {"masquerade-outside-1"}),
        (service(internalTrafficPolicy="Local"), [REMOTE_ONLY], {"drop"}),
    ],
)
def test_doors_are_of_these_classes(one: Service, slices: Iterable[EndpointSlice], expected: set[str]) -> None:
    assert classes(share(one, *slices)) == expected


def test_without_a_pod_network_clusterips_keep_or_rewrite_everybody() -> None:
    assert classes(share(service(), BOTH, options=options(cluster_cidrs=[]))) == {"keep-2"}
    everybody = options(masquerade_all=True)
    assert classes(share(service(), BOTH, options=everybody)) == {"masquerade-2"}


def test_ipv6_has_the_same_elements_in_its_own_table() -> None:
    found = words(share(service6(), SLICE6, options=OPTIONS6, on=NODE6), Family.IPV6)
    assert found["services"] == ["2001:db8::1 . tcp . 80 : 2:2", "fd00:200::5 . tcp . 80 : 3:2"]
    assert found["nodeport-backends"][0] == "tcp . 30080 . 0 : fd00:10:0:1::3 . 8080"


def test_source_ranges_that_overlap_or_touch_are_joined() -> None:
    """The kernel refuses those that overlap."""
    ranges = ["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "192.0.2.7/32", "fd00::/8"]
    one = every_door(loadBalancerSourceRanges=ranges)
    assert words(share(one, BOTH))["source-ranges"] == [
        "172.18.255.200 . tcp . 80 . 10.0.0.0/8",
        "172.18.255.200 . tcp . 80 . 192.0.2.7",
    ]


def test_affinity_leads_a_client_to_the_endpoint_that_remembers_it_and_else_to_any() -> None:
    ruleset = ruleset_of(scenarios()["affinity"])
    endpoints = [f"endpoint-LOLE4ISW44XBNF3G-10.10.{number}.3-8080" for number in (1, 2)]
    clients = [f"clients-LOLE4ISW44XBNF3G-10.10.{number}.3-8080-10800s" for number in (1, 2)]
    assert rules(ruleset, "affinity-cluster-LOLE4ISW44XBNF3G") == [
        f"ip saddr @{clients[0]} goto {endpoints[0]}",
        f"ip saddr @{clients[1]} goto {endpoints[1]}",
        f"numgen random mod 2 0 goto {endpoints[0]}",
        f"goto {endpoints[1]}",
    ]
    assert rules(ruleset, endpoints[0]) == [
        f"update @{clients[0]} {{ ip saddr }}",
        "meta priority set none meta l4proto tcp dnat to 10.10.1.3:8080",
    ]


def test_affinity_of_local_doors_chooses_among_local_endpoints_and_takes_the_short_cut_to_all() -> None:
    ruleset = ruleset_of(scenarios()["affinity, local and guarded"])
    assert rules(ruleset, "sticky-guarded-local-local-LOLE4ISW44XBNF3G") == [
        "ip daddr . meta l4proto . th dport . ip saddr != @source-ranges drop",
        "ip saddr 10.10.0.0/16 goto affinity-cluster-LOLE4ISW44XBNF3G",
        "fib saddr type local meta mark set meta mark | 0x00004000 goto affinity-cluster-LOLE4ISW44XBNF3G",
        "goto affinity-local-LOLE4ISW44XBNF3G",
    ]


def test_another_timeout_is_another_set() -> None:
    names = [
        {spec.name.rpartition("-")[2] for spec in share(every_door(**AFFINITY, **more), BOTH).sets}
        for more in ({}, {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90}}})
    ]
    assert names == [{"10800s"}, {"90s"}]


def test_what_a_chain_leads_to_is_made_before_it() -> None:
    for whole in scenarios().values():
        made: set[str] = set()
        ruleset = ruleset_of(whole)
        for chain in ruleset.chains.values():
            led = {word for rule in chain.rules for word in _led(format_rule(rule, ruleset.family, ruleset.sets))}
            assert led <= made
            made.add(chain.name)


def _led(text: str) -> Iterable[str]:
    parts = text.split()
    return (name for verb, name in pairwise(parts) if verb in ("goto", "jump"))


def test_comments_fit() -> None:
    for whole in scenarios().values():
        ruleset = ruleset_of(whole)
        comments = [spec.comment for spec in ruleset.sets.values()] + [each.comment for each in ruleset.chains.values()]
        assert all(len(comment) < COMMENT_LIMIT for comment in comments)


def test_the_table_of_a_plan_is_its_services_joined() -> None:
    one, other = every_door(), service("other", clusterIP="10.200.1.9")
    plan = plan_of([one, other], BOTH, options=OPTIONS)
    assert lower(plan) == join(plan, [lower_service(plan.ports[1:], plan), lower_service(plan.ports[:1], plan)])


def test_a_node_port_is_taken_at_these_addresses_alone() -> None:
    nodes = view_node(
        node("172.18.0.5", "172.19.0.5", "127.0.0.5"), options(node_port_addresses=["172.16.0.0/12", "127.0.0.0/8"])
    )
    assert join(nodes, []).elements[layout.NODEPORT_IPS] == {
        ip_address(address).packed: None for address in ("172.18.0.5", "172.19.0.5")
    }


# -- spares


def test_small_tables_have_the_chains_they_need() -> None:
    used = {DoorClass(Policy.KEEP, 40), layout.REFUSE}
    assert with_spares(used, LARGE_TABLE - 1) == used


def test_large_tables_have_the_chains_of_all_small_counts_of_the_policies_in_use() -> None:
    used = {DoorClass(Policy.KEEP, 40), DoorClass(Policy.LOCAL | layout.GUARDED, 0), layout.REFUSE}
    spare = {
        DoorClass(policy, count) for policy in (Policy.KEEP, Policy.LOCAL | layout.GUARDED) for count in range(1, 17)
    }
    assert with_spares(used, LARGE_TABLE) == used | spare


# -- ways that no class says


OTHER = Backends(scope=Scope.LOCAL, choices=CLUSTER.choices, origin=ORIGIN)


@pytest.mark.parametrize(
    "led",
    [
        ways(CLUSTER, node=NO_ENDPOINTS),
        ways(NO_ENDPOINTS, pod=CLUSTER, node=NO_ENDPOINTS),
        ways(CLUSTER, pod=OTHER),
        ways(CLUSTER, masquerade=[Source.POD]),
        ways(CLUSTER, masquerade=[Source.NODE]),
        ways(LOCAL_BACKENDS, node=CLUSTER),
        ways(LOCAL_BACKENDS, node=CLUSTER, masquerade=[Source.NODE, Source.ELSEWHERE]),
        ways(LOCAL_BACKENDS, node=CLUSTER, pod=LOCAL_BACKENDS, masquerade=[Source.NODE]),
        ways(NO_ENDPOINTS, node=CLUSTER, pod=CLUSTER, masquerade=[Source.NODE]),
    ],
)
def test_ways_that_the_rules_cannot_tell_apart_are_refused(led: Any) -> None:
    with pytest.raises(ValueError, match=r"10\.200\.1\.1"):
        lower_service([port(door(DoorKind.CLUSTER_IP, led))], VIEW)


def test_more_backends_than_a_class_counts_are_refused() -> None:
    many = replace(CLUSTER, choices=CLUSTER.choices[:1] * (layout.MAX_BACKENDS + 1))
    with pytest.raises(ValueError, match="a door can have 65535"):
        lower_service([port(door(DoorKind.CLUSTER_IP, ways(many)))], VIEW)


@pytest.mark.parametrize("policy", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("extra", [0, layout.GUARDED, layout.NODEPORT, layout.GUARDED | layout.NODEPORT])
def test_a_class_is_read_as_it_is_packed(policy: int, extra: int) -> None:
    for count in (1, 2, 3, layout.MAX_BACKENDS):
        one = DoorClass(policy | extra, count)
        assert DoorClass.unpack(one.packed) == one
        assert (one.kind, one.is_guarded, one.is_nodeport) == (
            Policy(policy),
            bool(extra & layout.GUARDED),
            bool(extra & layout.NODEPORT),
        )
