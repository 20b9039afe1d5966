"""`fairway exec`."""

from __future__ import annotations

import sys

import click

from fairway.cli.options import lab_name, output, print_json
from fairway.cluster.hosts import exec_in, run_captured
from fairway.cluster.state import LabState
from fairway.cluster.targets import host_of


@click.command(name="exec", context_settings={"allow_interspersed_args": False})
@click.argument("target")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
@lab_name
@output
def exec_(target: str, command: tuple[str, ...], name: str, output: str) -> None:
    """Run COMMAND in TARGET: a node, a client, a pod (NAME or NAMESPACE/NAME), or a pod of svc/NAME.

    Options come before TARGET.

    Standard input, output, error and the terminal are passed on, and so is the exit status (127: no such program,
    126: not executable, 128+N: ended by signal N). With -o json the output is captured instead.
    """
    command = command[1:] if command[:1] == ("--",) else command
    if not command or not command[0]:
        raise click.UsageError(f"what shall {target} run? For a shell: fairway exec {target} -- bash")
    state = LabState.of(name)
    state.living()
    host = host_of(state, target)
    if output == "json":
        code, text = run_captured(state, host, command)
        print_json({"target": target, "host": host, "command": list(command), "exitCode": code, "output": text})
        sys.exit(code)
    sys.exit(exec_in(state, host, command))
