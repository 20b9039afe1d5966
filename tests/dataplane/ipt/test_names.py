"""Chain names are an interface: these are kube-proxy's own, from its tests and from real nodes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fairway.dataplane.ipt.names import PortChain, endpoint_chain, port_chain
from fairway.flow.packet import Protocol
from fairway.plan.model import Backend, PortName


def port_name(text: str, protocol: Protocol = Protocol.TCP) -> PortName:
    """From "namespace/service:port"."""
    namespace, _, rest = text.partition("/")
    service, _, port = rest.partition(":")
    return PortName(namespace=namespace, service=service, port=port, protocol=protocol)


def backend(address: str, port: int) -> Backend:
    return Backend.at(ip_address(address), port)


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("ns1/svc1:p80", "KUBE-SVC-XPGD46QRK7WJZT7O"),
        ("default/web", "KUBE-SVC-LOLE4ISW44XBNF3G"),
        ("default/web:http", "KUBE-SVC-CDGGSHYLG3RE2FKL"),
        ("default/svc-nodeport:svc-webport", "KUBE-SVC-VTR7MTHHNMFZ3OFS"),
    ],
)
def test_a_service_port_has_the_chain_kube_proxy_gives_it(name: str, chain: str) -> None:
    assert port_chain(PortChain.CLUSTER, port_name(name)) == chain


@pytest.mark.parametrize(
    ("name", "endpoint", "chain"),
    [
        ("ns5/svc5:p80", backend("10.180.0.3", 80), "KUBE-SEP-I77PXRDZVX7PMWMN"),
        ("default/web", backend("10.1.0.2", 8080), "KUBE-SEP-QLJKHGVHULZQMSXA"),
        ("default/web:http", backend("10.1.0.2", 8080), "KUBE-SEP-IMFC5XQKDZMFROSF"),
        ("default/web:http", backend("10.1.1.3", 8080), "KUBE-SEP-PLRM5SY2S3HRHJ7R"),
        ("default/svc-nodeport:svc-webport", backend("10.10.1.3", 8080), "KUBE-SEP-XEXGJWEWSC2GPNPZ"),
        ("default/svc-nodeport:svc-webport", backend("10.10.2.3", 8080), "KUBE-SEP-2AEFSWYPQGZTCWEI"),
        ("default/svc-nodeport:svc-webport", backend("10.10.3.4", 8080), "KUBE-SEP-C5MCUQGLTHD455UI"),
    ],
)
def test_an_endpoint_has_the_chain_kube_proxy_gives_it(name: str, endpoint: Backend, chain: str) -> None:
    assert endpoint_chain(port_name(name), endpoint) == chain


def test_the_chains_of_one_service_port_share_their_hash() -> None:
    name = port_name("default/web:http")
    hashes = {port_chain(prefix, name).removeprefix(prefix.value) for prefix in PortChain if prefix != "KUBE-SEP-"}
    assert hashes == {"CDGGSHYLG3RE2FKL"}


def test_the_protocol_is_part_of_the_hash() -> None:
    tcp, udp = port_name("kube-system/dns:dns"), port_name("kube-system/dns:dns", Protocol.UDP)
    assert port_chain(PortChain.CLUSTER, tcp) != port_chain(PortChain.CLUSTER, udp)


def test_no_name_is_longer_than_xtables_allows() -> None:
    name = port_name(f"{'n' * 63}/{'s' * 63}:{'p' * 63}")
    assert max(len(port_chain(prefix, name)) for prefix in PortChain) <= 28
