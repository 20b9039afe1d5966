"""What an agent is told: kube-proxy's flags as values, with kube-proxy's defaults."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

from fairway.agent.listeners import BindAddress
from fairway.agent.sysctls import ConntrackSettings
from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.dataplane.ipt.backend import Variant
from fairway.plan.options import Mode, Options, parse_options

HEALTHZ_PORT = 10256
METRICS_PORT = 10249
DEFAULT_HEALTHZ = f"0.0.0.0:{HEALTHZ_PORT}"
DEFAULT_METRICS = f"127.0.0.1:{METRICS_PORT}"
DEFAULT_SYNC_PERIOD_S = 30.0
DEFAULT_MODE = Mode.NFTABLES


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """One node agent.

    node_name: must be the name of its Node, or nothing is local. kubeconfig: None for the service account of the pod.
    master: the API server's URL, in place of the kubeconfig's. healthz, metrics: None for no server. hard_fail: give up
    where their address is taken. node_wait_s: how long to wait for the Node to appear before going on without it.
    pod_cidr_wait_s: for its pod networks, where pods are told by them, before giving up.
    families: those it serves at once, each with rules of its own; that of the Node's first address has to work.
    options: of all of them, whatever their `family` is.
    """

    node_name: str
    kubeconfig: Path | None = None
    master: str = ""
    options: Options = field(default_factory=lambda: parse_options(mode=DEFAULT_MODE))
    variant: Variant = Variant.AUTO
    # As kube-proxy: load balancers ask from outside.
    healthz: BindAddress | None = field(default_factory=lambda: BindAddress(host="0.0.0.0", port=HEALTHZ_PORT))  # noqa: S104
    metrics: BindAddress | None = field(default_factory=lambda: BindAddress(host="127.0.0.1", port=METRICS_PORT))
    hard_fail: bool = False
    sync_period_s: float = DEFAULT_SYNC_PERIOD_S
    conntrack: ConntrackSettings = field(default_factory=ConntrackSettings)
    node_wait_s: float = 30.0
    pod_cidr_wait_s: float = 300.0
    families: tuple[Family, ...] = (Family.IPV4,)


def default_node_name() -> str:
    """The host's name as kube-proxy takes it: lower case, no space around it."""
    return socket.gethostname().strip().lower()


def parse_bind_address(name: str, text: str, *, default_port: int) -> BindAddress | None:
    """From "127.0.0.1:10249", "[::1]:10249" or an address alone; None for "", which means no server.

    name: of the flag or field, for the Refused of anything else.
    """
    if not text:
        return None
    host, port = _split_port(text)
    try:
        address = ipaddress.ip_address(host)
        number = default_port if port is None else int(port)
    except ValueError:
        raise Refused(f"{name}: {text!r} is no IP address with a port, such as 127.0.0.1:{default_port}") from None
    if not 0 < number < 65536:
        raise Refused(f"{name}: {text!r} has no port from 1 to 65535")
    return BindAddress(host=str(address), port=number)


def parse_mode(name: str, text: str) -> Mode:
    """A proxy mode; "" is the default. Raises Refused for any other than the two there are."""
    try:
        return Mode(text) if text else DEFAULT_MODE
    except ValueError:
        known = " and ".join(Mode)
        raise Refused(f"{name}: mode {text!r} is not available; the modes there are: {known}") from None


def one_of_each_family(name: str, options: Options) -> Options:
    """The same options. Raises Refused where a family has several cluster CIDRs, as kube-proxy does.

    name: of the flag or field.
    """
    for family in Family:
        several = [str(network) for network in options.cluster_cidrs if network.version == family]
        if len(several) > 1:
            raise Refused(
                f"{name}: {' and '.join(several)} are both {family.api_name}; give one of each family at most"
            )
    return options


def _split_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if closed and rest.startswith(":"):
            return host, rest[1:]
        return host if closed and not rest else text, None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None
