"""`fairway`: finds the verb, and turns expected failures into one line and an exit status."""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys

import click

from fairway.base.errors import FairwayError

VERBS = {
    "up": "bring a lab up: a whole cluster on this machine",
    "down": "take a lab down; nothing of it is left",
    "status": "what a lab is made of and how it is",
    "exec": "run a program in a node, pod or client of a lab",
    "kubeconfig": "print the path of a lab's kubeconfig",
    "demo": "walk the NodePort study on a fresh lab, each claim with its evidence",
    "render": "print the rules a node would get for Kubernetes objects in a file",
    "proxy": "run the node agent: a kube-proxy",
    "bench": "measure, against a baseline where there is one",
}
"""Verb and what it does; each is the command of its name in the module of its name, loaded when it is called."""

INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""


class _Verbs(click.Group):
    """Loads a verb's module only when it is asked for: `render` need not wait for what `up` imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

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


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="fairway", prog_name="fairway")
def cli() -> None:
    """The Kubernetes Service data plane, from the NodePort on a node's edge to the pod."""


def _terminate(number: int, frame: object) -> None:
    """SIGTERM leaves by the same way as any other end, so that what was half made is unmade."""
    sys.exit(128 + number)


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = cli.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except FairwayError as error:
        click.echo(f"fairway: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("fairway: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (| head): its choice, and nothing more can be said on that stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
