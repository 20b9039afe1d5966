"""From the fault that is wanted to the steps it takes, in the lab as it is now. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from fairway.base.errors import Refused
from fairway.cluster.fault.model import (
    Delay,
    End,
    Fault,
    Fill,
    Hold,
    Kind,
    LoseAtPort,
    LoseInHost,
    Planned,
    SkewProbe,
    Step,
    Stop,
    StopProgram,
    Unplug,
    Wanted,
    What,
)

API_PROGRAM = "control-plane"
"""The program that is the API server, and the controllers with it."""

AGENT_PROGRAM = "kube-proxy"

LONGEST_DELAY_MS = 10_000

PROBES = ("readiness", "liveness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod's sandbox. host: its name among the lab's hosts; node: "" where it hangs on none by a link of its own.

    shares: the node whose network it is on (hostNetwork), "" for a network of its own.
    """

    host: str
    node: str
    shares: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The lab as a plan needs to know it.

    nodes, clients: names. ports: the bridge's port to each of them. programs: host of each program. pods: by
    NAMESPACE/NAME.
    """

    nodes: tuple[str, ...]
    clients: tuple[str, ...]
    ports: Mapping[str, str]
    programs: Mapping[str, str]
    pods: Mapping[str, Pod] = field(default_factory=dict)


def plan(wanted: Wanted, world: World) -> Planned:
    """Raises Refused for a name that is none (naming what is near), or that pods of several namespaces have."""
    match wanted.kind, wanted.what:
        case ((Kind.KILL | Kind.PAUSE), What.NODE):
            return _node(wanted, world)
        case ((Kind.KILL | Kind.PAUSE), (What.AGENT | What.APISERVER)):
            return _program(wanted, world)
        case ((Kind.CUT | Kind.LOSS), What.HOST):
            return _link(wanted, world)
        case Kind.DELAY, What.HOST:
            return _delay(wanted, world)
        case Kind.CONNTRACK, What.NODE:
            return _conntrack(wanted, world)
        case Kind.PROBE, What.POD:
            return _probe(wanted, world)
        case Kind.MUTE, What.POD:
            name, pod = _pod(wanted.name, world)
            return _planned(wanted, [Stop(pod.host)], [f"the processes of pod {name}"], name=name)
    raise Refused(f"a fault of kind {wanted.kind.value} is not for a target of kind {wanted.what.value}")


def check_contradictions(planned: Planned, planted: Iterable[Fault]) -> None:
    """Raises Refused where a planted fault holds what this one would, naming it and the way out."""
    for fault in planted:
        common = sorted(planned.claims & fault.planned.claims)
        if common:
            raise Refused(
                f"{planned.wanted}: fault {fault.number} ({fault.planned.wanted}) has {common[0]} already; "
                f"undo it first: fairway fault undo {fault.number}"
            )


def _node(wanted: Wanted, world: World) -> Planned:
    node = _one_of(wanted.name, world.nodes, "node")
    programs = [program for program, host in world.programs.items() if host == node]
    pods = {name: pod for name, pod in world.pods.items() if pod.node == node}
    steps: list[Step] = [Unplug(world.ports[node])]
    if wanted.kind is Kind.KILL:
        # Its kubelet takes its pods along: they are processes and hosts of the kubelet's connection.
        steps += [*map(Hold, programs), End(node)]
    else:
        steps += [Stop(node), *(Stop(pod.host) for pod in pods.values())]
    claims = [f"node {node}", f"the link of {node}"]
    claims += [f"program {program}" for program in programs] + [f"the processes of pod {name}" for name in pods]
    claims += [f"the link of {name}" for name in pods]
    return _planned(wanted, steps, claims)


def _program(wanted: Wanted, world: World) -> Planned:
    if wanted.what is What.AGENT:
        program = f"{AGENT_PROGRAM}-{_one_of(wanted.name, world.nodes, 'node')}"
    else:
        program = API_PROGRAM
    step = Hold(program) if wanted.kind is Kind.KILL else StopProgram(program)
    return _planned(wanted, [step], [f"program {program}"])


def _link(wanted: Wanted, world: World) -> Planned:
    percent = 100 if wanted.kind is Kind.CUT else wanted.percent
    if not 1 <= percent <= 100:
        raise Refused(f"{wanted}: a share of packets is 1 to 100 per cent")
    if port := world.ports.get(wanted.name):
        step: Step = Unplug(port) if wanted.kind is Kind.CUT else LoseAtPort(port, percent)
        return _planned(wanted, [step], [f"the link of {wanted.name}"])
    name, pod = _pod(wanted.name, world, others=(*world.nodes, *world.clients))
    return _planned(wanted, [LoseInHost(pod.host, percent)], [f"the link of {name}"], name=name)


def _delay(wanted: Wanted, world: World) -> Planned:
    if not 1 <= wanted.milliseconds <= LONGEST_DELAY_MS:
        raise Refused(f"{wanted}: a delay is 1 to {LONGEST_DELAY_MS} ms")
    name = _one_of(wanted.name, world.ports, "node or client")
    return _planned(wanted, [Delay(world.ports[name], wanted.milliseconds)], [f"the link of {name}"])


def _conntrack(wanted: Wanted, world: World) -> Planned:
    node = _one_of(wanted.name, world.nodes, "node")
    if not 1 <= wanted.percent <= 100:
        raise Refused(f"{wanted}: a share of the table is 1 to 100 per cent")
    return _planned(wanted, [Fill(node, wanted.percent)], [f"the table of connections of {node}"])


def _probe(wanted: Wanted, world: World) -> Planned:
    if wanted.probe not in PROBES or wanted.skew is None:
        raise Refused(f"{wanted}: of which probe ({' or '.join(PROBES)}), and how?")
    name, _ = _pod(wanted.name, world, on_node=True)
    step = SkewProbe(name, wanted.probe, wanted.skew)
    return _planned(wanted, [step], [f"the {wanted.probe} probe of pod {name}"], name=name)


def _planned(wanted: Wanted, steps: Iterable[Step], claims: Iterable[str], *, name: str = "") -> Planned:
    """name: as it is told from now on, where that is not how it was wanted."""
    told = msgspec.structs.replace(wanted, name=name or wanted.name)
    return Planned(wanted=told, steps=tuple(steps), claims=frozenset(claims))


def _one_of(name: str, names: Iterable[str], what: str) -> str:
    known = list(names)
    if name in known:
        return name
    raise Refused(f"{name!r} is no {what} of this lab; {_hint(name, known)}")


def _pod(name: str, world: World, others: tuple[str, ...] = (), *, on_node: bool = False) -> tuple[str, Pod]:
    """A pod by its name. on_node: it may be one on its node's network."""
    found = list(_pods_named(name, world))
    match found:
        case [full]:
            node = world.pods[full].shares
            if node and not on_node:
                raise Refused(f"pod {full} is on the network of its node, as all there: plant the fault on {node}")
            return full, world.pods[full]
        case []:
            kinds = "node, client or pod" if others else "pod"
            short = [full.rpartition("/")[2] for full in world.pods]
            raise Refused(f"{name!r} is no {kinds} of this lab; {_hint(name, [*others, *short, *world.pods])}")
        case several:
            raise Refused(f"{name!r} is the name of several pods ({', '.join(several)}): say NAMESPACE/NAME")


def _pods_named(name: str, world: World) -> Iterator[str]:
    if name in world.pods:
        yield name
        return
    yield from (full for full in world.pods if full.endswith(f"/{name}") and "/" not in name)


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
