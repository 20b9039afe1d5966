"""What the kernel of a node holds of the agent's rules, in either mode."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    """One of ours, by the interpreter that runs this one, which may find this package in a way of its own."""
    path = os.pathsep.join(path for path in sys.path if path)
    return OnNode([sys.executable, "-m", module, *args], {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"})


def rules_program(mode: Mode, *args: str) -> OnNode:
    """Prints a node's rules: as `nft list table`, or iptables-save."""
    return own_program(NFTRULES, *args) if mode is Mode.NFTABLES else OnNode(["iptables-save"], {})


def rules_text(state: LabState, node: str) -> str:
    """The rules as text. Raises Refused for what is no node, or where they cannot be read."""
    return _run(state, node, rules_program(state.living().mode))


def rules_json(state: LabState, node: str) -> dict[str, Any]:
    """The rules as values: the answer of `fairway rules -o json`. Raises as `rules_text`."""
    mode = state.living().mode
    if mode is Mode.NFTABLES:
        tables = json.loads(_run(state, node, rules_program(mode, "-o", "json")))
    else:
        tables = saved_tables(_run(state, node, rules_program(mode)))
    return {"node": node, "mode": mode, "tables": tables}


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
