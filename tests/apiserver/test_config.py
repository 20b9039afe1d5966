"""What an API server is told must be something it can give addresses from."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from fairway.apiserver.config import ServerConfig
from fairway.base.errors import Refused

FILES = {name: Path(name) for name in ("data", "ca", "certificate", "key", "kubelet_certificate", "kubelet_key")}


def config(*cidrs: str) -> ServerConfig:
    networks = tuple(map(ip_network, cidrs))
    return ServerConfig(**FILES, advertise_address=IPv4Address("172.18.0.3"), service_cidrs=networks)


@pytest.mark.parametrize("cidrs", [["10.200.1.0/24"], ["fd00::/64"], ["fd00::/112", "10.200.1.0/24"]])
def test_one_network_or_one_of_each_family_will_do(cidrs: list[str]) -> None:
    assert [str(cidr) for cidr in config(*cidrs).service_cidrs] == cidrs


@pytest.mark.parametrize(
    ("cidrs", "why"),
    [
        ([], "service_cidrs : give one network, or one of each address family"),
        (
            ["10.200.1.0/24", "10.200.2.0/24"],
            "service_cidrs 10.200.1.0/24,10.200.2.0/24: give one network, or one of each address family",
        ),
        (["fd00::/56"], "service_cidrs fd00::/56: fd00::/56 is too large, give a /64 or a longer prefix"),
    ],
)
def test_others_are_refused(cidrs: list[str], why: str) -> None:
    with pytest.raises(Refused) as refused:
        config(*cidrs)
    assert str(refused.value) == why
