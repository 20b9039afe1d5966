"""KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1), the file behind `--config`. Pure but for `load`.

Every field there is in Kubernetes 1.36 is known. Those without a meaning here (Windows, IPVS, logging, profiling ...)
are accepted as kubeadm writes them; a value that asks for something this agent does not do is refused.
Source: k8s.io/kube-proxy config/v1alpha1/types.go.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fairway.agent.options import (
    DEFAULT_HEALTHZ,
    DEFAULT_METRICS,
    DEFAULT_SYNC_PERIOD_S,
    HEALTHZ_PORT,
    METRICS_PORT,
    AgentConfig,
    default_node_name,
    one_of_each_family,
    parse_bind_address,
    parse_mode,
)
from fairway.agent.sysctls import ConntrackSettings
from fairway.base.errors import Refused
from fairway.plan.options import Mode, Options, parse_options

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"

_KNOWN: Mapping[str, frozenset[str] | None] = {
    "apiVersion": None,
    "kind": None,
    "featureGates": None,  # whatever gates there are: kube-proxy knows more of them in each release
    "clientConnection": frozenset({"kubeconfig", "acceptContentTypes", "contentType", "qps", "burst"}),
    "logging": None,
    "hostnameOverride": None,
    "bindAddress": None,
    "healthzBindAddress": None,
    "metricsBindAddress": None,
    "bindAddressHardFail": None,
    "enableProfiling": None,
    "showHiddenMetricsForVersion": None,
    "mode": None,
    "iptables": frozenset({"masqueradeBit", "masqueradeAll", "localhostNodePorts", "syncPeriod", "minSyncPeriod"}),
    "ipvs": None,
    "nftables": frozenset({"masqueradeBit", "masqueradeAll", "syncPeriod", "minSyncPeriod"}),
    "winkernel": None,
    "detectLocalMode": None,
    "detectLocal": frozenset({"bridgeInterface", "interfaceNamePrefix"}),
    "clusterCIDR": None,
    "nodePortAddresses": None,
    "oomScoreAdj": None,
    "conntrack": frozenset(
        {
            "maxPerCore",
            "min",
            "tcpEstablishedTimeout",
            "tcpCloseWaitTimeout",
            "tcpBeLiberal",
            "udpTimeout",
            "udpStreamTimeout",
        }
    ),
    "configSyncPeriod": None,
    "portRange": None,
    "windowsRunAsService": None,
}
"""Fields, and those of their parts that are read here."""

_FIELD_OF_FLAG = {
    "--cluster-cidr": "clusterCIDR",
    "--nodeport-addresses": "nodePortAddresses",
    "--detect-local-mode": "detectLocalMode",
    "--pod-bridge-interface": "detectLocal.bridgeInterface",
    "--pod-interface-name-prefix": "detectLocal.interfaceNamePrefix",
}
"""The names of a setting on the command line and in the file."""
_EXTERNAL_IPS_GATE = "AllowServiceExternalIPs"
"""Off, externalIPs of Services are left alone (KEP-5707, since 1.36)."""
_MASQUERADE_BIT = 14
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def load_configuration(path: Path, *, node_name: str = "") -> AgentConfig:
    """The agent a configuration file describes. Raises Refused, naming the file and the field."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeError) as error:
        raise Refused(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise Refused(f"{path} is no YAML: {getattr(error, 'problem', None) or error}") from error
    try:
        return parse_configuration(content, node_name=node_name)
    except Refused as error:
        raise Refused(f"{path}: {error}") from error


def parse_configuration(content: Any, *, node_name: str = "") -> AgentConfig:
    """The agent a KubeProxyConfiguration describes; node_name wins over its hostnameOverride.

    Raises Refused for an unknown field, a value of the wrong type, or one that asks for what is not done here.
    """
    if not isinstance(content, dict):
        raise Refused(f"it holds no {KIND}")
    if (content.get("apiVersion"), content.get("kind")) != (API_VERSION, KIND):
        raise Refused(f"it must have apiVersion {API_VERSION} and kind {KIND}")
    fields = _Fields(content, "", known=frozenset(_KNOWN))
    _refuse_unsupported(fields)
    mode = parse_mode("mode", fields.text("mode"))
    of_mode, conntrack, client = fields.part(mode), fields.part("conntrack"), fields.part("clientConnection")
    kubeconfig = client.text("kubeconfig")
    return AgentConfig(
        node_name=node_name or fields.text("hostnameOverride") or default_node_name(),
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        options=_options(fields, mode),
        healthz=parse_bind_address(
            "healthzBindAddress", fields.text("healthzBindAddress") or DEFAULT_HEALTHZ, default_port=HEALTHZ_PORT
        ),
        metrics=parse_bind_address(
            "metricsBindAddress", fields.text("metricsBindAddress") or DEFAULT_METRICS, default_port=METRICS_PORT
        ),
        hard_fail=fields.flag("bindAddressHardFail", default=False),
        sync_period_s=of_mode.duration("syncPeriod", default=DEFAULT_SYNC_PERIOD_S) or DEFAULT_SYNC_PERIOD_S,
        conntrack=_conntrack(conntrack),
    )


def parse_duration(name: str, text: str) -> float:
    """Seconds of a Go duration such as "1h15m30s" or "500ms"; "0" is zero. Raises Refused otherwise."""
    if text == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Refused(f"{name}: {text!r} is no duration such as 30s or 1h15m")
    return float(sum(float(number) * _UNITS_S[unit] for number, unit in parts))


class _Fields:
    """A mapping of the file, read field by field with the type each must have."""

    def __init__(self, content: Mapping[str, Any], path: str, *, known: frozenset[str]) -> None:
        self._content = content
        self._path = path
        for name in content:
            if name not in known:
                raise Refused(f"unknown field {path}{name}")

    def part(self, name: str) -> _Fields:
        return _Fields(
            self._get(name, dict, "a mapping") or {}, f"{self._path}{name}.", known=_KNOWN[name] or frozenset()
        )

    def text(self, name: str) -> str:
        value: str = self._get(name, str, "a string") or ""
        return value.strip()

    def flag(self, name: str, *, default: bool) -> bool:
        value: bool | None = self._get(name, bool, "true or false")
        return default if value is None else value

    def gates(self) -> Mapping[str, bool]:
        """featureGates: those that are named."""
        gates = self._get("featureGates", dict, "a mapping") or {}
        for name, value in gates.items():
            if not isinstance(value, bool):
                raise Refused(f"featureGates.{name} must be true or false")
        return gates

    def number(self, name: str, *, default: int) -> int:
        value = self._get(name, int, "a whole number")
        if isinstance(value, bool):
            raise Refused(f"{self._path}{name} must be a whole number")
        if value is not None and value < 0:
            raise Refused(f"{self._path}{name} must not be negative")
        return default if value is None else int(value)

    def duration(self, name: str, *, default: float) -> float:
        text = self._get(name, str, "a duration such as 30s")
        return default if text is None else parse_duration(f"{self._path}{name}", text)

    def texts(self, name: str) -> list[str]:
        values = self._get(name, list, "a list of strings") or []
        if not all(isinstance(value, str) for value in values):
            raise Refused(f"{self._path}{name} must be a list of strings")
        return values

    def _get(self, name: str, kind: type, expected: str) -> Any:
        value = self._content.get(name)
        if value is not None and not isinstance(value, kind):
            raise Refused(f"{self._path}{name} must be {expected}")
        return value


def _refuse_unsupported(fields: _Fields) -> None:
    for part in Mode:
        bit = fields.part(part).number("masqueradeBit", default=_MASQUERADE_BIT)
        if bit != _MASQUERADE_BIT:
            raise Refused(f"{part}.masqueradeBit: {bit} is not available; leave it at {_MASQUERADE_BIT}")


def _options(fields: _Fields, mode: Mode) -> Options:
    bind = _bind_address(fields)
    cluster_cidr, node_ports = fields.text("clusterCIDR"), fields.texts("nodePortAddresses")
    masquerade_all = fields.part(mode).flag("masqueradeAll", default=False)
    localhost = fields.part(Mode.IPTABLES).flag("localhostNodePorts", default=True)
    detect = fields.part("detectLocal")
    try:
        options = parse_options(
            mode=mode,
            cluster_cidrs=[cluster_cidr],
            node_port_addresses=node_ports,
            node_addresses=[bind] if bind else [],
            masquerade_all=masquerade_all,
            localhost_node_ports=localhost,
            detect_local_mode=fields.text("detectLocalMode"),
            bridge_interface=detect.text("bridgeInterface"),
            interface_name_prefix=detect.text("interfaceNamePrefix"),
            external_ips=fields.gates().get(_EXTERNAL_IPS_GATE, True),
        )
    except Refused as error:
        raise Refused(_in_words_of_the_file(str(error))) from error
    return one_of_each_family("clusterCIDR", options)


def _in_words_of_the_file(message: str) -> str:
    """A refusal begins with the flag it is about."""
    for flag, field in _FIELD_OF_FLAG.items():
        if message.startswith(flag):
            return field + message.removeprefix(flag)
    return message


def _bind_address(fields: _Fields) -> str:
    """The node's own address, where bindAddress names one; it binds nothing."""
    text = fields.text("bindAddress")
    if not text:
        return ""
    try:
        return "" if ipaddress.ip_address(text).is_unspecified else text
    except ValueError:
        raise Refused(f"bindAddress: {text!r} is not an IP address") from None


def _conntrack(fields: _Fields) -> ConntrackSettings:
    default = ConntrackSettings()
    return ConntrackSettings(
        max_per_core=fields.number("maxPerCore", default=default.max_per_core),
        minimum=fields.number("min", default=default.minimum),
        tcp_established_timeout_s=int(
            fields.duration("tcpEstablishedTimeout", default=default.tcp_established_timeout_s)
        ),
        tcp_close_wait_timeout_s=int(fields.duration("tcpCloseWaitTimeout", default=default.tcp_close_wait_timeout_s)),
        tcp_be_liberal=fields.flag("tcpBeLiberal", default=default.tcp_be_liberal),
        udp_timeout_s=int(fields.duration("udpTimeout", default=default.udp_timeout_s)),
        udp_stream_timeout_s=int(fields.duration("udpStreamTimeout", default=default.udp_stream_timeout_s)),
    )
