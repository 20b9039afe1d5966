"""Everybody calls every door, and what meets no door is tried too."""

from __future__ import annotations

from fairway.api.codec import decode_cluster
from fairway.api.types import Key
from fairway.cluster.verify.jobs import cluster_jobs
from fairway.flow.packet import Protocol
from fairway.plan.options import Mode, parse_options
from tests.kernel.cluster import FAR_POD, LOCAL_POD, endpoints, service

OBJECTS = [
    *(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node-{number}"},
            "status": {"addresses": [{"type": "InternalIP", "address": f"172.18.0.{number}"}]},
        }
        for number in (1, 2)
    ),
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-3"}},
    service("web", 1),
    endpoints("web", [LOCAL_POD, FAR_POD]),
    service("call", 2, "SCTP"),
]
OPTIONS = parse_options(cluster_cidrs=["10.10.0.0/16"], service_cidrs=["10.200.0.0/16"], mode=Mode.NFTABLES)


def labels(**chosen: object) -> dict[str, set[str]]:
    jobs = cluster_jobs(OBJECTS, decode_cluster(OBJECTS), [OPTIONS], **chosen)
    found = {}
    for job in jobs:
        packets = [probe.packet for probe in job.probes]
        assert len(packets) == len(set(packets))
        assert all(packet.protocol is not Protocol.SCTP for packet in packets)
        found[job.node] = {probe.label for probe in job.probes}
    return found


def test_each_node_gets_the_packets_that_meet_its_rules_and_one_without_address_none() -> None:
    found = labels()
    assert set(found) == {"node-1", "node-2"}
    assert {
        "a pod on node-1 -> ClusterIP 10.200.1.1:80/tcp",
        "node-1 -> ClusterIP 10.200.1.1:80/tcp",
        "outside -> node-1:30001/tcp",
        "a pod on node-2 -> node-1:30001/tcp, as 172.18.0.2",
        "a pod on node-1 -> node-2:30001/tcp",
        "outside -> 10.200.1.1:7/tcp",
        "outside -> 192.0.2.77:7/tcp",
        "outside -> 10.200.255.254:7/tcp",
        "node-1 -> 127.0.0.1:30001/tcp",
    } <= found["node-1"]
    assert "a pod on node-2 -> ClusterIP 10.200.1.1:80/tcp" not in found["node-1"]


def test_nodes_and_services_can_be_chosen() -> None:
    found = labels(nodes=["node-2"], services=[Key("default", "call")])
    assert set(found) == {"node-2"}
    assert not any("10.200.1.1" in label or ":30001" in label for label in found["node-2"])


def test_what_a_pod_sends_comes_in_by_one_link_to_doors_and_to_none() -> None:
    options = parse_options(
        detect_local_mode="BridgeInterface", bridge_interface="cni0", cluster_cidrs=["10.10.0.0/16"], mode=Mode.NFTABLES
    )
    jobs = cluster_jobs(OBJECTS, decode_cluster(OBJECTS), [options], nodes=["node-1"])
    links = {(str(probe.packet.source), probe.packet.interface) for job in jobs for probe in job.probes}
    assert {link for source, link in links if source == LOCAL_POD} == {"cni0"}
    assert {source for source, link in links if link} == {LOCAL_POD}
