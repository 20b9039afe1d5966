"""What verbs about objects share: where these come from, and how the proxies of their nodes are started."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from fairway.api.codec import ClusterView, decode_cluster
from fairway.api.types import Object
from fairway.base.addresses import Family, IPAddress, parse_address
from fairway.cluster.kubeadm import ProxySettings, settings_of
from fairway.cluster.objects import Source, read_objects, without_collector
from fairway.plan.options import LocalMode, Mode, Options, parse_options

F = TypeVar("F", bound=Callable[..., Any])

_FAMILIES = {"ipv4": Family.IPV4, "ipv6": Family.IPV6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The objects as they were read, what of them is understood, and how the cluster's proxies are started."""

    objects: list[Object]
    view: ClusterView
    settings: ProxySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFlags:
    """What the command line says of the nodes' proxies; what it leaves out the cluster tells (kubeadm's ConfigMaps)."""

    mode: Mode | None = None
    family: Family | None = None
    cluster_cidrs: tuple[str, ...] = ()
    node_addresses: tuple[str, ...] = ()
    node_port_addresses: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    masquerade_all: bool = False
    detect_local_mode: str = ""
    bridge_interface: str = ""
    interface_name_prefix: str = ""

    def options(
        self, told: ProxySettings, *, node: str = "", family: Family | None = None, mode: Mode | None = None
    ) -> Options:
        """The options of a node's proxy; node: "" for what all have together.

        family, mode: win over the flags, and these over what the cluster tells of the node and of all nodes; without
        any the rules are nftables' of IPv4.

        Raises Refused as `parse_options` does.
        """
        return parse_options(
            family=family or self.family or Family.IPV4,
            mode=mode or self.mode or told.modes.get(node) or told.mode or Mode.NFTABLES,
            cluster_cidrs=self.cluster_cidrs or told.cluster_cidrs,
            node_port_addresses=self.node_port_addresses or told.node_port_addresses,
            node_addresses=self.node_addresses,
            masquerade_all=self.masquerade_all or told.masquerade_all,
            localhost_node_ports=told.localhost_node_ports,
            service_cidrs=self.service_cidrs or told.service_cidrs,
            detect_local_mode=self.detect_local_mode or told.detect_local_mode,
            bridge_interface=self.bridge_interface or told.bridge_interface,
            interface_name_prefix=self.interface_name_prefix or told.interface_name_prefix,
        )


def read_cluster(source: Source) -> Cluster:
    """Raises Refused for what cannot be read or understood, ApiError and Retry where the API server says no."""
    with without_collector():
        objects = read_objects(source)
        view = decode_cluster(objects)
    return Cluster(objects=objects, view=view, settings=settings_of(objects, view.service_cidrs))


def lab_clients(source: Source) -> Mapping[str, tuple[IPAddress, ...]]:
    """The addresses of a lab's clients by name, the primary one first; empty where it is no lab's cluster."""
    state = source.lab()
    record = state.record() if state is not None else None
    clients = record.clients if record is not None else {}
    return {name: tuple(map(parse_address, addresses)) for name, addresses in clients.items()}


def tell_ignored(view: ClusterView) -> None:
    """Say on standard error what was read and has no part in the answer."""
    others = {kind: count for kind, count in view.ignored.items() if kind != "ConfigMap"}
    if others:
        named = ", ".join(f"{count} {kind}" for kind, count in others.items())
        click.echo(f"fairway: {sum(others.values())} objects of other kinds are left aside: {named}", err=True)


def objects_source(function: F) -> F:
    """-f FILE and --kubeconfig FILE, as `source`."""

    @click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        metavar="FILE",
        help="Objects as JSON or YAML; - is standard input. Repeat for several files. [default: the cluster's]",
    )
    @click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Whose cluster to read, without -f. [default: as kubectl]",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, files: tuple[str, ...], kubeconfig: Path | None, **kwargs: Any) -> Any:
        return function(*args, source=Source(files=files, kubeconfig=kubeconfig), **kwargs)

    return wrapped  # type: ignore[return-value] # click calls it with the options above besides


def node_flags(function: F) -> F:
    """How the node's proxy is started, in the words of its flags, as `flags`."""

    @click.option(
        "--mode",
        type=click.Choice([mode.value for mode in Mode]),
        help="The kind of rules. [default: each node's own; verify: each]",
    )
    @click.option(
        "--family", type=click.Choice(list(_FAMILIES)), help="The address family. [default: ipv4; verify: each]"
    )
    @click.option("--cluster-cidr", multiple=True, metavar="CIDR", help="A network of pods: they keep their address.")
    @click.option(
        "--node-address",
        multiple=True,
        metavar="IP",
        help="An address of the node, its primary one first; else those its Node tells.",
    )
    @click.option(
        "--nodeport-addresses",
        multiple=True,
        metavar="CIDR",
        help='Only local addresses in these networks take node ports, or "primary"; else all do in mode iptables, '
        "the primary one in mode nftables.",
    )
    @click.option(
        "--service-cidr",
        multiple=True,
        metavar="CIDR",
        help="A network of clusterIPs: in mode nftables what no Service has there is dropped.",
    )
    @click.option("--masquerade-all", is_flag=True, help="Rewrite the source of everything sent to a clusterIP.")
    @click.option(
        "--detect-local-mode",
        type=click.Choice([mode.value for mode in LocalMode]),
        help="How pods are told from other sources. [default: ClusterCIDR]",
    )
    @click.option(
        "--pod-bridge-interface", default="", metavar="LINK", help="The bridge of pods: mode BridgeInterface."
    )
    @click.option(
        "--pod-interface-name-prefix",
        default="",
        metavar="PREFIX",
        help="How the links of pods begin: mode InterfaceNamePrefix.",
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        mode: str | None,
        family: str | None,
        cluster_cidr: tuple[str, ...],
        node_address: tuple[str, ...],
        nodeport_addresses: tuple[str, ...],
        service_cidr: tuple[str, ...],
        masquerade_all: bool,
        detect_local_mode: str | None,
        pod_bridge_interface: str,
        pod_interface_name_prefix: str,
        **kwargs: Any,
    ) -> Any:
        flags = NodeFlags(
            mode=Mode(mode) if mode else None,
            family=_FAMILIES[family] if family else None,
            cluster_cidrs=cluster_cidr,
            node_addresses=node_address,
            node_port_addresses=nodeport_addresses,
            service_cidrs=service_cidr,
            masquerade_all=masquerade_all,
            detect_local_mode=detect_local_mode or "",
            bridge_interface=pod_bridge_interface,
            interface_name_prefix=pod_interface_name_prefix,
        )
        return function(*args, flags=flags, **kwargs)

    return wrapped  # type: ignore[return-value] # click calls it with the options above besides
