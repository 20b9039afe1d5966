"""`fairway status`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fairway.cli.options import lab_name, output, print_json
from fairway.cli.progress import progress
from fairway.cluster.fault.model import Told
from fairway.cluster.report import LabReport, report_lab
from fairway.cluster.state import LabState


@click.command()
@lab_name
@output
def status(name: str, output: str) -> None:
    """What a lab is made of and how it is.

    Processes are told by their number in the lab, as `fairway exec NODE -- ps` shows them. Exit status 1 if the API
    server does not answer.
    """
    with progress(f"asking lab {name!r}"):
        report = asyncio.run(report_lab(LabState.of(name)))
    if output == "json":
        print_json(report.to_json())
    else:
        _print(report)
    if report.problem:
        click.echo(f"fairway: lab {name!r}: {report.problem}", err=True)
        sys.exit(1)


def print_faults(console: Console, faults: Sequence[Told]) -> None:
    """Planted faults, with what is left of their time, a line each however long its name is."""
    rows = [("ID", "FAULT", "SINCE", "LEFT")]
    for fault in faults:
        left = f"{fault.left:.1f} s" if fault.left is not None else "until undone"
        rows.append((str(fault.number), str(fault.wanted), fault.since, left))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = Table(box=None, pad_edge=False, width=sum(widths) + 2 * (len(widths) - 1))
    for title, width in zip(rows[0], widths, strict=True):
        table.add_column(title, width=width, no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table, crop=False, no_wrap=True, overflow="ignore")


def _print(report: LabReport) -> None:
    console = Console(highlight=False)
    console.print(f"lab {report.name!r}, up since {report.created}, first process {report.first_process}")
    others = "".join(f", {mode} on {node}" for node, mode in report.modes.items())
    console.print(f"proxy mode  {report.mode}{others}", soft_wrap=True)
    console.print(f"API server  {report.api}", soft_wrap=True)
    console.print(f"kubeconfig  {report.kubeconfig}", soft_wrap=True)
    console.print(f"folder      {report.folder}", soft_wrap=True)
    for name, path in report.images.items():
        console.print(f"image       {escape(name)} = {escape(path)}", soft_wrap=True)
    machines = Table(box=None, pad_edge=False)
    for column in ("NAME", "KIND", "ADDRESS", "READY", "PODS"):
        machines.add_column(column)
    for machine in report.machines:
        unknown = "" if machine.kind == "client" else "?"
        ready = unknown if machine.ready is None else "yes" if machine.ready else "no"
        pods = unknown if machine.pods is None else str(machine.pods)
        machines.add_row(machine.name, machine.kind, ", ".join(machine.addresses) or unknown, ready, pods)
    services = Table(box=None, pad_edge=False)
    for column in ("PROGRAM", "ON", "PID IN LAB", "STARTS"):
        services.add_column(column)
    for service in report.services:
        pid = service.pid or ("held" if service.held else "waiting")
        services.add_row(service.name, service.host or "the lab", str(pid), str(service.starts))
    for table in (machines, services):
        console.print()
        console.print(table)
    if report.faults:
        console.print()
        print_faults(console, report.faults)
