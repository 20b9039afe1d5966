"""`fairway demo`: the NodePort study on a fresh lab, row by row."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fairway.cli.options import dual_stack, lab_name, output, print_json, proxy_mode
from fairway.cluster.demo import Finished, run_demo
from fairway.cluster.walk.language import Language
from fairway.cluster.walk.picture import draw
from fairway.cluster.walk.stage import Check, Claim, Heading, Ran, Shown
from fairway.plan.options import Mode

_SHOWN_LINES = 14
"""Lines of a command's output that are printed; more would push the claim out of sight."""

_TOLD = ('"path"', '"host"', '"method"', '"hostname"', '"ip"')
"""Of the echo server's answer: what was asked, by whom as the pod sees it, and the pod."""


@click.command()
@click.option("--keep", is_flag=True, help="Leave the lab up when the walk is over.")
@proxy_mode
@dual_stack
@click.option(
    "--lang",
    "language",
    type=click.Choice([language.value for language in Language]),
    default=Language.ENGLISH.value,
    show_default=True,
    callback=lambda _context, _option, value: Language(value),
    help="The language of headings, checks and claims.",
)
@lab_name
@output
def demo(name: str, output: str, keep: bool, mode: Mode, dual_stack: bool, language: Language) -> None:
    """Walk the NodePort study on a fresh lab; exit status 0 only if every claim holds.

    Each row prints the commands a person would type, what came back, and the claim with its verdict, judged from what
    was seen on the wire or in the kernel. With --dual-stack each row with packets is walked over IPv4 and over IPv6.
    --lang ko tells it in Korean; commands and what they print stay as they are.
    """
    console = Console(stderr=output == "json", highlight=False)
    finished = run_demo(
        name,
        mode=mode,
        dual_stack=dual_stack,
        language=language,
        keep=keep,
        show=lambda shown: _show(console, language, shown),
        say=lambda line: console.print(line, soft_wrap=True),
    )
    if output == "json":
        print_json({"mode": mode, "lang": language, "claims": [claim.to_json() for claim in finished.claims]})
    else:
        _summary(console, language, finished)
    if not finished.held:
        sys.exit(1)


def _show(console: Console, language: Language, shown: Shown) -> None:
    match shown:
        case Heading(id=number, title=title, over=over):
            console.print()
            family = f" {language.tell('over {family}', family=over)}" if over else ""
            console.rule(f"[bold]{number}[/]{family}  {escape(title)}", align="left")
        case Ran(command=command, output=text):
            console.print(f"[cyan]$ {escape(command)}[/]", soft_wrap=True)
            lines = text.rstrip("\n").splitlines()
            told = _telling(lines)
            for line in told:
                console.print(f"  {escape(line)}", soft_wrap=True)
            if len(lines) > len(told):
                more = language.tell("... and {count} more lines", count=len(lines) - len(told))
                console.print(f"  [dim]{more}[/]")
        case Check(what=what, ok=ok, seen=seen):
            mark = "[green]✔[/]" if ok else "[red]✘[/]"
            console.print(f"  {mark} {escape(what)}", soft_wrap=True)
            if not ok:
                console.print(f"    [red]{escape(language.tell('seen: {seen}', seen=seen))}[/]", soft_wrap=True)
        case Claim(id=number, claim=claim, ok=ok):
            console.print(f"  [bold]{_verdict(language, ok=ok)}[/]: {escape(claim)}", soft_wrap=True)


def _verdict(language: Language, *, ok: bool) -> str:
    return f"[green]{language.tell('holds')}[/]" if ok else f"[red]{language.tell('does not hold')}[/]"


def _telling(lines: list[str]) -> list[str]:
    """The lines worth showing of an output: all of a short one, of the echo server's JSON what the rows are about."""
    if len(lines) <= _SHOWN_LINES:
        return lines
    told = [line for line in lines if line.lstrip().startswith(_TOLD)] if lines[0] == "{" else []
    return told or lines[:_SHOWN_LINES]


def _summary(console: Console, language: Language, finished: Finished) -> None:
    tell = language.tell
    if finished.way:
        console.print()
        console.rule(f"[bold]{tell('The way of one packet, from conntrack')}[/]", align="left")
        console.print(draw(finished.way, language), markup=False, soft_wrap=True)
    console.print()
    table = Table(title=tell("What the study claims"), title_justify="left")
    table.add_column(tell("row"), no_wrap=True)
    dual = any(claim.over for claim in finished.claims)
    if dual:
        table.add_column(tell("over"), no_wrap=True)
    # fold: by default rich (15.0) cuts a line of wide letters that ends in a space at the edge, and the word before it
    table.add_column(tell("claim"), overflow="fold")
    table.add_column(tell("verdict"), no_wrap=True)
    for claim in finished.claims:
        over = [claim.over] if dual else []
        table.add_row(claim.id, *over, escape(claim.claim), _verdict(language, ok=claim.ok))
    console.print(table)
    held = sum(claim.ok for claim in finished.claims)
    console.print(tell("{held} of {all} claims hold.", held=held, all=len(finished.claims)))
