"""`fairway proxy`: the node agent, with kube-proxy's flags."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import click

from fairway.agent.addresses import machine_families
from fairway.agent.configuration import load_configuration, parse_duration
from fairway.agent.options import (
    DEFAULT_HEALTHZ,
    DEFAULT_METRICS,
    DEFAULT_MODE,
    HEALTHZ_PORT,
    METRICS_PORT,
    AgentConfig,
    default_node_name,
    one_of_each_family,
    parse_bind_address,
    parse_mode,
)
from fairway.agent.program import cleanup as remove_rules
from fairway.agent.program import run
from fairway.base.errors import Refused
from fairway.dataplane.ipt.backend import Variant
from fairway.plan.options import parse_options

_DEBUG_VERBOSITY = 4
"""klog's level for what only a developer wants to see."""
_WITH_CONFIG = {"config", "hostname_override", "cleanup", "iptables_variant", "master", "verbosity"}
"""What counts beside `--config`; kube-proxy too leaves the others to the file."""


@click.command()
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Where the API server is. [default: in-cluster]")
@click.option("--master", default="", metavar="URL", help="The API server, in place of the kubeconfig's.")
@click.option("--hostname-override", default="", metavar="NODE", help="This node's name. [default: the host's]")
@click.option(
    "--proxy-mode", default=DEFAULT_MODE.value, show_default=True, metavar="MODE", help="nftables or iptables."
)
@click.option("--cluster-cidr", multiple=True, metavar="CIDR[,CIDR]", help="The pod network.")
@click.option(
    "--service-cidr", multiple=True, metavar="CIDR[,CIDR]", help="Where clusterIPs are; unknown ones are dropped."
)
@click.option("--config", type=click.Path(path_type=Path), help="A KubeProxyConfiguration; flags then do not count.")
@click.option(
    "--detect-local-mode",
    default="",
    metavar="MODE",
    help="How pods are told: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix. [default: ClusterCIDR]",
)
@click.option("--pod-bridge-interface", default="", metavar="LINK", help="The bridge of this node's pods.")
@click.option("--pod-interface-name-prefix", default="", metavar="PREFIX", help="How links to this node's pods begin.")
@click.option("--masquerade-all", is_flag=True, help="Rewrite the source of everything sent to a clusterIP.")
@click.option("--nodeport-addresses", multiple=True, metavar="CIDR|primary", help="Addresses that take node ports.")
@click.option(
    "--iptables-localhost-nodeports",
    type=bool,
    default=True,
    show_default=True,
    help="Whether node ports answer on 127.0.0.1.",
)
@click.option("--iptables-sync-period", default="30s", show_default=True, help="How often unchanged rules are checked.")
@click.option(
    "--iptables-variant",
    type=click.Choice([variant.value for variant in Variant]),
    default=Variant.AUTO.value,
    show_default=True,
    help="Which iptables.",
)
@click.option("--metrics-bind-address", default=DEFAULT_METRICS, show_default=True, help='"" for no metrics.')
@click.option("--healthz-bind-address", default=DEFAULT_HEALTHZ, show_default=True, help='"" for no health checks.')
@click.option("--bind-address-hard-fail", is_flag=True, help="Exit where one of these two is taken.")
@click.option("--cleanup", is_flag=True, help="Remove all rules of an agent, and exit.")
@click.option("-v", "--v", "verbosity", type=int, default=0, metavar="LEVEL", help="4 and more log every sync.")
@click.pass_context
def proxy(
    ctx: click.Context,
    kubeconfig: Path | None,
    master: str,
    hostname_override: str,
    proxy_mode: str,
    cluster_cidr: tuple[str, ...],
    service_cidr: tuple[str, ...],
    config: Path | None,
    detect_local_mode: str,
    pod_bridge_interface: str,
    pod_interface_name_prefix: str,
    masquerade_all: bool,
    nodeport_addresses: tuple[str, ...],
    iptables_localhost_nodeports: bool,
    iptables_sync_period: str,
    iptables_variant: str,
    metrics_bind_address: str,
    healthz_bind_address: str,
    bind_address_hard_fail: bool,
    cleanup: bool,
    verbosity: int,
) -> None:
    """Program Services on this node: a kube-proxy.

    It watches Services and EndpointSlices and keeps the kernel's rules what they say. SIGTERM ends it and leaves the
    rules in place.
    """
    configure_logging(verbosity)
    if config is not None:
        agent_config = load_configuration(config, node_name=hostname_override.strip().lower())
        _warn_of_ignored(ctx)
    else:
        sync_period_s = parse_duration("--iptables-sync-period", iptables_sync_period)
        if sync_period_s <= 0:
            raise Refused("--iptables-sync-period: must be greater than 0")
        agent_config = AgentConfig(
            node_name=hostname_override.strip().lower() or default_node_name(),
            kubeconfig=kubeconfig,
            options=one_of_each_family(
                "--cluster-cidr",
                parse_options(
                    mode=parse_mode("--proxy-mode", proxy_mode),
                    cluster_cidrs=cluster_cidr,
                    service_cidrs=service_cidr,
                    node_port_addresses=nodeport_addresses,
                    masquerade_all=masquerade_all,
                    localhost_node_ports=iptables_localhost_nodeports,
                    detect_local_mode=detect_local_mode,
                    bridge_interface=pod_bridge_interface,
                    interface_name_prefix=pod_interface_name_prefix,
                ),
            ),
            healthz=parse_bind_address("--healthz-bind-address", healthz_bind_address, default_port=HEALTHZ_PORT),
            metrics=parse_bind_address("--metrics-bind-address", metrics_bind_address, default_port=METRICS_PORT),
            hard_fail=bind_address_hard_fail,
            sync_period_s=sync_period_s,
        )
    agent_config = replace(agent_config, master=master, variant=Variant(iptables_variant), families=machine_families())
    if cleanup:
        remove_rules()
        return
    sys.exit(run(agent_config))


def configure_logging(verbosity: int) -> None:
    """Lines on standard error, with time and level."""
    logging.basicConfig(
        level=logging.DEBUG if verbosity >= _DEBUG_VERBOSITY else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # Its DEBUG lines are about its own sockets.
    logging.getLogger("asyncio").setLevel(logging.INFO)


def _warn_of_ignored(ctx: click.Context) -> None:
    given = [
        name
        for name in ctx.params
        if name not in _WITH_CONFIG and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        click.echo(f"fairway: with --config these do not count: {flags}; set them in the file", err=True)
