"""Kernel settings of the agent's own network namespace, as kube-proxy makes them.

Sources: Kubernetes 1.36 cmd/kube-proxy/app/conntrack.go and pkg/proxy/iptables/proxier.go. The size of conntrack's hash
table is left alone: it is the whole machine's, not the namespace's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

ROUTE_LOCALNET = "net/ipv4/conf/all/route_localnet"
"""Lets a packet to 127.0.0.1 leave for a backend. Set only once the rules that guard loopback stand (CVE-2020-8558)."""
CONNTRACK_MAX = "net/netfilter/nf_conntrack_max"

_MAX_LIMIT = 1_048_576
"""kube-proxy never asks for more, whatever the number of CPUs (since 1.36)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConntrackSettings:
    """KubeProxyConntrackConfiguration; 0 leaves the kernel's value. Times in seconds."""

    max_per_core: int = 32768
    minimum: int = 131072
    tcp_established_timeout_s: int = 86400
    tcp_close_wait_timeout_s: int = 3600
    tcp_be_liberal: bool = False
    udp_timeout_s: int = 0
    udp_stream_timeout_s: int = 0

    def sysctls(self, cpus: int) -> Mapping[str, str]:
        """By path under /proc/sys, those to set on a machine with so many CPUs."""
        wanted = {
            CONNTRACK_MAX: min(max(self.max_per_core * cpus, self.minimum), _MAX_LIMIT) if self.max_per_core else 0,
            "net/netfilter/nf_conntrack_tcp_timeout_established": self.tcp_established_timeout_s,
            "net/netfilter/nf_conntrack_tcp_timeout_close_wait": self.tcp_close_wait_timeout_s,
            "net/netfilter/nf_conntrack_tcp_be_liberal": int(self.tcp_be_liberal),
            "net/netfilter/nf_conntrack_udp_timeout": self.udp_timeout_s,
            "net/netfilter/nf_conntrack_udp_timeout_stream": self.udp_stream_timeout_s,
        }
        return {path: str(value) for path, value in wanted.items() if value}


def write_sysctls(wanted: Mapping[str, str], *, root: Path = Path("/proc/sys")) -> list[str]:
    """Set what differs; returns the paths that could not be set, each logged with its reason.

    In a user namespace some are read-only, and without conntrack they are not there: rules work all the same.
    """
    failed = []
    for path, value in wanted.items():
        file = root / path
        try:
            if file.read_text().strip() == value:
                continue
            file.write_text(value)
        except OSError as error:
            _log.info("sysctl %s stays as it is, not %s: %s", path.replace("/", "."), value, error.strerror)
            failed.append(path)
    return failed
