"""What a lab is made of and how it is, asked of the lab itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fairway.api.resources import NODES, PODS
from fairway.api.types import Object
from fairway.cluster.state import LabState
from fairway.fabric.spawner import HostKind, HostRecord, ServiceRecord, list_hosts, list_services
from fairway.watch.client import Client
from fairway.watch.kubeconfig import load_kubeconfig


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """A node or a client. ready: of a node, its condition; None for a client. pods: how many run there."""

    name: str
    kind: str
    address: str
    ready: bool | None
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabReport:
    """A lab that is up."""

    name: str
    api: str
    kubeconfig: str
    folder: str
    created: str
    first_process: int
    machines: tuple[MachineReport, ...]
    services: tuple[ServiceRecord, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


async def report_lab(state: LabState) -> LabReport:
    """Raises Refused if there is no such lab, Retry if its API server does not answer."""
    record = state.living()
    async with Client(load_kubeconfig(state.kubeconfig)) as client:
        nodes = (await client.list(NODES))["items"]
        pods = (await client.list(PODS))["items"]
    machines = [_node(node, pods) for node in nodes]
    machines += [_client(host) for host in list_hosts(state.socket) if host.kind is HostKind.CLIENT]
    return LabReport(
        name=state.name,
        api=record.api,
        kubeconfig=str(state.kubeconfig),
        folder=str(state.folder),
        created=record.created,
        first_process=record.pid,
        machines=tuple(machines),
        services=tuple(list_services(state.socket)),
    )


def _node(node: Object, pods: list[Object]) -> MachineReport:
    name = node["metadata"]["name"]
    addresses = {entry["type"]: entry["address"] for entry in node["status"].get("addresses", ())}
    conditions = {entry["type"]: entry["status"] for entry in node["status"].get("conditions", ())}
    return MachineReport(
        name=name,
        kind="node",
        address=addresses.get("InternalIP", ""),
        ready=conditions.get("Ready") == "True",
        pods=sum(pod["spec"].get("nodeName") == name for pod in pods),
    )


def _client(host: HostRecord) -> MachineReport:
    return MachineReport(name=host.name, kind="client", address="", ready=None, pods=0)
