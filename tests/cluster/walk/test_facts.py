"""What the walk is judged against is what kube-proxy calls it, in both families."""

from base64 import b32encode
from hashlib import sha256

import pytest

from fairway.base.addresses import Family, format_host, parse_address
from fairway.cluster.labs import DUAL_STACK_LAB
from fairway.cluster.walk.facts import ENDPOINT_CHAINS, TARGET_PORT


@pytest.mark.parametrize("family", Family)
def test_an_endpoints_chain_is_named_by_the_hash_of_its_port_its_protocol_and_its_address(family: Family) -> None:
    for address, chain in ENDPOINT_CHAINS[family].items():
        named = f"default/svc-nodeport:svc-webporttcp{format_host(parse_address(address))}:{TARGET_PORT}"
        assert chain == f"KUBE-SEP-{b32encode(sha256(named.encode()).digest()).decode()[:16]}"


def test_both_addresses_of_a_pod_end_alike_and_lie_in_their_nodes_networks() -> None:
    ends = [
        [address.rpartition(mark)[2] for address in chains]
        for mark, chains in zip(".:", ENDPOINT_CHAINS.values(), strict=True)
    ]
    assert ends[0] == ends[1]
    networks = [cidr for node in DUAL_STACK_LAB.topology.nodes for cidr in node.pod_cidrs]
    for chains in ENDPOINT_CHAINS.values():
        assert all(any(parse_address(address) in network for network in networks) for address in chains)
