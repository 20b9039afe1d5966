"""The tutorial's questions to `fairway explain`: found in its pages, asked, and their answers written back.

    PYTHONPATH=src python -m tests.docs.tutorial

asks every question again, and rewrites the pages' answers and the pictures where explain now says it differently.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from click.testing import CliRunner

from fairway.cli.explain import explain

FOLDER = Path(__file__).parents[2] / "docs" / "tutorial"
PAGES = tuple(sorted(FOLDER.glob("*.md")))

_ASKED = "$ fairway explain "
_QUESTION = re.compile(
    rf"(?P<open>^```console\n{re.escape(_ASKED)}(?P<arguments>[^\n]*)\n)(?P<answer>.*?)(?P<close>^```$)",
    re.MULTILINE | re.DOTALL,
)
_PLAIN = {"NO_COLOR": "1", "FORCE_COLOR": None, "TTY_COMPATIBLE": None, "COLUMNS": None}
"""The environment of explain: nothing that could make its answer look like a terminal's."""


@dataclass(frozen=True)
class Question:
    """A console block of a page that asks explain; `picture` is the file its answer goes to, "" for the page itself."""

    arguments: tuple[str, ...]
    picture: str
    answer: str


def questions(page: str) -> list[Question]:
    """Those of a page's text, in its order."""
    return [_question(found) for found in _QUESTION.finditer(page)]


@cache
def ask(arguments: tuple[str, ...]) -> str:
    """What `fairway explain` prints for these in the tutorial's folder.

    Raises AssertionError where it refuses, or notes anything on standard error.
    """
    with contextlib.chdir(FOLDER):
        result = CliRunner().invoke(explain, arguments, env=_PLAIN)
    assert result.exception is None, f"explain {shlex.join(arguments)}: {result.exception!r}"
    assert result.stderr == "", f"explain {shlex.join(arguments)}: {result.stderr}"
    return result.stdout


def rewrite() -> list[Path]:
    """Bring the pages and the pictures up to date; the files that changed."""
    return [path for page in PAGES for path in _rewrite_page(page)]


def _rewrite_page(page: Path) -> list[Path]:
    text = page.read_text(encoding="utf-8")
    files = {FOLDER / each.picture: ask(each.arguments) for each in questions(text) if each.picture}
    files[page] = _QUESTION.sub(_asked_again, text)
    changed = [path for path, new in files.items() if not path.exists() or path.read_text(encoding="utf-8") != new]
    for path in changed:
        path.write_text(files[path], encoding="utf-8")
    return changed


def _asked_again(found: re.Match[str]) -> str:
    question = _question(found)
    return found["open"] + ("" if question.picture else ask(question.arguments)) + found["close"]


def _question(found: re.Match[str]) -> Question:
    words = shlex.split(found["arguments"])
    words, picture = (words[:-2], words[-1]) if ">" in words[-2:-1] else (words, "")
    return Question(tuple(words), picture, found["answer"])


if __name__ == "__main__":
    for path in rewrite():
        print(path.name)
