"""`fairway up`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml
from click.core import ParameterSource

from fairway.base.errors import Refused
from fairway.cli.options import dual_stack, lab_name, output, own_command, print_json, proxy_mode
from fairway.cli.progress import progress
from fairway.cluster.images import from_options, split_option
from fairway.cluster.lab import bring_up
from fairway.cluster.labfile import LabFile, plain, read_lab_file
from fairway.cluster.labs import STUDY_FILE, scenario_of
from fairway.cluster.layout import spell_out
from fairway.cluster.layout_nodes import MAX_NODES
from fairway.cluster.scenario import API_PORT, DEFAULT_LAB, Scenario
from fairway.cluster.state import LabRecord, LabState
from fairway.fabric.steps import resolve
from fairway.plan.options import Mode


@click.command()
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The lab file that says what to bring up.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, MAX_NODES),
    metavar="N",
    help=f"How many nodes: a control plane and N-1 workers, {MAX_NODES} in all at most.",
)
@click.option(
    "--zones", type=click.IntRange(0, MAX_NODES), metavar="N", help="Spread the nodes over so many zones; 0 for none."
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="NAME=PATH",
    help="Let a program or a folder of this machine stand for an image. May be given many times.",
)
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
@click.option("--print", "print_", is_flag=True, help="Print the lab file with all it leaves out, and make nothing.")
@click.option("--dry-run", is_flag=True, help="Print what would be made, step by step, and make nothing.")
@output
@click.pass_context
def up(
    context: click.Context,
    file: Path | None,
    nodes: int | None,
    zones: int | None,
    images: tuple[str, ...],
    name: str,
    api_port: int,
    mode: Mode,
    dual_stack: bool,
    print_: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Bring a lab up, on this machine alone: a whole cluster, with clients outside it.

    Without a lab file and --nodes it is the study's: four nodes and a client. Works as root, and as an ordinary user
    where the kernel allows user namespaces.
    """
    told = {
        "name": name if _is_told(context, "name") else None,
        "nodes": nodes,
        "zones": zones,
        "proxy_mode": mode if _is_told(context, "mode") else None,
        "dual_stack": dual_stack or None,
    }
    LabState.of(name)  # a name that is none is told before anything of the file
    mapped = from_options(map(split_option, images))
    scenario = _scenario(file, {field: value for field, value in told.items() if value is not None}, mapped)
    if print_:
        _print_file(scenario, output)
    elif dry_run:
        _print_steps(scenario, output)
    else:
        _bring_up(scenario, api_port, output)


def _is_told(context: click.Context, parameter: str) -> bool:
    """On the command line or in the environment: it then wins over the file."""
    return context.get_parameter_source(parameter) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def _scenario(file: Path | None, told: Mapping[str, Any], images: Mapping[str, str]) -> Scenario:
    """The file's lab, else the study's, with what is told in the place of what stands there."""
    if file is None and "nodes" in told:
        return scenario_of(LabFile(**told), source="--nodes", images=images)
    source = file or STUDY_FILE
    lab = read_lab_file(source)
    if "nodes" in told and not isinstance(lab.nodes, int):
        raise Refused(f"{source}: it lists its nodes: change the list, or leave --nodes out")
    return scenario_of(msgspec.structs.replace(lab, **told), source=str(source), images=images)


def _print_file(scenario: Scenario, output: str) -> None:
    document = plain(spell_out(scenario))
    if output == "json":
        print_json(document)
    else:
        click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


def _print_steps(scenario: Scenario, output: str) -> None:
    commands = [(step.host, step.command) for step in resolve(scenario.topology)]
    if output == "json":
        print_json([{"host": host, "command": command} for host, command in commands])
    for _, command in commands if output == "text" else ():
        click.echo(command)


def _bring_up(scenario: Scenario, api_port: int, output: str) -> None:
    state = LabState.of(scenario.topology.name)
    started = time.monotonic()
    with progress("bringing the lab up") as report:
        record = bring_up(state, scenario, report=report, api_port=api_port)
    seconds = time.monotonic() - started
    if output == "json":
        print_json(_json(state, scenario, record, seconds))
    else:
        _say_how_to_go_on(scenario, seconds)


def _json(state: LabState, scenario: Scenario, record: LabRecord, seconds: float) -> dict[str, Any]:
    return {
        "name": state.name,
        "api": record.api,
        "kubeconfig": str(state.kubeconfig),
        "nodes": list(scenario.nodes),
        "clients": list(record.clients),
        "mode": scenario.mode,
        "modes": dict(scenario.modes),
        "families": [family.api_name for family in scenario.families],
        "images": dict(record.images),
        "seconds": round(seconds, 3),
    }


def _say_how_to_go_on(scenario: Scenario, seconds: float) -> None:
    fairway, name = own_command(), scenario.topology.name
    which = f" --name {name}" if name != DEFAULT_LAB else ""
    machines = [machine.name for machine in scenario.topology.machines]
    click.echo(f"lab {name!r} is up after {seconds:.1f} s: {_listed(machines)}")
    click.echo(f'  export KUBECONFIG="$({fairway} kubeconfig{which})"')
    click.echo("  kubectl get nodes -o wide")
    click.echo(f"  {fairway} exec{which} {machines[-1]} -- curl -sk https://{scenario.api_address}:{API_PORT}/version")
    click.echo(f"  {fairway} down{which}")


_SHOWN = 8
"""So many names say what a lab is made of; of more the number does."""


def _listed(names: list[str]) -> str:
    """The names, or where they are many the first and the last of them."""
    if len(names) > _SHOWN:
        names = [*names[:3], f"{len(names) - 4} more", names[-1]]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
