"""KubeProxyConfiguration: what kubeadm writes is understood, what is not done here is refused by name."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairway.agent.configuration import load_configuration, parse_configuration, parse_duration
from fairway.agent.listeners import BindAddress
from fairway.agent.options import AgentConfig
from fairway.agent.sysctls import ConntrackSettings
from fairway.base.errors import Refused
from fairway.plan.links import Links
from fairway.plan.options import LocalMode, Mode, Options, parse_options

HEAD = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}

KUBEADM = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.10.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
"""
"""As kubeadm's ConfigMap kube-proxy has it."""


def parse(**fields: Any) -> AgentConfig:
    return parse_configuration({**HEAD, **fields}, node_name="n")


def test_what_kubeadm_writes_means_the_defaults(tmp_path):
    path = tmp_path / "config.conf"
    path.write_text(KUBEADM)
    assert load_configuration(path, node_name="worker") == AgentConfig(
        node_name="worker",
        kubeconfig=Path("/var/lib/kube-proxy/kubeconfig.conf"),
        options=parse_options(mode=Mode.NFTABLES, cluster_cidrs=["10.10.0.0/16"]),
    )


def test_every_field_that_has_a_meaning_is_taken():
    config = parse_configuration(
        {
            **HEAD,
            "hostnameOverride": "worker",
            "bindAddress": "172.18.0.5",
            "healthzBindAddress": "127.0.0.1:1",
            "metricsBindAddress": "0.0.0.0:2",
            "bindAddressHardFail": True,
            "mode": "iptables",
            "detectLocalMode": "ClusterCIDR",
            "clusterCIDR": "10.10.0.0/16,fd00:10::/48",
            "nodePortAddresses": ["172.18.0.0/16"],
            "iptables": {
                "masqueradeBit": 14,
                "masqueradeAll": True,
                "localhostNodePorts": False,
                "syncPeriod": "1m0s",
                "minSyncPeriod": "1s",
            },
            "conntrack": {
                "maxPerCore": 0,
                "min": 5,
                "tcpEstablishedTimeout": "1h",
                "tcpCloseWaitTimeout": "60s",
                "tcpBeLiberal": True,
                "udpTimeout": "30s",
                "udpStreamTimeout": "2m",
            },
        }
    )
    assert config == AgentConfig(
        node_name="worker",
        options=Options(
            cluster_cidrs=(ip_network("10.10.0.0/16"), ip_network("fd00:10::/48")),
            node_port_addresses=(ip_network("172.18.0.0/16"),),
            node_addresses=(ip_address("172.18.0.5"),),
            masquerade_all=True,
            localhost_node_ports=False,
        ),
        healthz=BindAddress(host="127.0.0.1", port=1),
        metrics=BindAddress(host="0.0.0.0", port=2),
        hard_fail=True,
        sync_period_s=60.0,
        conntrack=ConntrackSettings(
            max_per_core=0,
            minimum=5,
            tcp_established_timeout_s=3600,
            tcp_close_wait_timeout_s=60,
            tcp_be_liberal=True,
            udp_timeout_s=30,
            udp_stream_timeout_s=120,
        ),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"detectLocalMode": "NodeCIDR"}, {"local_mode": LocalMode.NODE_CIDR}),
        (
            {"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "cni0"}},
            {"local_mode": LocalMode.BRIDGE_INTERFACE, "pod_links": Links(name="cni0")},
        ),
        (
            {"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "veth"}},
            {"local_mode": LocalMode.INTERFACE_NAME_PREFIX, "pod_links": Links(name="veth", is_prefix=True)},
        ),
        ({"detectLocal": {"bridgeInterface": "cni0"}}, {}),
    ],
)
def test_pods_are_told_as_the_file_says(fields, expected):
    assert parse(mode="iptables", **fields).options == Options(**expected)


@pytest.mark.parametrize(
    ("gates", "external_ips"), [(None, True), ({"Other": False}, True), ({"AllowServiceExternalIPs": False}, False)]
)
def test_external_ips_are_left_alone_where_their_gate_is_closed(gates, external_ips):
    assert parse_configuration({**HEAD, "featureGates": gates}).options.external_ips is external_ips


