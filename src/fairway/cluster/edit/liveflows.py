"""Ask nodes for their living connections: those of a lab, or the machine this runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from fairway.base.errors import Refused
from fairway.cluster.edit.flows import LiveFlow
from fairway.cluster.edit.nodeflows import living
from fairway.cluster.hosts import LabHosts
from fairway.cluster.noderules import own_program
from fairway.cluster.state import LabState

NODEFLOWS = "fairway.cluster.edit.nodeflows"


def flows_here() -> list[LiveFlow]:
    """Of the caller's network namespace. Raises Unsupported without CAP_NET_ADMIN."""
    return living()


def flows_in_lab(state: LabState, nodes: Sequence[str]) -> dict[str, list[LiveFlow]]:
    """Of each of these nodes, all asked at once. Raises Refused for one that does not tell."""

    async def run() -> dict[str, list[LiveFlow]]:
        async with LabHosts.connect(state) as hosts, asyncio.TaskGroup() as group:
            tasks = {node: group.create_task(_on_node(hosts, node)) for node in nodes}
        return {node: task.result() for node, task in tasks.items()}

    return asyncio.run(run())


async def _on_node(hosts: LabHosts, node: str) -> list[LiveFlow]:
    program = own_program(NODEFLOWS)
    code, output = await hosts.run(node, program.argv, extra=program.extra)
    try:
        return msgspec.json.decode(output, type=list[LiveFlow])
    except msgspec.MsgspecError:
        said = output.strip().removeprefix("fairway: ") or f"exit status {code}"
        raise Refused(f"the connections of {node} cannot be read: {said}") from None
