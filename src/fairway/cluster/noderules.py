"""What the kernel of a node holds of the agent's rules, in either mode."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.cluster.hosts import find_host, run_captured
from fairway.cluster.state import LabState
from fairway.fabric.spawner import HostKind, list_hosts
from fairway.plan.options import Mode

NFTRULES, NFTTRACE = "fairway.cluster.nftrules", "fairway.cluster.nfttrace"
"""Modules that are run on a node."""


@dataclass(frozen=True, slots=True)
class OnNode:
    """A program to run on a node. extra: of its environment."""

    argv: Sequence[str]
    extra: Mapping[str, str]


def own_program(module: str, *args: str) -> OnNode:
    """One of ours, by the interpreter that runs this one."""
    return OnNode([sys.executable, "-m", module, *args], own_environment())


def own_environment() -> dict[str, str]:
    """What makes this interpreter find this package as this process did, which may have a way of its own."""
    path = os.pathsep.join(path for path in sys.path if path)
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def rules_programs(mode: Mode, families: Sequence[Family], *, as_json: bool = False) -> Iterator[OnNode]:
    """Those that print a node's rules, one after the other: as `nft list table`, or iptables-save.

    as_json: in mode nftables, as values.
    """
    if mode is Mode.NFTABLES:
        yield own_program(NFTRULES, *(("-o", "json") if as_json else ()), *(_NFT[family] for family in families))
    else:
        yield from (OnNode([_SAVE[family]], {}) for family in families)


_NFT = {Family.IPV4: "ip", Family.IPV6: "ip6"}
_SAVE = {Family.IPV4: "iptables-save", Family.IPV6: "ip6tables-save"}


def rules_text(state: LabState, node: str, families: Sequence[Family] = ()) -> str:
    """The rules as text. families: none for all that the lab has.

    Raises Refused for what is no node, for a family that the lab has not, or where the rules cannot be read.
    """
    record = state.living()
    programs = rules_programs(record.mode_of(node), _families(state, families))
    return "".join(_run(state, node, program) for program in programs)


def rules_json(state: LabState, node: str, families: Sequence[Family] = ()) -> dict[str, Any]:
    """The rules as values: the answer of `fairway rules -o json`. Arguments and errors as `rules_text`."""
    mode = state.living().mode_of(node)
    tables: list[dict[str, Any]] = []
    if mode is Mode.NFTABLES:
        for program in rules_programs(mode, _families(state, families), as_json=True):
            tables += json.loads(_run(state, node, program))
    else:
        for family in _families(state, families):
            (program,) = rules_programs(mode, [family])
            saved = saved_tables(_run(state, node, program))
            tables += [{"family": family.api_name, **table} for table in saved]
    return {"node": node, "mode": mode, "tables": tables}


def _families(state: LabState, wanted: Sequence[Family]) -> Sequence[Family]:
    had = [family for family in Family if family.api_name in state.living().families]
    for family in wanted:
        if family not in had:
            raise Refused(f"lab {state.name!r} has no {family.api_name}: bring one up with --dual-stack")
    return wanted or had


def saved_tables(saved: str) -> list[dict[str, Any]]:
    """The output of iptables-save. Pure."""
    tables: list[dict[str, Any]] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            tables.append({"table": line[1:], "chains": {}})
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            tables[-1]["chains"][name] = {"policy": None if policy == "-" else policy, "rules": []}
        elif line.startswith("-A "):
            tables[-1]["chains"][line.split()[1]]["rules"].append(line)
    return tables


def _run(state: LabState, node: str, program: OnNode) -> str:
    record = find_host(list_hosts(state.socket), node)
    if record.kind is not HostKind.NODE:
        raise Refused(f"{node!r} is no node: only nodes have rules")
    code, output = run_captured(state, node, program.argv, extra=program.extra)
    if code:
        raise Refused(f"the rules of {node} cannot be read: {output.strip() or f'exit status {code}'}")
    return output
