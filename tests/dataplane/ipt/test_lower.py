"""A Plan becomes kube-proxy's rules: the recorded ones, and the corners no recording has."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from fairway.base.addresses import Family
from fairway.dataplane.ipt.frame import Features
from fairway.dataplane.ipt.lower import LARGE_CLUSTER_ENDPOINTS, Lowering, lower
from fairway.dataplane.ipt.names import endpoint_chain
from fairway.dataplane.ipt.ruleset import Comment, Table
from fairway.dataplane.ipt.text import format_save
from fairway.flow.packet import Protocol
from fairway.plan.model import Backend, Backends, DoorKind, HealthCheck, Links, PortName, Scope, Source
from fairway.plan.options import Options, parse_options
from tests.dataplane.ipt.build import (
    CLUSTER_BACKENDS,
    HASH,
    LOCAL_BACKENDS,
    NAME,
    NO_ENDPOINTS,
    NO_LOCAL_ENDPOINTS,
    ORIGIN,
    chain_text,
    door,
    plan,
    port,
    ways,
)
from tests.dataplane.ipt.golden import RECORDED, Recorded, normal
from tests.dataplane.nft.build import NODE6, SLICE6, service6
from tests.plan.objects import plan_of

TABLES = (Table.NAT, Table.FILTER)
NOT_PODS = (Source.NODE, Source.ELSEWHERE)
LOCAL_WAYS = ways(LOCAL_BACKENDS, masquerade=[Source.NODE], pod=CLUSTER_BACKENDS, node=CLUSTER_BACKENDS)
"""At external doors under a Local policy, where this node has a backend."""


@pytest.mark.parametrize("recorded", RECORDED, ids=str)
def test_the_rules_are_those_a_real_kube_proxy_wrote(recorded: Recorded) -> None:
    assert normal(format_save(lower(recorded.plan()), TABLES)) == normal(recorded.text())


def test_with_nfacct_the_text_is_kube_proxys_own_but_for_the_order_of_services() -> None:
    """unnamed-port has only one Service besides `kubernetes`, and both come in the order of their names here."""
    recorded = Recorded("unnamed-port", "myk8s-worker")
    assert sorted(format_save(lower(recorded.plan()), TABLES).splitlines()) == sorted(recorded.text().splitlines())


def test_without_nfacct_nothing_is_counted_and_all_else_is_the_same() -> None:
    recorded = Recorded("nodeport-local", "myk8s-worker")
    text = format_save(lower(recorded.plan(), Features(nfacct=False)), TABLES)
    assert "nfacct" not in text
    assert "127.0.0.0/8 -p tcp" not in text
    assert normal(text) == normal(recorded.text())


def test_a_kernel_liberal_about_windows_keeps_invalid_packets() -> None:
    ruleset = lower(plan(), Features(drop_invalid=False))
    assert chain_text(ruleset, Table.FILTER, "KUBE-FORWARD") == [
        '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
        (
            '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED '
            "-j ACCEPT"
        ),
    ]


def test_masquerade_all_marks_every_source_at_the_cluster_ip() -> None:
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP, ways(masquerade=list(Source))))))
    assert chain_text(ruleset, Table.NAT, f"KUBE-SVC-{HASH}")[0] == (
        '-d 10.200.1.1/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ'
    )


def test_without_a_pod_network_nobody_is_marked_at_the_cluster_ip() -> None:
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP)), cluster_cidrs=[]))
    assert len(chain_text(ruleset, Table.NAT, f"KUBE-SVC-{HASH}")) == 2


def test_several_pod_networks_share_a_chain_that_spares_them_all() -> None:
    """No rule can say "outside all of these": kube-proxy takes one network a family."""
    cidrs = ["10.10.0.0/24", "10.10.1.0/24"]
    doors = door(DoorKind.CLUSTER_IP, ways(masquerade=NOT_PODS)), door(DoorKind.NODE_PORT, LOCAL_WAYS)
    ruleset = lower(plan(port(*doors), cluster_cidrs=cidrs))
    assert chain_text(ruleset, Table.NAT, f"KUBE-SVC-{HASH}")[0].endswith("-m tcp --dport 80 -j KUBE-MASQ-NOT-POD")
    assert chain_text(ruleset, Table.NAT, "KUBE-MASQ-NOT-POD") == [
        "-s 10.10.0.0/24 -j RETURN",
        "-s 10.10.1.0/24 -j RETURN",
        "-j KUBE-MARK-MASQ",
    ]
    words = '-m comment --comment "pod traffic for default/web:http external destinations"'
    assert chain_text(ruleset, Table.NAT, f"KUBE-EXT-{HASH}")[:2] == [
        f"-s {cidr} {words} -j KUBE-SVC-{HASH}" for cidr in cidrs
    ]


def test_pods_are_elsewhere_where_no_network_tells_them() -> None:
    """Trap: under a Local policy a pod then meets what a client meets."""
    ruleset = lower(plan(port(door(DoorKind.NODE_PORT, LOCAL_WAYS)), cluster_cidrs=[]))
    assert [text.rsplit(" ", 1)[1] for text in chain_text(ruleset, Table.NAT, f"KUBE-EXT-{HASH}")] == [
        "KUBE-MARK-MASQ",
        f"KUBE-SVC-{HASH}",
        f"KUBE-SVL-{HASH}",
    ]


@pytest.mark.parametrize(
    ("links", "words"), [(Links(name="cni0"), "-i cni0"), (Links(name="veth", is_prefix=True), "-i veth+")], ids=str
)
def test_a_link_tells_pods_as_a_network_does(links: Links, words: str) -> None:
    doors = door(DoorKind.CLUSTER_IP, ways(masquerade=NOT_PODS)), door(DoorKind.NODE_PORT, LOCAL_WAYS)
    ruleset = lower(plan(port(*doors), cluster_cidrs=[], pod_links=links))
    assert chain_text(ruleset, Table.NAT, f"KUBE-SVC-{HASH}")[0] == (
        f'-d 10.200.1.1/32 ! {words} -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 '
        "-j KUBE-MARK-MASQ"
    )
    assert chain_text(ruleset, Table.NAT, f"KUBE-EXT-{HASH}")[0] == (
        f'{words} -m comment --comment "pod traffic for default/web:http external destinations" -j KUBE-SVC-{HASH}'
    )


def test_a_node_without_local_backends_still_serves_pods_and_itself() -> None:
    refused = ways(NO_LOCAL_ENDPOINTS, masquerade=[Source.NODE], pod=CLUSTER_BACKENDS, node=CLUSTER_BACKENDS)
    ruleset = lower(plan(port(door(DoorKind.NODE_PORT, refused))))
    assert [text.rsplit(" ", 1)[1] for text in chain_text(ruleset, Table.NAT, f"KUBE-EXT-{HASH}")] == [
        f"KUBE-SVC-{HASH}",
        "KUBE-MARK-MASQ",
        f"KUBE-SVC-{HASH}",
    ]
    assert chain_text(ruleset, Table.FILTER, "KUBE-EXTERNAL-SERVICES") == [
        (
            '-p tcp -m comment --comment "default/web:http has no local endpoints" -m addrtype --dst-type LOCAL '
            "-m tcp --dport 30080 -j DROP"
        )
    ]


def test_a_service_without_backends_has_no_chain_and_is_refused_at_every_door() -> None:
    ruleset = lower(plan(port(*(door(kind, ways(NO_ENDPOINTS)) for kind in DoorKind))))
    assert not [chain for chain in ruleset.chains[Table.NAT] if HASH in chain]
    reject = "-j REJECT --reject-with icmp-port-unreachable"
    words = '-p tcp -m comment --comment "default/web:http has no endpoints"'
    assert chain_text(ruleset, Table.FILTER, "KUBE-SERVICES") == [
        f"-d 10.200.1.1/32 {words} -m tcp --dport 80 {reject}"
    ]
    assert chain_text(ruleset, Table.FILTER, "KUBE-EXTERNAL-SERVICES") == [
        f"-d 198.51.100.1/32 {words} -m tcp --dport 80 {reject}",
        f"-d 172.18.255.1/32 {words} -m tcp --dport 80 {reject}",
        f"{words} -m addrtype --dst-type LOCAL -m tcp --dport 30080 {reject}",
    ]


def test_a_health_check_node_port_is_let_in_also_without_a_local_backend() -> None:
    check = HealthCheck(namespace="default", service="web", port=31999, local_endpoints=0)
    ruleset = lower(plan(port(door(DoorKind.NODE_PORT, LOCAL_WAYS)), health_checks=(check,)))
    assert chain_text(ruleset, Table.FILTER, "KUBE-NODEPORTS") == [
        '-p tcp -m comment --comment "default/web:http health check node port" -m tcp --dport 31999 -j ACCEPT'
    ]


def test_sources_the_load_balancer_keeps_out_are_dropped_at_its_address_only() -> None:
    allowed = (ip_network("203.0.113.0/24"),)
    doors = door(DoorKind.NODE_PORT), door(DoorKind.LOAD_BALANCER_IP, allowed_sources=allowed)
    ruleset = lower(plan(port(*doors)))
    assert chain_text(ruleset, Table.NAT, f"KUBE-FW-{HASH}") == [
        f'-s 203.0.113.0/24 -m comment --comment "default/web:http loadbalancer IP" -j KUBE-EXT-{HASH}',
        '-m comment --comment "other traffic to default/web:http will be dropped by KUBE-PROXY-FIREWALL"',
    ]
    assert chain_text(ruleset, Table.FILTER, "KUBE-PROXY-FIREWALL") == [
        (
            f'-d 172.18.255.1/32 -p tcp -m comment --comment "default/web:http traffic not accepted by KUBE-FW-{HASH}" '
            "-m tcp --dport 80 -j DROP"
        )
    ]
    assert chain_text(ruleset, Table.NAT, "KUBE-NODEPORTS")[-1].endswith(f"-j KUBE-EXT-{HASH}")


@pytest.mark.parametrize(
    ("networks", "localhost", "entries"),
    [
        (None, True, ["-m addrtype --dst-type LOCAL"]),
        (None, False, ["! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL"]),
        (("172.18.0.0/16", "127.0.0.0/8"), True, ["-d 127.0.0.1/32", "-d 172.18.0.1/32"]),
        (("172.18.0.0/16", "127.0.0.0/8"), False, ["-d 172.18.0.1/32"]),
        (("192.0.2.0/24",), True, []),
    ],
)
def test_node_ports_are_reached_at_the_chosen_addresses(
    networks: tuple[str, ...] | None, localhost: bool, entries: list[str]
) -> None:
    chosen = None if networks is None else tuple(ip_network(network) for network in networks)
    ruleset = lower(plan(node_port_addresses=chosen, localhost_node_ports=localhost))
    words = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" '
    texts = chain_text(ruleset, Table.NAT, "KUBE-SERVICES")
    assert [" ".join(text.replace(words, "").split()) for text in texts] == [
        f"{entry} -j KUBE-NODEPORTS" for entry in entries
    ]


@pytest.mark.parametrize(
    ("networks", "localhost", "guarded"),
    [(None, True, True), (None, False, False), (("172.18.0.0/16",), True, False), (("127.0.0.0/8",), True, True)],
)
def test_loopback_is_guarded_where_node_ports_are_open_on_it(
    networks: tuple[str, ...] | None, localhost: bool, guarded: bool
) -> None:
    chosen = None if networks is None else tuple(ip_network(network) for network in networks)
    options = {"node_port_addresses": chosen, "localhost_node_ports": localhost}
    ruleset = lower(plan(port(door(DoorKind.NODE_PORT)), **options))
    assert bool(ruleset.chains[Table.FILTER]["KUBE-FIREWALL"]) is guarded
    assert len(ruleset.chains[Table.NAT]["KUBE-NODEPORTS"]) == (2 if guarded else 1)


def test_affinity_asks_each_endpoints_list_before_chance() -> None:
    ruleset = lower(plan(port(door(DoorKind.CLUSTER_IP), affinity=60)))
    texts = chain_text(ruleset, Table.NAT, f"KUBE-SVC-{HASH}")
    assert ["--rcheck --seconds 60 --reap" in text for text in texts] == [True, True, False, False]
    assert ["statistic" in text for text in texts] == [False, False, True, False]


@pytest.mark.parametrize(("count", "told"), [(LARGE_CLUSTER_ENDPOINTS, True), (LARGE_CLUSTER_ENDPOINTS + 1, False)])
def test_a_large_cluster_leaves_the_comments_of_endpoint_rules_out(count: int, told: bool) -> None:
    backends = tuple(Backend.at(ip_address(0x0A0A0000 + number), 80) for number in range(count))
    outcome = Backends(scope=Scope.CLUSTER, choices=backends, origin=ORIGIN)
    big = replace(port(door(DoorKind.CLUSTER_IP, ways(outcome, masquerade=NOT_PODS))), cluster=backends, local=())
    chains = lower(plan(big)).chains[Table.NAT]
    has_comment = {
        prefix: [any(isinstance(match, Comment) for match in rule.matches) for rule in rules]
        for prefix in ("KUBE-SERVICES", "KUBE-SVC-", "KUBE-SEP-")
        for chain, rules in chains.items()
        if chain.startswith(prefix)
    }
    assert has_comment == {
        "KUBE-SERVICES": [True, True],
        "KUBE-SVC-": [True] + [told] * count,
        "KUBE-SEP-": [told, told],
    }


def test_each_rule_of_a_service_tells_its_reason_and_service_port() -> None:
    ruleset = lower(plan(port(*(door(kind) for kind in DoorKind))))
    for chain, rules in ruleset.chains[Table.NAT].items():
        if HASH in chain or chain.startswith("KUBE-SEP-") or chain == "KUBE-NODEPORTS":
            assert [(rule.origin, rule.owner) for rule in rules] == [(ORIGIN, NAME)] * len(rules)


def test_a_hostile_name_cannot_leave_its_comment() -> None:
    name = PortName(namespace="default", service='web"\nCOMMIT\n-F', port="", protocol=NAME.protocol)
    text = format_save(lower(plan(port(door(DoorKind.NODE_PORT), name=name))), TABLES)
    assert text.count("\nCOMMIT\n") == 2
    assert '"default/web\\"?COMMIT?-F"' in text
    assert "\n-F" not in text


def test_doors_that_do_not_fit_one_chain_are_refused() -> None:
    doors = door(DoorKind.NODE_PORT), door(DoorKind.EXTERNAL_IP, ways(masquerade=list(Source)))
    with pytest.raises(ValueError, match="do not fit one KUBE-EXT chain"):
        lower(plan(port(*doors)))


def test_a_refusal_of_pods_only_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit a KUBE-EXT chain"):
        lower(plan(port(door(DoorKind.NODE_PORT, ways(pod=NO_ENDPOINTS)))))


def test_masquerade_of_pods_only_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit kube-proxy's rules"):
        lower(plan(port(door(DoorKind.CLUSTER_IP, ways(masquerade=[Source.POD])))))


def chain6(spec: dict[str, Any], chain: str, table: Table = Table.NAT, **flags: Any) -> list[str]:
    """Of default/web:80 in IPv6, with an endpoint here and one there."""
    slices = spec.pop("slices", [SLICE6])
    plan = plan_of(service6(**spec), *slices, options=options6(**flags), on=NODE6)
    return chain_text(lower(plan), table, chain)


def options6(**flags: Any) -> Options:
    return parse_options(**{"family": Family.IPV6, "cluster_cidrs": ["fd00:10::/48"], **flags})


NAME6 = "default/web"
HASH6 = "LOLE4ISW44XBNF3G"
LAST = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
ENDPOINTS6 = [
    endpoint_chain(PortName(namespace="default", service="web", port="", protocol=Protocol.TCP), backend)
    for backend in (Backend(host="fd00:10:0:1::3", port=8080), Backend(host="fd00:10:0:2::3", port=8080))
]


@pytest.mark.parametrize(
    ("spec", "chain", "table", "rules"),
    [
        (
            {},
            f"KUBE-SVC-{HASH6}",
            Table.NAT,
            [
                (
                    f'! -s fd00:10::/48 -d fd00:200::5/128 -p tcp -m comment --comment "{NAME6} cluster IP" -m tcp '
                    "--dport 80 -j KUBE-MARK-MASQ"
                ),
                (
                    f'-m comment --comment "{NAME6} -> [fd00:10:0:1::3]:8080" -m statistic --mode random --probability '
                    f"0.50000000000 -j {ENDPOINTS6[0]}"
                ),
                f'-m comment --comment "{NAME6} -> [fd00:10:0:2::3]:8080" -j {ENDPOINTS6[1]}',
            ],
        ),
        (
            {"sessionAffinity": "ClientIP"},
            ENDPOINTS6[0],
            Table.NAT,
            [
                f'-s fd00:10:0:1::3/128 -m comment --comment "{NAME6}" -j KUBE-MARK-MASQ',
                (
                    f'-p tcp -m comment --comment "{NAME6}" -m recent --set --name {ENDPOINTS6[0]} --mask '
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rsource -m tcp -j DNAT --to-destination "
                    "[fd00:10:0:1::3]:8080"
                ),
            ],
        ),
        (
            {"slices": []},
            "KUBE-SERVICES",
            Table.FILTER,
            [
                (
                    f'-d fd00:200::5/128 -p tcp -m comment --comment "{NAME6} has no endpoints" -m tcp --dport 80 '
                    "-j REJECT --reject-with icmp6-port-unreachable"
                )
            ],
        ),
        (
            {},
            "KUBE-NODEPORTS",
            Table.NAT,
            [f'-p tcp -m comment --comment "{NAME6}" -m tcp --dport 30080 -j KUBE-EXT-{HASH6}'],
        ),
        ({}, "KUBE-FIREWALL", Table.FILTER, []),
    ],
)
def test_ipv6_has_the_same_rules_with_its_own_words(
    spec: dict[str, Any], chain: str, table: Table, rules: list[str]
) -> None:
    assert chain6(dict(spec), chain, table) == rules


@pytest.mark.parametrize(
    ("addresses", "rules"),
    [
        ([], [f"! -d ::1/128 {LAST} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]),
        (["10.0.0.0/8"], [f"! -d ::1/128 {LAST} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]),
        (["::1/128", "fd00:18::/64"], [f"-d fd00:18::5/128 {LAST} -j KUBE-NODEPORTS"]),
        (["::1/128"], []),
        (["primary"], [f"-d fd00:18::5/128 {LAST} -j KUBE-NODEPORTS"]),
    ],
)
def test_no_node_port_answers_on_the_loopback_address_of_ipv6(addresses: list[str], rules: list[str]) -> None:
    found = chain6({}, "KUBE-SERVICES", node_port_addresses=addresses, node_addresses=["fd00:18::5", "::1"])
    assert [rule for rule in found if "last rule" in rule] == rules


def test_a_service_port_that_stayed_keeps_the_very_same_rules() -> None:
    lowering = Lowering()
    stays, goes = port(door(DoorKind.CLUSTER_IP)), port(door(DoorKind.NODE_PORT), name=replace(NAME, service="other"))
    before = lowering.lower(plan(stays, goes), Features()).chains[Table.NAT]
    same_again = port(door(DoorKind.CLUSTER_IP))
    after = lowering.lower(plan(same_again), Features())
    assert after.chains[Table.NAT][f"KUBE-SVC-{HASH}"] is before[f"KUBE-SVC-{HASH}"]
    assert after == lower(plan(same_again))


def test_what_every_service_port_depends_on_makes_new_rules() -> None:
    lowering = Lowering()
    ports = port(door(DoorKind.CLUSTER_IP, ways(masquerade=NOT_PODS)), door(DoorKind.NODE_PORT))
    check = HealthCheck(namespace="default", service="web", port=31999, local_endpoints=0)
    plans = [
        plan(ports),
        plan(ports, cluster_cidrs=["10.0.0.0/8"]),
        plan(ports, localhost_node_ports=False),
        plan(ports, health_checks=(check,)),
        plan(ports),
    ]
    assert [lowering.lower(some, Features()) for some in plans] == [lower(some) for some in plans]
    assert len({format_save(lower(some), TABLES) for some in plans}) == len(plans) - 1
