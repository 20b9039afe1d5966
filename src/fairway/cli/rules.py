"""`fairway rules`."""

from __future__ import annotations

import click

from fairway.base.addresses import Family
from fairway.cli.options import lab_name, output, print_json
from fairway.cluster.noderules import rules_json, rules_text
from fairway.cluster.state import LabState

_FAMILIES = {family.api_name.lower(): family for family in Family}


@click.command()
@lab_name
@click.option(
    "--family",
    type=click.Choice(list(_FAMILIES)),
    help="Print the rules of this address family alone; all that the lab has, if not given.",
)
@output
@click.argument("node")
def rules(name: str, family: str | None, output: str, node: str) -> None:
    """Print the rules that the kernel of NODE, a node of a lab, holds for Services.

    In mode nftables as `nft list table ip fairway` prints them, in mode iptables as iptables-save; those of IPv6, in a
    dual-stack lab, as `nft list table ip6 fairway` and ip6tables-save.
    """
    state = LabState.of(name)
    families = [_FAMILIES[family]] if family else []
    if output == "json":
        print_json(rules_json(state, node, families))
    else:
        click.echo(rules_text(state, node, families), nl=False)
