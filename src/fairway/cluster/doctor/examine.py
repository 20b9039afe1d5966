"""Bring objects and nodes before the doctor: of a lab, of this machine, or of both."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from fairway.api.codec import ClusterView
from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.cluster.doctor.case import Case, OptionsOf, read_wanted
from fairway.cluster.doctor.check_kernel import SOMEWHERE, pod_samples
from fairway.cluster.doctor.diagnose import Diagnosis, confirmed, diagnose, is_settled
from fairway.cluster.doctor.facts import NodeFacts, Questions
from fairway.cluster.hosts import LabHosts, environment
from fairway.cluster.noderules import OnNode, own_program
from fairway.cluster.state import LabState
from fairway.plan.options import internal_addresses

NODEFACTS = "fairway.cluster.doctor.nodefacts"
_LIMIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """A cluster as it is now. options_of: of a node's proxy, by family."""

    objects: Sequence[Object]
    view: ClusterView
    options_of: OptionsOf


Look = Callable[[Questions], Mapping[str, NodeFacts]]
"""The facts of nodes, by name."""


def examine(
    read: Callable[[], Objects | None], look: Look, *, clients: Sequence[str] = (), conntrack_percent: float
) -> Diagnosis:
    """Read, look and judge; where the two may just not have met, once more."""

    def once() -> Diagnosis:
        known = read()
        case = _case(known, clients, conntrack_percent)
        facts = look(questions(case))
        # Drift is judged by objects that are no older than the rules.
        known = read() if facts else known
        return diagnose(_case(known, clients, conntrack_percent, facts))

    first = once()
    return first if is_settled(first) else confirmed(first, once())


def questions(case: Case) -> Questions:
    """What nodes are to find out about each other, about clients and about the world."""
    wanted: dict[str, None] = dict.fromkeys(SOMEWHERE.values())
    wanted |= dict.fromkeys(case.clients)
    for node in case.nodes:
        wanted |= dict.fromkeys(map(str, internal_addresses(node)))
        wanted |= dict.fromkeys(pod_samples(case, node.metadata.name))
    ports = {service.spec.health_check_node_port for service in case.services if service.spec.health_check_node_port}
    return Questions(routes_to=tuple(wanted), health_checks=tuple(sorted(ports)))


def _case(
    known: Objects | None,
    clients: Sequence[str],
    conntrack_percent: float,
    facts: Mapping[str, NodeFacts] | None = None,
) -> Case:
    if known is None:
        return Case(facts=facts or {}, conntrack_percent=conntrack_percent)
    return Case(
        view=known.view,
        wanted=read_wanted(known.objects),
        facts=facts or {},
        options_of=known.options_of,
        clients=tuple(clients),
        conntrack_percent=conntrack_percent,
    )


def look_into_lab(state: LabState, nodes: Sequence[str]) -> Look:
    """Run on each of the lab's nodes, all at once."""

    async def run(wanted: Questions) -> dict[str, NodeFacts]:
        async with LabHosts.connect(state) as hosts, asyncio.TaskGroup() as group:
            tasks = {node: group.create_task(_on_node(hosts, node, wanted)) for node in nodes}
        return {node: task.result() for node, task in tasks.items()}

    return lambda wanted: asyncio.run(run(wanted))


def look_here(node: str) -> Look:
    """Run on this machine, in the network namespace of the caller."""

    def run(wanted: Questions) -> dict[str, NodeFacts]:
        program = _program(wanted)
        try:
            done = subprocess.run(
                program.argv,
                env={**environment(), **program.extra},
                capture_output=True,
                timeout=_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refused(f"this node could not be looked into within {_LIMIT_S} s") from None
        return {node: _read(node, done.returncode, done.stdout.decode(errors="replace") or done.stderr.decode())}

    return run


async def _on_node(hosts: LabHosts, node: str, wanted: Questions) -> NodeFacts:
    program = _program(wanted)
    code, output = await hosts.run(node, program.argv, extra=program.extra)
    return _read(node, code, output)


def _program(wanted: Questions) -> OnNode:
    return own_program(NODEFACTS, msgspec.json.encode(wanted).decode())


def _read(node: str, code: int, output: str) -> NodeFacts:
    try:
        return msgspec.json.decode(output, type=NodeFacts)
    except msgspec.MsgspecError:
        said = " ".join(output.split()[-12:]) or f"exit status {code}"
        raise Refused(f"node {node} could not be looked into: {said}") from None
