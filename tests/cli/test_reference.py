"""docs/cli.md is the whole command line: every verb, and every option of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fairway.cli.verbs import STATUSES, VERBS, cli

REFERENCE = Path(__file__).parents[2] / "docs" / "cli.md"
LIKE_ANOTHER_PROGRAM = {"proxy"}
"""Verbs whose options are another program's, and its reference says them."""


def sections() -> dict[str, str]:
    """Heading -> text."""
    parts = re.split(r"^## (.*)\n", REFERENCE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(verb: str) -> Iterator[click.Command]:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    yield command
    if isinstance(command, click.Group):
        yield from command.commands.values()


def test_each_verb_has_a_section() -> None:
    assert set(VERBS) <= set(sections())


@pytest.mark.parametrize("verb", sorted(set(VERBS) - LIKE_ANOTHER_PROGRAM))
def test_each_option_of_a_verb_is_named(verb: str) -> None:
    text = sections()[verb]
    options = [
        option
        for command in commands(verb)
        for option in command.params
        if isinstance(option, click.Option) and not option.is_eager
    ]
    missing = [
        option.opts
        for option in options
        if not {*option.opts, *option.secondary_opts} & set(re.findall(r"--?[\w-]+", text))
    ]
    assert missing == []


def test_each_exit_status_is_named() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", sections()["For every verb"], flags=re.MULTILINE)
    assert set(STATUSES) <= {status for row in rows for status in row.split(", ")}
