"""How long it takes to program a node: everything at once, one change, and a restart that finds all in place.

Each size is measured in a child of its own in a network namespace of its own. What is not measured is done before: the
objects are decoded, and garbage that making them left is collected. The baseline is the same Services in kube-proxy's
shape, read by one `nft -f -` from a text made before: what kube-proxy itself does to make that text is not counted.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from fairway.api.core import ServiceType
from fairway.api.discovery import EndpointSlice
from fairway.cluster.bench import objects
from fairway.cluster.bench.figures import exponent, percentile, ratio, rounded
from fairway.cluster.bench.objects import Known, Shape
from fairway.cluster.bench.planes import Plane, load, why_not
from fairway.cluster.bench.program_target import MakeTarget, Sent, Target, nftables_target
from fairway.cluster.scratch import in_scratch
from fairway.plan.compile import compile_service
from fairway.plan.options import NodeView

NODE_ADDRESS = "192.0.2.1"
"""Of the node in whose place the bench is; documentation's (RFC 5737), and no link has it."""

_BASELINE_LIMIT_S = 600.0
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOptions:
    """What to measure. changes: single changes for each size. runs: of the baseline, each beside one of ours.

    baseline_services: None measures no baseline. seed: which Services change, and how.
    """

    services: tuple[int, ...]
    endpoints: tuple[int, ...]
    type: ServiceType = ServiceType.CLUSTER_IP
    changes: int = 200
    baseline_services: int | None = 2000
    runs: int = 3
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """All Services at once: seconds, and what was sent."""

    compile_s: float
    sent: Sent
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One endpoint gone or there again: seconds from the decoded slice to the commit."""

    compile_s: float
    apply_s: float

    @property
    def total_s(self) -> float:
        return self.compile_s + self.apply_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A new data plane over the rules of the last: everything should be found, and nothing sent."""

    seconds: float
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One size. rss_mb: resident memory of the process after the changes, in 10^6 bytes."""

    services: int
    endpoints: int
    full: Full
    changes: tuple[Change, ...]
    restart: Restart
    rss_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Kube-proxy's shape at one size, and ours at the same size in turns with it; seconds of every run.

    what: what was measured, or why nothing was.
    """

    what: str
    services: int
    endpoints: int
    seconds: tuple[float, ...] = ()
    fairway_seconds: tuple[float, ...] = ()

    @property
    def ratio(self) -> float | None:
        """How many times as long kube-proxy's shape takes, by the medians."""
        return ratio(median(self.seconds), median(self.fairway_seconds))


def bench_program(
    options: ProgramOptions,
    *,
    say: Callable[[str], None],
    make: MakeTarget = nftables_target,
    isolate: Callable[[Callable[[], Any]], Any] = in_scratch,
) -> dict[str, Any]:
    """The figures as JSON has them. isolate: runs a measurement where it can do no harm.

    Raises Unsupported where the machine gives no namespaces or this Fairway has no such data plane.
    """
    baselines = {}
    runs = []
    for endpoints in options.endpoints:
        baselines[endpoints] = _bench_baseline(options, endpoints, say, make, isolate)
        for services in options.services:
            shape = Shape(services=services, endpoints=endpoints, type=options.type)
            run: Run = isolate(lambda shape=shape: measure(shape, options, make))  # type: ignore[misc] # mypy infers no lambda with a default
            runs.append(run)
            say(f"{services} Services with {endpoints} endpoints each: {run.full.total_s:.3f} s")
    return report(runs, baselines)


def measure(shape: Shape, options: ProgramOptions, make: MakeTarget) -> Run:
    """One size, in the network namespace of the caller."""
    view = objects.view(NODE_ADDRESS)
    known = list(objects.decoded(shape))
    target = make(view)
    full = program_all(known, view, target)
    changes = tuple(_change_all(known, view, target, options)) if shape.endpoints and shape.services else ()
    rss_mb = _resident_mb()
    return Run(
        services=shape.services,
        endpoints=shape.endpoints,
        full=full,
        changes=changes,
        restart=_restart(target),
        rss_mb=rss_mb,
    )


def program_all(known: Sequence[Known], view: NodeView, target: Target) -> Full:
    """Compile every Service and commit them all."""
    gc.collect()
    gc.freeze()
    begun = time.perf_counter()
    for each in known:
        target.put(compile_service(each.service, each.slices, view))
    compiled = time.perf_counter()
    sent = target.apply(None)
    return Full(compile_s=compiled - begun, sent=sent, total_s=time.perf_counter() - begun)


def _change_all(known: Sequence[Known], view: NodeView, target: Target, options: ProgramOptions) -> list[Change]:
    """An endpoint of a random Service goes, then comes back, then one of the next Service goes."""
    random = Random(options.seed)
    changes: list[Change] = []
    while len(changes) < options.changes:
        each = random.choice(known)
        fewer = Known(each.service, _without_one(each.slices, random))
        changes += [_change(state, view, target) for state in (fewer, each)[: options.changes - len(changes)]]
    return changes


