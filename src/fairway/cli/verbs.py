"""The verbs: finds the one that is called, and turns whatever ends it into one line and an exit status."""

from __future__ import annotations

import difflib
import importlib
import io
import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

import click

from fairway.base.errors import FairwayError
from fairway.cli.main import SIGNAL_BASE, say_interrupted

VERBS = {
    "up": "bring a lab up: a whole cluster on this machine",
    "down": "take a lab down; nothing of it is left",
    "status": "what a lab is made of and how it is",
    "exec": "run a program in a node, pod or client of a lab",
    "shell": "a login shell in a node, pod or client of a lab",
    "rules": "print the rules that a node of a lab has in its kernel",
    "kubeconfig": "print the path of a lab's kubeconfig",
    "demo": "walk the NodePort study on a fresh lab, each claim with its evidence",
    "verify": "prove with real packets that they meet what is explained",
    "diff": "tell what an edit would do before it is made: doors, backends, rules, live connections",
    "doctor": "find the faults that cost people days, with the commands that mend them",
    "fault": "plant a fault in a lab: kill, pause, cut, delay, lose packets, and have it undone by itself",
    "render": "print the rules a node would get for Kubernetes objects in a file",
    "explain": "what happens to a packet and why, or who meets what by which door of a Service",
    "proxy": "run the node agent: a kube-proxy",
    "bench": "measure on this machine",
}
"""Verb and what it does; each is the command of its name in the module of its name, loaded when it is called."""

STATUSES = {
    "0": "done",
    "1": "refused or failed: one line on standard error says why, and the way out",
    "2": "the command line is wrong",
    "130": "interrupted",
}
"""Exit statuses that all verbs share."""

TRACEBACK = "FAIRWAY_TRACEBACK"
"""Environment variable: set, a defect shows where it happened."""


class _Verbs(click.Group):
    """Loads a verb's module only when it is asked for: `render` need not wait for what `up` imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Interrupted from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"fairway.cli.{cmd_name}")
        command = getattr(module, f"{cmd_name}_" if cmd_name == "exec" else cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb = args[0]
        if verb not in VERBS and not verb.startswith("-"):
            near = difflib.get_close_matches(verb, VERBS, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"the verbs are: {', '.join(VERBS)}"
            ctx.fail(f"there is no verb {verb!r}; {meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that help loads no verb's module."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit status"):
            formatter.write_dl(list(STATUSES.items()))


@click.group(
    cls=_Verbs,
    subcommand_metavar="VERB [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="fairway", prog_name="fairway")
def cli() -> None:
    """The Kubernetes Service data plane, from the NodePort on a node's edge to the pod.

    `fairway VERB --help` tells a verb's options.
    """


class _Interrupted(Exception):
    """KeyboardInterrupt by a name that click does not answer with an empty line."""


def run() -> int:
    """Do what the command line says; the exit status."""
    _hold_standard_streams()
    ended_by = signal.SIGINT

    def interrupt(number: int, frame: FrameType | None) -> None:
        """SIGTERM and a closed terminal go the way of ^C: what was half made is unmade, also inside an event loop."""
        nonlocal ended_by
        ended_by = signal.Signals(number)
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # What is ignored, as under nohup, stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character gets another, not an error.
            stream.reconfigure(errors="replace")
    # A verb says itself what it has to say; `proxy` logs, and the programs of a lab do.
    logging.getLogger("fairway").addHandler(logging.NullHandler())
    try:
        status = cli.main(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (KeyboardInterrupt, _Interrupted, click.Abort):
        say_interrupted()
        return SIGNAL_BASE + ended_by
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (| head): its choice, and nothing more can be said on that stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        click.echo(f"fairway: {explain(error)}", err=True)
        return 1
    return status if isinstance(status, int) else 0


def explain(error: BaseException) -> str:
    """One line for whatever ended a verb."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case FairwayError():
            return str(error)
        case OSError(strerror=str(reason), filename=str(file)):
            return f"{file}: {reason}"
        case OSError(strerror=str(reason)):
            return reason
        case _:
            kind = type(error).__name__
            return f"a defect of fairway: {kind}: {error}; set {TRACEBACK}=1 to see where, and please report it"


def _hold_standard_streams() -> None:
    """A standard stream that is closed goes nowhere, and no file that is opened later becomes it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
