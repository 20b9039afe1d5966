"""`fairway down`."""

from __future__ import annotations

import click

from fairway.cli.options import lab_name, output, print_json
from fairway.cli.progress import progress
from fairway.cluster.lab import take_down
from fairway.cluster.state import LabState


@click.command()
@lab_name
@output
def down(name: str, output: str) -> None:
    """Take a lab down: its processes, namespaces, links, rules and files go with it."""
    with progress(f"taking lab {name!r} down"):
        take_down(LabState.of(name))
    if output == "json":
        print_json({"name": name, "up": False})
    else:
        click.echo(f"lab {name!r} is down")
