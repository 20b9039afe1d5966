"""`fairway kubeconfig`."""

from __future__ import annotations

import click

from fairway.cli.options import lab_name, output, print_json
from fairway.cluster.state import LabState


@click.command()
@lab_name
@output
def kubeconfig(name: str, output: str) -> None:
    """Print the path of a lab's kubeconfig: export KUBECONFIG=$(fairway kubeconfig)."""
    state = LabState.of(name)
    state.living()
    state.credentials()  # nobody is sent to a file that cannot be used
    if output == "json":
        print_json({"name": name, "kubeconfig": str(state.kubeconfig)})
    else:
        click.echo(state.kubeconfig)
