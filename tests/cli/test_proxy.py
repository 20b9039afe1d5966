"""`fairway proxy`: flags and files become an AgentConfig; mistakes are refused before anything runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fairway.agent.listeners import BindAddress
from fairway.agent.options import AgentConfig
from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.cli import proxy as module
from fairway.dataplane.ipt.backend import Variant
from fairway.plan.links import Links
from fairway.plan.options import LocalMode, Mode, Options, parse_options

BOTH = (Family.IPV4, Family.IPV6)


class Ran:
    """What would have run."""

    def __init__(self) -> None:
        self.configs: list[AgentConfig] = []
        self.cleaned = 0
        self.status = 0

    def clean(self) -> None:
        self.cleaned += 1

    def run(self, config: AgentConfig) -> int:
        self.configs.append(config)
        return self.status


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ran]:
    seen = Ran()
    monkeypatch.setattr(module, "run", seen.run)
    monkeypatch.setattr(module, "remove_rules", seen.clean)
    monkeypatch.setattr(module, "machine_families", lambda: BOTH)
    monkeypatch.setattr("socket.gethostname", lambda: "Worker")
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    yield seen
    root.setLevel(level)
    root.handlers[:] = handlers


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(module.proxy, [*arguments])


def test_without_flags_it_is_kube_proxy_in_a_cluster(ran):
    assert invoke().exit_code == 0
    assert ran.configs == [AgentConfig(node_name="worker", families=BOTH)]


def test_every_flag_is_taken(ran):
    result = invoke(
        *("--kubeconfig", "/etc/k", "--master", "https://10.0.0.1:6443", "--hostname-override", " Node-1 "),
        *("--proxy-mode", "iptables", "--cluster-cidr", "10.10.0.0/16,fd00::/48", "--masquerade-all"),
        *("--nodeport-addresses", "172.18.0.0/16", "--iptables-localhost-nodeports=false"),
        *("--iptables-sync-period", "1m", "--iptables-variant", "legacy", "--bind-address-hard-fail"),
        *("--metrics-bind-address", "0.0.0.0:1", "--healthz-bind-address", "", "-v", "4"),
    )
    assert (result.exit_code, result.output) == (0, "")
    assert ran.configs == [
        AgentConfig(
            node_name="node-1",
            kubeconfig=Path("/etc/k"),
            master="https://10.0.0.1:6443",
            options=Options(
                cluster_cidrs=(ip_network("10.10.0.0/16"), ip_network("fd00::/48")),
                node_port_addresses=(ip_network("172.18.0.0/16"),),
                masquerade_all=True,
                localhost_node_ports=False,
            ),
            variant=Variant.LEGACY,
            healthz=None,
            metrics=BindAddress(host="0.0.0.0", port=1),
            hard_fail=True,
            sync_period_s=60.0,
            families=BOTH,
        )
    ]


def test_pods_are_told_as_the_flags_say(ran):
    assert invoke("--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "cni0").exit_code == 0
    assert invoke("--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "veth").exit_code == 0
    assert invoke("--detect-local-mode", "NodeCIDR").exit_code == 0
    assert [(config.options.local_mode, config.options.pod_links) for config in ran.configs] == [
        (LocalMode.BRIDGE_INTERFACE, Links(name="cni0")),
        (LocalMode.INTERFACE_NAME_PREFIX, Links(name="veth", is_prefix=True)),
        (LocalMode.NODE_CIDR, None),
    ]


def test_the_agents_status_is_the_programs(ran):
    ran.status = 1
    assert invoke().exit_code == 1


def test_a_file_takes_the_place_of_flags_and_says_which_do_not_count(ran, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: 10.10.0.0/16\n"
    )
    result = invoke("--config", str(path), "--hostname-override", "n", "--cluster-cidr", "10.9.0.0/16")
    assert result.exit_code == 0
    assert result.stderr == "fairway: with --config these do not count: --cluster-cidr; set them in the file\n"
    assert ran.configs == [
        AgentConfig(
            node_name="n",
            options=parse_options(mode=Mode.NFTABLES, cluster_cidrs=["10.10.0.0/16"]),
            families=BOTH,
        )
    ]


def test_cleanup_runs_no_agent(ran):
    assert invoke("--cleanup", "--iptables-variant", "nft").exit_code == 0
    assert ran.configs == []
    assert ran.cleaned == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--proxy-mode", "ipvs"],
            "--proxy-mode: mode 'ipvs' is not available; the modes there are: nftables and iptables",
        ),
        (
            ["--cluster-cidr", "10.0.0.1"],
            "--cluster-cidr: '10.0.0.1' is not a network; expected an address and a prefix length such as 10.0.0.0/8",
        ),
        (
            ["--cluster-cidr", "10.0.0.0/16", "--cluster-cidr", "10.1.0.0/16,fd00::/48"],
            "--cluster-cidr: 10.0.0.0/16 and 10.1.0.0/16 are both IPv4; give one of each family at most",
        ),
        (
            ["--detect-local-mode", "Guess"],
            (
                "--detect-local-mode: 'Guess' is none of the ways to tell pods from others: ClusterCIDR, NodeCIDR, "
                "BridgeInterface, InterfaceNamePrefix"
            ),
        ),
        (
            ["--healthz-bind-address", "here"],
            "--healthz-bind-address: 'here' is no IP address with a port, such as 127.0.0.1:10256",
        ),
        (["--iptables-sync-period", "0"], "--iptables-sync-period: must be greater than 0"),
        (["--iptables-sync-period", "soon"], "--iptables-sync-period: 'soon' is no duration such as 30s or 1h15m"),
        (["--config", "/nowhere"], "cannot read /nowhere: No such file or directory"),
    ],
)
def test_a_mistake_is_refused_in_one_line(ran, arguments, message):
    result = invoke(*arguments)
    assert isinstance(result.exception, Refused)
    assert str(result.exception) == message
    assert (ran.configs, ran.cleaned) == ([], 0)


def test_an_unknown_flag_is_a_usage_error(ran):
    result = invoke("--proxy-mod", "iptables")
    assert result.exit_code == 2
    assert "No such option" in result.output
