"""`fairway rules`."""

from __future__ import annotations

import click

from fairway.cli.options import lab_name, output, print_json
from fairway.cluster.noderules import rules_json, rules_text
from fairway.cluster.state import LabState


@click.command()
@lab_name
@output
@click.argument("node")
def rules(name: str, output: str, node: str) -> None:
    """Print the rules that the kernel of NODE, a node of a lab, holds for Services.

    In mode nftables as `nft list table ip fairway` prints them, in mode iptables as iptables-save.
    """
    state = LabState.of(name)
    if output == "json":
        print_json(rules_json(state, node))
    else:
        click.echo(rules_text(state, node), nl=False)
