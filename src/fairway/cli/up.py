"""`fairway up`."""

from __future__ import annotations

import time

import click

from fairway.cli.options import dual_stack, lab_name, output, own_command, print_json, proxy_mode
from fairway.cli.progress import progress
from fairway.cluster.lab import bring_up
from fairway.cluster.scenario import API_PORT, STUDY_LAB, study_lab
from fairway.cluster.state import LabState
from fairway.fabric.steps import resolve
from fairway.plan.options import Mode


@click.command()
@lab_name
@click.option(
    "--api-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="The API server's port on the loopback of this machine.",
)
@proxy_mode
@dual_stack
@click.option("--dry-run", is_flag=True, help="Print what would be made, step by step, and make nothing.")
@output
def up(name: str, api_port: int, mode: Mode, dual_stack: bool, dry_run: bool, output: str) -> None:
    """Bring a lab up: the study's four-node cluster with a client outside it, on this machine alone.

    Works as root, and as an ordinary user where the kernel allows user namespaces.
    """
    state = LabState.of(name)
    scenario = study_lab(dual_stack=dual_stack).named(name).in_mode(mode)
    if dry_run:
        commands = [(step.host, step.command) for step in resolve(scenario.topology)]
        if output == "json":
            print_json([{"host": host, "command": command} for host, command in commands])
        for _, command in commands if output == "text" else ():
            click.echo(command)
        return
    started = time.monotonic()
    with progress("bringing the lab up") as report:
        record = bring_up(state, scenario, report=report, api_port=api_port)
    seconds = time.monotonic() - started
    if output == "json":
        print_json(
            {
                "name": name,
                "api": record.api,
                "kubeconfig": str(state.kubeconfig),
                "nodes": list(scenario.nodes),
                "clients": [scenario.client],
                "mode": mode,
                "families": [family.api_name for family in scenario.families],
                "seconds": round(seconds, 3),
            }
        )
        return
    fairway = own_command()
    which = f" --name {name}" if name != STUDY_LAB.topology.name else ""
    click.echo(f"lab {name!r} is up after {seconds:.1f} s: {', '.join(scenario.nodes)} and {scenario.client}")
    click.echo(f'  export KUBECONFIG="$({fairway} kubeconfig{which})"')
    click.echo("  kubectl get nodes -o wide")
    click.echo(
        f"  {fairway} exec{which} {scenario.client} -- curl -sk https://{scenario.api_address}:{API_PORT}/version"
    )
    click.echo(f"  {fairway} down{which}")
