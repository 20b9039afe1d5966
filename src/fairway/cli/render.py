"""`fairway render`: the rules a node would get, without privileges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from msgspec.structs import asdict

from fairway.cli.objects import NodeFlags, node_flags, objects_source, read_cluster, tell_ignored
from fairway.cli.options import output, print_json
from fairway.cluster.objects import Source
from fairway.dataplane.ipt.lower import lower as lower_to_iptables
from fairway.dataplane.ipt.ruleset import Rule, Table
from fairway.dataplane.ipt.ruleset import Ruleset as IptablesRuleset
from fairway.dataplane.ipt.text import format_rule as format_iptables_rule
from fairway.dataplane.ipt.text import format_save
from fairway.dataplane.nft.lower import lower as lower_to_nftables
from fairway.dataplane.nft.phrase import format_rule
from fairway.dataplane.nft.ruleset import Ruleset
from fairway.dataplane.nft.text import format_elements, format_hook, format_table, format_typeof, table_name
from fairway.plan.compile import compile_plan
from fairway.plan.model import Plan
from fairway.plan.options import Mode

_TABLES = (Table.NAT, Table.FILTER)
"""The canary in mangle says nothing about packets."""


@click.command()
@objects_source
@click.option("--node", required=True, metavar="NAME", help="The node whose rules to print; it must be in the files.")
@node_flags
@output
def render(source: Source, node: str, flags: NodeFlags, output: str) -> None:
    """Print the rules NODE would get for the objects, in the form iptables-save or `nft list table` prints.

    What cannot be used of an object is left out and named on standard error.
    """
    cluster = read_cluster(source)
    options = flags.options(cluster.settings, node=node)
    view = cluster.view
    plan = compile_plan(view.services, view.slices, view.node(node), options=options)
    text, tables = _nftables(plan) if options.mode is Mode.NFTABLES else _iptables(plan)
    if output == "json":
        print_json({"node": node, "mode": options.mode, "tables": tables(), "notes": _notes_json(plan)})
        return
    click.echo(text(), nl=False)
    tell_ignored(view)
    for note in plan.notes:
        click.echo(f"fairway: {note.origin}: {note.message}", err=True)


def _iptables(plan: Plan) -> _Printed:
    ruleset = lower_to_iptables(plan)
    return lambda: format_save(ruleset, _TABLES), lambda: _iptables_json(ruleset)


def _nftables(plan: Plan) -> _Printed:
    ruleset = lower_to_nftables(plan)
    return lambda: format_table(ruleset), lambda: _nftables_json(ruleset)


_Printed = tuple[Callable[[], str], Callable[[], dict[str, Any]]]
"""Rules as text, and as tables of JSON."""


def _iptables_json(ruleset: IptablesRuleset) -> dict[str, Any]:
    """jumps: in the order a fresh builtin chain holds them."""
    return {
        table.value: {
            "jumps": [
                {"chain": jump.chain, "rule": format_iptables_rule(jump.rule)}
                for jump in reversed(ruleset.jumps)
                if jump.table is table
            ],
            "chains": {
                chain: [_rule_json(rule) for rule in rules] for chain, rules in sorted(ruleset.chains[table].items())
            },
        }
        for table in _TABLES
    }


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {"rule": format_iptables_rule(rule), "origin": asdict(rule.origin) if rule.origin is not None else None}


def _nftables_json(ruleset: Ruleset) -> dict[str, Any]:
    """Sets and chains in the order they are made."""
    return {
        table_name(ruleset.family): {
            "sets": {
                name: {
                    "typeof": format_typeof(spec),
                    "comment": spec.comment,
                    "elements": format_elements(spec, ruleset.elements.get(name, {})),
                }
                for name, spec in ruleset.sets.items()
            },
            "chains": {
                name: {
                    "hook": format_hook(chain.hook) if chain.hook is not None else None,
                    "comment": chain.comment,
                    "rules": [format_rule(rule, ruleset.family, ruleset.sets) for rule in chain.rules],
                }
                for name, chain in ruleset.chains.items()
            },
        }
    }


def _notes_json(plan: Plan) -> list[dict[str, Any]]:
    return [{"origin": asdict(note.origin), "message": note.message} for note in plan.notes]
