"""The command line as a stranger meets it: help, wrong words, and one line for whatever goes wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fairway.api.status import ApiError
from fairway.base.errors import Refused
from fairway.cli import verbs
from fairway.cli.verbs import STATUSES, VERBS, explain

FAIRWAY = [sys.executable, "-c", "import sys; sys.argv[0] = 'fairway'; from fairway.cli.main import main; main()"]


def fairway(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FAIRWAY, *args], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_verb_and_exit_status(option: str) -> None:
    said = fairway(option)
    assert (said.returncode, said.stderr) == (0, "")
    firsts = [line.split()[0] for line in said.stdout.splitlines() if line.startswith("  ")]
    assert [word for word in firsts if word in VERBS] == [*VERBS]
    assert [word for word in firsts if word in STATUSES] == [*STATUSES]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    said = fairway(verb, "-h")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"Usage: fairway {verb} ")


@pytest.mark.parametrize(
    ("args", "last_line"),
    [
        (["upp"], "Error: there is no verb 'upp'; did you mean 'up'?"),
        (["down", "--nmae", "x"], "Error: No such option '--nmae'. Did you mean '--name'?"),
        (["status", "-o", "jsn"], "Error: Invalid value for '-o' / '--output': 'jsn' is not one of 'text', 'json'."),
        (["demo", "--lang", "fr"], "Error: Invalid value for '--lang': 'fr' is not one of 'en', 'ko'."),
        (["exec"], "Error: Missing argument 'TARGET'."),
        (["exec", "mypc"], "Error: what shall mypc run? For a shell: fairway exec mypc -- bash"),
        (["exec", "mypc", "--"], "Error: what shall mypc run? For a shell: fairway exec mypc -- bash"),
        (["exec", "mypc", ""], "Error: what shall mypc run? For a shell: fairway exec mypc -- bash"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(args: list[str], last_line: str) -> None:
    said = fairway(*args)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.splitlines()[-1] == last_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Refused("no such lab"), "no such lab"),
        (ApiError(409, "Conflict", "it has changed"), "it has changed"),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [Refused("no such lab")])]), "no such lab"),
        (OSError(28, "No space left on device", "/tmp/x"), "/tmp/x: No space left on device"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (
            KeyError("x"),
            "a defect of fairway: KeyError: 'x'; set FAIRWAY_TRACEBACK=1 to see where, and please report it",
        ),
    ],
)
def test_whatever_goes_wrong_is_one_line(error: Exception, line: str) -> None:
    assert explain(error) == line


def test_a_defect_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def broken() -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr(verbs, "cli", broken)
    monkeypatch.setattr(sys, "argv", ["fairway"])
    monkeypatch.setattr(verbs.signal, "signal", lambda *_: None)
    monkeypatch.delenv("FAIRWAY_TRACEBACK", raising=False)
    assert verbs.run() == 1
    assert capsys.readouterr().err.startswith("fairway: a defect of fairway: RuntimeError: oh; ")
    monkeypatch.setenv("FAIRWAY_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="oh"):
        verbs.run()


INTERRUPTED_BY_ITSELF = """
import asyncio, os, signal, sys
sys.argv = ["fairway", "status"]
from fairway.cli import main, status, verbs
number = int({number})
async def wait():
    os.kill(os.getpid(), number)
    await asyncio.Event().wait()
status.report_lab = lambda _: wait()
main.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_in_an_event_loop_is_one_line(number: signal.Signals) -> None:
    code = INTERRUPTED_BY_ITSELF.format(number=int(number))
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (said.returncode, said.stdout, said.stderr) == (128 + number, "", "fairway: interrupted\n")


def test_an_interrupt_of_the_imports_is_one_line() -> None:
    code = """
import signal, sys
from fairway.cli.main import main
class Interrupting:
    def find_spec(self, *_):
        signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
main()
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (said.returncode, said.stdout, said.stderr) == (130, "", "fairway: interrupted\n")


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        said = subprocess.run([*FAIRWAY, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (said.returncode, said.stderr) == (1, "fairway: No space left on device\n")


def test_closed_standard_streams_are_no_error() -> None:
    shell = 'exec "$@" <&- >&- 2>/dev/null'
    assert subprocess.run(["sh", "-c", shell, "sh", *FAIRWAY, "--version"], timeout=60).returncode == 0


def test_a_terminal_without_a_character_gets_another() -> None:
    code = """
import sys, click
from fairway.cli import main as m, verbs
verbs.cli = click.Command("x", callback=lambda: print(chr(0x2714)))
sys.argv = ["x"]
m.main()
"""
    said = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, timeout=60
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "?\n", "")
