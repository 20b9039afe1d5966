"""`fairway bench`: figures, measured here and now."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from fairway.cli.options import output, print_json
from fairway.cluster.bench.lab import LIMITS_S, Figure, bench_lab

_MEANING = {
    "up": "fairway up: four nodes Ready and kubectl answers",
    "pod_ready": "a pod: bound to Ready",
    "probe_to_rules": "a probe fails: the last rule gone on every node",
    "demo": "fairway demo, all claims",
}


@click.group()
def bench() -> None:
    """Measure on this machine."""


@bench.command()
@click.option("--runs", type=click.IntRange(1, 100), default=5, show_default=True, help="How often each is measured.")
@click.option("--demo/--no-demo", default=True, show_default=True, help="Measure the demo as well.")
@output
def lab(runs: int, demo: bool, output: str) -> None:
    """How fast a lab comes up, starts a pod, takes a failed pod out of the rules, and walks the demo.

    Medians in seconds, with every run beside them.
    """
    console = Console(stderr=True, highlight=False)
    figures = bench_lab(runs=runs, with_demo=demo, say=lambda line: console.print(line, style="dim"))
    if output == "json":
        print_json({"runs": runs, **{figure.name: figure.to_json() for figure in figures}})
    else:
        _print(figures)


def _print(figures: list[Figure]) -> None:
    table = Table()
    for column in ("what", "median", "should be below", "runs"):
        table.add_column(column)
    for figure in figures:
        values = figure.to_json()
        runs = " ".join(f"{value:.3f}" for value in figure.seconds)
        table.add_row(_MEANING[figure.name], f"{values['median_s']:.3f} s", f"{LIMITS_S[figure.name]} s", runs)
    Console().print(table)
