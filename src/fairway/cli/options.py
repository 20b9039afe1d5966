"""Options that verbs share."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fairway.cluster.scenario import DEFAULT_LAB
from fairway.plan.options import Mode

F = TypeVar("F", bound=Callable[..., Any])


def lab_name(function: F) -> F:
    """--name LAB, also from $FAIRWAY_LAB."""
    return click.option(
        "--name", default=DEFAULT_LAB, envvar="FAIRWAY_LAB", show_default=True, metavar="LAB", help="The lab's name."
    )(function)


def proxy_mode(function: F) -> F:
    """--proxy-mode nftables|iptables, as a Mode."""
    return click.option(
        "--proxy-mode",
        "mode",
        type=click.Choice([mode.value for mode in Mode]),
        default=Mode.NFTABLES.value,
        show_default=True,
        callback=lambda _context, _option, value: Mode(value),
        help="What the nodes' rules are written with.",
    )(function)


def dual_stack(function: F) -> F:
    """--dual-stack, as a bool."""
    return click.option("--dual-stack", is_flag=True, help="Give everything an IPv6 address beside its IPv4 one.")(
        function
    )


def output(function: F) -> F:
    """-o text|json."""
    return click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
    )(function)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def own_command() -> str:
    """How this program is called from this shell: by its name where PATH finds it, else as it was called now."""
    called = sys.argv[0]
    found = shutil.which("fairway")
    return "fairway" if found and Path(found).resolve() == Path(called).resolve() else shlex.quote(called)
