"""A pod is its node to those outside the pod network; kube-proxy's chains and foreign rules stay as they are."""

from __future__ import annotations

import asyncio
import subprocess
from ipaddress import IPv4Network

import pytest

from fairway.kubelet.masquerade import ensure_masquerade
from tests.kernel.namespaces import in_namespaces

pytestmark = pytest.mark.kernel

PODS = IPv4Network("10.10.0.0/16")


def listing() -> list[str]:
    told = subprocess.run(["iptables", "-t", "nat", "-S"], check=True, capture_output=True, text=True).stdout
    return [line for line in told.splitlines() if not line.startswith("-P")]


def put_twice() -> tuple[list[str], list[str]]:
    subprocess.run(["iptables", "-t", "nat", "-A", "POSTROUTING", "-d", "192.0.2.1", "-j", "ACCEPT"], check=True)
    asyncio.run(ensure_masquerade(PODS))
    once = listing()
    asyncio.run(ensure_masquerade(PODS))
    return once, listing()


def test_the_rules_are_there_once_however_often_they_are_put() -> None:
    once, twice = in_namespaces(put_twice)
    assert once == twice
    assert once == [
        "-N IP-MASQ-AGENT",
        "-A POSTROUTING -d 192.0.2.1/32 -j ACCEPT",
        (
            "-A POSTROUTING -s 10.10.0.0/16 -m addrtype ! --dst-type LOCAL -m comment "
            '--comment "pods to where they are not known" -j IP-MASQ-AGENT'
        ),
        '-A IP-MASQ-AGENT -d 10.10.0.0/16 -m comment --comment "pods know each other" -j RETURN',
        '-A IP-MASQ-AGENT -m comment --comment "to others a pod is its node" -j MASQUERADE --random-fully',
    ]
