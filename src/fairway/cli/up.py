"""`fairway up`."""

from __future__ import annotations

import time

import click
from rich.console import Console

from fairway.cli.options import lab_name, output, print_json
from fairway.cluster.lab import bring_up
from fairway.cluster.scenario import STUDY_LAB
from fairway.cluster.state import LabState
from fairway.fabric.steps import resolve


@click.command()
@lab_name
@click.option(
    "--api-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="The API server's port on the loopback of this machine.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be made, step by step, and make nothing.")
@output
def up(name: str, api_port: int, dry_run: bool, output: str) -> None:
    """Bring a lab up: the study's four-node cluster with a client outside it, on this machine alone.

    Works as root, and as an ordinary user where the kernel allows user namespaces.
    """
    state = LabState.of(name)
    scenario = STUDY_LAB.named(name)
    if dry_run:
        commands = [(step.host, step.command) for step in resolve(scenario.topology)]
        if output == "json":
            print_json([{"host": host, "command": command} for host, command in commands])
        for _, command in commands if output == "text" else ():
            click.echo(command)
        return
    started = time.monotonic()
    console = Console(stderr=True, highlight=False)
    with console.status("bringing the lab up") as status:
        record = bring_up(state, scenario, report=status.update, api_port=api_port)
    seconds = time.monotonic() - started
    if output == "json":
        print_json(
            {
                "name": name,
                "api": record.api,
                "kubeconfig": str(state.kubeconfig),
                "nodes": list(scenario.nodes),
                "clients": [scenario.client],
                "seconds": round(seconds, 3),
            }
        )
        return
    suffix = f" --name {name}" if name != STUDY_LAB.topology.name else ""
    click.echo(f"lab {name!r} is up after {seconds:.1f} s: {', '.join(scenario.nodes)} and {scenario.client}")
    click.echo(f"  export KUBECONFIG=$(fairway kubeconfig{suffix})    then: kubectl get nodes -o wide")
    click.echo(f"  fairway exec{suffix} {scenario.client} -- curl ...        fairway down{suffix}")
