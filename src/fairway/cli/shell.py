"""`fairway shell`."""

from __future__ import annotations

import os
import sys

import click

from fairway.cli.options import lab_name
from fairway.cluster.hosts import exec_in, login_shell
from fairway.cluster.state import LabState
from fairway.cluster.targets import host_of


@click.command()
@click.argument("target")
@lab_name
def shell(target: str, name: str) -> None:
    """A login shell in TARGET: a node, a client, a pod (NAME or NAMESPACE/NAME), or a pod of svc/NAME.

    It is your own one ($SHELL) where TARGET has it, else bash, else sh. Without a terminal it reads its commands from
    standard input. The exit status is the shell's.
    """
    state = LabState.of(name)
    state.living()
    sys.exit(exec_in(state, host_of(state, target), login_shell(os.environ.get("SHELL", ""))))
