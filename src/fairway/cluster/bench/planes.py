"""The data planes that `bench connect` compares, and how each gets its rules into a node."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from fairway.base.errors import FairwayError
from fairway.cluster.bench import objects
from fairway.cluster.bench.kubeproxy_shape import iptables_text, nftables_text
from fairway.cluster.bench.objects import Shape
from fairway.cluster.bench.program_target import MakeTarget, nftables_target
from fairway.cluster.scratch import find_program
from fairway.fabric.syscalls import die_with_parent
from fairway.plan.assembly import assemble_plan
from fairway.plan.compile import compile_service
from fairway.plan.model import ServicePlan
from fairway.plan.options import NodeView


class Plane(StrEnum):
    """What a node does to packets, and who would have written it."""

    BARE = "bare"
    """Nothing: it forwards."""
    FAIRWAY = "fairway"
    KUBE_PROXY = "kube-proxy-nftables"
    IPTABLES = "kube-proxy-iptables"


PROGRAMS: Mapping[Plane, tuple[str, str]] = {
    Plane.KUBE_PROXY: ("nft", "nftables"),
    Plane.IPTABLES: ("iptables-restore", "iptables"),
}
"""By which program the rules get in, and Debian's package with it."""


def why_not(plane: Plane) -> str | None:
    """What this machine lacks for a plane; None where nothing."""
    if plane in PROGRAMS:
        program, package = PROGRAMS[plane]
        if find_program(program) is None:
            return f"{program} is not installed; as root run: apt-get install {package}"
    return None


def version(plane: Plane) -> str | None:
    """What the plane's program says of itself, such as "iptables v1.8.9 (nf_tables)"; None where there is none."""
    if plane not in PROGRAMS or (path := find_program(PROGRAMS[plane][0])) is None:
        return None
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def load(plane: Plane, shape: Shape, node_address: str, *, limit_s: float, make: MakeTarget = nftables_target) -> float:
    """Put the rules of all Services into the network namespace of the caller; the seconds it takes.

    They are counted from the compiled Services to the commit, for a program without the making of its text. limit_s: a
    program that takes longer is ended. Raises FairwayError, with what the program said, where it fails.
    """
    view = objects.view(node_address)
    parts = [compile_service(each.service, each.slices, view) for each in objects.decoded(shape)]
    return _LOADERS[plane](parts, view, limit_s, make)


def _load_nothing(parts: Sequence[ServicePlan], view: NodeView, limit_s: float, make: MakeTarget) -> float:
    return 0.0


def _load_fairway(parts: Sequence[ServicePlan], view: NodeView, limit_s: float, make: MakeTarget) -> float:
    target = make(view)
    begun = time.perf_counter()
    for part in parts:
        target.put(part)
    target.apply(None)
    return time.perf_counter() - begun


def _load_nftables(parts: Sequence[ServicePlan], view: NodeView, limit_s: float, make: MakeTarget) -> float:
    text = nftables_text(assemble_plan(parts, view), objects.SERVICE_NETWORK)
    return _feed(Plane.KUBE_PROXY, ["-f", "-"], text, limit_s)


def _load_iptables(parts: Sequence[ServicePlan], view: NodeView, limit_s: float, make: MakeTarget) -> float:
    return _feed(Plane.IPTABLES, [], iptables_text(assemble_plan(parts, view)), limit_s)


_LOADERS: Mapping[Plane, Callable[[Sequence[ServicePlan], NodeView, float, MakeTarget], float]] = {
    Plane.BARE: _load_nothing,
    Plane.FAIRWAY: _load_fairway,
    Plane.KUBE_PROXY: _load_nftables,
    Plane.IPTABLES: _load_iptables,
}


def _feed(plane: Plane, arguments: Sequence[str], text: str, limit_s: float) -> float:
    """Seconds the plane's program takes for this text on its standard input.

    Raises FairwayError where it is missing, fails or takes longer than `limit_s`.
    """
    program, _ = PROGRAMS[plane]
    path = find_program(program)
    if path is None:
        raise FairwayError(why_not(plane) or program)
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            [path, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
            # With ten thousands of Services it would go on for minutes after a bench that was interrupted.
            preexec_fn=die_with_parent,
        )
    except subprocess.TimeoutExpired:
        raise FairwayError(f"{program} took longer than {limit_s:g} s") from None
    seconds = time.perf_counter() - begun
    if done.returncode:
        first = (done.stderr.splitlines() or ["it gives no reason"])[0]
        raise FairwayError(f"{program} failed with status {done.returncode}: {first}")
    return seconds
