"""The baseline is kube-proxy's own: compared with what kube-proxy 1.36.2 wrote for the same objects."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from fairway.api.core import ServiceType
from fairway.cluster.bench import objects
from fairway.cluster.bench.kubeproxy_shape import chain_name, iptables_text, nftables_text
from fairway.cluster.bench.objects import Shape
from fairway.flow.packet import Protocol
from fairway.plan.model import Plan, PortName
from tests.cluster.bench.nft import commanded, listed
from tests.cluster.bench.test_objects import plan_of
from tests.dataplane.ipt.golden import RULES, Recorded

RECORDED_NETWORK = IPv4Network("10.200.1.0/24")


def recorded_plan(scenario: str) -> Plan:
    return Recorded(scenario, "myk8s-worker").plan()


@pytest.mark.parametrize("scenario", ["nodeport-cluster", "nodeport-no-endpoints", "external-ips"])
def test_the_rules_are_those_kube_proxy_wrote(scenario: str) -> None:
    expected = listed((RULES / scenario / "myk8s-worker.nftables.ip").read_text())
    assert commanded(nftables_text(recorded_plan(scenario), RECORDED_NETWORK)) == expected


def test_every_service_has_its_chain_and_elements() -> None:
    shape = Shape(services=40, endpoints=10, type=ServiceType.NODE_PORT)
    table = commanded(nftables_text(plan_of(shape), objects.SERVICE_NETWORK))
    chains = [name for name in table if name.startswith("service-") and "/" in name]
    assert len(chains) == 40
    assert all("numgen random mod 10 map" in table[name][0] for name in chains)
    assert len([name for name in table if name.startswith("external-")]) == 40
    sizes = {name: len(table[name]) - 2 for name in ("service-ips", "service-nodeports", "cluster-ips", "nodeport-ips")}
    assert sizes == {"service-ips": 40, "service-nodeports": 40, "cluster-ips": 40, "nodeport-ips": 1}
    # One endpoint in ten is on the node, and may call its own Service.
    assert len(table["hairpin-connections"]) - 2 == 40


def test_what_is_added_to_is_there_before() -> None:
    """`nft` reads the commands in order; `commanded` fails on a rule or element of what is not made yet."""
    lines = nftables_text(plan_of(Shape(services=3, endpoints=1)), objects.SERVICE_NETWORK).splitlines()
    made: set[str] = set()
    for line in lines:
        _, kind, _, _, *name = line.split(" ")[:5]
        if kind in ("set", "map", "chain"):
            made.update(name)
        for word in ("goto ", "jump "):
            if word in line:
                assert line.split(word)[1].split()[0] in made, line


@pytest.mark.parametrize("word", ["a b", "a;b", "a{", 'a"', "a\nadd table", "-a", "A", "a/b"])
@pytest.mark.parametrize("field", ["namespace", "service", "port"])
def test_a_name_that_is_none_does_not_get_into_the_text(field: str, word: str) -> None:
    words = {"namespace": "default", "service": "web", "port": "http", field: word}
    with pytest.raises(ValueError, match="not the name of an object"):
        chain_name("service", PortName(**words, protocol=Protocol.TCP))


@pytest.mark.parametrize("scenario", ["nodeport-affinity", "nodeport-local", "loadbalancer-source-ranges"])
def test_what_a_bench_has_not_is_not_said_wrongly(scenario: str) -> None:
    with pytest.raises(ValueError, match="compare"):
        nftables_text(recorded_plan(scenario), RECORDED_NETWORK)


def test_the_iptables_rules_grow_as_kube_proxys_do() -> None:
    """Of a Service of type NodePort: its two doors, SVC of masquerade and 10 choices, EXT of 2, SEP of 2 each."""

    def rules(services: int) -> int:
        text = iptables_text(plan_of(Shape(services=services, endpoints=10, type=ServiceType.NODE_PORT)))
        return sum(line.startswith("-A ") for line in text.splitlines())

    assert rules(3) - rules(2) == 2 + (1 + 10) + 2 + 2 * 10
