"""Where a lab's DNS is reached, and whom it knows."""

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from fairway.base.errors import Refused
from fairway.cluster import dnsservice, programs
from fairway.cluster.labs import DUAL_STACK_LAB, STUDY_LAB
from fairway.cluster.state import LabState


def test_it_is_where_kubeadm_has_it() -> None:
    service, endpoints, slice_ = dnsservice.objects(STUDY_LAB)
    assert (service["metadata"]["namespace"], service["metadata"]["name"]) == ("kube-system", "kube-dns")
    assert service["spec"]["clusterIPs"] == ["10.200.1.10"]
    assert [(port["protocol"], port["port"]) for port in service["spec"]["ports"]] == [("UDP", 53), ("TCP", 53)]
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "172.18.0.3"}]
    assert slice_["endpoints"][0]["addresses"] == ["172.18.0.3"]
    assert "selector" not in service["spec"]


def test_with_two_families_it_has_an_address_of_each() -> None:
    service, _, *slices = dnsservice.objects(DUAL_STACK_LAB)
    assert service["spec"]["clusterIPs"] == ["10.200.1.10", "fd00:10:200:1::a"]
    assert [(each["addressType"], each["endpoints"][0]["addresses"]) for each in slices] == [
        ("IPv4", ["172.18.0.3"]),
        ("IPv6", ["fd00:172:18::3"]),
    ]


def test_a_network_without_a_tenth_address_is_refused() -> None:
    topology = replace(STUDY_LAB.topology, service_cidr=IPv4Network("10.200.1.0/29"))
    with pytest.raises(Refused, match=r"network of Services 10.200.1.0/29: DNS takes the tenth address"):
        dnsservice.objects(replace(STUDY_LAB, topology=topology))


def test_the_program_listens_on_the_control_plane_and_knows_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRWAY_STATE_DIR", str(tmp_path))
    config = programs._dns_config(LabState.of("x"), DUAL_STACK_LAB)
    assert list(map(str, config.addresses)) == ["172.18.0.3", "fd00:172:18::3"]
    assert {name: list(map(str, addresses)) for name, addresses in config.machines.items()} == {
        "myk8s-control-plane": ["172.18.0.3", "fd00:172:18::3"],
        "myk8s-worker": ["172.18.0.5", "fd00:172:18::5"],
        "myk8s-worker2": ["172.18.0.2", "fd00:172:18::2"],
        "myk8s-worker3": ["172.18.0.4", "fd00:172:18::4"],
        "mypc": ["172.18.0.100", "fd00:172:18::100"],
    }
