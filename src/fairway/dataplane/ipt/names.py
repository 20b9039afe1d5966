"""Chain names: the fixed ones of kube-proxy and those hashed from a Service port. Pure.

Names are an interface: people and tools look for them. Facts: Kubernetes pkg/proxy/iptables/proxier.go.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from enum import StrEnum

from fairway.plan.model import Backend, PortName

KUBE_SERVICES = "KUBE-SERVICES"
KUBE_EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES"
KUBE_NODEPORTS = "KUBE-NODEPORTS"
KUBE_FORWARD = "KUBE-FORWARD"
KUBE_PROXY_FIREWALL = "KUBE-PROXY-FIREWALL"
KUBE_FIREWALL = "KUBE-FIREWALL"
"""Shared with the kubelet, which adds the same rule to it, and whose rules in it are its own."""
KUBE_POSTROUTING = "KUBE-POSTROUTING"
KUBE_MARK_MASQ = "KUBE-MARK-MASQ"
KUBE_PROXY_CANARY = "KUBE-PROXY-CANARY"
"""Empty; that it is gone shows that someone flushed the table."""
KUBE_MASQ_NOT_POD = "KUBE-MASQ-NOT-POD"
"""Ours alone, and only where there is more than one pod network: one rule cannot say "outside all of these"."""

KUBELET_CHAINS = ("KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY")
"""In mangle, where a kubelet runs: the way to know which variant of iptables it uses."""

FIXED_CHAINS: Mapping[str, frozenset[str]] = {
    "mangle": frozenset({KUBE_PROXY_CANARY}),
    "filter": frozenset(
        {
            KUBE_SERVICES,
            KUBE_EXTERNAL_SERVICES,
            KUBE_NODEPORTS,
            KUBE_FORWARD,
            KUBE_PROXY_FIREWALL,
            KUBE_FIREWALL,
            KUBE_PROXY_CANARY,
        }
    ),
    "nat": frozenset(
        {KUBE_SERVICES, KUBE_NODEPORTS, KUBE_POSTROUTING, KUBE_MARK_MASQ, KUBE_MASQ_NOT_POD, KUBE_PROXY_CANARY}
    ),
}
"""Chains that are ours by name, by table."""


class PortChain(StrEnum):
    """Prefixes of the chains a Service port has; all but SEP share one hash."""

    CLUSTER = "KUBE-SVC-"
    LOCAL = "KUBE-SVL-"
    EXTERNAL = "KUBE-EXT-"
    FIREWALL = "KUBE-FW-"
    ENDPOINT = "KUBE-SEP-"


PORT_CHAIN_PREFIXES = tuple(prefix.value for prefix in PortChain)
"""A chain of table nat that starts so is kube-proxy's or ours, and stale if no Service port wants it."""


def port_chain(prefix: PortChain, name: PortName) -> str:
    """The chain of a Service port: "KUBE-SVC-CDGGSHYLG3RE2FKL" for default/web:http over TCP."""
    return prefix.value + _hash(f"{name}{name.protocol.value}")


def endpoint_chain(name: PortName, backend: Backend) -> str:
    """The chain of one endpoint of a Service port; also the name of its xt_recent list."""
    return PortChain.ENDPOINT.value + _hash(f"{name}{name.protocol.value}{backend}")


def _hash(text: str) -> str:
    """16 characters of base32 keep a name within the 28 that xtables allows (XT_EXTENSION_MAXNAMELEN)."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]