def _without_one(slices: tuple[EndpointSlice, ...], random: Random) -> tuple[EndpointSlice, ...]:
    at = random.randrange(len(slices))
    gone = random.randrange(len(slices[at].endpoints))
    left = slices[at].endpoints[:gone] + slices[at].endpoints[gone + 1 :]
    return (*slices[:at], msgspec.structs.replace(slices[at], endpoints=left), *slices[at + 1 :])


def _change(state: Known, view: NodeView, target: Target) -> Change:
    begun = time.perf_counter()
    part = compile_service(state.service, state.slices, view)
    compiled = time.perf_counter()
    target.apply(target.put(part))
    return Change(compile_s=compiled - begun, apply_s=time.perf_counter() - compiled)


def _restart(target: Target) -> Restart:
    again = target.restarted()
    begun = time.perf_counter()
    sent = again.apply(None)
    return Restart(seconds=time.perf_counter() - begun, messages=sent.messages)


def _resident_mb() -> float:
    """VmRSS of this process (proc_pid_status(5)), in 10^6 bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def _bench_baseline(
    options: ProgramOptions,
    endpoints: int,
    say: Callable[[str], None],
    make: MakeTarget,
    isolate: Callable[[Callable[[], Any]], Any],
) -> Baseline | None:
    """Both at one size, by turns, each run in a namespace of its own."""
    if options.baseline_services is None:
        return None
    shape = Shape(services=options.baseline_services, endpoints=endpoints, type=options.type)
    lacking = why_not(Plane.KUBE_PROXY)
    if lacking is not None:
        return Baseline(what=lacking, services=shape.services, endpoints=endpoints)
    theirs: list[float] = []
    ours: list[float] = []
    for run in range(options.runs):
        theirs.append(isolate(lambda: load(Plane.KUBE_PROXY, shape, NODE_ADDRESS, limit_s=_BASELINE_LIMIT_S)))
        ours.append(isolate(lambda: measure_full(shape, make)))
        say(f"baseline of {shape.services} Services, run {run + 1}: {theirs[-1]:.3f} s, ours {ours[-1]:.3f} s")
    return Baseline(
        what="kube-proxy 1.36's nftables rules, text to commit, by nft -f -",
        services=shape.services,
        endpoints=endpoints,
        seconds=tuple(theirs),
        fairway_seconds=tuple(ours),
    )


def measure_full(shape: Shape, make: MakeTarget) -> float:
    """Seconds of ours for all Services at once, in the network namespace of the caller."""
    view = objects.view(NODE_ADDRESS)
    known = list(objects.decoded(shape))
    return program_all(known, view, make(view)).total_s


def median(values: Sequence[float]) -> float | None:
    """None for none."""
    return statistics.median(values) if values else None


def report(runs: Sequence[Run], baselines: dict[int, Baseline | None]) -> dict[str, Any]:
    """As JSON has it: the runs, and with a single one its figures once more at the top."""
    listed = [run_json(run, baselines.get(run.endpoints)) for run in runs]
    answer: dict[str, Any] = dict(listed[0]) if len(listed) == 1 else {}
    answer["runs"] = listed
    if len({run.services for run in runs}) > 1:
        slope = exponent([(run.services, run.full.total_s) for run in runs if run.full.total_s > 0])
        answer["exponent"] = rounded(slope, 3)
    return answer


def run_json(run: Run, baseline: Baseline | None) -> dict[str, Any]:
    """One of the runs, with the baseline of as many endpoints."""
    totals = [change.total_s for change in run.changes]
    return {
        "services": run.services,
        "endpoints": run.endpoints,
        "seconds": {
            "compile": round(run.full.compile_s, 6),
            "build": round(run.full.sent.build_s, 6),
            "commit": round(run.full.sent.commit_s, 6),
            "total": round(run.full.total_s, 6),
        },
        "change": {
            "n": len(totals),
            "p50_s": _percentile(totals, 50),
            "p99_s": _percentile(totals, 99),
            "compile_p50_s": _percentile([change.compile_s for change in run.changes], 50),
            "apply_p50_s": _percentile([change.apply_s for change in run.changes], 50),
        },
        "restart": {"seconds": round(run.restart.seconds, 6), "messages": run.restart.messages},
        "rss_mb": round(run.rss_mb, 1),
        "elements": run.full.sent.elements,
        "messages": run.full.sent.messages,
        "bytes": run.full.sent.bytes,
        "baseline": None if baseline is None else baseline_json(baseline),
        "ratio": None if baseline is None else rounded(baseline.ratio, 3),
    }


def baseline_json(baseline: Baseline) -> dict[str, Any]:
    """`seconds` is null where nothing was measured, and `what` says why."""
    return {
        "what": baseline.what,
        "services": baseline.services,
        "endpoints": baseline.endpoints,
        "seconds": rounded(median(baseline.seconds), 6),
        "fairway_seconds": rounded(median(baseline.fairway_seconds), 6),
        "runs_s": [round(value, 6) for value in baseline.seconds],
        "fairway_runs_s": [round(value, 6) for value in baseline.fairway_seconds],
    }


def _percentile(samples: Sequence[float], percent: float) -> float | None:
    return rounded(percentile(samples, percent), 6) if samples else None