def test_the_name_given_on_the_command_line_wins():
    assert parse(hostnameOverride="other").node_name == "n"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clusterCIDRs": []}, "unknown field clusterCIDRs"),
        ({"iptables": {"syncperiod": "1s"}}, "unknown field iptables.syncperiod"),
        ({"conntrack": {"max": 1}}, "unknown field conntrack.max"),
        ({"mode": "ipvs"}, "mode: mode 'ipvs' is not available; the modes there are: nftables and iptables"),
        (
            {"detectLocalMode": "PodCIDR"},
            (
                "detectLocalMode: 'PodCIDR' is none of the ways to tell pods from others: ClusterCIDR, NodeCIDR, "
                "BridgeInterface, InterfaceNamePrefix"
            ),
        ),
        (
            {"detectLocalMode": "BridgeInterface"},
            "detectLocal.bridgeInterface is empty: it must be a link's name, such as cni0",
        ),
        (
            {"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "a b"}},
            (
                "detectLocal.interfaceNamePrefix: 'a b' is not the beginning of a link's name: expected letters, "
                'digits, ".", "_" and "-"'
            ),
        ),
        ({"detectLocal": {"bridge": "cni0"}}, "unknown field detectLocal.bridge"),
        (
            {"clusterCIDR": "10.10.0.0/16,10.11.0.0/16"},
            "clusterCIDR: 10.10.0.0/16 and 10.11.0.0/16 are both IPv4; give one of each family at most",
        ),
        ({"iptables": {"masqueradeBit": 15}}, "iptables.masqueradeBit: 15 is not available; leave it at 14"),
        ({"mode": "iptables", "iptables": {"masqueradeAll": "yes"}}, "iptables.masqueradeAll must be true or false"),
        ({"mode": "iptables", "iptables": {"syncPeriod": 30}}, "iptables.syncPeriod must be a duration such as 30s"),
        (
            {"mode": "iptables", "iptables": {"syncPeriod": "30"}},
            "iptables.syncPeriod: '30' is no duration such as 30s or 1h15m",
        ),
        ({"iptables": []}, "iptables must be a mapping"),
        ({"featureGates": []}, "featureGates must be a mapping"),
        ({"featureGates": {"Any": "off"}}, "featureGates.Any must be true or false"),
        ({"conntrack": {"min": -1}}, "conntrack.min must not be negative"),
        ({"conntrack": {"min": True}}, "conntrack.min must be a whole number"),
        ({"nodePortAddresses": "primary"}, "nodePortAddresses must be a list of strings"),
        ({"nodePortAddresses": [1]}, "nodePortAddresses must be a list of strings"),
        ({"bindAddress": "here"}, "bindAddress: 'here' is not an IP address"),
        ({"hostnameOverride": 5}, "hostnameOverride must be a string"),
        (
            {"clusterCIDR": "10.0.0.0"},
            "clusterCIDR: '10.0.0.0' is not a network; expected an address and a prefix length such as 10.0.0.0/8",
        ),
        (
            {"metricsBindAddress": "x"},
            "metricsBindAddress: 'x' is no IP address with a port, such as 127.0.0.1:10249",
        ),
    ],
)
def test_a_mistake_is_refused_by_the_fields_name(tmp_path, fields, message):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**HEAD, **fields}))
    with pytest.raises(Refused) as refused:
        load_configuration(path)
    assert str(refused.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it holds no KubeProxyConfiguration"),
        ("kind: Pod", "it must have apiVersion kubeproxy.config.k8s.io/v1alpha1 and kind KubeProxyConfiguration"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(Refused) as refused:
        load_configuration(path)
    assert str(refused.value) == f"{path}: {message}"


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(Refused, match=r"^cannot read .*nowhere: No such file or directory$"):
        load_configuration(tmp_path / "nowhere")
    broken = tmp_path / "broken"
    broken.write_text("a: [")
    with pytest.raises(Refused, match=r"broken is no YAML: "):
        load_configuration(broken)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), ("30s", 30), ("1h15m30s", 4530), ("1.5h", 5400), ("500ms", 0.5), ("10us", 1e-5)],
)
def test_durations_are_gos(text, seconds):
    assert parse_duration("x", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "30", "30 s", "-1s", "1d", "1s1"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(Refused, match=r"^x: .* is no duration such as 30s or 1h15m$"):
        parse_duration("x", text)
