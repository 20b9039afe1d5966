"""`fairway bench`: figures, measured here and now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fairway.api.core import ServiceType
from fairway.cli.options import F, output, print_json
from fairway.cluster.bench import plot as plots
from fairway.cluster.bench.connect import ConnectOptions, bench_connect
from fairway.cluster.bench.lab import bench_lab
from fairway.cluster.bench.planes import Plane
from fairway.cluster.bench.program import ProgramOptions, bench_program
from fairway.cluster.bench.record import LIMITS, Figure, Unit

_MEANING = {
    "up": "fairway up: four nodes Ready and kubectl answers",
    "up_20_nodes": "fairway up --nodes 20",
    "up_50_nodes": "fairway up --nodes 50",
    "idle_memory": "an idle lab of four nodes and six pods: memory",
    "idle_cpu": "an idle lab of four nodes and six pods: share of a core",
    "pod_ready": "a pod: bound to Ready",
    "pods_200_ready": "kubectl scale: 200 pods Ready",
    "scale_down": "scaled down from 6 pods to 2, agnhost --delay-shutdown: calls lost",
    "scale_down_prestop": "scaled down from 6 pods to 2, a preStop hook: calls lost",
    "endpoint_to_rules": "an EndpointSlice is written: the last rule on every node",
    "probe_to_rules": "a probe fails: the last rule gone on every node",
    "repair_table": "somebody deletes the table of rules: repaired",
    "repair_element": "somebody deletes an element: repaired",
    "demo": "fairway demo, all claims",
}


def _numbers(flag: str, default: str, least: int, text: str) -> Callable[[F], F]:
    """An option of whole numbers from `least` on, with commas between; it comes as a tuple."""

    def parse(context: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
        try:
            numbers = tuple(int(word) for word in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 100,1000") from None
        if min(numbers) < least:
            raise click.BadParameter(f"{min(numbers)} is below {least}")
        return numbers

    return click.option(flag, default=default, show_default=True, metavar="N[,N...]", callback=parse, help=text)


def _plot_file(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in plots.SUFFIXES:
        raise click.BadParameter(f"{str(value)!r} should end in {' or '.join(plots.SUFFIXES)}")
    return value


def _plot(function: F) -> F:
    """--plot FILE."""
    text = "Draw the figures as well; the name's end, .png or .svg, says how."
    file = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option("--plot", type=file, metavar="FILE", callback=_plot_file, help=text)(function)


@click.group()
def bench() -> None:
    """Measure on this machine."""


@bench.command()
@click.option("--runs", type=click.IntRange(1, 100), default=5, show_default=True, help="How often each is measured.")
@click.option("--demo/--no-demo", default=True, show_default=True, help="Measure the demo as well.")
@click.option(
    "--only", type=click.Choice(list(LIMITS)), multiple=True, help="Only this figure; may be repeated. All by default."
)
@output
def lab(runs: int, demo: bool, only: tuple[str, ...], output: str) -> None:
    """How fast labs come up and react, what they cost when idle, and what many pods take; then the demo.

    Medians, with every run beside them.
    """
    wanted = set(only or LIMITS) - (set() if demo else {"demo"})
    figures = bench_lab(runs=runs, wanted=wanted, say=_teller())
    if output == "json":
        print_json({"runs": runs, **{figure.name: figure.to_json() for figure in figures}})
    else:
        _print(figures)


@bench.command()
@_numbers("--services", "100,1000,10000", 1, "How many Services.")
@_numbers("--endpoints", "10", 1, "How many endpoints each has.")
@click.option(
    "--type",
    "kind",
    type=click.Choice([ServiceType.CLUSTER_IP.value, ServiceType.NODE_PORT.value]),
    default=ServiceType.CLUSTER_IP.value,
    show_default=True,
    help="Of the Services.",
)
@click.option("--changes", type=click.IntRange(0, 100_000), default=200, show_default=True, help="Single changes.")
@click.option(
    "--baseline-services",
    type=click.IntRange(0),
    default=2000,
    show_default=True,
    help="At how many Services kube-proxy's rules are measured too; 0 for not at all.",
)
@click.option("--runs", type=click.IntRange(1, 100), default=3, show_default=True, help="Runs of that comparison.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses which Services change.")
@_plot
@output
def program(
    services: tuple[int, ...],
    endpoints: tuple[int, ...],
    kind: str,
    changes: int,
    baseline_services: int,
    runs: int,
    seed: int,
    plot: Path | None,
    output: str,
) -> None:
    """How long the nftables data plane takes for all Services at once, for one change, and after a restart.

    In network namespaces of its own, without a cluster.
    """
    if plot is not None:
        plots.need_matplotlib()
    options = ProgramOptions(
        services=services,
        endpoints=endpoints,
        type=ServiceType(kind),
        changes=changes,
        baseline_services=baseline_services or None,
        runs=runs,
        seed=seed,
    )
    report = bench_program(options, say=_teller())
    if plot is not None:
        plots.plot_program(report, plot)
    print_json(report) if output == "json" else _print_program(report)


@bench.command()
@_numbers("--services", "10,1000,10000,30000", 2, "How many Services.")
@click.option("--endpoints", type=click.IntRange(1, 100), default=1, show_default=True, help="Endpoints of each.")
@click.option(
    "--connects", type=click.IntRange(1, 20_000), default=3000, show_default=True, help="Connections of each kind."
)
@click.option(
    "--plane",
    "planes",
    type=click.Choice([plane.value for plane in Plane]),
    multiple=True,
    help="Only these; may be repeated. All by default.",
)
@click.option(
    "--load-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds nft or iptables-restore may take; what takes longer is left out.",
)
@click.option(
    "--limit",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds of connecting, after which it ends with what there is.",
)
@_plot
@output
def connect(
    services: tuple[int, ...],
    endpoints: int,
    connects: int,
    planes: tuple[str, ...],
    load_limit: float,
    limit: float,
    plot: Path | None,
    output: str,
) -> None:
    """What a Service costs a connection's first packet, by data plane and number of Services.

    In network namespaces of its own, without a cluster.
    """
    if plot is not None:
        plots.need_matplotlib()
    options = ConnectOptions(
        services=services,
        endpoints=endpoints,
        connects=connects,
        planes=tuple(plane for plane in Plane if not planes or plane.value in planes),
        load_limit_s=load_limit,
        limit_s=limit,
    )
    report = bench_connect(options, say=_teller())
    if plot is not None:
        plots.plot_connect(report, plot)
    print_json(report) if output == "json" else _print_connect(report)


def _teller() -> Callable[[str], None]:
    """Says progress on standard error."""
    console = Console(stderr=True, highlight=False)
    return lambda line: console.print(line, style="dim", markup=False)


def _print(figures: list[Figure]) -> None:
    table = _table("what", "median", "should be below", "runs")
    for figure in figures:
        runs = " ".join(_value(run.value, figure.limit.unit) for run in figure.runs)
        unit = _UNITS[figure.limit.unit]
        middle = f"{_value(figure.middle, figure.limit.unit)} {unit}"
        table.add_row(_MEANING[figure.name], middle, f"{figure.limit.most:g} {unit}", runs)
    Console().print(table)


_UNITS = {Unit.SECONDS: "s", Unit.MEGABYTES: "MB", Unit.PERCENT: "%", Unit.LOST: "lost"}


def _value(value: float, unit: Unit) -> str:
    return f"{value:.0f}" if unit is Unit.LOST else f"{value:.3f}" if unit is Unit.SECONDS else f"{value:.2f}"


def _print_program(report: dict[str, Any]) -> None:
    table = _compact("Services", "each", "compile", "build", "commit", "total s", "p50", "p99 ms", "restart s", "MB")
    for run in report["runs"]:
        seconds, change, restart = run["seconds"], run["change"], run["restart"]
        table.add_row(
            str(run["services"]),
            str(run["endpoints"]),
            *(f"{seconds[part]:.3f}" for part in ("compile", "build", "commit", "total")),
            *("-" if change[part] is None else f"{change[part] * 1000:.2f}" for part in ("p50_s", "p99_s")),
            f"{restart['seconds']:.3f}" + (f", {restart['messages']} sent" if restart["messages"] else ""),
            f"{run['rss_mb']:.0f}",
        )
    console = Console(highlight=False)
    console.print(table)
    if report.get("exponent") is not None:
        console.print(f"total grows as Services to the power of {report['exponent']}")
    for baseline, ratio in {str(run["baseline"]): (run["baseline"], run["ratio"]) for run in report["runs"]}.values():
        if baseline is not None:
            console.print(_baseline_line(baseline, ratio), markup=False)


def _baseline_line(baseline: dict[str, Any], ratio: float | None) -> str:
    what = f"{baseline['services']} Services with {baseline['endpoints']} endpoints each: {baseline['what']}"
    if baseline["seconds"] is None:
        return what
    times = f", {ratio} times as long" if ratio is not None else ""
    return f"{what}: {baseline['seconds']:.3f} s; fairway: {baseline['fairway_seconds']:.3f} s{times}"


def _print_connect(report: dict[str, Any]) -> None:
    table = _compact("plane", "Services", "first packet", "p50 us", "p99 us", "/ bare", "/ kp nft")
    for cell in report["cells"]:
        table.add_row(
            cell["plane"],
            str(cell["services"] or "-"),
            f"{cell['protocol']} {cell['via']}",
            *("-" if cell[name] is None else f"{cell[name]:.1f}" for name in ("p50_us", "p99_us")),
            *("-" if cell[name] is None else f"{cell[name]:.2f}" for name in ("ratio_to_bare", "ratio_to_kube_proxy")),
        )
    Console(highlight=False).print(table)


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column)
    return table


def _compact(*columns: str) -> Table:
    """For many columns in 80 characters; words to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column in ("plane", "first packet") else "right", no_wrap=True)
    return table
