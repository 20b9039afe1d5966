"""`fairway render`: the rules a node would get, from a file, without a cluster and without privileges."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from msgspec.structs import asdict

from fairway.api.codec import decode_cluster
from fairway.api.manifest import parse_objects
from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.cli.options import output, print_json
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
from fairway.plan.options import Mode, parse_options

_TABLES = (Table.NAT, Table.FILTER)
"""The canary in mangle says nothing about packets."""


@click.command()
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Services, EndpointSlices and Nodes, as JSON or YAML; - is standard input. Repeat for several files.",
)
@click.option("--node", required=True, metavar="NAME", help="The node whose rules to print; it must be in the files.")
@click.option("--mode", type=click.Choice([mode.value for mode in Mode]), required=True, help="The kind of rules.")
@click.option("--cluster-cidr", multiple=True, metavar="CIDR", help="A network of pods: they keep their address.")
@click.option(
    "--node-address",
    multiple=True,
    metavar="IP",
    help="An address of the node, its primary one first; else those its Node tells.",
)
@click.option(
    "--nodeport-addresses",
    multiple=True,
    metavar="CIDR",
    help='Only local addresses in these networks take node ports, or "primary"; else all do in mode iptables, '
    "the primary one in mode nftables.",
)
@click.option(
    "--service-cidr",
    multiple=True,
    metavar="CIDR",
    help="A network of clusterIPs: in mode nftables what no Service has there is dropped.",
)
@click.option("--masquerade-all", is_flag=True, help="Rewrite the source of everything sent to a clusterIP.")
@output
def render(
    files: tuple[str, ...],
    node: str,
    mode: str,
    cluster_cidr: tuple[str, ...],
    node_address: tuple[str, ...],
    nodeport_addresses: tuple[str, ...],
    service_cidr: tuple[str, ...],
    masquerade_all: bool,
    output: str,
) -> None:
    """Print the rules NODE would get for the objects in FILE, in the form iptables-save or `nft list table` prints.

    What cannot be used of an object is left out and named on standard error.
    """
    options = parse_options(
        cluster_cidrs=cluster_cidr,
        node_port_addresses=nodeport_addresses,
        node_addresses=node_address,
        masquerade_all=masquerade_all,
        mode=Mode(mode),
        service_cidrs=service_cidr,
    )
    cluster = decode_cluster(_read_all(files))
    plan = compile_plan(cluster.services, cluster.slices, cluster.node(node), options=options)
    text, tables = _nftables(plan) if options.mode is Mode.NFTABLES else _iptables(plan)
    if output == "json":
        print_json({"node": node, "mode": mode, "tables": tables(), "notes": _notes_json(plan)})
        return
    click.echo(text(), nl=False)
    for note in plan.notes:
        click.echo(f"fairway: {note.origin}: {note.message}", err=True)


def _read_all(files: Iterable[str]) -> list[Object]:
    return [obj for file in files for obj in parse_objects(_read(file), source="stdin" if file == "-" else file)]


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{file}: it is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None


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
