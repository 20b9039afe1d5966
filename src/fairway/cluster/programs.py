"""The programs of a lab and what each is told; the first process forks them and keeps them running."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from fairway import controllers
from fairway.agent import program as agent
from fairway.agent.options import AgentConfig
from fairway.agent.sysctls import ConntrackSettings
from fairway.apiserver import server as apiserver
from fairway.apiserver.config import ServerConfig
from fairway.base.addresses import parse_address
from fairway.base.errors import FairwayError
from fairway.cluster import dnsservice
from fairway.cluster.credentials import (
    CLUSTER_DOMAIN,
    authority_path,
    certificate_paths,
    component_kubeconfig,
    service_account_key_path,
)
from fairway.cluster.fault import keeper
from fairway.cluster.scenario import API_PORT, Scenario
from fairway.cluster.state import LabState
from fairway.controllers import ManagerConfig
from fairway.controllers.address_pool import AddressPool
from fairway.dns import server as dns
from fairway.dns.server import DnsServerConfig
from fairway.fabric.init import Program, ServiceSpec
from fairway.fabric.steps import bridge_ports
from fairway.fabric.topology import NodeSpec
from fairway.kubelet import kubelet
from fairway.kubelet.config import KubeletConfig
from fairway.kubelet.dns import ClusterDns
from fairway.plan.options import parse_options

_log = logging.getLogger(__name__)


def services(state: LabState, scenario: Scenario, listener: socket.socket) -> list[ServiceSpec]:
    """What runs in the lab, the control plane first: everything else waits for it.

    listener: the API server's socket on the host's loopback.
    """
    specs = [
        ServiceSpec(
            name="control-plane",
            host=scenario.control_plane,
            program="control-plane",
            config={
                "server": _server_config(state, scenario),
                "manager": _manager_config(state, scenario),
            },
            log=state.logs / "control-plane.log",
            fds={"loopback": listener.fileno()},
        ),
        ServiceSpec(
            name="dns",
            host=scenario.control_plane,
            program="dns",
            config={"config": _dns_config(state, scenario)},
            log=state.logs / "dns.log",
        ),
    ]
    for node in scenario.topology.nodes:
        for program, config in (
            ("kubelet", _kubelet_config(state, scenario, node)),
            ("kube-proxy", _agent_config(state, scenario, node)),
        ):
            specs.append(
                ServiceSpec(
                    name=f"{program}-{node.name}",
                    host=node.name,
                    program=program,
                    config={"config": config},
                    log=state.logs / f"{program}-{node.name}.log",
                )
            )
    return [*specs, _keeper_of_faults(state, scenario)]


def _keeper_of_faults(state: LabState, scenario: Scenario) -> ServiceSpec:
    return ServiceSpec(
        name="faults",
        host="",
        program="faults",
        config={
            "socket": state.socket,
            "faults": state.faults,
            "file": state.folder / "faults.json",
            "skews": state.skews,
            "ports": bridge_ports(scenario.topology),
        },
        log=state.logs / "faults.log",
    )


def _run_control_plane(config: Mapping[str, Any]) -> int:
    """API server and controllers in one process; they still meet only over the API."""
    _start_logging()
    server: ServerConfig = config["server"]
    manager: ManagerConfig = config["manager"]
    loopback = socket.socket(fileno=config["fds"]["loopback"])
    inside = socket.create_server((str(server.advertise_address), server.advertise_port), backlog=1024)
    code = 0
    try:
        asyncio.run(_until_terminated(server, manager, loopback, inside))
    except* (FairwayError, OSError) as group:
        code = 1
        for error in group.exceptions:
            _log.error("control plane: %s", error)
    return code


async def _until_terminated(
    server: ServerConfig, manager: ManagerConfig, loopback: socket.socket, inside: socket.socket
) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(apiserver.serve(server, (loopback, inside))),
            group.create_task(controllers.run_async(manager)),
        ]
        await stop.wait()
        for task in reversed(tasks):
            task.cancel()


def _run_kubelet(config: Mapping[str, Any]) -> int:
    _start_logging()
    return kubelet.run(config["config"])


def _run_agent(config: Mapping[str, Any]) -> int:
    _start_logging()
    return agent.run(config["config"])


def _run_dns(config: Mapping[str, Any]) -> int:
    _start_logging()
    return dns.run(config["config"])


PROGRAMS: Mapping[str, Program] = {
    "control-plane": _run_control_plane,
    "dns": _run_dns,
    "kubelet": _run_kubelet,
    "kube-proxy": _run_agent,
    "faults": keeper.run,
}
"""By the name a ServiceSpec calls them."""


def _start_logging() -> None:
    """To standard error, which is the program's log file."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _server_config(state: LabState, scenario: Scenario) -> ServerConfig:
    certificate, key = certificate_paths(state, "apiserver")
    kubelet_certificate, kubelet_key = certificate_paths(state, "apiserver-kubelet-client")
    return ServerConfig(
        data=state.database,
        ca=authority_path(state),
        certificate=certificate,
        key=key,
        kubelet_certificate=kubelet_certificate,
        kubelet_key=kubelet_key,
        advertise_address=IPv4Address(scenario.api_address),
        advertise_port=API_PORT,
        service_cidrs=tuple(ranges.service_cidr for ranges in scenario.topology.ranges),
        service_account_key=service_account_key_path(state),
    )


