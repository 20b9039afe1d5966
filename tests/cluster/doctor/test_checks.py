"""Each check finds the fault that is planted, with the command that mends it, and nothing in what is healthy."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.cluster.doctor.case import Case
from fairway.cluster.doctor.check_kernel import format_ports, parse_ports
from fairway.cluster.doctor.diagnose import confirmed, diagnose, is_settled
from fairway.cluster.doctor.facts import Link, Listener, NodeFacts, ProxyProcess
from fairway.cluster.doctor.finding import Mend, Severity
from fairway.cluster.doctor.iptables_rules import read_tables
from fairway.plan.options import Mode
from tests.cluster.doctor.facts import (
    ADDRESSES,
    BOTH,
    HEALTHY,
    HERE,
    NODE_PORT,
    NODES,
    PODS,
    THERE,
    case_of,
    endpoint_slice,
    findings,
    found,
    node,
    pod,
    service,
)

BALANCED = service(
    type="LoadBalancer",
    externalTrafficPolicy="Local",
    healthCheckNodePort=32000,
    ingress=[{"ip": "172.18.255.200"}],
)


@pytest.mark.parametrize("mode", Mode)
def test_nothing_is_found_where_nothing_is_wrong(mode: Mode) -> None:
    assert found(case_of(mode=mode)) == []


def test_of_a_node_without_a_cluster_only_the_node_is_judged() -> None:
    facts = NodeFacts(hostname=HERE, sysctls={"net/ipv4/ip_forward": "0"}, agent=0)
    assert found(Case(facts={HERE: facts})) == [("ip-forward", "sysctl -w net.ipv4.ip_forward=1")]


@pytest.mark.parametrize(
    ("sysctls", "check", "mend"),
    [
        ({"net/ipv4/ip_forward": "0"}, "ip-forward", "sysctl -w net.ipv4.ip_forward=1"),
        (
            {"net/netfilter/nf_conntrack_count": "900"},
            "conntrack-full",
            "sysctl -w net.netfilter.nf_conntrack_max=2000",
        ),
        (
            {"net/ipv4/ip_local_port_range": "1024\t65535", "net/ipv4/ip_local_reserved_ports": "8080,9000-9001"},
            "ephemeral-ports",
            "sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9001,30000-32767",
        ),
    ],
)
def test_a_sysctl(sysctls: dict[str, str], check: str, mend: str) -> None:
    assert found(case_of(sysctls=sysctls)) == [(check, mend)]


@pytest.mark.parametrize(
    "sysctls",
    [
        {"net/netfilter/nf_conntrack_count": "899"},
        {"net/ipv4/ip_local_port_range": "1024\t65535", "net/ipv4/ip_local_reserved_ports": "30000-32767"},
        {"net/ipv4/conf/all/route_localnet": "0"},
        {"net/ipv6/conf/all/forwarding": "0"},
    ],
)
def test_a_sysctl_that_does_no_harm_here(sysctls: dict[str, str]) -> None:
    assert found(case_of(sysctls=sysctls)) == []


def test_mode_iptables_needs_route_localnet_for_its_node_ports_on_loopback() -> None:
    case = case_of(mode=Mode.IPTABLES, sysctls={"net/ipv4/conf/all/route_localnet": "0"})
    assert found(case) == [("route-localnet", "sysctl -w net.ipv4.conf.all.route_localnet=1")]
    off = case_of(mode=Mode.IPTABLES, localhost_node_ports=False, sysctls={"net/ipv4/conf/all/route_localnet": "0"})
    assert found(off) == []


WAN = Link(name="wan", addresses=("192.0.2.5/24",))
ROUTES = {ADDRESSES[THERE]: "eth0", "10.10.2.1": "eth0", "192.0.2.1": "eth0"}


@pytest.mark.parametrize(
    ("routes", "links", "sysctls", "expected"),
    [
        # The default route is by another link than the node's own address: clients from afar come by one, and are
        # answered by the other.
        ({"192.0.2.1": "wan"}, (), {}, "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
        ({"192.0.2.1": "wan"}, (), {"net/ipv4/conf/eth0/rp_filter": "2"}, None),
        ({"192.0.2.1": "wan"}, (), {"net/ipv4/conf/all/rp_filter": "2"}, None),
        ({"192.0.2.1": "wan"}, (), {"net/ipv4/conf/eth0/rp_filter": "0"}, None),
        (
            {"192.0.2.1": "wan"},
            (),
            {"net/ipv4/conf/eth0/rp_filter": "0", "net/ipv4/conf/all/rp_filter": "1"},
            "sysctl -w net.ipv4.conf.eth0.rp_filter=2",
        ),
        ({"192.0.2.1": ""}, (), {}, None),
        # Pods of another node come by the link to that node, unless in a tunnel that the route back is, too.
        ({"10.10.2.1": "wan"}, (), {}, "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
        ({"10.10.2.1": "flannel.1"}, (Link(name="flannel.1", kind="vxlan"),), {}, None),
    ],
)
def test_strict_reverse_path_filtering_where_it_hurts(
    routes: dict[str, str], links: tuple[Link, ...], sysctls: dict[str, str], expected: str | None
) -> None:
    eth0 = Link(name="eth0", addresses=(f"{ADDRESSES[HERE]}/16",))
    case = case_of(changes={"routes": {**ROUTES, **routes}, "links": (eth0, WAN, *links)}, sysctls=sysctls)
    assert found(case) == ([("rp-filter", expected)] if expected else [])


@pytest.mark.parametrize(
    ("address", "calls", "expected"),
    [
        ("10.10.1.1/24", "0", "sysctl -w net.bridge.bridge-nf-call-iptables=1"),
        ("10.10.1.1/24", None, "modprobe br_netfilter"),
        ("10.10.1.1/24", "1", None),
        ("172.17.0.1/16", "0", None),  # not of pods
    ],
)
def test_pods_on_a_bridge_must_pass_netfilter(address: str, calls: str | None, expected: str | None) -> None:
    links = (
        Link(name="eth0", addresses=(f"{ADDRESSES[HERE]}/16",)),
        Link(name="cni0", kind="bridge", addresses=(address,)),
    )
    sysctls = {"net/bridge/bridge-nf-call-iptables": calls} if calls is not None else {}
    case = case_of(changes={"links": links}, sysctls=sysctls)
    assert found(case) == ([("bridge-netfilter", expected)] if expected else [])


@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        (Listener(protocol="tcp", port=NODE_PORT, address="0.0.0.0", pid=7, process="nginx"), "kill 7"),
        (Listener(protocol="tcp", port=NODE_PORT, address="::", pid=7, process="nginx"), "kill 7"),
        (Listener(protocol="tcp", port=NODE_PORT, address=ADDRESSES[HERE]), "ss -lntup"),
        (Listener(protocol="udp", port=NODE_PORT, address="0.0.0.0", pid=7), None),
        (Listener(protocol="tcp", port=8080, address="0.0.0.0", pid=7), None),
        (Listener(protocol="tcp", port=NODE_PORT, address="127.0.0.1", pid=7), None),
        (Listener(protocol="tcp", port=NODE_PORT, address="192.0.2.9", pid=7), None),
    ],
)
def test_a_process_at_a_node_port(listener: Listener, expected: str | None) -> None:
    case = case_of(changes={"listeners": (listener,)})
    assert found(case) == ([("port-taken", expected)] if expected else [])


def test_in_mode_iptables_loopback_takes_node_ports_too() -> None:
    listener = Listener(protocol="tcp", port=NODE_PORT, address="127.0.0.1", pid=7, process="nginx")
    assert found(case_of(mode=Mode.IPTABLES, changes={"listeners": (listener,)})) == [("port-taken", "kill 7")]


@pytest.mark.parametrize(("status", "what"), [(503, "has not brought its rules up to date"), (0, "no proxy answers")])
def test_an_agent_that_lags_or_is_dead(status: int, what: str) -> None:
    (finding,) = findings(case_of(changes={"agent": status}))
    assert (finding.check, finding.severity) == ("agent", Severity.FAULT)
    assert what in finding.what


def test_an_agent_by_a_name_no_node_has() -> None:
    proxies = (ProxyProcess(pid=9, name="kube-proxy", node="here.example"), ProxyProcess(pid=10, name="x", node=HERE))
    (finding,) = findings(case_of(changes={"proxies": proxies}))
    assert (finding.check, finding.about) == ("node-name", "pid 9")
    assert "here, there" in finding.evidence


@pytest.mark.parametrize(("status", "is_found"), [(200, False), (503, True), (0, True)])
def test_a_health_check_node_port_that_says_the_wrong_thing(status: int, is_found: bool) -> None:
    case = case_of(BALANCED, BOTH, *PODS, *NODES, changes={"health_checks": {32000: status}})
    assert [check for check, _ in found(case)] == (["health-check"] if is_found else [])


def test_node_ports_at_no_address_of_the_node() -> None:
    checks = [finding.node for finding in findings(case_of(node_port_addresses=["192.168.0.0/16"]))]
    assert checks == [HERE, THERE]
    assert found(case_of(node_port_addresses=["172.16.0.0/12"])) == []


# -- rules

FORWARD_DROP = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n{rules}COMMIT\n"


def tables(text: str, program: str = "iptables-legacy-save") -> dict[str, Any]:
    return {"tables": tuple(read_tables(text, program, family="ip"))}


@pytest.mark.parametrize(
    ("rules", "is_found"),
    [
        ("", True),
        ("-A FORWARD -s 192.168.0.0/16 -j ACCEPT\n", True),
        ("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", True),
        ("-A FORWARD -d 10.10.0.0/16 -j ACCEPT\n", False),
        ("-A FORWARD -m set --match-set pods dst -j ACCEPT\n", False),  # who knows what is in it
        ("-A FORWARD -m mark --mark 0x10000/0x10000 -j ACCEPT\n", True),
        # Calico marks what its policies admit, in chains of its own.
        (
            (
                ":cali-fw - [0:0]\n-A FORWARD -j cali-fw\n-A FORWARD -m mark --mark 0x10000/0x10000 -j ACCEPT\n"
                "-A cali-fw -m set --match-set cali40 dst -j MARK --set-xmark 0x10000/0x10000\n"
            ),
            False,
        ),
        ("-A FORWARD -j NFQUEUE --queue-num 0\n", False),
        (":ours - [0:0]\n-A FORWARD -j ours\n-A ours -p udp -j ACCEPT\n", True),
        (":ours - [0:0]\n-A FORWARD -j ours\n-A ours -p tcp -j ACCEPT\n", False),
        (":ours - [0:0]\n-A FORWARD -g ours\n-A FORWARD -j ACCEPT\n", True),
        (":ours - [0:0]\n-A FORWARD -m geoip -j ours\n-A ours -p tcp -j RETURN\n", True),
    ],
)
def test_a_forward_policy_of_drop(rules: str, is_found: bool) -> None:
    case = case_of(changes=tables(FORWARD_DROP.format(rules=rules)))
    expected = [("forward-policy", "iptables-legacy -t filter -P FORWARD ACCEPT")]
    assert found(case) == (expected if is_found else [])


def test_in_mode_iptables_marked_calls_pass_a_forward_policy_of_drop_and_others_do_not() -> None:
    """KUBE-FORWARD accepts what is masqueraded: that is what it is for."""
    forward = "-A FORWARD -j KUBE-FORWARD\n-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n"
    text = FORWARD_DROP.format(rules=f":KUBE-FORWARD - [0:0]\n{forward}")
    (finding,) = findings(case_of(mode=Mode.IPTABLES, changes=tables(text)))
    assert (finding.check, "nodePort" in finding.consequence) == ("forward-policy", False)


@pytest.mark.parametrize(
    ("rule", "mend"),
    [
        ("-A PREROUTING -p tcp -m tcp --dport 30080 -j DROP", "-D PREROUTING -p tcp -m tcp --dport 30080 -j DROP"),
        ("-A PREROUTING -p tcp -m multiport --dports 80,30000:30100 -j DROP", "-D PREROUTING -p tcp -m multiport "),
        ("-A PREROUTING -s 172.18.0.100/32 -j DROP", "-D PREROUTING -s 172.18.0.100/32 -j DROP"),
        ("-A PREROUTING ! -i lo -p tcp -j DROP", "-D PREROUTING '!' -i lo -p tcp -j DROP"),
        ("-A PREROUTING -p udp -m udp --dport 30080 -j DROP", None),
        ("-A PREROUTING -p tcp -m tcp --dport 30081 -j DROP", None),
        ("-A PREROUTING -m recent --rcheck --name x --rsource -j DROP", None),
        ("-A PREROUTING -p tcp -m tcp --dport 30080 -j MARK --set-xmark 0x1/0x1", None),
    ],
)
def test_a_rule_that_takes_calls_away_before_ours(rule: str, mend: str | None) -> None:
    case = case_of(changes=tables(f"*raw\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n"))
    if mend is None:
        assert found(case) == []
        return
    ((check, command),) = found(case)
    assert check == "foreign-rule"
    assert command.startswith(f"iptables-legacy -t raw {mend}")


def test_a_redirection_of_a_node_port_in_nat() -> None:
    rule = "-A PREROUTING -p tcp -m tcp --dport 30080 -j REDIRECT --to-ports 8080"
    case = case_of(changes=tables(f"*nat\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n"))
    assert [check for check, _ in found(case)] == ["foreign-rule"]
    behind = f"*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n{rule}\nCOMMIT\n"
    assert found(case_of(mode=Mode.IPTABLES, changes=tables(behind))) == []


def test_two_proxies() -> None:
    kube_proxy = case_of(changes={"kube_proxy": ("ip kube-proxy",)})
    assert found(kube_proxy) == [("two-proxies", "nft delete table ip kube-proxy")]
    saved = {"iptables-nft-save": "*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -j KUBE-NODEPORTS\nCOMMIT\n"}
    ((check, mend),) = found(case_of(changes={"saved": saved}))
    assert (check, mend) == ("two-proxies", "sh -c 'iptables-nft-save | grep -v KUBE- | iptables-nft-restore'")


def test_in_mode_iptables_it_is_the_table_that_goes() -> None:
    nft = case_of().facts[HERE].services
    assert found(case_of(mode=Mode.IPTABLES, changes={"services": nft})) == [
        ("two-proxies", "nft delete table ip fairway")
    ]


def test_rules_that_are_not_what_the_objects_say() -> None:
    before = case_of(service(ports=[{"port": 80, "nodePort": 30081, "targetPort": 8080}]), *HEALTHY[1:])
    (finding,) = findings(case_of(changes={"services": before.facts[HERE].services}))
    assert finding.check == "drift"
    assert "tcp . 30080" in finding.evidence
    (missing,) = findings(case_of(changes={"services": {}}))
    assert missing.check == "drift"


def test_iptables_rules_that_are_not_what_the_objects_say() -> None:
    before = case_of(service(ports=[{"port": 80, "nodePort": 30081}]), *HEALTHY[1:], mode=Mode.IPTABLES)
    (finding,) = findings(case_of(mode=Mode.IPTABLES, changes={"saved": before.facts[HERE].saved}))
    assert finding.check == "drift"
    assert "30080" in finding.evidence


def test_drift_counts_where_it_is_found_twice() -> None:
    drifted = diagnose(case_of(changes={"services": {}}))
    healthy = diagnose(case_of())
    assert is_settled(healthy)
    assert not is_settled(drifted)
    assert confirmed(drifted, healthy).findings == ()
    assert confirmed(healthy, drifted).findings == ()
    assert confirmed(drifted, drifted).findings == drifted.findings


# -- Services

NO_PODS = (endpoint_slice(), *NODES)
NEAR = service(selector={"app": "wep"})


def test_a_selector_that_matches_nothing() -> None:
    assert found(case_of(service(), *NO_PODS)) == [("selector", "kubectl -n default get pods --show-labels")]


def test_a_selector_that_nearly_matches_is_mended() -> None:
    (finding,) = findings(case_of(NEAR, endpoint_slice(), *PODS, *NODES))
    assert finding.check == "selector"
    assert finding.evidence == "no pod of namespace default has app=wep; web-1, web-2 have app=web"
    patch = """'{"spec":{"selector":{"app":"web"}}}'"""
    assert finding.mend.command() == f"kubectl -n default patch service web -p {patch}"


def test_no_endpoint_is_ready() -> None:
    case = case_of(service(), endpoint_slice(("10.10.1.3", HERE), ready=False), *PODS, *NODES)
    (finding,) = findings(case)
    assert (finding.check, finding.what) == ("endpoints", "none of its endpoints is ready")
    assert "1 EndpointSlice with 1 endpoint, 0 ready" in finding.evidence
    assert finding.mend.command() == "kubectl -n default describe pods -l app=web"


def test_a_service_without_selector_and_without_endpoints() -> None:
    ((check, mend),) = found(case_of(service(selector={}), *PODS, *NODES))
    assert check == "endpoints"
    assert mend == "kubectl -n default get endpointslices -l kubernetes.io/service-name=web"


@pytest.mark.parametrize(
    ("target", "ports", "severity"),
    [
        ("http", [{"containerPort": 8080}], Severity.FAULT),
        ("http", [{"containerPort": 8080, "name": "http", "protocol": "UDP"}], Severity.FAULT),
        ("http", [{"containerPort": 8080, "name": "http"}], None),
        (9999, [{"containerPort": 8080}], Severity.RISK),
        (9999, [], None),
        (8080, [{"containerPort": 8080}, {"containerPort": 9090}], None),
    ],
)
def test_a_target_port_no_container_has(target: Any, ports: list[Any], severity: Severity | None) -> None:
    given = service(ports=[{"port": 80, "targetPort": target, "nodePort": NODE_PORT}])
    case = case_of(given, BOTH, pod("web-1", HERE, ports=ports), *NODES)
    assert [(each.check, each.severity) for each in findings(case)] == (
        [("target-port", severity)] if severity is not None else []
    )


def test_a_target_port_is_mended_where_only_one_is_meant() -> None:
    given = service(ports=[{"port": 80, "targetPort": 9999, "nodePort": NODE_PORT}])
    ((_, mend),) = found(case_of(given, BOTH, *PODS, *NODES))
    assert mend.endswith("""-p '{"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":8080}]}}'""")


HERE_ONLY = endpoint_slice(("10.10.1.3", HERE))
EXCLUDED = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
HOLDER = "fairway.dev/load-balancer-node"
BALANCER = {
    "type": "LoadBalancer",
    "externalTrafficPolicy": "Local",
    "healthCheckNodePort": 32000,
    "ingress": [{"ip": "172.18.255.200"}],
}


@pytest.mark.parametrize(
    ("given", "nodes", "severity"),
    [
        # A node port has no health check: who calls a node without an endpoint waits in vain.
        (service(externalTrafficPolicy="Local"), NODES, Severity.RISK),
        (service(externalTrafficPolicy="Local"), (node(HERE), node(THERE, labels=EXCLUDED)), None),
        (service(), NODES, None),
        # A load balancer is told which nodes to leave out, as long as one is left.
        (service(**BALANCER), NODES, None),
        (service(**BALANCER), (node(HERE, labels=EXCLUDED), node(THERE)), Severity.FAULT),
        (service(**BALANCER, annotations={HOLDER: THERE}), NODES, Severity.FAULT),
        (service(**BALANCER, annotations={HOLDER: HERE}), NODES, None),
        (service(type="ClusterIP", ports=[{"port": 80, "targetPort": 8080}]), NODES, None),
    ],
)
def test_a_local_policy_without_endpoints_where_calls_come_in(
    given: dict[str, Any], nodes: tuple[dict[str, Any], ...], severity: Severity | None
) -> None:
    got = [(each.check, each.severity) for each in findings(case_of(given, HERE_ONLY, *PODS, *nodes))]
    assert got == ([("local-policy", severity)] if severity is not None else [])


def test_source_ranges_that_admit_nobody() -> None:
    given = service(type="LoadBalancer", loadBalancerSourceRanges=["nowhere"], ingress=[{"ip": "172.18.255.200"}])
    checks = [check for check, _ in found(case_of(given, BOTH, *PODS, *NODES))]
    assert checks == ["source-ranges", "left-out"]


def test_a_door_two_services_claim() -> None:
    other = service("web2", clusterIP="10.200.1.6", externalIPs=["192.0.2.7"], ports=[{"port": 80, "targetPort": 8080}])
    first = service(externalIPs=["192.0.2.7"])
    slices = (BOTH, endpoint_slice(("10.10.1.3", HERE), of="web2"))
    (finding,) = findings(case_of(first, other, *slices, *PODS, *NODES))
    assert (finding.check, "192.0.2.7" in finding.evidence) == ("left-out", True)


# -- words


def test_names_of_others_do_not_act_on_a_terminal() -> None:
    hostile = Listener(protocol="tcp", port=NODE_PORT, address="0.0.0.0", pid=7, process="a\x1b[2Jb\nc")
    (finding,) = findings(case_of(changes={"listeners": (hostile,)}))
    assert finding.what.isprintable()
    assert Mend(("kubectl", "delete", "it's\x1b[2J")).command() == r"kubectl delete $'it\'s\x1b[2J'"


@pytest.mark.parametrize("text", ["", "8080", "8080,9000-9002", "1-3,5"])
def test_lists_of_ports_are_printed_as_they_are_read(text: str) -> None:
    assert format_ports(parse_ports(text)) == text
