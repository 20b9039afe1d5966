"""What the tutorial tells to type in a lab: found in its pages, typed in one shell, and compared with what they show.

    PYTHONPATH=src python -m tests.docs.lab

types them in a lab of its own, and rewrites what the pages show of it where that is another now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.docs.tutorial import FOLDER, PAGES

LIMIT_S = 900.0
"""For a whole page, on a busy machine."""

_ACTIVATE = ". ../../.venv/bin/activate\n"
_BLOCK = re.compile(r"^```sh\n(?P<commands>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_VARIES = [
    (re.compile(r"(deploy-echo)-[a-z0-9]+-[a-z0-9]{5}"), r"\1-HASH-RANDOM"),
    (re.compile(r"\b3[0-2]\d{3}\b"), "NODEPORT"),
    (re.compile(r"\b10\.10\.\d+\.\d+\b"), "PODIP"),
    (re.compile(r"\bfault \d+"), "fault N"),
    (re.compile(r"fault undo \d+"), "fault undo N"),
    (re.compile(r"\b0\.[1-9]\d*\b"), "0.N"),
]
"""What is another one each time: names, ports, addresses and numbers that a lab draws, and times below a second."""


@dataclass(frozen=True)
class Block:
    """Commands of a page, and what it shows of them; None where it shows nothing."""

    commands: str
    output: str | None


def blocks(page: str) -> list[Block]:
    """Those of a page's text, in its order."""
    return [Block(found["commands"], found["output"]) for found in _BLOCK.finditer(page)]


def alike(text: str) -> str:
    """Without what varies from lab to lab."""
    for pattern, name in _VARIES:
        text = pattern.sub(name, text)
    return text


class Shell:
    """One bash in the tutorial's folder; what a block sets, the next one has."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder, self._count = process, folder, 0

    def type(self, commands: str) -> tuple[int, str]:
        """The exit status of the last command, and all that was printed."""
        self._count += 1
        # The virtual environment is the one the tests run in, wherever that is.
        script = self._folder / f"block-{self._count}.sh"
        script.write_text(commands.replace(_ACTIVATE, ""), "utf-8")
        end = f"the-end-of-block-{self._count}"
        # From a file, for a command that reads standard input would read the next ones.
        _pipe(self._process.stdin).write(f'. {script} < /dev/null; printf "%s %d\\n" {end} $?\n')
        _pipe(self._process.stdin).flush()
        printed: list[str] = []
        for line in _pipe(self._process.stdout):
            before, found, status = line.partition(f"{end} ")
            printed.append(before)
            if found:
                return int(status), "".join(printed)
        raise AssertionError(f"the shell ended, or took longer than {LIMIT_S:g} s: {''.join(printed)}")


@contextmanager
def shell(environment: Mapping[str, str]) -> Iterator[Shell]:
    """A shell that finds `fairway` where the tests do."""
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=FOLDER,
            env={**environment, "PATH": path},
        ) as process,
    ):
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        try:
            yield Shell(process, Path(folder))
        finally:
            limit.cancel()
            process.kill()


def _pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end


def rewrite() -> list[Path]:
    """Type the first page's commands in a lab of its own, and show in every page what was printed; what changed."""
    with tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, "FAIRWAY_STATE_DIR": state, "HOME": state, "NO_COLOR": "1"}
        with shell(environment) as typing:
            told = [typing.type(block.commands)[1] for block in blocks(PAGES[0].read_text(encoding="utf-8"))]
    return [page for page in PAGES if _rewrite_page(page, told)]


def _rewrite_page(page: Path, told: Sequence[str]) -> bool:
    text = page.read_text(encoding="utf-8")
    answers = iter(told)
    new = _BLOCK.sub(lambda found: _shown_again(found, next(answers)), text)
    page.write_text(new, encoding="utf-8")
    return new != text


def _shown_again(found: re.Match[str], told: str) -> str:
    if found["output"] is None or alike(found["output"]) == alike(told):
        return found[0]
    return f"```sh\n{found['commands']}```\n\n```text\n{told}```\n"


if __name__ == "__main__":
    for path in rewrite():
        print(path.name)