def _manager_config(state: LabState, scenario: Scenario) -> ManagerConfig:
    config = ManagerConfig(kubeconfig=component_kubeconfig(state, "controller-manager"))
    pools = [ranges.load_balancers for ranges in scenario.topology.ranges if ranges.load_balancers]
    return replace(config, load_balancer_pools=tuple(AddressPool(first=pool.first, last=pool.last) for pool in pools))


def _dns_config(state: LabState, scenario: Scenario) -> DnsServerConfig:
    return DnsServerConfig(
        kubeconfig=component_kubeconfig(state, "dns"),
        addresses=dnsservice.server_addresses(scenario),
        domain=CLUSTER_DOMAIN,
        service=dnsservice.KUBE_DNS,
        machines={machine.name: machine.addresses for machine in scenario.topology.machines},
    )


def _kubelet_config(state: LabState, scenario: Scenario, node: NodeSpec) -> KubeletConfig:
    certificate, key = certificate_paths(state, f"kubelet-{node.name}")
    return KubeletConfig(
        node_name=node.name,
        addresses=node.addresses,
        pod_cidrs=node.pod_cidrs,
        kubeconfig=component_kubeconfig(state, f"kubelet-{node.name}"),
        spawner=state.socket,
        log_dir=state.logs / "pods" / node.name,
        skews=state.skews,
        tls_cert=certificate,
        tls_key=key,
        client_ca=authority_path(state),
        last_pod_addresses=tuple(map(parse_address, scenario.last_pod_addresses.get(node.name, ()))),
        pod_networks=tuple(ranges.pod_cidr for ranges in scenario.topology.ranges),
        mode=scenario.mode_of(node.name),
        labels=scenario.labels_of(node),
        taints=scenario.taints_of(node),
        hidden=(str(state.root),),
        images=scenario.images,
        dns=ClusterDns(
            domain=CLUSTER_DOMAIN,
            # The primary family's alone, as kubeadm configures kubelets: every pod has an address of it.
            nameservers=tuple(map(str, dnsservice.cluster_addresses(scenario)[:1])),
        ),
    )


def _agent_config(state: LabState, scenario: Scenario, node: NodeSpec) -> AgentConfig:
    """kube-proxy's defaults, but for the machine's own conntrack table, which is not the lab's to resize."""
    return AgentConfig(
        node_name=node.name,
        kubeconfig=component_kubeconfig(state, "kube-proxy"),
        options=parse_options(
            mode=scenario.mode_of(node.name),
            cluster_cidrs=[str(ranges.pod_cidr) for ranges in scenario.topology.ranges],
            service_cidrs=[str(ranges.service_cidr) for ranges in scenario.topology.ranges],
        ),
        families=scenario.families,
        conntrack=ConntrackSettings(max_per_core=0),
    )
