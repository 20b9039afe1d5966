"""A small healthy cluster with facts to match, to plant faults in: two nodes, a Service with an endpoint on each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from fairway.api.codec import decode_cluster
from fairway.base.addresses import Family
from fairway.cluster.doctor.case import Case, read_wanted
from fairway.cluster.doctor.check_rules import desired_listing
from fairway.cluster.doctor.diagnose import diagnose
from fairway.cluster.doctor.facts import Link, NodeFacts
from fairway.cluster.doctor.finding import Finding
from fairway.dataplane.ipt.lower import lower as lower_to_iptables
from fairway.dataplane.ipt.ruleset import Table
from fairway.dataplane.ipt.text import format_save
from fairway.dataplane.nft.lower import lower as lower_to_nftables
from fairway.plan.options import Mode, parse_options

HERE, THERE = "here", "there"
ADDRESSES = {HERE: "172.18.0.5", THERE: "172.18.0.2"}
POD_NETWORKS = {HERE: "10.10.1.0/24", THERE: "10.10.2.0/24"}
CLIENT = "172.18.0.100"
NODE_PORT = 30080

SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/ip_local_port_range": "32768\t60999",
    "net/ipv4/ip_local_reserved_ports": "",
    "net/ipv4/conf/all/route_localnet": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/eth0/rp_filter": "1",
    "net/netfilter/nf_conntrack_count": "10",
    "net/netfilter/nf_conntrack_max": "1000",
}


def node(name: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, **more},
        "spec": {"podCIDRs": [POD_NETWORKS[name]]},
        "status": {"addresses": [{"type": "InternalIP", "address": ADDRESSES[name]}]},
    }


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    """A NodePort Service of the pods app=web; `annotations` and `ingress` are not of its spec."""
    annotations, ingress = spec.pop("annotations", {}), spec.pop("ingress", [])
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {
            "type": "NodePort",
            "clusterIP": "10.200.1.5",
            "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}],
            **spec,
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def pod(name: str, on: str, *, ports: Iterable[dict[str, Any]] = ({"containerPort": 8080},)) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": on, "containers": [{"name": "c", "ports": list(ports)}]},
        "status": {"phase": "Running"},
    }


def endpoint_slice(*places: tuple[str, str], ready: bool = True, of: str = "web") -> dict[str, Any]:
    """places: address and node of each endpoint."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{of}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [address], "nodeName": on, "conditions": {"ready": ready}} for address, on in places
        ],
        "ports": [{"port": 8080}],
    }


BOTH = endpoint_slice(("10.10.1.3", HERE), ("10.10.2.3", THERE))
PODS = (pod("web-1", HERE), pod("web-2", THERE))
NODES = (node(HERE), node(THERE))
HEALTHY = (service(), BOTH, *PODS, *NODES)


def case_of(
    *objects: dict[str, Any],
    mode: Mode = Mode.NFTABLES,
    changes: Mapping[str, Any] | None = None,
    sysctls: Mapping[str, str] | None = None,
    **options: Any,
) -> Case:
    """The cluster, with facts of the node `here` as they should be but for `changes` and `sysctls`."""
    given = list(objects or HEALTHY)
    told = parse_options(mode=mode, cluster_cidrs=["10.10.0.0/16"], **options)
    case = Case(
        view=decode_cluster(given),
        wanted=read_wanted(given),
        options_of=lambda _node: {Family.IPV4: told},
        clients=(CLIENT,),
    )
    facts = NodeFacts(
        hostname=HERE,
        sysctls={**SYSCTLS, **(sysctls or {})},
        links=(Link(name="lo", addresses=("127.0.0.1/8",)), Link(name="eth0", addresses=(f"{ADDRESSES[HERE]}/16",))),
        routes={
            CLIENT: "eth0",
            ADDRESSES[THERE]: "eth0",
            ADDRESSES[HERE]: "lo",
            "10.10.1.1": "veth1",
            "10.10.2.1": "eth0",
            "192.0.2.1": "eth0",
        },
        agent=200,
        **_rules(case, mode),
    )
    return Case(
        view=case.view,
        wanted=case.wanted,
        options_of=case.options_of,
        clients=case.clients,
        facts={HERE: replace(facts, **(changes or {}))},
    )


def _rules(case: Case, mode: Mode) -> dict[str, Any]:
    """What the agent would have written."""
    if HERE not in case.plans:
        return {}
    (plan,) = case.plans[HERE]
    if mode is Mode.NFTABLES:
        wanted = desired_listing(lower_to_nftables(plan))
        return {"services": {wanted["table"]: wanted}}
    return {"saved": {"iptables-nft-save": format_save(lower_to_iptables(plan), tuple(Table))}}


def found(case: Case) -> list[tuple[str, str]]:
    """Check and mend of every finding."""
    return [(finding.check, finding.mend.command()) for finding in findings(case)]


def findings(case: Case) -> tuple[Finding, ...]:
    return diagnose(case).findings
