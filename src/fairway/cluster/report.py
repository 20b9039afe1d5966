"""What a lab is made of and how it is, asked of the lab itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairway.api.resources import NODES, PODS
from fairway.api.types import Object
from fairway.base.errors import Retry
from fairway.cluster.fault.ask import planted
from fairway.cluster.fault.model import Told
from fairway.cluster.state import LabState
from fairway.fabric.spawner import HostKind, HostRecord, ServiceRecord, list_hosts, list_services
from fairway.plan.options import Mode
from fairway.watch.client import Client

API_LIMIT_S = 5.0
"""An API server that does not answer within this is reported as one that does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """A node or a client.

    addresses: the primary one first. ready: of a node, its condition. pods: how many a node runs. Both are None for a
    client, and for a node while the API server does not answer; then the node has no addresses either.
    """

    name: str
    kind: str
    addresses: tuple[str, ...]
    ready: bool | None
    pods: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabReport:
    """A lab that is up.

    problem: why the API server could not be asked, None if it answered. faults: planted in it. images: by name, the
    paths of what stands for them.
    """

    name: str
    api: str
    kubeconfig: str
    folder: str
    created: str
    mode: Mode
    families: tuple[str, ...]
    first_process: int
    machines: tuple[MachineReport, ...]
    services: tuple[ServiceRecord, ...]
    problem: str | None
    modes: Mapping[str, Mode] = field(default_factory=dict)
    faults: tuple[Told, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """With names as Kubernetes writes them."""
        return {
            "name": self.name,
            "api": self.api,
            "kubeconfig": self.kubeconfig,
            "folder": self.folder,
            "created": self.created,
            "mode": self.mode,
            "modes": dict(self.modes),
            "families": list(self.families),
            "firstProcess": self.first_process,
            "images": dict(self.images),
            "machines": [_machine_json(machine) for machine in self.machines],
            "services": [
                {
                    "name": service.name,
                    "host": service.host,
                    "pid": service.pid,
                    "starts": service.starts,
                    "lastExit": service.last_exit,
                    "held": service.held,
                }
                for service in self.services
            ],
            "faults": [fault_json(fault) for fault in self.faults],
            "problem": self.problem,
        }


def fault_json(fault: Told) -> dict[str, Any]:
    """A planted fault, with names as Kubernetes writes them. left: seconds, None for one that stays."""
    return {
        "id": fault.number,
        "kind": fault.wanted.kind.value,
        "what": fault.wanted.what.value,
        "target": fault.wanted.name,
        "percent": fault.wanted.percent or None,
        "milliseconds": fault.wanted.milliseconds or None,
        "probe": fault.wanted.probe or None,
        "skew": fault.wanted.skew.value if fault.wanted.skew else None,
        "since": fault.since,
        "left": round(fault.left, 3) if fault.left is not None else None,
    }


def _machine_json(machine: MachineReport) -> dict[str, Any]:
    """address: the primary one, "" where none is known."""
    return {
        "name": machine.name,
        "kind": machine.kind,
        "address": next(iter(machine.addresses), ""),
        "addresses": list(machine.addresses),
        "ready": machine.ready,
        "pods": machine.pods,
    }


async def report_lab(state: LabState) -> LabReport:
    """Raises Refused if there is no such lab, Retry if its first process does not answer."""
    record = state.living()
    hosts, services = list_hosts(state.socket), list_services(state.socket)
    try:
        nodes, problem = await _nodes(state), None
    except Retry as error:
        nodes = [
            MachineReport(name=host.name, kind="node", addresses=(), ready=None, pods=None)
            for host in hosts
            if host.kind is HostKind.NODE
        ]
        problem = f"the API server does not answer ({error}); it says why in {state.logs / 'control-plane.log'}"
    return LabReport(
        name=state.name,
        api=record.api,
        kubeconfig=str(state.kubeconfig),
        folder=str(state.folder),
        created=record.created,
        mode=record.mode,
        modes=record.modes,
        families=record.families,
        first_process=record.pid,
        machines=(*nodes, *_clients(hosts, record.clients)),
        services=tuple(services),
        problem=problem,
        faults=_faults(state),
        images=record.images,
    )


def _faults(state: LabState) -> tuple[Told, ...]:
    """None where their keeper does not answer: it is among the programs that are told of."""
    try:
        return tuple(planted(state))
    except Retry:
        return ()


async def _nodes(state: LabState) -> list[MachineReport]:
    """As the API server tells. Raises Retry if it does not."""
    try:
        async with asyncio.timeout(API_LIMIT_S), Client(state.credentials()) as client:
            nodes = (await client.list(NODES))["items"]
            pods = (await client.list(PODS))["items"]
    except TimeoutError:
        raise Retry(f"nothing came within {API_LIMIT_S:.0f} s", after_s=1.0) from None
    return [_node(node, pods) for node in nodes]


def _node(node: Object, pods: Sequence[Object]) -> MachineReport:
    name = node["metadata"]["name"]
    entries = node["status"].get("addresses", ())
    conditions = {entry["type"]: entry["status"] for entry in node["status"].get("conditions", ())}
    return MachineReport(
        name=name,
        kind="node",
        addresses=tuple(entry["address"] for entry in entries if entry["type"] == "InternalIP"),
        ready=conditions.get("Ready") == "True",
        pods=sum(pod["spec"].get("nodeName") == name for pod in pods),
    )


def _clients(hosts: Sequence[HostRecord], addresses: Mapping[str, tuple[str, ...]]) -> list[MachineReport]:
    return [
        MachineReport(name=host.name, kind="client", addresses=addresses.get(host.name, ()), ready=None, pods=None)
        for host in hosts
        if host.kind is HostKind.CLIENT
    ]
